"""Scores of runs by the metrics of the registry, each beside its controls."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from reprostore.errors import SpecError
from reprostore_analyses.context import Context
from reprostore_analyses.metrics.base import RunMetric, Score
from reprostore_analyses.metrics.evidence import Evidence
from reprostore_analyses.results import drifted_runs
from reprostore_analyses.store_evidence import store_evidence
from reprostore_analyses.subjects import Subject

SIZES = ("seeds", "train_size", "held_out_size", "compared")
"""Numbers of samples and items; the last is how many of samples and of held-out items metrics of
whole sets are computed of."""

PerSeed = Callable[[Evidence, Subject], dict[str, Any]]
"""Makes per-seed values of a run, (seed,), of any dtype; those of other seeds are NaN or -1."""


def chosen_metrics(
    metrics: Sequence[RunMetric], names: Sequence[str] | None, analysis: str
) -> list[RunMetric]:
    """Return the metrics of the names, or all.

    Raises
    ------
    SpecError
        A name is not known, or there are none.
    """
    known = {metric.name: metric for metric in metrics}
    unknown = [name for name in names or () if name not in known]
    if unknown or names == ():
        raise SpecError(
            f"The analysis {analysis} has no metric {unknown[0]!r}."
            if unknown
            else f"`metrics` of the analysis {analysis} is empty.",
            f"Its metrics are {', '.join(known)}.",
            "Choose among these, or leave `metrics` out to compute all.",
        )
    return [known[name] for name in dict.fromkeys(known if names is None else names)]


def metric_scores(
    context: Context,
    options: Any,  # noqa: ANN401  # options of an analysis; each metric takes from them what it needs
    subjects: Sequence[Subject],
    metrics: Sequence[RunMetric],
    *,
    neighbors: int,
    per_seed: PerSeed | None = None,
) -> xr.Dataset:
    """Compute all metrics of all runs.

    Parameters
    ----------
    context : Context
        The store, and what the study says.
    options : Spec
        Of the analysis: encoder, confidence, resamples, rng_seed and those of the metrics.
    subjects : sequence of Subject
        The runs.
    metrics : sequence of RunMetric
        What to compute.
    neighbors : int
        How many nearest training items the metrics need.
    per_seed : callable, optional
        What is kept of every sample beside the scores.

    Returns
    -------
    xarray.Dataset
        `value`, `low` and `high` over (run, metric, comparison), NaN where there is none;
        `SIZES` over run; per-seed values over (run, seed).
        attrs.metrics tells how each metric is read, attrs.reasons why a score is NaN or what has
        to be known to read it.
    """
    compared = list(dict.fromkeys(pair for metric in metrics for pair in metric.comparisons))
    comparisons = [f"{who}|{against}" for who, against in compared]
    seeds = np.unique(np.concatenate([subject.written.seeds for subject in subjects]))
    shape = (len(subjects), len(metrics), len(comparisons))
    scores = {name: np.full(shape, np.nan) for name in ("value", "low", "high")}
    sizes = np.zeros((4, len(subjects)), dtype=np.int64)
    kept: dict[str, np.ndarray[Any, Any]] = {}
    reasons: dict[str, dict[str, str]] = {}
    known: dict[Any, Score] = {}
    searched: dict[Any, list[Any]] = {}
    for row, subject in enumerate(subjects):
        evidence = store_evidence(context, subject, options.encoder, neighbors, options.rng_seed)
        both = (evidence.encoder, evidence.pixels)
        for space, found in zip(both, searched.get(subject.real, ()), strict=False):
            space.take(found)
        spaces = (evidence.encoder.generated, evidence.encoder.train, evidence.encoder.held_out)
        sizes[:3, row] = [0 if items is None else items.shape[0] for items in spaces]
        sizes[3, row] = evidence.compared
        for column, metric in enumerate(metrics):
            for who, against in metric.comparisons:
                place = (row, column, comparisons.index(f"{who}|{against}"))
                if evidence.encoder.held_out is None and "held_out" in (who, against):
                    score = Score(np.nan)  # nobody asked for the control
                else:
                    # Real items against real ones are the same for runs of the same items, as far
                    # as as many of them are compared.
                    of_run = "generated" in (who, against) or metric.own_control
                    real = (*subject.real, evidence.compared)
                    key = (metric.name, who, against, subject.run.path if of_run else real)
                    if key not in known:
                        known[key] = metric.compute(evidence, who, against, options)
                    score = known[key]
                for name in scores:
                    scores[name][place] = getattr(score, name)
                if score.reason:
                    own = reasons.setdefault(subject.run.path, {})
                    own[f"{metric.name}|{who}|{against}"] = score.reason
        searched[subject.real] = [space.of_real_items() for space in both]
        for name, values in (per_seed(evidence, subject) if per_seed else {}).items():
            missing = np.nan if values.dtype.kind == "f" else -1
            shape_of_all = (len(subjects), len(seeds))
            kept.setdefault(name, np.full(shape_of_all, missing, dtype=values.dtype))
            kept[name][row, np.searchsorted(seeds, subject.written.seeds)] = values
    result = xr.Dataset(
        {name: (("run", "metric", "comparison"), values) for name, values in scores.items()}
        | {name: ("run", values) for name, values in zip(SIZES, sizes, strict=True)}
        | {name: (("run", "seed"), values) for name, values in kept.items()},
        coords={
            "run": [subject.run.path for subject in subjects],
            "metric": [metric.name for metric in metrics],
            "comparison": comparisons,
            "seed": seeds,
        },
    )
    result.attrs.update(
        encoder=options.encoder,
        encoder_identity=context.encoder(options.encoder).identity,
        confidence=options.confidence,
        metrics={metric.name: metric.described() for metric in metrics},
        datasets=[subject.dataset.name for subject in subjects],
        index=[subject.index for subject in subjects],
        held_out=[subject.held_out for subject in subjects],
        reasons=reasons,
        drift=drifted_runs(context.store, [subject.run for subject in subjects]),
    )
    return result


def metric_rows(result: xr.Dataset) -> list[dict[str, Any]]:
    """Return one row per metric and run, as the table and ``--json`` show them.

    Parameters
    ----------
    result : xarray.Dataset
        Of `metric_scores`.

    Returns
    -------
    list of dict
        By comparison, such as `generated_train` and `held_out_train`, the value and its bounds
        `…_low`, `…_high`; plain numbers and texts, metric by metric. `no_more_than_real` says
        whether the samples show no more than real items that no model saw.
    """
    described = result.attrs["metrics"]
    rows = []
    for metric in result["metric"].values.tolist():
        for place, path in enumerate(result["run"].values.tolist()):
            at = result.isel(run=place).sel(metric=metric)
            own = result.attrs["reasons"].get(path, {})
            row: dict[str, Any] = {
                "metric": metric,
                "run": path,
                "title": described[metric]["title"],
                "higher": described[metric]["higher"],
                "interval": described[metric]["interval"],
                "encoder": str(result.attrs["encoder"]),
                **{name: int(at[name]) for name in SIZES},
            }
            notes = []
            for comparison in result["comparison"].values.tolist():
                name = comparison.replace("|", "_")
                for suffix, part in (("", "value"), ("_low", "low"), ("_high", "high")):
                    row[name + suffix] = float(at[part].sel(comparison=comparison))
                if reason := own.get(f"{metric}|{comparison}"):
                    notes.append(reason)
            said = "; ".join(note.rstrip(".") for note in dict.fromkeys(notes))
            row["reason"] = said and f"{row['title']}: {said}."
            row["no_more_than_real"] = _no_more_than_real(row)
            row["drift"] = path in result.attrs["drift"]
            rows.append(row)
    return rows


def _no_more_than_real(row: dict[str, Any]) -> bool | None:
    """Say whether samples show no more copying than unseen real items do, as far as can be told.

    The difference of two scores has an interval whose ends follow from those of the two: the
    distances to the ends are squared and added.

    Returns
    -------
    bool or None
        Whether the interval of the difference includes 0 or less; None for metrics of something
        else, and where there is no control or nothing has an interval.

    References
    ----------
    Newcombe 1998, "Interval estimation for the difference between independent proportions", method
    10; Zou & Donner 2008, "Construction of confidence limits about effect measures" (MOVER).
    """
    sign = {"more copying": 1, "less copying": -1}.get(row["higher"], 0)
    bounds = [
        [row.get(name + end, np.nan) for end in ("", "_low", "_high")]
        for name in ("generated_train", "held_out_train")
    ]
    (made, *made_ends), (real, *real_ends) = bounds
    if sign == 0 or np.isnan(made) or np.isnan(real) or np.isnan([*made_ends, *real_ends]).all():
        return None
    toward = made_ends[0 if sign > 0 else 1], real_ends[1 if sign > 0 else 0]
    reach = np.nan_to_num([toward[0] - made, toward[1] - real])
    return bool(sign * (made - real) - np.hypot(*reach) <= 0)
