"""How far a statistic of whole sets moves from one sample of the sets to another."""

from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reprostore_analyses.kernels.checks import Floats, fraction, positive

LARGEST = 1000
"""Most items of a set in one subsample."""


def subsampling_margin(
    statistic: Callable[..., ArrayLike],
    sets: Sequence[NDArray[Any]],
    *,
    rng: np.random.Generator,
    subsamples: int = 40,
    confidence: float = 0.95,
) -> Floats:
    """Estimate half the width of an interval of a statistic by subsampling without replacement.

    Statistics of whole sets (FD, KID, recall, coverage, Vendi, C_T) are biased by drawing with
    replacement, since copies are at distance 0. Subsamples of m of n items have no copies, but
    another bias, that of smaller sets. It is the same in all of them, so their standard deviation
    is free of it: scaled by √(m/(n − m)), it estimates that of the statistic at n.

    Parameters
    ----------
    statistic : callable
        Takes one array per set, (item, …) → one number or several; NaN where it is undefined.
    sets : sequence of ndarray
        The sets, each subsampled on its own.
    rng : numpy.random.Generator
        Source of all randomness.
    subsamples : int
        How many.
    confidence : float
        Probability of the interval, in (0, 1).

    Returns
    -------
    ndarray of float64
        z · standard deviation, of the shape of the statistic; NaN with fewer than four items in a
        set (then a single number), where the statistic is undefined on a subsample, or where all
        subsamples have the same value, such as a coverage of 1. The interval is about the mean of
        the statistic over sets of n items; it says nothing of the bias that this mean has.

    Notes
    -----
    m is n/2, at most `LARGEST`. The factor is that of the delete-d jackknife with d = n − m; of
    several sets, the largest factor counts, so the interval is rather too wide. It is so too for FD
    and KID of two equal distributions, whose deviation falls as 1/n and not as 1/√n: by √3, if m
    is n/2. It is too narrow where few items decide, as for a coverage next to 1. On 200 normal
    vectors in four dimensions, moved by half a deviation, 95 % intervals held the mean of FD, KID,
    Vendi, precision, recall, density and coverage in 91 to 97 % of 60 to 150 repetitions, and in
    95 to 100 % where they were not moved.

    References
    ----------
    Shao & Wu 1989, "A general theory for jackknife variance estimation", eq. 1.6; Politis &
    Romano 1994, "Large sample confidence regions based on subsamples under minimal assumptions".
    """
    positive(subsamples, "subsamples")
    fraction(confidence, "confidence")
    sizes = [min(len(part) // 2, LARGEST) for part in sets]
    if min(sizes) < 2 or subsamples < 2:
        return np.asarray(np.nan)
    values = np.asarray(
        [
            statistic(
                *(
                    part[rng.choice(len(part), size, replace=False)]
                    for part, size in zip(sets, sizes, strict=True)
                )
            )
            for _ in range(subsamples)
        ],
        dtype=np.float64,
    )
    factor = max(size / (len(part) - size) for part, size in zip(sets, sizes, strict=True))
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    margin = z * values.std(axis=0, ddof=1) * np.sqrt(factor)
    return np.where(np.ptp(values, axis=0) == 0, np.nan, margin)
