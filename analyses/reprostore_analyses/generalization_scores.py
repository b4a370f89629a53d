"""GL scores of runs, computed from the neighbors of their samples."""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from reprostore.neighbors import SearchOptions, item_neighbors, run_neighbors
from reprostore_analyses.context import Context
from reprostore_analyses.generalization_options import GeneralizationOptions
from reprostore_analyses.kernels import generalization_score, memorized_fraction, threshold_curve
from reprostore_analyses.results import drifted_runs, thresholds
from reprostore_analyses.statistics import calibrated_fraction, wilson_interval
from reprostore_analyses.subjects import Subject


def generalization_scores(
    context: Context,
    options: GeneralizationOptions,
    subjects: list[Subject],
    skipped: list[str],
) -> xr.Dataset:
    """Compute what `reprostore_analyses.generalization.generalization` returns.

    Parameters
    ----------
    context, options
        As there.
    subjects : list of Subject
        The runs whose training items are known.
    skipped : list of str
        The others.
    """
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
