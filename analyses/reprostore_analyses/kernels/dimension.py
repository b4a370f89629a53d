"""The intrinsic dimension of items, from how the distances to their neighbors grow."""

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import SpecError
from reprostore_analyses.kernels.checks import Array, Floats, finite


def distinct_items(items: Array) -> NDArray[np.int64]:
    """Find the first of each set of items that are equal in every value.

    Parameters
    ----------
    items : ndarray, shape (item, …)
        Of any dtype.

    Returns
    -------
    ndarray of int64, shape (distinct,)
        Their positions, in increasing order. A duplicate has a neighbor at distance 0, of which
        estimators of the dimension can make nothing.
    """
    rows = np.ascontiguousarray(items.reshape(len(items), -1))
    if rows.dtype.kind == "f":
        rows = rows + 0.0  # -0.0 becomes 0.0, to which it is equal
    whole = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first = np.unique(whole, return_index=True)
    return np.sort(first).astype(np.int64)


def log_distance_ratios(squared_distances: Array) -> Floats:
    """Compute (1/(k − 1)) Σ_{j<k} ln(T_k/T_j) for each item, T_j the distance to neighbor j.

    Where items are spread evenly over a neighborhood of dimension d, ln(T_k/T_j) of a random j
    is exponential with mean 1/d. So the mean over items estimates 1/d: for k = 2 this is the
    TwoNN estimator in its maximum-likelihood form, for larger k that of Levina and Bickel,
    averaged as MacKay and Ghahramani propose.

    Parameters
    ----------
    squared_distances : ndarray, shape (item, k)
        T_j², to the k ≥ 2 nearest other items, nearest first, none of them 0.

    Returns
    -------
    ndarray of float64, shape (item,)
        At least 0; its mean has the expectation 1/d.

    Raises
    ------
    SpecError
        There are fewer than two neighbors, they are not sorted, or a distance is 0 or NaN.

    Notes
    -----
    The original TwoNN fits a line to the empirical distribution of T_2/T_1 and leaves out its
    largest tenth; the form here uses all items, and has a per-item value that can be averaged.

    References
    ----------
    Facco, d'Errico, Rodriguez & Laio 2017, "Estimating the intrinsic dimension of datasets by a
    minimal neighborhood information", Scientific Reports 7; Levina & Bickel 2004, "Maximum
    likelihood estimation of intrinsic dimension", eq. 8; MacKay & Ghahramani 2005, comments on it.
    """
    distances = finite(squared_distances, "distances")
    if distances.ndim != 2 or distances.shape[1] < 2:
        raise SpecError(
            f"The distances have the shape {distances.shape}.",
            "Distances have the shape (item, k), with at least two neighbors.",
            "Search for more neighbors.",
        )
    if np.any(distances <= 0) or np.any(np.diff(distances, axis=1) < 0):
        raise SpecError(
            "Some distances are 0, or are not sorted.",
            "Distances to other, distinct items are positive, nearest first.",
            "Leave out duplicates and the item itself.",
        )
    logs = np.log(distances) / 2  # of the distance itself
    return np.asarray((logs[:, -1:] - logs[:, :-1]).mean(axis=1))
