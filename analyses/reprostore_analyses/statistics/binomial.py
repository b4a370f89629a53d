"""Exact binomial tails, and the bounds of a proportion that follow from them."""

import math

import numpy as np
from numpy.typing import ArrayLike

from reprostore_analyses.kernels.checks import Floats, finite

_NEWTON_STEPS = 50  # about six are taken


def upper_tail(successes: ArrayLike, trials: ArrayLike, p: ArrayLike) -> Floats:
    """Compute P(Binomial(n, p) ≥ x) for x ≥ np, the tail beyond the mean.

    Parameters
    ----------
    successes, trials : array_like
        Whole numbers x and n that broadcast, 0 ≤ x ≤ n.
    p : array_like
        Probability of success, 0 < p < 1 and p ≤ x/n.

    Returns
    -------
    ndarray of float64
        In [0, 1], with a relative error below 1e-9 up to a million trials; 0 below the smallest
        double.

    Raises
    ------
    SpecError
        An argument is NaN.

    Notes
    -----
    The tail is its first term times 1 + r_1 + r_1 r_2 + …, where the ratios (n − k)p /
    ((k + 1)(1 − p)) of neighboring terms decrease from at most 1. Eight standard deviations,
    at most 4 √n terms, leave nothing that a double could hold.
    """
    x, n, chance = np.broadcast_arrays(
        finite(successes, "successes"), finite(trials, "trials"), finite(p, "probabilities")
    )
    log_first, series = _tail_terms(x, n, chance)
    return np.asarray(np.minimum(np.exp(log_first) * series, 1.0))


def _tail_terms(x: Floats, n: Floats, p: Floats) -> tuple[Floats, Floats]:
    """Return log P(X = x) and P(X ≥ x)/P(X = x)."""
    log_choose = np.reshape(
        [
            math.lgamma(b + 1) - math.lgamma(a + 1) - math.lgamma(b - a + 1)
            for a, b in zip(x.flat, n.flat, strict=True)
        ],
        x.shape,
    )
    length = 50 + 4 * math.isqrt(int(n.max(initial=0)))
    k = x[..., None] + np.arange(length)
    ratio = np.maximum(n[..., None] - k, 0) / (k + 1) * (p / (1 - p))[..., None]
    series = 1 + np.cumprod(ratio, axis=-1).sum(axis=-1)
    return log_choose + x * np.log(p) + (n - x) * np.log1p(-p), series


def exact_interval(successes: Floats, trials: Floats, tail: float) -> tuple[Floats, Floats]:
    """Compute the Clopper–Pearson interval: the p that neither exact tail test rejects.

    Parameters
    ----------
    successes, trials : ndarray
        Whole numbers of one shape, 0 ≤ successes ≤ trials, trials at least 1.
    tail : float
        Probability left on either side, below 1/4.

    Returns
    -------
    low, high : ndarray of float64
        In [0, 1]. They contain p with a probability of at least 1 − 2 tail, whatever p is.

    References
    ----------
    Clopper & Pearson 1934, "The use of confidence or fiducial limits illustrated in the case of
    the binomial".
    """
    low = _exact_lower_bound(successes, trials, tail)
    return low, 1 - _exact_lower_bound(trials - successes, trials, tail)


def _exact_lower_bound(x: Floats, n: Floats, tail: float) -> Floats:
    # Newton's method for log P(X ≥ x) = log tail in u = log p. The left side increases in u and is
    # concave, being the logarithm of an integral of the log-concave e^{xu}(1 − e^u)^{n − x}. So no
    # step leads beyond the solution, and every start converges.
    positive = np.maximum(x, 1)  # without successes the bound is 0, set at the end
    u = np.log(positive / (n + 1))
    for _ in range(_NEWTON_STEPS):
        log_first, series = _tail_terms(positive, n, np.exp(u))
        step = (math.log(tail) - log_first - np.log(series)) * series / positive
        u += step
        if np.abs(step).max(initial=0.0) < 1e-12:
            break
    return np.where(x == 0, 0.0, np.exp(u))
