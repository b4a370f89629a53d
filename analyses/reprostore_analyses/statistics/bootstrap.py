"""Bootstrap over seeds, for means of per-seed values only.

Statistics of a whole set of samples (FD, KID, precision and recall, …) are biased by resampling
with replacement, so nothing here takes a statistic as an argument.
"""

import numpy as np
from numpy.typing import ArrayLike

from reprostore_analyses.kernels.checks import Floats, per_seed, positive
from reprostore_analyses.statistics.estimate import Estimate, percentile_interval

_BLOCK_WEIGHTS = 2**21
"""Weights (resample × seed) held at a time: 16 MiB."""


def resampled_means(values: ArrayLike, *, rng: np.random.Generator, resamples: int) -> Floats:
    """Draw seeds with replacement and compute the mean of their values.

    Parameters
    ----------
    values : array_like, shape (…, seed)
        One value per seed. A resample takes the same seeds in all rows.
    rng : numpy.random.Generator
        Source of all randomness.
    resamples : int
        Number of resamples.

    Returns
    -------
    ndarray of float64, shape (resample, …)
        The means.

    Raises
    ------
    SpecError
        A value is NaN, there is no seed, or `resamples` is smaller than 1.

    Notes
    -----
    How often each seed was drawn is a (resample, seed) matrix of weights whose product with the
    values gives all means at once; it is made in blocks, so memory does not grow with
    `resamples`.
    """
    positive(resamples, "resamples")
    array = per_seed(values, "values")
    seeds = array.shape[-1]
    positive(seeds, "seeds")
    rows = array.reshape(-1, seeds)
    means = np.empty((resamples, rows.shape[0]))
    length = max(1, _BLOCK_WEIGHTS // seeds)
    for start in range(0, resamples, length):
        block = means[start : start + length]
        drawn = rng.integers(seeds, size=(len(block), seeds))
        drawn += np.arange(len(block))[:, None] * seeds
        weights = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        np.matmul(weights / seeds, rows.T, out=block)
    return means.reshape(resamples, *array.shape[:-1])


def bootstrap_mean(
    values: ArrayLike,
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Estimate:
    """Compute the mean over seeds and its bootstrap percentile interval.

    Parameters
    ----------
    values : array_like, shape (…, seed)
        One value per seed, such as a similarity. Proportions have `wilson_interval`, which is
        also right near 0 and 1.
    rng : numpy.random.Generator
        Source of all randomness.
    resamples : int
        Number of resamples; 1,000 leave an error of about 4 % of the interval's half-width.
    confidence : float
        Probability of each row's interval, in (0, 1).

    Returns
    -------
    Estimate
        Shape (…). Without seeds all is NaN. With one seed, or where all seeds have the same
        value, resampling says nothing, so the interval is NaN and the mean stands alone.

    Raises
    ------
    SpecError
        A value is NaN, or an option is out of range.

    References
    ----------
    Efron & Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3.
    """
    array = per_seed(values, "values")
    seeds = array.shape[-1]
    if seeds == 0:
        nothing = np.full(array.shape[:-1], np.nan)
        return Estimate(nothing, nothing, nothing, "There are no seeds.")
    value = np.asarray(array.mean(axis=-1))
    means = resampled_means(array, rng=rng, resamples=resamples)
    low, high = percentile_interval(means, confidence)
    constant = np.ptp(array, axis=-1) == 0
    if not constant.any():
        return Estimate(value, low, high)
    reason = (
        "An interval needs at least two seeds; there is one."
        if seeds == 1
        else f"All {seeds} seeds have the same value in {np.count_nonzero(constant)} of "
        f"{constant.size} rows; resampling gives them no interval."
    )
    low[constant] = high[constant] = np.nan
    return Estimate(value, low, high, reason)
