"""How far a network stays with the closed forms of its training items, and where it leaves them."""

from typing import Annotated, Any

import xarray as xr
from pydantic import Field

from reprostore.errors import MissingDataError, SpecError
from reprostore.ingest import StoredDataset
from reprostore.specs import Name, Spec
from reprostore_analyses.context import Context
from reprostore_analyses.kernels import check_cosine_threshold
from reprostore_analyses.results import cached_result, run_inputs
from reprostore_analyses.theory_pairs import REFERENCES, Comparison, find_comparisons
from reprostore_analyses.theory_tables import compare_all

VERSION = 1
"""Raised when a change to this code changes results: stored ones are then made again."""


class TheoryOptions(Spec):
    """Options of the analysis `theory`.

    Attributes
    ----------
    encoder : str
        In whose space final samples are compared.
    threshold : float
        θ of the RP score between a network and a closed form.
    tolerance : float
        δ, root mean square over pixels on the 0–255 scale: estimates x̂_0 below it are near each
        other. At 15 a final sample that is near is one that the MAE score counts, too, since
        MAE ≤ RMS.
    models, samplers : tuple of str, optional
        Names of the networks' runs; all that have a closed form beside them when left out.
    allow_unchecked : bool
        Accept pairs whose noise cannot be compared; the result marks them.
    confidence : float
        Of all intervals.
    rng_seed : int
        Seed of the resampling.
    """

    encoder: Name = "pixel"
    threshold: float = 0.6
    tolerance: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 15.0
    models: tuple[Name, ...] | None = None
    samplers: tuple[Name, ...] | None = None
    allow_unchecked: bool = False
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    rng_seed: Annotated[int, Field(ge=0)] = 0


def theory(context: Context, options: TheoryOptions) -> xr.Dataset:
    """Compare networks with the oracle and the Gaussian of their training items, seed by seed.

    The oracle is the exact denoiser of the training items, whose samples are these items; the
    Gaussian that of a normal distribution with their mean and covariance. Both start from the same
    noise and take the same steps as the network. Along σ their estimates x̂_0 are compared, each
    on its own trajectory; a network leaves a closed form at the σ of the first recorded step
    after which the distance stays at or above δ.

    Parameters
    ----------
    context : Context
        The store, and what the study says.
    options : TheoryOptions
        Encoder, threshold, tolerance, runs.

    Returns
    -------
    xarray.Dataset
        Over (run, reference), reference "oracle" and "gaussian", NaN where a run has none:

        - per seed the distances of final samples, `rms` and `mae` (0–255), `l2` ([-1, 1]) and
          `similarity`; `departure_row`, the row of the departure (0: near in no row, -1:
          near in the last, -2: not compared), and `departure_sigma_at`;
        - `…_mean` and, over quantile, `…_quantile` of each distance, with `_low` and `_high`;
        - `rp`, the share of seeds with a similarity > θ, and `near`, that with an RMS distance
          < δ, with Wilson's intervals, `chance` and `near_chance`; `chance_rms`, the median RMS
          distance of samples of different seeds;
        - `left`, `stayed` and `never_near`, shares of seeds with intervals; `departure_sigma`,
          the median σ of those that left, with `_low` and `_high`;
        - over row, in the order of the steps: `path_mean`, and over (quantile, row)
          `path_quantile` with bounds, of the RMS distance of x̂_0; `gone`, the share of seeds that
          have left by then or were never near, with bounds.

        Over (run, row): `step`, `sigma`, `alpha`; `oracle_nearer` and `gaussian_nearer`, the share
        of seeds whose x̂_0 is nearer to that closed form, with intervals; `between_mean` and
        `between_quantile`, the distance between the two closed forms themselves. Over (run, seed):
        `train_index` and `train_similarity` of the training item nearest to the network's sample.

    Raises
    ------
    MissingDataError
        No network has a closed form beside it.
    PairingError
        Runs begin from different noise, or this cannot be checked.
    SpecError
        A threshold is out of range, the encoder has no cosine, samples are not images, or a
        closed-form model was named.

    References
    ----------
    Karras et al. 2022, arXiv 2206.00364, appendix B.3 (exact denoiser of a finite training set);
    Zhang et al. 2024, arXiv 2310.05264 (RP score, θ = 0.6 in SSCD's space).
    """
    check_cosine_threshold(options.threshold)
    encoder = context.encoder(options.encoder)
    if encoder.metric != "cosine":
        raise SpecError(
            f"The encoder {options.encoder!r} compares vectors by {encoder.metric}.",
            "The RP score is defined by a cosine.",
            "Choose an encoder with the metric cosine.",
        )
    found = find_comparisons(context, options.models, options.samplers)
    datasets = {each.run.path: _dataset(context, each) for each in found.comparisons}
    question = {
        "analysis": "theory",
        "version": VERSION,
        # However they were chosen, the runs are those below.
        "options": options.model_dump(mode="json", exclude={"models", "samplers"}),
        "runs": [each.run.path for each in found.comparisons],
    }
    inputs: dict[str, Any] = {
        "encoder": encoder.fingerprint,
        "skipped": found.skipped,
        "left_out": found.left_out,
        "runs": {
            each.run.path: {
                **run_inputs(each.run, each.written),
                "index": each.trained_on.index,
                "dataset": None if dataset is None else dataset.fingerprint,
                "reasons": each.reasons,
                "references": {
                    kind: {"path": run.path, **run_inputs(run, written)}
                    for kind, (run, written) in each.references.items()
                },
            }
            for each, dataset in zip(found.comparisons, datasets.values(), strict=True)
        },
    }
    return cached_result(
        context.store,
        "theory",
        question,
        inputs,
        lambda: compare_all(context, options, found, datasets),
    )


