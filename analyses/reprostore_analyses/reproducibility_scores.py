"""RP and MAE scores of all pairs of runs, computed from what is stored of them."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from reprostore.errors import MissingDataError, SpecError
from reprostore.neighbors import Written
from reprostore.store import Run
from reprostore_analyses.context import Context
from reprostore_analyses.kernels import (
    ChanceLevel,
    corrected_score,
    cosine_chance_levels,
    fine_thresholds,
    in_shared_classes,
    mae_chance_level,
    mean_absolute_error,
    rowwise_cosine,
    threshold_curve,
    within_classes,
)
from reprostore_analyses.kernels.seriation import spectral_order
from reprostore_analyses.pairing import check_pairing
from reprostore_analyses.relations import RELATIONS, is_ceiling
from reprostore_analyses.reproducibility_chance import beyond_chance
from reprostore_analyses.reproducibility_options import ReproducibilityOptions
from reprostore_analyses.results import drifted_runs, thresholds
from reprostore_analyses.statistics import simultaneous_intervals, wilson_interval
from reprostore_analyses.vectors import Collection

SHIFTS = 20

Matrix = NDArray[Any]


def reproducibility_scores(
    context: Context,
    options: ReproducibilityOptions,
    runs: list[Run],
    written: list[Written],
    pairs: list[tuple[int, int]],
    relations: list[str],
    classes: Mapping[int, int] | None = None,
) -> xr.Dataset:
    """Compute what `reprostore_analyses.reproducibility.reproducibility` returns.

    Parameters
    ----------
    context, options, classes
        As there.
    runs : list of Run
        At least two.
    written : list of Written
        What each run held when its samples were looked at.
    pairs : list of tuple of int
        Positions of the runs that are compared.
    relations : list of str
        How the models of each pair are related.
    """
    seeds, slots = common_seeds(runs, written)
    grid, count = thresholds(), len(runs)
    check = functools.partial(check_pairing, allow_unchecked=options.allow_unchecked, probes={})
    checks = [check(runs[i], runs[j], slots[i], slots[j]) for i, j in pairs]
    labels = None if classes is None else np.asarray([classes[seed] for seed in seeds.tolist()])
    similarity = _vector_similarity(context, options, runs, slots, pairs, grid, labels)
    images = _image_agreement(options, runs, slots, pairs, labels)
    rng = np.random.default_rng(options.rng_seed)
    matrix = _Matrix(pairs, count)
    variables: dict[str, Any] = {}
    for score, values, hits in (
        ("rp", similarity["values"], similarity["values"] > options.threshold),
        ("mae_score", images["values"], images["values"] < options.mae_threshold),
    ):
        defined = ~np.isnan(values).any(axis=1)
        low, high = wilson_interval(hits.sum(axis=1), len(seeds), options.confidence)
        part = {"": hits.mean(axis=1), "_low": low, "_high": high}
        part |= {"_all_low": np.full(len(pairs), np.nan), "_all_high": np.full(len(pairs), np.nan)}
        if defined.any():
            joint = simultaneous_intervals(hits[defined], rng=rng, confidence=options.confidence)
            part["_all_low"][defined], part["_all_high"][defined] = joint.low, joint.high
        for suffix, column in part.items():
            variables[score + suffix] = matrix(np.where(defined, column, np.nan))
    variables["chance"] = matrix(similarity["chance"])
    variables["corrected"] = matrix(corrected_score(similarity["rp"], similarity["chance"]))
    mismatched = len(seeds) if labels is None else int(in_shared_classes(labels).sum())
    beyond = beyond_chance(
        similarity["values"], similarity["by_shift"], grid, options, mismatched=mismatched
    )
    variables |= {name: matrix(column) for name, column in beyond.items()}
    variables["mae_chance"] = matrix(images["chance"])
    variables["mae_corrected"] = matrix(corrected_score(images["score"], images["chance"]))
    variables["pairs"] = matrix(np.full(len(pairs), len(seeds)), fill=0)
    variables["checked"] = matrix(np.asarray([check.checked for check in checks]), fill=0)
    variables["relation"] = matrix(np.asarray([RELATIONS.index(r) for r in relations]), fill=-1)
    result = xr.Dataset(
        {name: (("run_a", "run_b"), values) for name, values in variables.items()}
        | {
            "similarity": (("run_a", "run_b", "seed"), matrix(similarity["values"])),
            "mae": (("run_a", "run_b", "seed"), matrix(images["values"])),
            "curve": (("run_a", "run_b", "threshold"), matrix(similarity["curve"])),
            "chance_curve": (("run_a", "run_b", "threshold"), matrix(similarity["chance_curve"])),
            "order": ("run_a", spectral_order(variables["rp"])),
        },
        coords={
            "run_a": [run.path for run in runs],
            "run_b": [run.path for run in runs],
            "seed": seeds,
            "threshold": grid,
        },
    )
    result.attrs.update(
        encoder=options.encoder,
        encoder_identity=context.encoder(options.encoder).identity,
        threshold=options.threshold,
        mae_threshold=options.mae_threshold,
        confidence=options.confidence,
        q=options.q,
        relations=list(RELATIONS),
        shifts=SHIFTS,
        drift=drifted_runs(context.store, runs),
        unchecked={f"{runs[i].path} | {runs[j].path}": check.reason
                   for (i, j), check in zip(pairs, checks, strict=True) if not check.checked},
        ceiling={f"{runs[i].path} | {runs[j].path}": float(variables["rp"][i, j])
                 for (i, j), related in zip(pairs, relations, strict=True)
                 if is_ceiling(related, runs[i], runs[j])} or None,
    )  # fmt: skip
    return result


def common_seeds(
    runs: list[Run], written: list[Written]
) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """Return the seeds in all runs, sorted, and their slots in each."""
    seeds = functools.reduce(np.intersect1d, [np.sort(own.seeds) for own in written])
    if len(seeds) == 0:
        raise MissingDataError(
            f"The runs {', '.join(run.path for run in runs)} have no written seed in common.",
            "Samples are compared at equal seeds.",
            "Generate the same seeds for all of them.",
        )
    orders = [np.argsort(own.seeds) for own in written]
    slots = [
        own.slots[order][np.searchsorted(own.seeds[order], seeds)]
        for own, order in zip(written, orders, strict=True)
    ]
    return seeds, slots


class _Matrix:
    """Puts values of pairs (pair, …) into a symmetric matrix (run, run, …)."""

    def __init__(self, pairs: list[tuple[int, int]], runs: int) -> None:
        self._rows, self._columns = np.asarray(pairs, dtype=np.int64).reshape(-1, 2).T
        self._runs = runs

    def __call__(self, values: NDArray[Any], fill: float = np.nan) -> Matrix:
        kind = "int64" if isinstance(fill, int) else "float64"
        matrix = np.full((self._runs, self._runs, *values.shape[1:]), fill, dtype=kind)
        matrix[self._rows, self._columns] = values
        matrix[self._columns, self._rows] = values
        return matrix


def _vector_similarity(
    context: Context,
    options: ReproducibilityOptions,
    runs: list[Run],
    slots: list[NDArray[np.int64]],
    pairs: list[tuple[int, int]],
    grid: NDArray[np.float64],
    labels: NDArray[np.int64] | None,
) -> dict[str, NDArray[np.float64]]:
    encoder = context.encoder(options.encoder)
    fine = fine_thresholds(grid)
    levels = np.concatenate([fine, [options.threshold]])
    cosines = functools.partial(cosine_chance_levels, thresholds=levels, shifts=SHIFTS)
    values = np.empty((len(pairs), len(slots[0])))
    chance = np.empty((len(pairs), len(levels)))
    by_shift: list[NDArray[np.float64]] = [np.empty(0)] * len(pairs)
    with Collection(len(slots[0]), len(runs)) as collection:

        def vectors(run: int) -> NDArray[np.float32]:
            progress = context.progress
            return collection.vectors(context.store, encoder, runs[run], slots[run], progress)

        for second in dict.fromkeys(j for _, j in pairs):
            rows = [row for row, (_, j) in enumerate(pairs) if j == second]
            b = vectors(second)
            others = [vectors(pairs[row][0]) for row in rows]
            for row, a in zip(rows, others, strict=True):
                if a.shape != b.shape:
                    raise SpecError(
                        f"The encoder {options.encoder!r} gives vectors of {a.shape[1]} numbers "
                        f"for {runs[pairs[row][0]].path} and of {b.shape[1]} for "
                        f"{runs[second].path}.",
                        "Similarity compares vectors of one length.",
                        "Choose an encoder whose vectors do not depend on the size of the samples, "
                        "or leave one of the runs out (models = [...]).",
                    )
                values[row] = rowwise_cosine(a, b)
            found = within_classes(labels, cosines, others, b)
            for row, each in zip(rows, found, strict=True):
                chance[row], by_shift[row] = each.level, each.by_shift[:, :-1]
    return {
        "values": values,
        "rp": threshold_curve(values, options.threshold),
        "chance": chance[:, -1],
        "curve": threshold_curve(values, grid),
        "chance_curve": chance[:, np.searchsorted(fine, grid)],
        "by_shift": np.asarray(by_shift),
    }


def _image_agreement(
    options: ReproducibilityOptions,
    runs: list[Run],
    slots: list[NDArray[np.int64]],
    pairs: list[tuple[int, int]],
    labels: NDArray[np.int64] | None,
) -> dict[str, NDArray[np.float64]]:
    """Return MAE per seed and its chance level; NaN where there are no images of one shape."""
    values = np.full((len(pairs), len(slots[0])), np.nan)
    chance = np.full(len(pairs), np.nan)

    def errors(others: Sequence[Matrix], b: Matrix) -> list[ChanceLevel]:
        return [mae_chance_level(a, b, options.mae_threshold, shifts=SHIFTS) for a in others]

    with Collection(len(slots[0]), len(runs)) as collection:
        for row, (i, j) in enumerate(pairs):
            kinds = {(runs[k].spec.kind, runs[k].spec.sample_shape) for k in (i, j)}
            if len(kinds) > 1 or runs[i].spec.kind != "image":
                continue
            if runs[i].withheld or runs[j].withheld:
                continue
            a, b = (collection.images(runs[k], slots[k]) for k in (i, j))
            values[row] = mean_absolute_error(a, b)
            (found,) = within_classes(labels, errors, [a], b)
            chance[row] = found.level
    score = np.where(
        np.isnan(values).any(axis=1), np.nan, (values < options.mae_threshold).mean(axis=1)
    )
    return {"values": values, "score": score, "chance": chance}
