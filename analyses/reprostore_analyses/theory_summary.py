"""Distances over seeds as means, quantiles and shares, with their intervals."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reprostore_analyses.kernels import STAYS, corrected_score, departures
from reprostore_analyses.kernels.checks import Floats
from reprostore_analyses.statistics import bootstrap_mean, wilson_interval
from reprostore_analyses.statistics.order_statistics import quantile_interval
from reprostore_analyses.theory_ends import Ends

if TYPE_CHECKING:
    from reprostore_analyses.theory import TheoryOptions

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BOUNDS = ("", "_low", "_high")


def share(name: str, hits: NDArray[np.bool_], confidence: float) -> dict[str, Floats]:
    """Return the share of seeds that count, (seed, …) → (…), with Wilson's interval.

    Parameters
    ----------
    name : str
        Of the share.
    hits : ndarray of bool, shape (seed, …)
        What counts.
    confidence : float
        Of the interval.

    Returns
    -------
    dict of ndarray of float64
        `name`, `name`_low and `name`_high, in [0, 1]; NaN without seeds.
    """
    seeds = hits.shape[0]
    if seeds == 0:
        return {name + bound: np.full(hits.shape[1:], np.nan) for bound in BOUNDS}
    low, high = wilson_interval(hits.sum(axis=0), seeds, confidence)
    return dict(zip((name + bound for bound in BOUNDS), (hits.mean(axis=0), low, high),
                    strict=True))  # fmt: skip


def end_summary(
    ends: Ends, options: "TheoryOptions", rng: np.random.Generator
) -> tuple[dict[str, Any], dict[str, Floats], str]:
    """Summarize the distances of final samples.

    Parameters
    ----------
    ends : Ends
        Of at least one seed.
    options : TheoryOptions
        Threshold, tolerance, confidence.
    rng : numpy.random.Generator
        For the bootstrap intervals of the means.

    Returns
    -------
    single : dict
        Shares, chance levels and means with their bounds.
    quantiles : dict of ndarray, (quantile,)
        Of each measure, with bounds.
    reason : str
        Why the median has no interval; empty where it has one.
    """
    names, values = list(ends.measures), np.asarray(list(ends.measures.values()))
    measures = ends.measures
    single: dict[str, Any] = {"seeds": values.shape[1]}
    single |= share("rp", measures["similarity"] > options.threshold, options.confidence)
    single |= share("near", measures["rms"] < options.tolerance, options.confidence)
    single |= {
        "chance": ends.chance,
        "corrected": corrected_score(single["rp"], ends.chance),
        "near_chance": ends.near_chance,
        "chance_rms": ends.chance_rms,
    }
    mean = bootstrap_mean(values, rng=rng, confidence=options.confidence)
    found = [quantile_interval(values, q, confidence=options.confidence) for q in QUANTILES]
    quantiles: dict[str, Floats] = {}
    for row, name in enumerate(names):
        for bound, key in zip(BOUNDS, ("value", "low", "high"), strict=True):
            single[f"{name}_mean{bound}"] = float(getattr(mean, key)[row])
            quantiles[f"{name}_quantile{bound}"] = np.asarray(
                [getattr(each, key)[row] for each in found]
            )
    reason = found[QUANTILES.index(0.5)].reason
    return single, quantiles, f"Median distances: {reason}" if reason else ""


def path_summary(distance: Floats, confidence: float) -> tuple[Floats, dict[str, Floats]]:
    """Summarize distances along σ.

    Parameters
    ----------
    distance : ndarray, shape (seed, row)
        NaN for seeds that are not compared, and in rows that are not.
    confidence : float
        Of the intervals.

    Returns
    -------
    mean : ndarray, (row,)
        Over the seeds that are compared.
    quantiles : dict of ndarray, (quantile, row)
        `path_quantile` with `_low` and `_high`.
    """
    rows = distance.shape[1]
    mean = np.full(rows, np.nan)
    names = [f"path_quantile{bound}" for bound in BOUNDS]
    quantiles = {name: np.full((len(QUANTILES), rows), np.nan) for name in names}
    there = ~np.isnan(distance)
    used = np.flatnonzero(there.any(axis=0))
    if len(used):
        values = distance[np.ix_(there.any(axis=1), used)].T
        mean[used] = values.mean(axis=1)
        for place, q in enumerate(QUANTILES):
            found = quantile_interval(values, q, confidence=confidence)
            for name, part in zip(names, found[:3], strict=True):
                quantiles[name][place, used] = part
    return mean, quantiles


def nearer_summary(oracle: Floats, gaussian: Floats, confidence: float) -> dict[str, Floats]:
    """Say at each row to which closed form more seeds are nearer.

    Parameters
    ----------
    oracle, gaussian : ndarray, shape (seed, row)
        Distances of the network from both; NaN where there is none.
    confidence : float
        Of the intervals.

    Returns
    -------
    dict of ndarray, (row,)
        `oracle_nearer` and `gaussian_nearer`, shares of the seeds that all three runs have, with
        bounds; a seed at equal distance counts for neither.
    """
    there = ~np.isnan(oracle) & ~np.isnan(gaussian)
    used = there.any(axis=0)
    rows, seeds = np.flatnonzero(used), np.flatnonzero(there.any(axis=1))
    nearer: dict[str, Floats] = {}
    for name, (a, b) in {"oracle": (oracle, gaussian), "gaussian": (gaussian, oracle)}.items():
        at = np.ix_(seeds, rows)
        for key, found in share(f"{name}_nearer", a[at] < b[at], confidence).items():
            nearer[key] = np.full(there.shape[1], np.nan)
            nearer[key][rows] = found
    return nearer


def gone_by(row: NDArray[np.int64], rows: int) -> NDArray[np.bool_]:
    """Say at each row whether a seed has left by then, or was never near.

    Parameters
    ----------
    row : ndarray of int64, (seed,)
        Of `departure_row`.
    rows : int
        How many rows there are.

    Returns
    -------
    ndarray of bool, (seed, row)
        Its mean over seeds only rises from row to row, up to `left` + `never_near`.
    """
    return np.asarray((row[:, None] != STAYS) & (row[:, None] <= np.arange(rows)))


def departure_summary(
    row: NDArray[np.int64], sigma: Floats, confidence: float
) -> tuple[dict[str, Any], str]:
    """Summarize where seeds leave.

    Parameters
    ----------
    row : ndarray of int64, (seed,)
        Of `departure_row`, of the seeds that are compared.
    sigma : ndarray, (seed,)
        σ at the departure; NaN for seeds that did not leave.
    confidence : float
        Of the intervals.

    Returns
    -------
    summary : dict
        Shares `left`, `stayed` and `never_near`; `departures`, how many left, and
        `departure_sigma`, the median σ of these, each with bounds where it has some.
    reason : str
        Why there is no median, or no interval of it; empty where there is.
    """
    ways = departures(row)
    summary: dict[str, Any] = {}
    for name in ("left", "stayed", "never_near"):
        summary |= share(name, getattr(ways, name), confidence)
    own = np.asarray(sigma[~np.isnan(sigma)])
    median = quantile_interval(own, 0.5, confidence=confidence)
    summary["departures"] = len(own)
    summary |= {
        f"departure_sigma{bound}": float(value)
        for bound, value in zip(BOUNDS, median[:3], strict=True)
    }
    if len(own) == 0:
        return summary, "No seed leaves, so no σ is that of a departure."
    return summary, f"Median σ of departures: {median.reason}" if median.reason else ""
