"""k-means clustering, small and repeatable."""

import numpy as np
from numpy.typing import NDArray

from reprostore_analyses.kernels.checks import Floats, positive

RESTARTS, STEPS = 10, 100


def kmeans(points: NDArray[np.floating], cells: int, rng: np.random.Generator) -> Floats:
    """Find centers by Lloyd's algorithm from k-means++ starts, the best of `RESTARTS`.

    Parameters
    ----------
    points : ndarray, shape (point, d)
        Finite.
    cells : int
        Number of centers; fewer where there are fewer distinct points.
    rng : numpy.random.Generator
        Source of all randomness.

    Returns
    -------
    ndarray of float64, shape (cell, d)
        The centers.

    References
    ----------
    Arthur & Vassilvitskii 2007, "k-means++: The advantages of careful seeding".
    """
    positive(cells, "cells")
    values = np.asarray(points, dtype=np.float64)
    best, least = values[:1], np.inf
    for _ in range(RESTARTS):
        centers = _start(values, cells, rng)
        cell = nearest_center(values, centers)
        for _ in range(STEPS):
            members = (cell == np.unique(cell)[:, None]).astype(np.float64)
            centers = members @ values / members.sum(axis=1, keepdims=True)
            moved = nearest_center(values, centers)
            if np.array_equal(moved, cell):
                break
            cell = moved
        spread = float(np.square(values - centers[cell]).sum())
        if spread < least:
            best, least = centers, spread
    return best


def nearest_center(points: NDArray[np.floating], centers: Floats) -> NDArray[np.int64]:
    """Return the nearest center of each point, (point,); ties go to the first."""
    values = np.asarray(points, dtype=np.float64)
    squared = np.vecdot(centers, centers) - values @ (2 * centers.T)
    return np.asarray(squared.argmin(axis=1), dtype=np.int64)


def _start(values: Floats, cells: int, rng: np.random.Generator) -> Floats:
    centers = [values[rng.integers(len(values))]]
    squared = np.square(values - centers[0]).sum(axis=1)
    while len(centers) < cells and squared.sum() > 0:
        chosen = rng.choice(len(values), p=squared / squared.sum())
        centers.append(values[chosen])
        squared = np.minimum(squared, np.square(values - values[chosen]).sum(axis=1))
    return np.stack(centers)
