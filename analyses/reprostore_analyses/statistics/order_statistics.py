"""Intervals of quantiles from the sorted values alone, whatever their distribution."""

import numpy as np
from numpy.typing import ArrayLike

from reprostore_analyses.kernels.checks import Floats, fraction, per_seed
from reprostore_analyses.statistics.estimate import Estimate


def quantile_interval(
    values: ArrayLike, quantile: float = 0.5, *, confidence: float = 0.95
) -> Estimate:
    """Compute a quantile over seeds and its interval between two of the sorted values.

    With the values sorted, x_(1) ≤ … ≤ x_(n), the number of them below the true quantile is
    binomial (n, q). So [x_(l), x_(u)] contains it with a probability of at least
    `confidence` where P(Bin < l) and P(Bin ≥ u) are at most (1 − confidence)/2 each. It needs
    no resampling, which is unreliable for quantiles of few or of repeated values.

    Parameters
    ----------
    values : array_like, shape (…, seed)
        One value per seed.
    quantile : float
        q, in (0, 1).
    confidence : float
        Probability of the interval, in (0, 1).

    Returns
    -------
    Estimate
        Shape (…); the quantile between two values is interpolated linearly. All is NaN
        without seeds; a bound is NaN where there are too few for it, with the reason.

    Raises
    ------
    SpecError
        A value is NaN, or an option is out of range.

    References
    ----------
    Conover 1999, "Practical Nonparametric Statistics", 3rd edition, section 3.2.
    """
    fraction(quantile, "quantile")
    fraction(confidence, "confidence")
    array = per_seed(values, "values")
    seeds = array.shape[-1]
    if seeds == 0:
        nothing = np.full(array.shape[:-1], np.nan)
        return Estimate(nothing, nothing, nothing, "There are no seeds.")
    value = np.asarray(np.quantile(array, quantile, axis=-1))
    lower, upper = interval_ranks(seeds, quantile, confidence)
    ordered = np.sort(array, axis=-1)
    low, high = (
        np.full(value.shape, np.nan) if not 1 <= rank <= seeds else ordered[..., rank - 1]
        for rank in (lower, upper)
    )
    if lower >= 1 and upper <= seeds:
        return Estimate(value, low, high)
    reason = (
        f"{seeds} {'seeds are' if seeds > 1 else 'seed is'} too few for an interval of the "
        f"{quantile:g} quantile."
    )
    return Estimate(value, low, high, reason)


def interval_ranks(seeds: int, quantile: float, confidence: float) -> tuple[int, int]:
    """Return between which of n sorted values a quantile lies.

    Parameters
    ----------
    seeds : int
        n, at least 1.
    quantile, confidence : float
        In (0, 1).

    Returns
    -------
    lower, upper : int
        l and u, counted from 1; 0 and n + 1 where no value bounds the quantile.
    """
    tail = (1 - confidence) / 2
    below = _binomial_cdf(seeds, quantile)  # P(Bin ≤ k), k = 0 … n
    # P(Bin < l) = below[l − 1] ≤ tail for the largest l; P(Bin ≥ u) = 1 − below[u − 1] ≤ tail for
    # the smallest u, by the mirrored binomial, whose tail loses no digits.
    lower = int(np.searchsorted(below, tail, side="right"))
    mirrored = _binomial_cdf(seeds, 1 - quantile)  # P(Bin ≥ n − k)
    upper = seeds + 1 - int(np.searchsorted(mirrored, tail, side="right"))
    return lower, upper


def _binomial_cdf(n: int, p: float) -> Floats:
    k = np.arange(1, n + 1)
    log_choose = np.concatenate([[0.0], np.cumsum(np.log((n - k + 1) / k))])
    successes = np.arange(n + 1)
    terms = np.exp(log_choose + successes * np.log(p) + (n - successes) * np.log1p(-p))
    return np.cumsum(terms)
