"""How many samples match a training item, and how many items are matched."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reprostore_analyses.kernels.checks import Floats, one_dimensional, same_shape
from reprostore_analyses.kernels.thresholds import ExceedanceCounts, threshold_curve


class MatchCurves(NamedTuple):
    """Matches over thresholds.

    Attributes
    ----------
    share : ndarray of float64, shape (threshold,)
        Samples that match an item, in [0, 1] (AMS); NaN without samples.
    items : ndarray of int64, shape (threshold,)
        Different items that are matched (UMS); it grows with the number of samples.
    """

    share: Floats
    items: NDArray[np.int64]


def match_curves(similarity: ArrayLike, positions: ArrayLike, thresholds: ArrayLike) -> MatchCurves:
    """Count matches above each threshold.

    Parameters
    ----------
    similarity : array_like, shape (sample,)
        Of each sample and its most similar training item.
    positions : array_like of int, shape (sample,)
        Of that item.
    thresholds : array_like, shape (threshold,)
        θ, exceeded strictly.

    Returns
    -------
    MatchCurves
        A sample matches its most similar item alone, also where others are above θ.

    Raises
    ------
    SpecError
        A similarity is NaN, or the shapes differ.
    """
    values, items = one_dimensional(similarity, "similarities"), np.asarray(positions)
    same_shape(values, items, "samples")
    # An item is matched above θ if the most similar of its samples is.
    _, own = np.unique(items, return_inverse=True)
    best = np.full(int(own.max(initial=-1)) + 1, -np.inf)
    np.maximum.at(best, own, values)
    matched = ExceedanceCounts(thresholds).update(best)
    assert matched.counts is not None
    return MatchCurves(threshold_curve(values, thresholds), matched.counts)
