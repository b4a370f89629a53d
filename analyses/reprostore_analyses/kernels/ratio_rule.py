"""The ratio rule: much nearer to one training item than to the second nearest."""

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reprostore.errors import SpecError
from reprostore.search import Corpus
from reprostore_analyses.kernels.checks import Floats, finite, fraction, same_shape

_BLOCK_VALUES = 2**22


def distance_ratio(first: ArrayLike, second: ArrayLike) -> Floats:
    """Compute d1/d2.

    Parameters
    ----------
    first, second : array_like, shape (sample,)
        Unsquared L2 distances of each sample to its nearest and second nearest training item.
        NaN where there is no second one.

    Returns
    -------
    ndarray of float64, shape (sample,)
        In [0, 1]. 0 for an exact copy, whatever d2: also where the item has an exact duplicate
        and d1/d2 is 0/0, or there is no second item; else NaN without a second item. A sample is
        memorized where it is below 1/3.

    Raises
    ------
    SpecError
        A nearest distance is not finite or is negative, or a second one is smaller.

    References
    ----------
    Yoon et al. 2023, "Diffusion Probabilistic Models Generalize when They Fail to Memorize"; Gu
    et al. 2023, arXiv 2310.02664 (threshold 1/3).
    """
    d1, d2 = finite(first, "nearest distances"), np.asarray(second, dtype=np.float64)
    same_shape(d1, d2, "distances")
    if np.any(d1 < 0) or np.any(d2 < d1):
        raise SpecError(
            "A second nearest distance is smaller than the nearest, or a distance is negative.",
            "Distances are at least 0 and sorted.",
            "Pass the first two columns of a table of neighbors.",
        )
    ratio = np.zeros(d1.shape)
    np.divide(d1, d2, out=ratio, where=d1 > 0)
    return np.where(np.isnan(d2) & (d1 > 0), np.nan, ratio)


def nearest_distinct(
    distances: ArrayLike, groups: ArrayLike, own: ArrayLike | None = None
) -> tuple[Floats, Floats]:
    """Return d1 and d2 as they are among training items without duplicates.

    An exact duplicate of the nearest item is as near as it, which makes d1/d2 → 1 for a copy.

    Parameters
    ----------
    distances : array_like, shape (sample, k)
        To the k nearest training items, rising.
    groups : array_like of int, shape (sample, k)
        Which of them are duplicates: equal numbers for equal items.
    own : array_like of int, shape (sample,), optional
        The group of each sample, where samples are training items themselves: their own
        duplicates do not count as neighbors.

    Returns
    -------
    first, second : ndarray of float64, shape (sample,)
        `second` is NaN where the k neighbors are not of two groups: k is then too small, or there
        are no others.

    Raises
    ------
    SpecError
        A distance is not finite, or the shapes differ.
    """
    values, same = finite(distances, "distances"), np.asarray(groups)
    same_shape(values, same, "neighbors")
    rows = np.arange(len(values))
    other = np.ones(values.shape, dtype=bool)
    if own is not None:
        other = same != np.asarray(own)[:, None]
    nearest = other.argmax(axis=1)
    other = other & (same != same[rows, nearest][:, None])
    second = np.where(other.any(axis=1), values[rows, other.argmax(axis=1)], np.nan)
    return values[rows, nearest], second


class MemorizationCapacity(NamedTuple):
    """The largest number of training items that a model still memorizes.

    Attributes
    ----------
    size : float
        EMM; NaN where `reason` says why.
    next_size : float
        The next larger number that was looked at, which is no longer memorized; NaN without one.
    reason : str
        Why there is no capacity, or no upper bound; empty if there are both.
    """

    size: float
    next_size: float
    reason: str = ""


def effective_capacity(
    sizes: ArrayLike, memorized: ArrayLike, epsilon: float = 0.1
) -> MemorizationCapacity:
    """Compute EMM, the largest N whose memorized ratio is at least 1 − ε.

    Parameters
    ----------
    sizes : array_like of int, shape (model,)
        N of each model; the same N may occur several times, for several snapshots of a training
        or several trainings, of which the best counts.
    memorized : array_like, shape (model,)
        Share of memorized samples, in [0, 1]; NaN is left out.
    epsilon : float
        ε in (0, 1).

    Returns
    -------
    MemorizationCapacity
        N is compared at the sizes at hand alone; the true capacity lies between the two.

    References
    ----------
    Gu et al. 2023, "On Memorization in Diffusion Models", arXiv 2310.02664, definition 1 (EMM).
    """
    fraction(epsilon, "EMM's epsilon")
    numbers, shares = np.asarray(sizes), np.asarray(memorized, dtype=np.float64)
    same_shape(numbers, shares, "sizes and ratios")
    known = np.unique(numbers[~np.isnan(shares)])
    if len(known) == 0:
        return MemorizationCapacity(np.nan, np.nan, "no model has a memorized ratio")
    best = np.asarray([np.nanmax(shares[numbers == size]) for size in known])
    # 1 - 0.18 is above 0.82 in floating point; shares of n samples differ by 1/n at least.
    enough = np.flatnonzero(best >= 1 - epsilon - 1e-12)
    if len(enough) == 0:
        smallest = int(known[0])
        reason = f"even at N = {smallest} less than {1 - epsilon:g} of the samples are memorized"
        return MemorizationCapacity(np.nan, float(smallest), reason)
    last = int(enough[-1])
    if last == len(known) - 1:
        reason = f"all N up to the largest, {int(known[-1])}, are memorized"
        return MemorizationCapacity(float(known[-1]), np.nan, reason)
    return MemorizationCapacity(float(known[last]), float(known[last + 1]))


def equal_items(items: Corpus) -> NDArray[np.int64]:
    """Return which items are exactly equal.

    Parameters
    ----------
    items : Corpus
        Shape (item, d); read block by block, compared byte by byte.

    Returns
    -------
    ndarray of int64, shape (item,)
        The position of the first item that is equal to each.
    """
    first: dict[bytes, int] = {}
    count, width = items.shape
    found = np.empty(count, dtype=np.int64)
    length = max(1, _BLOCK_VALUES // max(1, width))
    for start in range(0, count, length):
        for position, item in enumerate(items[start : min(start + length, count)], start):
            digest = hashlib.blake2b(np.ascontiguousarray(item).tobytes(), digest_size=16).digest()
            found[position] = first.setdefault(digest, position)
    return found
