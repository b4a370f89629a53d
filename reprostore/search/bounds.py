"""How far the scores of a matrix product may be from the distances of the float64 kernel."""

import numpy as np

from reprostore.search.kernel import Metric, Reals


def rounding_bound(
    metric: Metric, dimension: int, query_norms: Reals, distances: Reals, dtype: type
) -> Reals:
    """Bound the error of a matrix-product score, for every row that lies within a distance.

    Let u be the unit roundoff of `dtype` and γ_n = nu/(1 − nu). In whatever order it is summed,
    a dot product of length d is off by at most γ_d·‖q‖‖t‖ (Higham, eq. 3.5, with Cauchy–Schwarz).

    ``cosine``: the norms are 1; the two unit vectors, each divided by its rounded norm and rounded
    itself, add at most 4u(1 + 4u).

    ``squared_l2``: a score is ‖q‖² + ‖t‖² − 2q·t of centered vectors. Three dot products and two
    additions are off by γ_{d+2}(‖q‖ + ‖t‖)², and rounding the vectors to `dtype` moves the true
    distance by (2u + u²)(‖q‖ + ‖t‖)²: the error scales with the norms, not with the distance,
    which is why near-duplicates cannot be ordered by it. ‖t‖ need not be known: a row within
    the squared distance D has ‖t‖ ≤ ‖q‖ + √D, so that (2‖q‖ + √D)² stands for the square, and
    an outlier elsewhere in the corpus costs nothing.

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
        Squared norms of the centered queries.
    distances : ndarray of float64, shape (query,)
        D, the distance within which rows matter; lower is nearer.
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
    gamma, tiny = _relative(dimension, dtype), _absolute(dimension, dtype)
    if metric == "cosine":
        return np.full(len(distances), gamma + 2 * tiny)
    scale = np.square(2 * np.sqrt(query_norms) + np.sqrt(distances))
    bound = gamma * scale + tiny * (1 + np.sqrt(scale))
    return np.where(scale < float(np.finfo(dtype).max) / 8, bound, np.inf)


def farthest(metric: Metric, dimension: int, query_norms: Reals, scores: Reals) -> Reals:
    """Bound the distance of a row with a given float32 score.

    For ``squared_l2``, D ≤ s + γ(2‖q‖ + √D)² and (x + y)² ≤ 2x² + 2y² give
    D ≤ (s + 8γ‖q‖²)/(1 − 2γ). Sums that overflow give infinity or NaN; minus infinity only for
    queries so long that their rounding bound is infinite.

    Parameters
    ----------
    metric, dimension, query_norms
        As in `rounding_bound`.
    scores : ndarray of float64, shape (query,)
        One score s for each query.

    Returns
    -------
    ndarray of float64, shape (query,)
        No row with such a score is farther; infinite where nothing can be said.
    """
    gamma, tiny = _relative(dimension, np.float32), _absolute(dimension, np.float32)
    if metric == "cosine":
        return scores + (gamma + 2 * tiny)
    factor = gamma + tiny
    if factor >= 0.25:
        return np.full(len(scores), np.inf)
    limit = (np.maximum(scores, 0) + 8 * factor * query_norms + 2 * tiny) / (1 - 2 * factor)
    return np.where(limit < np.inf, limit, np.inf)


def _relative(dimension: int, dtype: type) -> float:
    terms = (dimension + 32) * float(np.finfo(dtype).eps) / 2
    return terms / (1 - terms) if terms < 1 else np.inf


def _absolute(dimension: int, dtype: type) -> float:
    return 4 * dimension * float(np.finfo(dtype).tiny)
