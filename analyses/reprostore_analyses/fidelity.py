"""How near the samples of a model are, as a whole, to what it saw and to what it did not see."""

from typing import Annotated, Any

import xarray as xr
from pydantic import Field

from reprostore.specs import Name, Spec
from reprostore_analyses.context import Context
from reprostore_analyses.memorization import refuse_other_than_images
from reprostore_analyses.metric_scores import chosen_metrics, metric_rows, metric_scores
from reprostore_analyses.metrics.fidelity import FIDELITY_METRICS
from reprostore_analyses.subjects import subjects_of, subjects_result

VERSION = 5
"""Raised when a change to this code changes results: stored ones are then made again."""


class FidelityOptions(Spec):
    """Options of the analysis `fidelity`.

    Attributes
    ----------
    encoder : str
        In whose space sets are compared.
    metrics : tuple of str, optional
        Which metrics; all when left out.
    models, samplers : tuple of str, optional
        Names of the runs; all of the study when left out.
    control : bool
        Compare with held-out items too, which the study must then name.
    k : int
        Neighbor of precision and recall.
    k_density : int
        Neighbor of density and coverage.
    kid_subsets : int
        Subsets of KID.
    subsamples : int
        Subsamples of the intervals.
    confidence : float
        Of all intervals.
    rng_seed : int
        Seed of all randomness.
    """

    encoder: Name = "pixel"
    metrics: tuple[str, ...] | None = None
    models: tuple[Name, ...] | None = None
    samplers: tuple[Name, ...] | None = None
    control: bool = True
    k: Annotated[int, Field(ge=1)] = 3
    k_density: Annotated[int, Field(ge=1)] = 5
    kid_subsets: Annotated[int, Field(ge=1)] = 100
    subsamples: Annotated[int, Field(ge=2)] = 40
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    rng_seed: Annotated[int, Field(ge=0)] = 0


def fidelity(context: Context, options: FidelityOptions) -> xr.Dataset:
    """Compute metrics between the set of a run's samples and sets of real items.

    A model that memorizes is near to its own training items, and not to held-out ones: both are
    shown, beside the same of held-out against training items, which is what real data have.

    Parameters
    ----------
    context : Context
        The store, and what the study says.
    options : FidelityOptions
        Encoder, metrics, runs.

    Returns
    -------
    xarray.Dataset
        As `reprostore_analyses.metric_scores.metric_scores`, for the comparisons
        "generated|train", "generated|held_out" and "held_out|train"; the Vendi score, which is of
        one set, for "generated|generated", "held_out|held_out" and "train|train". Of samples and
        held-out items as many are compared, `compared`: of the larger set those with the smallest
        digests, which is as good as drawn at random.

    Raises
    ------
    MissingDataError
        No run says what its model was trained on.
    SpecError
        A metric is not known, samples are no images, or held-out items are not named.

    References
    ----------
    See the `source` of each metric in attrs.metrics.
    """
    metrics = chosen_metrics(FIDELITY_METRICS, options.metrics, "fidelity")
    subjects, skipped = subjects_of(
        context,
        options,
        analysis="fidelity",
        because="Samples are compared with the training items of their model.",
    )
    refuse_other_than_images(subjects, "fidelity")

    def compute() -> xr.Dataset:
        result = metric_scores(context, options, subjects, metrics, neighbors=1)
        result.attrs["skipped"] = skipped
        return result

    chosen = (subjects, skipped)
    return subjects_result(context, ("fidelity", VERSION), options, chosen, compute)


def fidelity_rows(result: xr.Dataset, options: FidelityOptions) -> list[dict[str, Any]]:
    """Return one row per metric and run; see `metric_rows`. The Vendi score has its own table."""
    return [
        {"table": "variety" if row["metric"] == "vendi" else "", **row}
        for row in metric_rows(result)
    ]