def theory_rows(result: xr.Dataset, options: TheoryOptions) -> list[dict[str, Any]]:
    """Return one row per run and closed form, as the table and ``--json`` show them.

    Parameters
    ----------
    result : xarray.Dataset
        Of `theory`.
    options : TheoryOptions
        What was asked.

    Returns
    -------
    list of dict
        Plain numbers and texts, in the order of the runs; `rms`, `mae`, `l2` and `similarity` are
        medians over seeds. A closed form that a run lacks has NaN and a `reason`.
    """
    columns = [
        str(name)
        for name, variable in result.data_vars.items()
        if variable.dims == ("run", "reference") and name not in ("seeds", "checked")
    ]
    rows = []
    for place, path in enumerate(result["run"].values.tolist()):
        for kind in REFERENCES:
            at = result.isel(run=place).sel(reference=kind)
            medians = {
                f"{name}{bound}": float(at[f"{name}_quantile{bound}"].sel(quantile=0.5))
                for name in ("rms", "mae", "l2", "similarity")
                for bound in ("", "_low", "_high")
            }
            reason = result.attrs["reasons"][path].get(kind, "")
            reference_run = result.attrs["references"][path].get(kind, "")
            rows.append(
                {
                    "run": path,
                    "reference": kind,
                    "reference_run": reference_run,
                    "encoder": options.encoder,
                    "threshold": options.threshold,
                    "tolerance": options.tolerance,
                    "seeds": int(at["seeds"]),
                    **medians,
                    **{name: float(at[name]) for name in columns},
                    "reason": f"Against the {kind}: {reason}" if reason else "",
                    "checked": bool(at["checked"]),
                    "drift": any(p in result.attrs["drift"] for p in (path, reference_run)),
                }
            )
    return rows


def _dataset(context: Context, comparison: Comparison) -> StoredDataset | None:
    """Return what the model was trained on, where it is at hand and fits the samples."""
    try:
        dataset = context.dataset(comparison.trained_on.dataset)
    except MissingDataError:
        return None
    return dataset if dataset.item_shape == comparison.run.spec.sample_shape else None
