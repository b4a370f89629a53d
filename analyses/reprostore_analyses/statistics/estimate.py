"""A value with its interval, or the reason why there is none."""

from typing import NamedTuple

import numpy as np

from reprostore_analyses.kernels.checks import Floats, fraction


class Estimate(NamedTuple):
    """A statistic and its interval.

    Attributes
    ----------
    value, low, high : ndarray of float64
        The statistic and the bounds of its interval, all of one shape; NaN where there is none.
    reason : str
        Why something is NaN; empty if nothing is.
    """

    value: Floats
    low: Floats
    high: Floats
    reason: str = ""


def percentile_interval(replicates: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Return the central interval of bootstrap replicates.

    Parameters
    ----------
    replicates : ndarray, shape (resample, …)
        One statistic per resample.
    confidence : float
        Probability of the interval, in (0, 1).

    Returns
    -------
    low, high : ndarray of float64, shape (…)
        The (1 ∓ confidence)/2 quantiles, interpolated linearly.

    Raises
    ------
    SpecError
        `confidence` is not in (0, 1).

    References
    ----------
    Efron & Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3.
    """
    fraction(confidence, "confidence")
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(replicates, tails, axis=0)
    return np.asarray(low), np.asarray(high)
