"""Whether different models draw the same picture from the same noise: RP and MAE scores."""

import functools
import itertools
from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from reprostore.errors import MissingDataError, SpecError
from reprostore.neighbors import Written
from reprostore.specs import Name, Spec
from reprostore.store import Run
from reprostore_analyses.context import Context
from reprostore_analyses.kernels import (
    chance_level,
    check_cosine_threshold,
    check_mae_threshold,
    corrected_score,
    mean_absolute_error,
    rowwise_cosine,
    threshold_curve,
)
from reprostore_analyses.pairing import check_pairing
from reprostore_analyses.relations import RELATIONS, is_ceiling, relation
from reprostore_analyses.results import cached_result, drifted_runs, run_inputs, thresholds
from reprostore_analyses.statistics import simultaneous_intervals, wilson_interval
from reprostore_analyses.vectors import Collection

VERSION = 2
"""Raised when a change to this code changes results: stored ones are then made again."""

SHIFTS = 20


class ReproducibilityOptions(Spec):
    """Options of the analysis `reproducibility`.

    Attributes
    ----------
    encoder : str
        In whose space samples are compared.
    threshold : float
        θ of the RP score, a cosine; the paper takes 0.6 with SSCD.
    mae_threshold : float
        Of the MAE score, on the 0–255 scale; the paper takes 15.
    models, samplers : tuple of str, optional
        Names of the runs; all of the study when left out.
    compare : tuple of pairs, optional
        The pairs of models that the table shows; the matrix is always that of all runs.
    allow_unchecked : bool
        Accept pairs whose noise cannot be compared; the result marks them.
    confidence : float
        Of all intervals.
    rng_seed : int
        Seed of the resampling.
    """

    encoder: Name = "pixel"
    threshold: float = 0.6
    mae_threshold: float = 15.0
    models: tuple[Name, ...] | None = None
    samplers: tuple[Name, ...] | None = None
    compare: tuple[tuple[Name, Name], ...] | None = None
    allow_unchecked: bool = False
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    rng_seed: Annotated[int, Field(ge=0)] = 0


def reproducibility(context: Context, options: ReproducibilityOptions) -> xr.Dataset:
    """Compute RP and MAE scores of all pairs of runs.

    RP = P(M(x_1, x_2) > θ) over seeds, x_1 and x_2 from the same noise, M the cosine in an
    encoder's space; MAE score = P(mean |x_1 − x_2| < 15) on the 0–255 scale.

    Parameters
    ----------
    context : Context
        The store, and what the study says.
    options : ReproducibilityOptions
        Encoder, thresholds, runs.

    Returns
    -------
    xarray.Dataset
        Over (run_a, run_b): `rp` with `rp_low`, `rp_high` (Wilson) and `rp_all_low`,
        `rp_all_high` (holding for all pairs at once), `chance` and `corrected`; the
        same of `mae_score`, with `mae_chance` and `mae_corrected`; `relation` (position in
        attrs.relations) and `checked`; per seed `similarity` and `mae`; over thresholds `curve`
        and `chance_curve`. NaN on the diagonal and between conditions, where `relation` is -1.
        `order` sorts the runs so that similar ones are neighbors. attrs.ceiling holds the RP of
        the pairs that are one model, or one recipe trained twice, or is None without such pairs.

    Raises
    ------
    MissingDataError
        There are fewer than two runs, no two of one condition, or no common seed.
    PairingError
        Runs begin from different noise, or this cannot be checked.
    SpecError
        A threshold is out of range, or the encoder has no cosine.

    References
    ----------
    Zhang et al. 2024, arXiv 2310.05264, RP score (θ = 0.6 in SSCD's space) and MAE score (15).
    """
    check_cosine_threshold(options.threshold)
    check_mae_threshold(options.mae_threshold)
    encoder = context.encoder(options.encoder)
    if encoder.metric != "cosine":
        raise SpecError(
            f"The encoder {options.encoder!r} compares vectors by {encoder.metric}.",
            "The RP score is defined by a cosine.",
            "Choose an encoder with the metric cosine.",
        )
    runs = context.runs(options.models, options.samplers)
    if len(runs) < 2:
        raise MissingDataError(
            f"There is one run with samples, {runs[0].path}.",
            "Reproducibility compares at least two runs.",
            "Generate the samples of another model or sampler.",
        )
    question = {
        "analysis": "reproducibility",
        "version": VERSION,
        # However they were chosen, the runs are those below.
        "options": options.model_dump(mode="json", exclude={"compare", "models", "samplers"}),
        "runs": [run.path for run in runs],
    }
    pairs = [
        (i, j)
        for i, j in itertools.combinations(range(len(runs)), 2)
        if runs[i].spec.condition == runs[j].spec.condition
    ]
    if not pairs:
        raise MissingDataError(
            f"The runs {', '.join(run.path for run in runs)} have a condition each of their own.",
            "Samples are compared under one condition.",
            "Generate the samples of another model under one of these conditions.",
        )
    relations = [relation(context, runs[i], runs[j]) for i, j in pairs]
    written = [Written.of(run) for run in runs]
    inputs = {
        "encoder": encoder.fingerprint,
        "runs": {run.path: run_inputs(run, own) for run, own in zip(runs, written, strict=True)},
        "relations": relations,
    }
    return cached_result(
        context.store,
        "reproducibility",
        question,
        inputs,
        lambda: _compute(context, options, runs, written, pairs, relations),
    )


