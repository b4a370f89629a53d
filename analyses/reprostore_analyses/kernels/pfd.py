"""Distances between the noise-to-sample maps of two models, at shared noise."""

import numpy as np
from numpy.typing import ArrayLike

from reprostore.errors import SpecError
from reprostore_analyses.kernels.checks import Array, Floats, per_seed, row_blocks, same_shape


def squared_distances(a: Array, b: Array) -> Floats:
    """Compute ‖a_i − b_i‖² of the samples of the same seed in two runs.

    Parameters
    ----------
    a, b : ndarray, shape (seed, …)
        Vectors or images of any real dtype, compared in float64.

    Returns
    -------
    ndarray of float64, shape (seed,)
        In the squared units of the input.

    Raises
    ------
    SpecError
        Shapes differ, there is no axis beside that of the seeds, or a value is not finite.
    """
    left, right = _rows(a, b)
    found = np.empty(len(left))
    for rows in row_blocks(*left.shape):
        difference = left[rows].astype(np.float64) - right[rows].astype(np.float64)
        found[rows] = np.vecdot(difference, difference)
    return per_seed(found, "squared distances")


def mismatched_squared_distance(a: Array, b: Array) -> float:
    """Compute the mean of ‖a_i − b_j‖² over all i ≠ j: samples of different noise.

    Parameters
    ----------
    a, b : ndarray, shape (seed, …)
        As in `squared_distances`.

    Returns
    -------
    float
        In the squared units of the input; NaN with fewer than two seeds.

    Raises
    ------
    SpecError
        As `squared_distances`.

    Notes
    -----
    Σ_{ij} ‖a_i − b_j‖² = n Σ‖a_i − c‖² + n Σ‖b_j − c‖² − 2 (Σ(a_i − c))·(Σ(b_j − c)) for any c, so
    all pairs cost no more than the matching ones. With c the mean of b the last term vanishes,
    and nothing cancels.
    """
    left, right = _rows(a, b)
    seeds = len(left)
    if seeds < 2:
        return float("nan")
    center = right.mean(axis=0, dtype=np.float64)
    spread = 0.0
    for rows in row_blocks(*left.shape):
        for part in (left, right):
            centered = part[rows].astype(np.float64) - center
            spread += float(np.vdot(centered, centered))
    matching = float(squared_distances(left, right).sum())
    return (seeds * spread - matching) / (seeds * (seeds - 1))


def probability_flow_distance(squared: ArrayLike) -> Floats:
    """Compute PFD = √(mean over seeds of ‖x_1 − x_2‖²).

    Parameters
    ----------
    squared : array_like, shape (…, seed)
        ‖x_1 − x_2‖², x_1 and x_2 the samples of two models from the same noise under a
        deterministic sampler; in pixels or in an encoder's space.

    Returns
    -------
    ndarray of float64, shape (…)
        At least 0, in the units of x; NaN without seeds.

    Raises
    ------
    SpecError
        A value is NaN or negative.

    References
    ----------
    Zhang et al. 2025, arXiv 2505.20123; the root of the mean square is remembered, not checked
    against the paper.
    """
    values = per_seed(squared, "squared distances")
    if np.any(values < 0):
        raise SpecError(
            "A squared distance is negative.",
            "Squared distances are at least 0.",
            "Pass what `squared_distances` returns.",
        )
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], np.nan)
    return np.asarray(np.sqrt(values.mean(axis=-1)))


def _rows(a: Array, b: Array) -> tuple[Array, Array]:
    same_shape(a, b, "samples")
    if a.ndim < 2:
        raise SpecError(
            f"The samples have the shape {a.shape}.",
            "Samples have the shape (seed, …), with at least one value each.",
            "Pass the vectors or images of all seeds, seeds first.",
        )
    return a.reshape(len(a), -1), b.reshape(len(b), -1)
