"""The float64 distance that decides every order, and how far a matrix product may be from it."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Metric = Literal["cosine", "squared_l2"]
Rows = NDArray[Any]
Index = NDArray[np.int64]
Reals = NDArray[np.float64]

_CHUNK = 2**17
"""Float64 values of one chunk of pairs, 1 MiB: it stays in the cache."""

_ZERO_NORM = 1e-120
"""Squared norm below which a vector is zero; that of any other float32 vector is above 1e-90."""


def ordered_sum(terms: Reals) -> Reals:
    """Sum each row in an order that depends on nothing but its length; `terms` is overwritten.

    The second half of the row is added onto the first, again and again. Only element-wise
    additions occur, so that the bits of a row's sum depend neither on the other rows nor on a
    library's blocking, and the rounding error grows with ⌈log2 d⌉ instead of d.

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
    while length > 1:
        half = (length + 1) // 2
        head = terms[:, : length - half]
        np.add(head, terms[:, half:length], out=head)
        length = half
    return terms[:, 0].copy()


def squared_norms(rows: Rows) -> Reals:
    """Return the squared norm of each row, summed as in `pair_distances`; shape (row,)."""
    every = np.arange(len(rows))
    norms = np.empty(len(rows))
    for part in _chunks(every, rows.shape[1]):
        values = rows[part].astype(np.float64)
        norms[part] = ordered_sum(values * values)
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
    for part in _chunks(np.arange(len(query)), queries.shape[1]):
        left = queries[query[part]].astype(np.float64)
        right = rows[row[part]].astype(np.float64)
        if metric == "squared_l2":
            left -= right
            distances[part] = ordered_sum(np.multiply(left, left, out=left))
        else:
            left *= right
            dot = ordered_sum(left)
            row_norms = ordered_sum(np.multiply(right, right, out=right))
            zero = (query_norms[query[part]] < _ZERO_NORM) | (row_norms < _ZERO_NORM)
            scale = np.where(zero, 1.0, query_norms[query[part]] * row_norms)
            size = np.minimum(np.sqrt(dot * dot / scale), 1.0)
            distances[part] = np.where(zero, 0.0, -np.copysign(size, dot))
    return distances


def _chunks(every: Index, dimension: int) -> list[slice]:
    step = max(1, _CHUNK // dimension)
    return [slice(start, start + step) for start in range(0, len(every), step)]


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
        `numpy.float32` or `numpy.float64`; the arithmetic is float64, rounded once to this.

    Returns
    -------
    ndarray, shape (row, d)
        C-contiguous.
    """
    result = np.empty(rows.shape, dtype)
    with np.errstate(over="ignore"):
        if metric == "squared_l2":
            np.subtract(rows, center, out=result, casting="same_kind")
        else:
            lengths = np.where(norms < _ZERO_NORM, np.inf, np.sqrt(norms))
            np.divide(rows, lengths[:, None], out=result, casting="same_kind")
    return result


def rounding_bound(
    metric: Metric, dimension: int, query_norms: Reals, distances: Reals, dtype: type
) -> Reals:
    """Bound the error of a matrix-product score, for every row that could be near enough to matter.

    Let u be the unit roundoff of `dtype` and γ_n = nu/(1 − nu). In whatever order it is summed,
    a dot product of length d is off by at most γ_d·‖q‖‖t‖ (Higham, eq. 3.5, with Cauchy–Schwarz).

    ``cosine``: the norms are 1; rounding the two unit vectors to `dtype` adds 2u + u².

    ``squared_l2``: a score is ‖q‖² + ‖t‖² − 2q·t of centered vectors. Three dot products and two
    additions are off by γ_{d+2}(‖q‖ + ‖t‖)², and rounding the vectors to `dtype` moves the true
    distance by (2u + u²)(‖q‖ + ‖t‖)²: the error scales with the norms, not with the distance,
    which is why near-duplicates cannot be ordered by it. ‖t‖ need not be known: a row that is
    at least as near as the k-th neighbor, at distance d_k, has ‖t‖ ≤ ‖q‖ + √d_k, so that
    (2‖q‖ + √d_k)² stands for the square, and an outlier elsewhere in the corpus costs nothing.

    γ_{d+32} covers these terms, the products of errors and the rounding of `pair_distances`,
    which is γ_{⌈log2 d⌉+3} in float64. Where sums could overflow, the bound is infinite; a term of
    the smallest normal number covers what underflows, even if it is flushed to zero.

    Parameters
    ----------
    metric : {"cosine", "squared_l2"}
        Which score.
    dimension : int
        Length d of the vectors.
    query_norms : ndarray of float64, shape (query,)
        Squared norms of the prepared queries.
    distances : ndarray of float64, shape (query,)
        Distance d_k of each query's k-th neighbor so far; lower is nearer.
    dtype : type
        In what the products were computed, `numpy.float32` or `numpy.float64`.

    Returns
    -------
    ndarray of float64, shape (query,)
        |score − distance| is at most this.

    References
    ----------
    N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., SIAM 2002, §3.1.
    """
    limits = np.finfo(dtype)
    unit = float(limits.eps) / 2
    terms = (dimension + 32) * unit
    gamma = terms / (1 - terms) if terms < 1 else np.inf
    if metric == "cosine":
        scale = np.ones(len(distances))
    else:
        scale = np.square(2 * np.sqrt(query_norms) + np.sqrt(distances))
    bound = gamma * scale + 4 * dimension * float(limits.tiny) * (1 + np.sqrt(scale))
    return np.where(scale < float(limits.max) / 8, bound, np.inf)
