"""Whether a model memorizes, by the rules of several papers, each beside unseen real items."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from reprostore.errors import SpecError
from reprostore_analyses.context import Context
from reprostore_analyses.kernels.extraction import normalized_distance
from reprostore_analyses.kernels.ratio_rule import distance_ratio, effective_capacity
from reprostore_analyses.kernels.replication import match_curves
from reprostore_analyses.memorization_options import MemorizationOptions
from reprostore_analyses.metric_scores import chosen_metrics, metric_rows, metric_scores
from reprostore_analyses.metrics.evidence import Evidence
from reprostore_analyses.metrics.memorization import MEMORIZATION_METRICS
from reprostore_analyses.results import thresholds
from reprostore_analyses.subjects import Subject, subjects_of, subjects_result
from reprostore_analyses.transition_groups import REFERENCES, architecture

VERSION = 5
"""Raised when a change to this code changes results: stored ones are then made again."""


def memorization(context: Context, options: MemorizationOptions) -> xr.Dataset:
    """Compute all memorization metrics of every run against its own model's training items.

    Distances of the ratio rule, the adaptive rule, extraction and cliques are those of pixels in
    [0, 1], after rounding to 8 bits; replication, AuthPct and C_T use the encoder's vectors.

    Parameters
    ----------
    context : Context
        The store, and what the study says.
    options : MemorizationOptions
        Encoder, thresholds, runs.

    Returns
    -------
    xarray.Dataset
        As `reprostore_analyses.metric_scores.metric_scores`, for the comparisons
        "generated|train", "held_out|train" and "train|train" (each training item against the
        others). Per seed: `pixel_distance` (root mean square, in [0, 1]) and `train_index` of the
        nearest training item in pixels, `ratio` d1/d2, `similarity` and `similar_index` of the
        nearest by the encoder. Over thresholds: `match_curve`, the share of samples whose
        `similarity` is above, and `unique_curve`, the number of different training items that these
        match. attrs.capacity holds EMM of each group of models.

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
    metrics = chosen_metrics(MEMORIZATION_METRICS, options.metrics, "memorization")
    subjects, skipped = subjects_of(
        context,
        options,
        analysis="memorization",
        because="Memorization is measured against the training items of each model.",
    )
    refuse_other_than_images(subjects, "memorization")
    groups = {s.run.path: _group(context, s) for s in subjects}

    def compute() -> xr.Dataset:
        result = metric_scores(
            context,
            options,
            subjects,
            metrics,
            neighbors=max(options.neighbors, options.eidetic),
            per_seed=_per_seed,
        )
        result = result.assign(_match_curves(result))
        result.attrs["skipped"] = skipped
        result.attrs["capacity"] = _capacities(result, groups, options.epsilon)
        return result

    chosen = (subjects, skipped)
    return subjects_result(
        context, ("memorization", VERSION), options, chosen, compute, groups=groups
    )


def memorization_rows(result: xr.Dataset, options: MemorizationOptions) -> list[dict[str, Any]]:
    """Return one row per metric and run, then one per EMM; see `metric_rows`."""
    rows: list[dict[str, Any]] = [{"table": "", **row} for row in metric_rows(result)]
    return rows + [
        {"table": "capacity", "architecture": name, **values}
        for name, values in result.attrs["capacity"].items()
    ]


def refuse_other_than_images(subjects: Sequence[Subject], analysis: str) -> None:
    """Refuse runs whose samples have no pixels.

    Raises
    ------
    SpecError
        Samples are trajectories or sequences.
    """
    for subject in subjects:
        if subject.run.spec.kind != "image":
            raise SpecError(
                f"Samples of the run {subject.run.path} are of the kind {subject.run.spec.kind}.",
                f"The analysis {analysis} compares images.",
                "Leave this run out (models = [...]).",
            )


def _group(context: Context, subject: Subject) -> str | None:
    """Name the models that differ in their training items, seed and snapshot alone.

    None for closed forms, and for models of which nothing tells the architecture.
    """
    spec, path = context.model_spec(subject.run), subject.run.path
    name = architecture(spec)
    if name is None or spec.source in REFERENCES:
        return None
    _, sampler, condition = path.split("/")
    parts = [name, "on", subject.dataset.name, "under", sampler]
    return " ".join(parts + ([condition] if condition != "none" else []))


def _capacities(
    result: xr.Dataset, groups: dict[str, str | None], epsilon: float
) -> dict[str, Any]:
    """Return EMM by group, where there is the ratio rule and more than one N."""
    found: dict[str, Any] = {}
    if "ratio" not in result["metric"].values:
        return found
    shares = result["value"].sel(metric="ratio", comparison="generated|train").values
    sizes = result["train_size"].values
    members = [groups[path] for path in result["run"].values.tolist()]
    for name in dict.fromkeys(name for name in members if name is not None):
        own = np.asarray([group == name for group in members])
        if len(np.unique(sizes[own])) < 2:
            continue
        capacity = effective_capacity(sizes[own], shares[own], epsilon)
        found[name] = {
            "emm": None if np.isnan(capacity.size) else int(capacity.size),
            "next_size": None if np.isnan(capacity.next_size) else int(capacity.next_size),
            "models": int(own.sum()),
            "epsilon": epsilon,
            "reason": capacity.reason,
        }
    return found


def _match_curves(result: xr.Dataset) -> dict[str, Any]:
    """Return over thresholds how many samples match an item, and how many items are matched."""
    if "similarity" not in result:
        return {}
    grid = thresholds()
    curves = np.full((2, result.sizes["run"], len(grid)), np.nan)
    for row in range(result.sizes["run"]):
        at = result.isel(run=row)
        known = ~np.isnan(at["similarity"].values)
        values, items = at["similarity"].values[known], at["similar_index"].values[known]
        curves[:, row] = match_curves(values, items, grid)
    dims = ("run", "threshold")
    return {
        "match_curve": (dims, curves[0]),
        "unique_curve": (dims, curves[1]),
        "threshold": ("threshold", grid),
    }


def _per_seed(evidence: Evidence, subject: Subject) -> dict[str, Any]:
    seen = subject.dataset.index(subject.index)
    near = evidence.pixels.nearest("generated", "l2")
    values, positions = near.values, near.positions
    kept = {
        "pixel_distance": normalized_distance(values[:, 0], evidence.pixels.train.shape[1]),
        "train_index": seen[positions[:, 0]],
    }
    if values.shape[1] > 1:
        kept["ratio"] = distance_ratio(values[:, 0], values[:, 1])
    if evidence.cosine:
        similar = evidence.encoder.nearest("generated", "cosine")
        kept["similarity"] = similar.values[:, 0]
        kept["similar_index"] = seen[similar.positions[:, 0]]
    return kept
