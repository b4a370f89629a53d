"""The Mann–Whitney statistic of two samples, with ties."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from reprostore_analyses.kernels.checks import one_dimensional


class RankTest(NamedTuple):
    """Whether values of one set tend to be larger than those of another.

    Attributes
    ----------
    u : float
        Number of pairs (a, b) with a > b, ties counted as half; from 0 to len(a)·len(b).
    z : float
        u minus its mean, over its standard deviation under exchangeability; NaN if a set is
        empty or all values are equal.
    """

    u: float
    z: float


def mann_whitney(a: ArrayLike, b: ArrayLike) -> RankTest:
    """Compute U and its z-score.

    Parameters
    ----------
    a, b : array_like, shapes (m,) and (n,)
        Finite values.

    Returns
    -------
    RankTest
        z is above 0 where a tends to be larger. No continuity correction.

    References
    ----------
    Mann & Whitney 1947; variance with ties as in Lehmann 1975, "Nonparametrics", appendix 4.
    """
    first, second = one_dimensional(a, "values"), one_dimensional(b, "values")
    m, n = len(first), len(second)
    if m == 0 or n == 0:
        return RankTest(np.nan, np.nan)
    values = np.concatenate([first, second])
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[place]  # the mean rank of equal values
    u = float(ranks[:m].sum() - m * (m + 1) / 2)
    total = m + n
    tied = float((counts.astype(np.float64) ** 3 - counts).sum())
    variance = m * n / 12 * ((total + 1) - tied / (total * (total - 1)))
    z = (u - m * n / 2) / np.sqrt(variance) if variance > 0 else np.nan
    return RankTest(u, float(z))
