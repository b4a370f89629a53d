"""From an engine's float32 candidates to the exact neighbors, the same for every engine."""

from collections.abc import Callable
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from reprostore.search.blocks import Block, Blocks
from reprostore.search.bounds import farthest, rounding_bound
from reprostore.search.kernel import (
    Index,
    Metric,
    Reals,
    Rows,
    pair_distances,
    prepared,
    squared_norms,
)

SPARE = 8
"""Candidates beyond k: the last one shows how far away everything else is."""

_CENTER_ROWS = 1024
"""About how many rows of the first block the center is the mean of."""

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
    stream = iter(blocks)
    first = next(stream)
    center = np.zeros(queries.shape[1])  # no shift leaves a cosine unchanged
    if metric == "squared_l2":
        center = _middle(first.rows)
    best = _Best(queries, center, min(k + SPARE, len(blocks)), k, metric)
    left = prepared(queries, best.norms, center, metric, np.float32)
    for block in chain([first], stream):
        right = prepared(block.rows, block.norms, center, metric, np.float32)
        best.add(block, *candidates(left, right, min(best.count, len(right)), metric))
    distances, index = best.sorted()
    doubtful = np.flatnonzero(best.doubtful(distances[:, -1], len(blocks)))
    if doubtful.size:
        distances[doubtful], index[doubtful] = _in_full(
            queries[doubtful], blocks, center, distances[doubtful, -1], k, metric
        )
    return distances, index


def _middle(rows: Rows) -> Reals:
    """Return a point amid the rows, float64 with float32 values; any point leaves results equal.

    Rows of float32 less such a point are rounded once, without a detour through float64.
    """
    some = rows[:: max(1, len(rows) // _CENTER_ROWS)]
    middle: Reals = some.mean(axis=0, dtype=np.float64).astype(np.float32).astype(np.float64)
    return middle


class _Best:
    """The candidates with the best scores so far, and the distances of those that can matter."""

    def __init__(self, queries: Rows, center: Reals, count: int, k: int, metric: Metric) -> None:
        self.queries, self.count, self.k, self.metric = queries, count, k, metric
        self.norms = squared_norms(queries)
        self.centered_norms = (
            squared_norms(queries - center) if metric == "squared_l2" else self.norms
        )
        self.scores = np.full((len(queries), count), np.inf, np.float32)
        self.distances = np.full((len(queries), count), np.inf)
        self.index = np.full((len(queries), count), -1)

    def add(self, block: Block, scores: NDArray[np.float32], position: Index) -> None:
        """Merge the candidates of a block, and compute distances while its rows are in memory."""
        both = np.concatenate([self.scores, scores], axis=1)
        kept = np.argpartition(both, self.count - 1, axis=1)[:, : self.count]
        self.scores = np.take_along_axis(both, kept, axis=1)
        numbers = np.where(position < 0, -1, block.numbers[position])
        self.index = np.take_along_axis(np.concatenate([self.index, numbers], axis=1), kept, axis=1)
        self.distances = np.take_along_axis(
            np.pad(self.distances, [(0, 0), (0, scores.shape[1])], constant_values=np.inf),
            kept,
            axis=1,
        )
        limit = self._limit()
        query, slot = np.nonzero(
            (kept >= self.count) & (self.index >= 0) & ~(self.scores > limit[:, None])
        )
        row = position[query, kept[query, slot] - self.count]
        self.distances[query, slot] = pair_distances(
            self.queries, self.norms, query, block.rows, row, self.metric
        )

    def _limit(self) -> Reals:
        """Return the score beyond which no row can be among the k nearest."""
        kth = np.partition(self.scores, self.k - 1, axis=1)[:, self.k - 1].astype(np.float64)
        far = farthest(self.metric, self.queries.shape[1], self.centered_norms, kth)
        return far + self._bound(far)

    def _bound(self, distances: Reals) -> Reals:
        return rounding_bound(
            self.metric, self.queries.shape[1], self.centered_norms, distances, np.float32
        )

    def sorted(self) -> tuple[Reals, Index]:
        """Return the k nearest candidates by (distance, row number)."""
        order = np.lexsort((self.index, self.distances), axis=1)[:, : self.k]
        return (
            np.take_along_axis(self.distances, order, axis=1),
            np.take_along_axis(self.index, order, axis=1),
        )

    def doubtful(self, kth: Reals, total: int) -> NDArray[np.bool_]:
        """Say for which queries a row that is no candidate could be within the distance `kth`."""
        last = self.scores.max(axis=1) if self.count < total else np.inf
        with np.errstate(invalid="ignore"):  # inf - inf is NaN, which is above nothing
            return ~(kth < last - self._bound(kth))


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
