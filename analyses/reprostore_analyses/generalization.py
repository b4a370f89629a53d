"""Whether models copy what they were trained on, beside real items that no model saw."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from reprostore.errors import MissingDataError, SpecError
from reprostore.ingest import StoredDataset
from reprostore.neighbors import SearchOptions, Written, item_neighbors, run_neighbors
from reprostore.specs import Name, Spec
from reprostore.store import Run
from reprostore_analyses.context import Context
from reprostore_analyses.kernels import (
    check_cosine_threshold,
    generalization_score,
    memorized_fraction,
    threshold_curve,
)
from reprostore_analyses.results import cached_result, drifted_runs, run_inputs, thresholds
from reprostore_analyses.statistics import calibrated_fraction, wilson_interval

VERSION = 2
"""Raised when a change to this code changes results: stored ones are then made again."""


class GeneralizationOptions(Spec):
    """Options of the analysis `generalization`.

    Attributes
    ----------
    encoder : str
        In whose space samples are compared.
    threshold : float
        θ of the GL score, a cosine; the paper takes 0.6 with SSCD.
    models, samplers : tuple of str, optional
        Names of the runs; all of the study when left out.
    control : bool
        Compare with held-out items, which the study must then name.
    q : float
        Share of real items that the calibrated threshold lets through as copies.
    resamples : int
        Of the bootstrap at the calibrated threshold.
    confidence : float
        Of all intervals.
    rng_seed : int
        Seed of the resampling.
    """

    encoder: Name = "pixel"
    threshold: float = 0.6
    models: tuple[Name, ...] | None = None
    samplers: tuple[Name, ...] | None = None
    control: bool = True
    q: Annotated[float, Field(gt=0, lt=1)] = 0.01
    resamples: Annotated[int, Field(gt=0)] = 1000
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    rng_seed: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True)
class _Subject:
    """A run with the items that its model saw, and those it did not see."""

    run: Run
    written: Written
    dataset: StoredDataset
    index: str
    held_out: str | None


def generalization(context: Context, options: GeneralizationOptions) -> xr.Dataset:
    """Compute the GL score of every run against its own model's training items.

    GL = 1 − P(max_i M(x, y_i) > θ) over seeds, y_i the items that this model was trained on; the
    memorized fraction is 1 − GL. Both fall and rise with the number of items by themselves, so
    beside them stands the same fraction of real held-out items against the same training items,
    and the fraction above the calibrated threshold: the (1 − q) quantile of that similarity of
    held-out items.

    Parameters
    ----------
    context : Context
        The store, and what the study says.
    options : GeneralizationOptions
        Encoder, threshold, runs.

    Returns
    -------
    xarray.Dataset
        Over run: `gl`, `memorized`, `held_out_memorized`, `calibrated_threshold` and
        `calibrated_memorized`, each with `_low` and `_high`; `train_size`, `held_out_size`. Per
        seed: `similarity` and `train_index` of the nearest training item, `similarity_2` of the
        second. Over thresholds: `curve` and `held_out_curve`, fractions above each.

    Raises
    ------
    MissingDataError
        No run says what its model was trained on.
    SpecError
        A threshold is out of range, or held-out items are not named.
    DatasetError
        An index is out of range, a held-out item is a training item, or shapes differ.

    References
    ----------
    Zhang et al. 2024, arXiv 2310.05264, GL score (θ = 0.6 in SSCD's space).
    """
    check_cosine_threshold(options.threshold)
    encoder = context.encoder(options.encoder)
    if encoder.metric != "cosine":
        raise SpecError(
            f"The encoder {options.encoder!r} compares vectors by {encoder.metric}.",
            "The GL score is defined by a cosine.",
            "Choose an encoder with the metric cosine.",
        )
    runs = context.runs(options.models, options.samplers)
    subjects = [s for run in runs if (s := _subject(context, run, control=options.control))]
    if not subjects:
        raise MissingDataError(
            f"None of the runs {', '.join(run.path for run in runs)} says what its model was "
            "trained on.",
            "The GL score compares samples with the training items of their model.",
            'Write trained_on = { dataset = "…", index = "…" } under [models.…] in the study.',
        )
    question = {
        "analysis": "generalization",
        "version": VERSION,
        # However they were chosen, the runs are those below.
        "options": options.model_dump(mode="json", exclude={"models", "samplers"}),
        "runs": [subject.run.path for subject in subjects],
    }
    skipped = sorted({run.path for run in runs} - {subject.run.path for subject in subjects})
    inputs = {
        "encoder": encoder.fingerprint,
        "skipped": skipped,
        "runs": {
            s.run.path: {
                **run_inputs(s.run, s.written),
                "dataset": s.dataset.fingerprint,
                "index": s.index,
                "held_out": s.held_out,
            }
            for s in subjects
        },
    }
    return cached_result(
        context.store,
        "generalization",
        question,
        inputs,
        lambda: _compute(context, options, subjects, skipped),
    )


def generalization_rows(result: xr.Dataset, options: GeneralizationOptions) -> list[dict[str, Any]]:
    """Return one row per run, as the table and ``--json`` show them.

    Parameters
    ----------
    result : xarray.Dataset
        Of `generalization`.
    options : GeneralizationOptions
        What was asked.

    Returns
    -------
    list of dict
        Plain numbers and texts, in the order of the runs.
    """
    columns = [
        str(name)
        for name, variable in result.data_vars.items()
        if variable.dims == ("run",) and name not in ("seeds", "train_size", "held_out_size")
    ]
    return [
        {
            "run": str(path),
            "encoder": options.encoder,
            "threshold": options.threshold,
            "seeds": int(result["seeds"][place]),
            "train_size": int(result["train_size"][place]),
            "held_out_size": int(result["held_out_size"][place]),
            **{name: float(result[name][place]) for name in sorted(columns)},
            "reason": str(result.attrs["reasons"].get(str(path), "")),
            "drift": str(path) in result.attrs["drift"],
        }
        for place, path in enumerate(result["run"].values)
    ]


def _subject(context: Context, run: Run, *, control: bool) -> _Subject | None:
    trained_on = context.model_spec(run).trained_on
    if trained_on is None:
        return None
    held_out = context.held_out(run, trained_on) if control else None
    if control and held_out is None:
        raise SpecError(
            f"The model {run.spec.model} has no held-out items.",
            "A copy rate means little without that of real items which no model saw.",
            f'Write held_out = "…" under [datasets.{trained_on.dataset}] or '
            f"[models.{run.spec.model}], or set control = false under [analyses.generalization].",
        )
    dataset = context.dataset(trained_on.dataset)
    return _Subject(run, Written.of(run), dataset, trained_on.index, held_out)


def _compute(
    context: Context,
    options: GeneralizationOptions,
    subjects: list[_Subject],
    skipped: list[str],
) -> xr.Dataset:
    encoder, grid = context.encoder(options.encoder), thresholds()
    search = SearchOptions(k=2, engine=context.engine, progress=context.progress)
    seeds = np.unique(np.concatenate([subject.written.seeds for subject in subjects]))
    count = len(subjects)
    per_seed = {
        "similarity": np.full((count, len(seeds)), np.nan),
        "similarity_2": np.full((count, len(seeds)), np.nan),
        "train_index": np.full((count, len(seeds)), -1, dtype=np.int64),
    }
    columns: dict[str, list[float]] = {}
    curves = np.full((2, count, len(grid)), np.nan)
    reasons: dict[str, str] = {}
    for row, subject in enumerate(subjects):
        rng = np.random.default_rng(options.rng_seed)  # whatever other runs are in the result
        found = run_neighbors(
            context.store,
            encoder,
            subject.run,
            subject.dataset,
            subject.index,
            search,
            subject.written,
        )
        at = np.searchsorted(seeds, found["seed"].values)
        nearest = found["similarity"].values
        per_seed["similarity"][row, at] = nearest[:, 0]
        per_seed["train_index"][row, at] = found["train_index"].values[:, 0]
        if nearest.shape[1] > 1:
            per_seed["similarity_2"][row, at] = nearest[:, 1]
        curves[0, row] = threshold_curve(nearest[:, 0], grid)
        real: NDArray[np.float64] | None = None
        if subject.held_out is not None:
            real = item_neighbors(
                context.store, encoder, subject.dataset, subject.held_out, subject.index, search
            )["similarity"].values[:, 0]
            curves[1, row] = threshold_curve(real, grid)
        values, reason = _scores(options, nearest[:, 0], real, rng)
        values["train_size"] = float(len(subject.dataset.index(subject.index)))
        if reason:
            reasons[subject.run.path] = reason
        for name, value in values.items():
            columns.setdefault(name, []).append(value)
    integers = ("seeds", "train_size", "held_out_size")
    result = xr.Dataset(
        {
            name: ("run", np.asarray(column, dtype=np.int64 if name in integers else np.float64))
            for name, column in columns.items()
        }
        | {name: (("run", "seed"), values) for name, values in per_seed.items()}
        | {
            "curve": (("run", "threshold"), curves[0]),
            "held_out_curve": (("run", "threshold"), curves[1]),
        },
        coords={"run": [s.run.path for s in subjects], "seed": seeds, "threshold": grid},
    )
    result.attrs.update(
        encoder=options.encoder,
        encoder_identity=encoder.identity,
        threshold=options.threshold,
        confidence=options.confidence,
        q=options.q,
        datasets=[subject.dataset.name for subject in subjects],
        index=[subject.index for subject in subjects],
        held_out=[subject.held_out for subject in subjects],
        skipped=skipped,
        reasons=reasons,
        drift=drifted_runs(context.store, [subject.run for subject in subjects]),
    )
    return result


def _scores(
    options: GeneralizationOptions,
    generated: NDArray[np.float64],
    real: NDArray[np.float64] | None,
    rng: np.random.Generator,
) -> tuple[dict[str, float], str]:
    """Return the columns of one run, and why some of them are NaN."""
    nan = float("nan")
    low, high = _wilson(generated, options)
    values = {
        "seeds": float(len(generated)),
        "gl": float(generalization_score(generated, options.threshold)),
        "gl_low": 1 - high,
        "gl_high": 1 - low,
        "memorized": float(memorized_fraction(generated, options.threshold)),
        "memorized_low": low,
        "memorized_high": high,
        "held_out_size": 0.0 if real is None else float(len(real)),
    }
    names = ("held_out_memorized", "calibrated_threshold", "calibrated_memorized")
    values |= {f"{name}{suffix}": nan for name in names for suffix in ("", "_low", "_high")}
    if real is None:
        return values, "There are no held-out items (control = false)."
    low, high = _wilson(real, options)
    calibrated = calibrated_fraction(
        generated=generated,
        held_out=real,
        rng=rng,
        q=options.q,
        resamples=options.resamples,
        confidence=options.confidence,
    )
    estimates: dict[str, tuple[Any, Any, Any]] = {
        "held_out_memorized": (memorized_fraction(real, options.threshold), low, high),
        "calibrated_threshold": calibrated.threshold[:3],
        "calibrated_memorized": calibrated.fraction[:3],
    }
    for name, estimate in estimates.items():
        for suffix, value in zip(("", "_low", "_high"), estimate, strict=True):
            values[name + suffix] = float(value)
    return values, calibrated.fraction.reason


def _wilson(similarity: NDArray[np.float64], options: GeneralizationOptions) -> tuple[float, float]:
    hits = int((similarity > options.threshold).sum())
    low, high = wilson_interval(hits, len(similarity), options.confidence)
    return float(low), float(high)
