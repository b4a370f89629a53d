"""From an engine's float32 candidates to the exact neighbors, the same for every engine."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from reprostore.search.blocks import Block, Blocks
from reprostore.search.kernel import (
    Index,
    Metric,
    Reals,
    Rows,
    pair_distances,
    prepared,
    rounding_bound,
    squared_norms,
)

SPARE = 8
"""Candidates beyond k: the last one shows how far away everything else is."""

_TILE = 2**20
"""Float64 scores that are held at a time, 8 MiB."""

Candidates = Callable[
    [NDArray[np.float32], NDArray[np.float32], int, Metric], tuple[NDArray[np.float32], Index]
]


def nearest(
    queries: Rows, blocks: Blocks, k: int, metric: Metric, candidates: Candidates
) -> tuple[Reals, Index]:
    """Find the k nearest rows of each query, exactly, ties going to the lower row number.

    The k + 8 candidates with the best float32 score over all blocks get their float64 distance
    while their block is in memory. No row that is not among them has a better score than the last
    of them. So if the k-th distance lies below that score by more than the rounding bound, the
    k nearest candidates are the k nearest rows. The other queries are searched once more, in full.

    Parameters
    ----------
    queries : ndarray, shape (query, d)
        Finite vectors, at least one.
    blocks : Blocks
        The corpus, at least k rows.
    k : int
        Number of neighbors.
    metric : {"cosine", "squared_l2"}
        Which distance.
    candidates : callable
        The engine.

    Returns
    -------
    distances : ndarray of float64, shape (query, k)
        Of `pair_distances`, increasing.
    index : ndarray of int64, shape (query, k)
        Row numbers in the corpus.
    """
    norms = squared_norms(queries)
    count = min(k + SPARE, len(blocks))
    scores = np.full((len(queries), count), np.inf, np.float32)
    distances = np.full((len(queries), count), np.inf)
    index = np.full((len(queries), count), -1)
    center: Reals | None = None
    for block in blocks:
        if center is None:
            center = block.rows.mean(axis=0, dtype=np.float64)
            left = prepared(queries, norms, center, metric, np.float32)
        right = prepared(block.rows, block.norms, center, metric, np.float32)
        fresh, position = candidates(left, right, min(count, len(right)), metric)
        fresh[~(fresh < np.inf) | (position < 0)] = np.inf
        scores, kept = _lowest(scores, fresh, count)
        query, slot = np.nonzero(kept >= count)
        row = position[query, kept[query, slot] - count]
        kept = np.minimum(kept, count - 1)
        distances = np.take_along_axis(distances, kept, axis=1)
        index = np.take_along_axis(index, kept, axis=1)
        exact = pair_distances(queries, norms, query, block.rows, row, metric)
        distances[query, slot] = np.where(row < 0, np.inf, exact)
        index[query, slot] = np.where(row < 0, -1, block.numbers[row])
    assert center is not None
    last = scores.max(axis=1) if count < len(blocks) else np.full(len(queries), np.inf)
    distances, index = _sorted(distances, index, k)
    kth = distances[:, -1]
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, which is below nothing
        bound = rounding_bound(
            metric, queries.shape[1], _centered_norms(queries, center), kth, np.float32
        )
        doubtful = np.flatnonzero(~(kth < last - bound))
    if doubtful.size:
        distances[doubtful], index[doubtful] = _in_full(
            queries[doubtful], blocks, center, kth[doubtful], k, metric
        )
    return distances, index


def _centered_norms(queries: Rows, center: Reals) -> Reals:
    return squared_norms(queries - center)


def _lowest(
    old: NDArray[np.float32], new: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float32], Index]:
    """Merge scores: return the `count` lowest and their columns, those of `new` after `old`."""
    both = np.concatenate([old, new], axis=1)
    kept = np.argpartition(both, count - 1, axis=1)[:, :count]
    return np.take_along_axis(both, kept, axis=1), kept


def _sorted(distances: Reals, index: Index, k: int) -> tuple[Reals, Index]:
    order = np.lexsort((index, distances), axis=1)[:, :k]
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(index, order, axis=1)


def _in_full(
    queries: Rows, blocks: Blocks, center: Reals, kth: Reals, k: int, metric: Metric
) -> tuple[Reals, Index]:
    """Search without candidates; `kth` is a distance within which each query has k rows.

    A float64 matrix product excludes the rows that are farther than `kth` by more than its own
    rounding bound, here times four: it also covers the norms that the cosine divides by. All
    others get the distance of `pair_distances`, which alone decides.
    """
    norms = squared_norms(queries)
    left = prepared(queries, norms, center, metric, np.float64)
    left_norms = squared_norms(left)
    distances = np.full((len(queries), k), np.inf)
    index = np.full((len(queries), k), -1)
    for block in blocks:
        right = prepared(block.rows, block.norms, center, metric, np.float64)
        right_norms = squared_norms(right)
        step = max(1, _TILE // len(right))
        for start in range(0, len(queries), step):
            part = slice(start, start + step)
            limit = np.minimum(kth[part], distances[part, -1])
            bound = rounding_bound(metric, left.shape[1], left_norms[part], limit, np.float64)
            scores = left[part] @ right.T
            if metric == "squared_l2":
                scores *= -2
                scores += left_norms[part, None]
                scores += right_norms
            else:
                scores *= -1
            query, row = np.nonzero(~(scores > (limit + 4 * bound)[:, None]))
            distances[part], index[part] = _merged(
                distances[part],
                index[part],
                query,
                block,
                row,
                pair_distances(queries[part], norms[part], query, block.rows, row, metric),
            )
    return distances, index


def _merged(
    distances: Reals, index: Index, query: Index, block: Block, row: Index, found: Reals
) -> tuple[Reals, Index]:
    """Merge sorted neighbors, shape (query, k), with a list of pairs."""
    count, k = distances.shape
    query = np.concatenate([np.repeat(np.arange(count), k), query])
    found = np.concatenate([distances.ravel(), found])
    numbers = np.concatenate([index.ravel(), block.numbers[row]])
    order = np.lexsort((numbers, found, query))
    first = np.searchsorted(query[order], np.arange(count))
    best = order[first[:, None] + np.arange(k)]
    return found[best], numbers[best]
