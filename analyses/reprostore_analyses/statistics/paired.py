"""Differences between two scores over the same seeds."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reprostore.errors import SpecError
from reprostore_analyses.kernels.checks import Floats, per_seed, same_shape
from reprostore_analyses.statistics.binomial import upper_tail
from reprostore_analyses.statistics.bootstrap import bootstrap_mean
from reprostore_analyses.statistics.estimate import Estimate


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Estimate:
    """Compute the difference mean(a) − mean(b) and its bootstrap interval over common seeds.

    Parameters
    ----------
    a, b : array_like, shape (…, seed)
        Per-seed values of two scores, with the same seeds in the same order. What both have in
        common on a seed cancels, so the interval is narrower than from two separate ones.
    rng : numpy.random.Generator
        Source of all randomness.
    resamples : int
        Number of resamples of the seeds.
    confidence : float
        Probability of each row's interval, in (0, 1).

    Returns
    -------
    Estimate
        Shape (…). The interval is NaN, with a reason, where the difference is the same on all
        seeds.

    Raises
    ------
    SpecError
        The shapes differ, a value is NaN, or an option is out of range.

    References
    ----------
    Efron & Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3.
    """
    left, right = per_seed(a, "values"), per_seed(b, "values")
    same_shape(left, right, "values")
    return bootstrap_mean(left - right, rng=rng, resamples=resamples, confidence=confidence)


def mcnemar_p(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> Floats:
    """Compute the exact two-sided p-value of McNemar's test for two paired proportions.

    Under equal proportions the n = n10 + n01 seeds on which a and b differ fall to either side
    like fair coins: p = min(1, 2 P(Binomial(n, 1/2) ≥ max(n10, n01))).

    Parameters
    ----------
    a, b : ndarray of bool, shape (…, seed)
        Whether each of two scores counts the seed, with the same seeds in the same order.

    Returns
    -------
    ndarray of float64, shape (…)
        p in [0, 1]; 1 where a and b never differ, and 0 where p is below the smallest double.

    Raises
    ------
    SpecError
        The arrays are not bool, have no axis of seeds, or differ in shape.

    References
    ----------
    McNemar 1947, "Note on the sampling error of the difference between correlated proportions or
    percentages".
    """
    same_shape(a, b, "indicators")
    if a.dtype != np.bool_ or b.dtype != np.bool_ or a.ndim == 0:
        raise SpecError(
            f"The indicators are {a.dtype} and {b.dtype} of the shape {a.shape}.",
            "Indicators are bool and have the shape (…, seed).",
            "Compare the similarities with the threshold first.",
        )
    only_a = np.asarray(np.count_nonzero(a & ~b, axis=-1))
    only_b = np.asarray(np.count_nonzero(b & ~a, axis=-1))
    differing = only_a + only_b
    return np.minimum(1.0, 2 * upper_tail(np.maximum(only_a, only_b), differing, 0.5))
