"""Items of a set that are nearly identical to others of it."""

import math

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import SpecError
from reprostore.search import Corpus
from reprostore_analyses.kernels.checks import Array, Floats, finite
from reprostore_analyses.kernels.thresholds import check_cosine_threshold

BLOCK_VALUES = 2**22
"""Values of one block: 32 MiB in float64."""


def near_duplicates(
    vectors: Corpus, threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the near-identical others of each item, and group them.

    Parameters
    ----------
    vectors : Corpus
        Shape (item, d), read by slices. Compared by their cosine; a zero vector is similar to
        nothing.
    threshold : float
        θ in [-1, 1], exceeded strictly.

    Returns
    -------
    counts : ndarray of int64, shape (item,)
        Other items with a cosine above θ.
    groups : ndarray of int64, shape (item,)
        The smallest position in each item's group: connected components of the graph of pairs
        above θ, so that two items of a group need not be alike themselves.

    Raises
    ------
    SpecError
        The threshold is outside [-1, 1], or a vector is not finite.

    Notes
    -----
    Cosines are computed in float64, each pair once, between blocks of items; neither the graph
    nor the converted vectors are ever held as a whole.
    """
    check_cosine_threshold(threshold)
    if len(vectors.shape) != 2:
        raise SpecError(
            f"The vectors have the shape {vectors.shape}.",
            "Vectors have the shape (item, d).",
            "Flatten each item, or embed it.",
        )
    count, width = vectors.shape
    length = max(1, min(math.isqrt(BLOCK_VALUES), BLOCK_VALUES // max(1, width)))
    counts = np.zeros(count, dtype=np.int64)
    parents = np.arange(count)
    for start in range(0, count, length):
        left = _unit(vectors[start : min(start + length, count)])
        for other in range(start, count, length):
            stop = min(other + length, count)
            right = left if other == start else _unit(vectors[other:stop])
            similar = left @ right.T > threshold
            if other == start:
                np.fill_diagonal(similar, val=False)
            else:
                counts[other:stop] += similar.sum(axis=0)
            counts[start : start + len(left)] += similar.sum(axis=1)
            for row in np.flatnonzero(similar.any(axis=1)):
                for near in np.unique(parents[other:stop][similar[row]]):
                    _join(parents, start + int(row), int(near))
            parents = _flat(parents)
    return counts, parents.astype(np.int64)


def _unit(vectors: Array) -> Floats:
    """Return vectors of length 1; those without direction become NaN, which exceeds no θ."""
    values = finite(vectors, "vectors")
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    unit = np.full_like(values, np.nan)
    np.divide(values, norms, out=unit, where=norms > 0)
    return unit


def _root(parents: NDArray[np.int64], item: int) -> int:
    while parents[item] != item:
        parents[item] = parents[parents[item]]
        item = int(parents[item])
    return item


def _join(parents: NDArray[np.int64], a: int, b: int) -> None:
    first, second = sorted((_root(parents, a), _root(parents, b)))
    parents[second] = first


def _flat(parents: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the roots of all items; few are left to be told apart in the next block."""
    while not np.array_equal(parents, above := parents[parents]):
        parents = above
    return parents