def reproducibility_rows(
    result: xr.Dataset, options: ReproducibilityOptions
) -> list[dict[str, Any]]:
    """Return one row per pair of runs, as the table and ``--json`` show them.

    Parameters
    ----------
    result : xarray.Dataset
        Of `reproducibility`.
    options : ReproducibilityOptions
        `compare` restricts the pairs.

    Returns
    -------
    list of dict
        Plain numbers and texts, sorted by falling RP. `ceiling` is the lowest RP among the pairs
        of attrs.ceiling that share a run with this one; NaN where there are none.
    """
    paths = [str(path) for path in result["run_a"].values]
    wanted = None if options.compare is None else {frozenset(pair) for pair in options.compare}
    rows = []
    for i, j in itertools.combinations(range(len(paths)), 2):
        models = frozenset(paths[k].split("/")[0] for k in (i, j))
        at = result.isel(run_a=i, run_b=j)
        if int(at["relation"]) < 0 or (wanted is not None and models not in wanted):
            continue
        columns = ("rp", "rp_low", "rp_high", "rp_all_low", "rp_all_high", "chance", "corrected",
                   "mae_score", "mae_score_low", "mae_score_high", "mae_chance",
                   "mae_corrected")  # fmt: skip
        rows.append(
            {
                "run_a": paths[i],
                "run_b": paths[j],
                "encoder": str(result.attrs["encoder"]),
                "threshold": float(result.attrs["threshold"]),
                "seeds": int(at["pairs"]),
                **{name: float(at[name]) for name in columns},
                "ceiling": _ceiling_of(result, paths[i], paths[j]),
                "relation": RELATIONS[int(at["relation"])],
                "checked": bool(at["checked"]),
                "drift": any(paths[k] in result.attrs["drift"] for k in (i, j)),
            }
        )
    return sorted(rows, key=lambda row: -row["rp"])


def _ceiling_of(result: xr.Dataset, *pair: str) -> float:
    scores = [
        float(score)
        for text, score in (result.attrs["ceiling"] or {}).items()
        if (other := set(text.split(" | "))) != set(pair) and other & set(pair)
    ]
    return min(scores, default=float("nan"))


Matrix = NDArray[Any]


