"""The float64 distance that decides every order."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reprostore.search.rowwise import by_rows

Metric = Literal["cosine", "squared_l2"]
Rows = NDArray[Any]
Index = NDArray[np.int64]
Reals = NDArray[np.float64]

_CHUNK = 2**16
"""Float64 values of one chunk of pairs, 512 KiB: it stays in the cache."""

_ZERO_NORM = 1e-120
"""Squared norm below which a vector is zero; that of any other float32 vector is above 1e-90."""


def ordered_sum(terms: Reals) -> Reals:
    """Sum each row in an order that depends on nothing but its length.

    The second half of the row, as if padded with zeros to a power of two, is added onto the first,
    again and again. Only element-wise additions occur, so that the bits of a row's sum depend
    neither on the other rows nor on a library's blocking, and the rounding error grows with
    ⌈log2 d⌉ instead of d.

    Parameters
    ----------
    terms : ndarray of float64, shape (row, d)
        The summands, d ≥ 1.

    Returns
    -------
    ndarray of float64, shape (row,)
        The sums.
    """
    length = terms.shape[1]
    half = 1 << (max(length - 1, 1).bit_length() - 1)
    sums = terms[:, :half].copy()
    sums[:, : length - half] += terms[:, half:]
    while half > 1:
        half //= 2
        sums = sums[:, :half] + sums[:, half:]
    return sums[:, 0]


def squared_norms(rows: Rows) -> Reals:
    """Return the squared norm of each row, summed as in `pair_distances`; shape (row,)."""
    norms = np.empty(len(rows))

    def fill(rows_of: slice) -> None:
        for part in _chunks(rows_of, rows.shape[1]):
            values = rows[part].astype(np.float64)
            norms[part] = ordered_sum(np.multiply(values, values, out=values))

    by_rows(fill, *rows.shape)
    return norms


def pair_distances(
    queries: Rows, query_norms: Reals, query: Index, rows: Rows, row: Index, metric: Metric
) -> Reals:
    """Compute the distance of given pairs in float64, the same bits in whatever company.

    ``squared_l2`` is the sum of squared differences. ``cosine`` is minus the similarity, which is
    sign(q·t)·√((q·t)² / (‖q‖²‖t‖²)), so that parallel vectors of integers, for which every
    term is exact, tie exactly, and a vector has similarity 1 to itself; dividing each vector by
    its rounded norm first would do neither. A zero vector has similarity 0 to everything.

    Parameters
    ----------
    queries, rows : ndarray, shapes (query, d) and (row, d)
        Vectors in the dtype they were given in.
    query_norms : ndarray of float64, shape (query,)
        `squared_norms` of the queries.
    query, row : ndarray of int64, shape (pair,)
        Which query and which row make up each pair.
    metric : {"cosine", "squared_l2"}
        What to compute.

    Returns
    -------
    ndarray of float64, shape (pair,)
        Distances, lower is nearer; in [-1, 1] for ``cosine``.
    """
    distances = np.empty(len(query))

    def fill(pairs: slice) -> None:
        for part in _chunks(pairs, queries.shape[1]):
            left = queries[query[part]].astype(np.float64)
            right = rows[row[part]].astype(np.float64)
            if metric == "squared_l2":
                left -= right
                distances[part] = ordered_sum(np.multiply(left, left, out=left))
            else:
                norms = query_norms[query[part]]
                distances[part] = _minus_cosine(left, norms, right)

    by_rows(fill, len(query), queries.shape[1])
    return distances


def _minus_cosine(left: Reals, left_norms: Reals, right: Reals) -> Reals:
    left *= right
    dot = ordered_sum(left)
    right_norms = ordered_sum(np.multiply(right, right, out=right))
    zero = (left_norms < _ZERO_NORM) | (right_norms < _ZERO_NORM)
    scale = np.where(zero, 1.0, left_norms * right_norms)
    size = np.minimum(np.sqrt(dot * dot / scale), 1.0)
    return np.where(zero, 0.0, -np.copysign(size, dot))


def _chunks(rows: slice, dimension: int) -> list[slice]:
    step = max(1, _CHUNK // dimension)
    starts = range(rows.start, rows.stop, step)
    return [slice(start, min(start + step, rows.stop)) for start in starts]


def prepared(rows: Rows, norms: Reals, center: Reals, metric: Metric, dtype: type) -> Rows:
    """Return vectors as the matrix products take them: unit length, or centered.

    Parameters
    ----------
    rows : ndarray, shape (row, d)
        Vectors as given.
    norms : ndarray of float64, shape (row,)
        Their squared norms.
    center : ndarray of float64, shape (d,)
        Subtracted for ``squared_l2``, which no common shift changes; a large one costs digits.
    metric : {"cosine", "squared_l2"}
        For ``cosine`` each row is divided by its norm; a zero vector stays zero.
    dtype : type
        `numpy.float32` or `numpy.float64`; float32 vectors of ordinary length are divided by
        their rounded norm, within 2u of the exact quotient, and float32 values of `center` are
        subtracted in float32, which rounds once; else the arithmetic is float64.

    Returns
    -------
    ndarray, shape (row, d)
        C-contiguous.
    """
    result: Rows = np.empty(rows.shape, dtype)
    lengths = np.where(norms < _ZERO_NORM, np.inf, np.sqrt(norms))
    finite = lengths[lengths < np.inf]
    single = rows.dtype == dtype == np.float32
    if single and ((finite > 1e-30) & (finite < 1e30)).all():
        lengths = lengths.astype(np.float32)
    if single and (center == center.astype(np.float32)).all():
        center = center.astype(np.float32)

    def fill(part: slice) -> None:
        with np.errstate(over="ignore"):  # in every thread: the setting is a thread's own
            if metric == "squared_l2":
                np.subtract(rows[part], center, out=result[part], casting="same_kind")
            else:
                divisor = lengths[part, None]
                np.divide(rows[part], divisor, out=result[part], casting="same_kind")

    by_rows(fill, *rows.shape)
    return result
