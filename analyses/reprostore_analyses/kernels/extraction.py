"""Extracted training items: near in absolute terms, or much nearer than other items are."""

import numpy as np
from numpy.typing import ArrayLike

from reprostore.errors import SpecError
from reprostore_analyses.kernels.checks import Floats, finite, same_shape


def adaptive_ratio(nearest: ArrayLike, neighborhood: ArrayLike, alpha: float = 0.5) -> Floats:
    """Compute ℓ(x̂, x)/(α · mean over S of ℓ).

    Published code and text leave two readings of the neighborhood S open: the n training items
    that are nearest to the sample x̂, x among them, with their distances from x̂; or those nearest
    to the item x, without it, with their distances from x. `neighborhood` decides.

    Parameters
    ----------
    nearest : array_like, shape (sample,)
        Unsquared L2 distance of each sample to its nearest training item.
    neighborhood : array_like, shape (sample, n)
        Distances in S.
    alpha : float
        α > 0.

    Returns
    -------
    ndarray of float64, shape (sample,)
        A sample counts as extracted where it is below 1. 0 for exact copies, also where all of S
        is at distance 0.

    Raises
    ------
    SpecError
        A distance is negative or not finite, shapes differ, or α is not positive.

    References
    ----------
    Carlini et al. 2023, "Extracting Training Data from Diffusion Models", arXiv 2301.13188,
    section 5.1 (CIFAR-10; α = 0.5, n = 50).
    """
    d1, near = finite(nearest, "distances"), finite(neighborhood, "distances")
    if near.ndim != 2 or near.shape[1] == 0 or alpha <= 0:
        raise SpecError(
            f"The neighborhood has the shape {near.shape} and α is {alpha}.",
            "A neighborhood has the shape (sample, n), with n ≥ 1, and α is positive.",
            "Pass n columns of a table of neighbors.",
        )
    same_shape(d1, near[:, 0], "samples")
    scale = alpha * near.mean(axis=1)
    ratio = np.zeros(d1.shape)
    with np.errstate(divide="ignore"):
        np.divide(d1, scale, out=ratio, where=d1 > 0)
    return ratio


EDGE = 1e-6
"""Share of a limit by which a distance may exceed it by rounding."""


def normalized_distance(distance: ArrayLike, values: int) -> Floats:
    """Return ‖a − b‖/√d of vectors of d values in [0, 1]: the root mean square difference.

    References
    ----------
    Carlini et al. 2023, arXiv 2301.13188, section 4.2 (δ = 0.15 for Stable Diffusion).
    """
    return np.asarray(finite(distance, "distances") / np.sqrt(values))


def within(table: ArrayLike, limit: float) -> Floats:
    """Count the neighbors of each item within a distance.

    Parameters
    ----------
    table : array_like, shape (item, k)
        Distances to the k nearest other items, rising.
    limit : float
        Largest distance that counts.

    Returns
    -------
    ndarray of float64, shape (item,)
        At least the number that is returned lies within; exact where it is below k.
    """
    return np.asarray((finite(table, "distances") <= limit).sum(axis=1), dtype=np.float64)
