"""How far apart the pictures are that two models draw from the same noise."""

import itertools
import math
from typing import Annotated, Any

import xarray as xr
from pydantic import Field

from reprostore.errors import MissingDataError
from reprostore.neighbors import Written
from reprostore.specs import Name, Spec
from reprostore_analyses.context import Context
from reprostore_analyses.distance_scores import distance_scores
from reprostore_analyses.relations import RELATIONS, relation
from reprostore_analyses.results import cached_result, run_inputs

VERSION = 2
"""Raised when a change to this code changes results: stored ones are then made again."""


class DistancesOptions(Spec):
    """Options of the analysis `distances`.

    Attributes
    ----------
    encoder : str
        In whose space samples are compared, beside their pixels.
    models, samplers : tuple of str, optional
        Names of the runs; all of the study when left out.
    allow_unchecked : bool
        Accept pairs whose noise cannot be compared; the result marks them.
    chance_seeds : int
        Seeds from which chance levels are computed; all of them where there are no more.
    resamples : int
        Of the bootstrap over seeds.
    confidence : float
        Of all intervals.
    rng_seed : int
        Seed of the resampling.
    """

    encoder: Name = "pixel"
    models: tuple[Name, ...] | None = None
    samplers: tuple[Name, ...] | None = None
    allow_unchecked: bool = False
    chance_seeds: Annotated[int, Field(ge=2)] = 500
    resamples: Annotated[int, Field(gt=0)] = 1000
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    rng_seed: Annotated[int, Field(ge=0)] = 0


def distances(context: Context, options: DistancesOptions) -> xr.Dataset:
    """Compute means of per-seed similarities and distances of all pairs of runs.

    RP and MAE scores say how many pairs are alike; these say how much: the mean absolute error,
    SSIM and the probability flow distance of the pictures, and in an encoder's space the mean
    cosine and PFD, or the mean squared distance, which is LPIPS with an LPIPS encoder.

    Parameters
    ----------
    context : Context
        The store, and what the study says.
    options : DistancesOptions
        Encoder, runs.

    Returns
    -------
    xarray.Dataset
        `value`, `low` and `high` (bootstrap over seeds) and `chance` (mean over 20 cyclic shifts
        of the seeds) over (pair, metric); `per_seed` over (pair, metric, seed). NaN where a metric
        does not apply, for which attrs.reasons says why. attrs.metrics tells how each is read.

    Raises
    ------
    MissingDataError
        There are fewer than two runs of one condition, or no common seed.
    PairingError
        Runs begin from different noise, or this cannot be checked.

    References
    ----------
    Wang et al. 2004 (SSIM); Zhang et al. 2018, arXiv 1801.03924 (LPIPS); Zhang et al. 2025,
    arXiv 2505.20123 (PFD).
    """
    runs = context.runs(options.models, options.samplers)
    pairs = [
        (i, j)
        for i, j in itertools.combinations(range(len(runs)), 2)
        if runs[i].spec.condition == runs[j].spec.condition
    ]
    if not pairs:
        raise MissingDataError(
            f"There are no two runs of one condition among {', '.join(run.path for run in runs)}.",
            "Distances compare two runs at equal seeds under one condition.",
            "Generate the samples of another model or sampler.",
        )
    encoder = context.encoder(options.encoder)
    relations = [relation(context, runs[i], runs[j]) for i, j in pairs]
    written = [Written.of(run) for run in runs]
    question = {
        "analysis": "distances",
        "version": VERSION,
        "options": options.model_dump(mode="json", exclude={"models", "samplers"}),
        "runs": [run.path for run in runs],
    }
    inputs = {
        "encoder": encoder.fingerprint,
        "runs": {run.path: run_inputs(run, own) for run, own in zip(runs, written, strict=True)},
        "relations": relations,
    }
    return cached_result(
        context.store,
        "distances",
        question,
        inputs,
        lambda: distance_scores(context, options, runs, written, pairs, relations),
    )


def distances_rows(result: xr.Dataset, options: DistancesOptions) -> list[dict[str, Any]]:
    """Return one row per pair and metric, as the table and ``--json`` show them.

    Parameters
    ----------
    result : xarray.Dataset
        Of `distances`.
    options : DistancesOptions
        What was asked.

    Returns
    -------
    list of dict
        Plain numbers and texts, metric by metric, the closest pair first; metrics that do not
        apply to any pair are left out.
    """
    rows: list[dict[str, Any]] = []
    for metric in result["metric"].values.tolist():
        described = result.attrs["metrics"][metric]
        own = []
        for place in range(result.sizes["pair"]):
            at = result.isel(pair=place).sel(metric=metric)
            a, b = result.attrs["pairs"][place]
            reason = result.attrs["reasons"].get(f"{a} | {b}", {}).get(metric, "")
            own.append(
                {
                    "metric": metric,
                    "title": described["title"],
                    "higher": described["higher"],
                    "unit": described["unit"],
                    "run_a": a,
                    "run_b": b,
                    "encoder": options.encoder,
                    "seeds": result.sizes["seed"],
                    "value": float(at["value"]),
                    "value_low": float(at["low"]),
                    "value_high": float(at["high"]),
                    "chance": float(at["chance"]),
                    "relation": RELATIONS[int(at["relation"])],
                    "checked": bool(at["checked"]),
                    "reason": reason,
                    "drift": any(path in result.attrs["drift"] for path in (a, b)),
                }
            )
        if any(row["value"] == row["value"] for row in own):
            rows += sorted(own, key=_distance)
    return rows


def _distance(row: dict[str, Any]) -> float:
    """Order pairs from the closest to the farthest, those without a value last."""
    value = float(row["value"])
    if math.isnan(value):
        return math.inf
    return -value if row["higher"] == "closer" else value