def _compute(
    context: Context,
    options: ReproducibilityOptions,
    runs: list[Run],
    written: list[Written],
    pairs: list[tuple[int, int]],
    relations: list[str],
) -> xr.Dataset:
    seeds, slots = _common_seeds(runs, written)
    grid, count = thresholds(), len(runs)
    checks = [
        check_pairing(
            runs[i], runs[j], slots[i], slots[j], allow_unchecked=options.allow_unchecked
        )
        for i, j in pairs
    ]  # fmt: skip
    similarity = _vector_similarity(context, options, runs, slots, pairs, grid)
    images = _image_agreement(options, runs, slots, pairs)
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


def _common_seeds(
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
) -> dict[str, NDArray[np.float64]]:
    encoder = context.encoder(options.encoder)
    levels = np.concatenate([grid, [options.threshold]])
    found: dict[str, list[NDArray[np.float64]]] = {"values": [], "chance": []}
    with Collection(len(slots[0]), len(runs)) as collection:
        for pair in pairs:
            a, b = (
                collection.vectors(context.store, encoder, runs[i], slots[i], context.progress)
                for i in pair
            )
            if a.shape != b.shape:
                raise SpecError(
                    f"The encoder {options.encoder!r} gives vectors of {a.shape[1]} numbers for "
                    f"{runs[pair[0]].path} and of {b.shape[1]} for {runs[pair[1]].path}.",
                    "Similarity compares vectors of one length.",
                    "Choose an encoder whose vectors do not depend on the size of the samples, or "
                    "leave one of the runs out (models = [...]).",
                )
            found["values"].append(rowwise_cosine(a, b))
            found["chance"].append(chance_level(a, b, levels, shifts=SHIFTS).level)
    values, chance = np.asarray(found["values"]), np.asarray(found["chance"])
    return {
        "values": values,
        "rp": threshold_curve(values, options.threshold),
        "chance": chance[:, -1],
        "curve": threshold_curve(values, grid),
        "chance_curve": chance[:, :-1],
    }


def _image_agreement(
    options: ReproducibilityOptions,
    runs: list[Run],
    slots: list[NDArray[np.int64]],
    pairs: list[tuple[int, int]],
) -> dict[str, NDArray[np.float64]]:
    """Return MAE per seed and its chance level; NaN where samples are not images of one shape."""
    values = np.full((len(pairs), len(slots[0])), np.nan)
    chance = np.full(len(pairs), np.nan)
    with Collection(len(slots[0]), len(runs)) as collection:
        for row, (i, j) in enumerate(pairs):
            kinds = {(runs[k].spec.kind, runs[k].spec.sample_shape) for k in (i, j)}
            if len(kinds) > 1 or runs[i].spec.kind != "image":
                continue
            a, b = (collection.images(runs[k], slots[k]) for k in (i, j))
            values[row] = mean_absolute_error(a, b)
            level = chance_level(
                a, b, options.mae_threshold, measure=mean_absolute_error, side="below",
                shifts=SHIFTS,
            ).level  # fmt: skip
            chance[row] = float(level)
    score = np.where(
        np.isnan(values).any(axis=1), np.nan, (values < options.mae_threshold).mean(axis=1)
    )
    return {"values": values, "score": score, "chance": chance}


def spectral_order(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Order runs so that those with high scores stand side by side.

    Parameters
    ----------
    scores : ndarray
        (run, run) symmetric, in [0, 1]; NaN counts as 0.

    Returns
    -------
    ndarray
        (run,) int64, positions of the runs in order: that of the Fiedler vector of the graph
        whose weights are the scores. The run that was first comes in the first half.

    References
    ----------
    Atkins, Boman & Hendrickson 1998, "A spectral algorithm for seriation".
    """
    weights = np.nan_to_num(scores, nan=0.0)
    np.fill_diagonal(weights, 0.0)
    laplacian = np.diag(weights.sum(axis=1)) - weights
    _, vectors = np.linalg.eigh(laplacian)
    fiedler = vectors[:, 1]
    fiedler = fiedler if fiedler[0] <= np.median(fiedler) else -fiedler
    return np.argsort(np.round(fiedler, 9), kind="stable").astype(np.int64)
