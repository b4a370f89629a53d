"""The threshold that real data sets by itself, and how uncertain that is."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from reprostore_analyses.kernels.checks import Floats, fraction, one_dimensional, positive
from reprostore_analyses.kernels.memorization import memorized_fraction
from reprostore_analyses.statistics.estimate import Estimate, percentile_interval

_BLOCK_DRAWS = 2**21


class CalibratedFraction(NamedTuple):
    """Memorized fraction at the calibrated threshold, and that threshold.

    Attributes
    ----------
    threshold : Estimate
        θ_q; its interval is that of the held-out items.
    fraction : Estimate
        P(max_i M(x, y_i) > θ_q); its interval is that of held-out and generated items together.
    """

    threshold: Estimate
    fraction: Estimate


def calibrated_threshold(held_out: ArrayLike, q: float = 0.01) -> float:
    """Compute the (1 − q) quantile of the top-1 similarity of held-out items.

    What exceeds it is closer to the training set than real data gets by chance.

    Parameters
    ----------
    held_out : array_like, shape (item,)
        max_i M(x, y_i) of real items x that no model saw with the training items y_i.
    q : float
        Share of real items that the threshold lets through as copies, in (0, 1).

    Returns
    -------
    float
        θ_q; NaN with fewer than 1/q items, of which less than one is expected above θ_q: the
        quantile would be little else than the maximum.

    Raises
    ------
    SpecError
        A similarity is NaN, there is more than one axis, or q is not in (0, 1).

    Notes
    -----
    The estimator is `numpy.quantile`'s default, "linear": definition 7 of Hyndman & Fan.

    References
    ----------
    Hyndman & Fan 1996, "Sample quantiles in statistical packages".
    """
    fraction(q, "quantile's q")
    real = one_dimensional(held_out, "similarities of held-out items")
    return math.nan if real.size < _fewest_items(q) else float(np.quantile(real, 1 - q))


def calibrated_fraction(
    *,
    generated: ArrayLike,
    held_out: ArrayLike,
    rng: np.random.Generator,
    q: float = 0.01,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> CalibratedFraction:
    """Compute the memorized fraction at the calibrated threshold, with both intervals.

    Both sets are resampled: the threshold is an estimate too, and moves the fraction with it.

    Parameters
    ----------
    generated : array_like, shape (seed,)
        max_i M(x, y_i) of each generated sample with the model's training items.
    held_out : array_like, shape (item,)
        The same of real items that no model saw, with the same training items.
    rng : numpy.random.Generator
        Source of all randomness.
    q : float
        Share of real items that the threshold lets through as copies, in (0, 1).
    resamples : int
        Number of resamples of both sets.
    confidence : float
        Probability of each interval, in (0, 1).

    Returns
    -------
    CalibratedFraction
        NaN with a reason when there are fewer than 1/q held-out items or no generated ones.

    Raises
    ------
    SpecError
        A similarity is NaN, there is more than one axis, or an option is out of range.

    Notes
    -----
    Neighbors stay fixed; only items are resampled. How many of m resampled generated items exceed
    a threshold is Binomial(m, share of the items that exceed it), so those are drawn directly.

    References
    ----------
    Efron & Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3.
    """
    positive(resamples, "resamples")
    fraction(confidence, "confidence")
    copies = np.sort(one_dimensional(generated, "similarities of generated samples"))
    real = one_dimensional(held_out, "similarities of held-out items")
    theta = calibrated_threshold(real, q)
    if math.isnan(theta):
        missing = _nothing(
            f"A calibrated threshold with q = {q:g} needs at least {_fewest_items(q)} held-out "
            f"items; there are {real.size}."
        )
        return CalibratedFraction(missing, missing)
    thetas = _resampled_thresholds(real, q, resamples, rng)
    threshold = Estimate(np.asarray(theta), *percentile_interval(thetas, confidence))
    if copies.size == 0:
        return CalibratedFraction(threshold, _nothing("There are no generated samples."))
    shares = 1 - np.searchsorted(copies, thetas, side="right") / copies.size
    replicates = rng.binomial(copies.size, shares) / copies.size
    bounds = percentile_interval(replicates, confidence)
    return CalibratedFraction(threshold, Estimate(memorized_fraction(copies, theta), *bounds))


def _fewest_items(q: float) -> int:
    return math.ceil(1 / q - 1e-9)  # 1/q of a decimal fraction may lie just above the integer


def _nothing(reason: str) -> Estimate:
    nan = np.asarray(math.nan)
    return Estimate(nan, nan, nan, reason)


def _resampled_thresholds(
    real: Floats, q: float, resamples: int, rng: np.random.Generator
) -> Floats:
    thetas = np.empty(resamples)
    length = max(1, _BLOCK_DRAWS // real.size)
    for start in range(0, resamples, length):
        block = thetas[start : start + length]
        drawn = real[rng.integers(real.size, size=(len(block), real.size))]
        block[:] = np.quantile(drawn, 1 - q, axis=1)
    return thetas
