"""Precision, recall, density and coverage: balls around items as an estimate of the manifold."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reprostore.search import knn
from reprostore_analyses.kernels.checks import Floats
from reprostore_analyses.kernels.frechet import vector_sets

BLOCK_VALUES = 2**24
"""Distances of one block: 128 MiB in float64."""


class Manifold(NamedTuple):
    """Per item, what precision, recall, density and coverage are means of.

    Attributes
    ----------
    precise : ndarray of bool, (sample,)
        Whether the sample lies in the ball of a real item, of radius of its k-th neighbor, ≤.
    recalled : ndarray of bool, (item,)
        Whether the real item lies in the ball of a sample.
    density : ndarray of float64, (sample,)
        In how many balls of real items the sample lies, <, over k.
    covered : ndarray of bool, (item,)
        Whether the ball of the real item holds a sample, <.
    """

    precise: NDArray[np.bool_]
    recalled: NDArray[np.bool_]
    density: Floats
    covered: NDArray[np.bool_]


def manifold(
    *,
    real: NDArray[np.floating],
    generated: NDArray[np.floating],
    k: int = 3,
    k_density: int = 5,
) -> Manifold | None:
    """Compare samples with real items by the balls that reach to their k-th nearest neighbors.

    Parameters
    ----------
    real, generated : ndarray, shapes (item, d) and (sample, d)
        Vectors of one space.
    k : int
        Of precision and recall.
    k_density : int
        Of density and coverage.

    Returns
    -------
    Manifold or None
        None where a set has no more than max(k, k_density) vectors, and so no k-th neighbor.

    Raises
    ------
    SpecError
        The vectors differ in length, or are not finite.

    Notes
    -----
    Distances are computed in float64 as ‖x‖² + ‖y‖² − 2 xᵀy in blocks about the mean of the real
    items; an item that lies on the very edge of a ball may fall to either side by rounding, but
    for exact copies, whose distance to each other is set to exactly 0.

    References
    ----------
    Kynkäänniemi et al. 2019, arXiv 1904.06991, eq. 1–2 (k = 3); toshas/torch-fidelity,
    ``metric_prc.py`` (≤). Naeem et al. 2020, arXiv 2002.09797, eq. 4–5; dgm-eval,
    ``prdc.py`` (k = 5, <).
    """
    a, b = vector_sets(real, generated)
    most = max(k, k_density)
    if min(len(a), len(b)) <= most:
        return None
    radii = [np.sqrt(_radii(part, most)[:, [k - 1, k_density - 1]]) for part in (a, b)]
    center = a.mean(axis=0)
    a, b = a - center, b - center
    norms = np.vecdot(b, b)
    precise = np.zeros(len(b), dtype=bool)
    density = np.zeros(len(b))
    recalled, covered = np.zeros(len(a), dtype=bool), np.zeros(len(a), dtype=bool)
    length = max(1, BLOCK_VALUES // len(b))
    for start in range(0, len(a), length):
        part = slice(start, start + length)
        squared = np.vecdot(a[part], a[part])[:, None] + norms - 2 * a[part] @ b.T
        # What cancels is at most of the order of the rounding of the norms.
        squared[squared < 1e-13 * (norms + norms.max())] = 0.0
        distance = np.sqrt(squared, out=squared)
        inside = distance <= radii[0][part, :1]
        precise |= inside.any(axis=0)
        recalled[part] = (distance <= radii[1][:, 0]).any(axis=1)
        inside = distance < radii[0][part, 1:]
        density += inside.sum(axis=0)
        covered[part] = inside.any(axis=1)
    return Manifold(precise, recalled, density / k_density, covered)


def _radii(items: Floats, k: int) -> Floats:
    """Return the squared distances of each item to its k nearest others, (item, k)."""
    found = knn(items, items, k + 1, "squared_l2")
    own = found.index == np.arange(len(items))[:, None]
    own[~own.any(axis=1), -1] = True  # one of many exact duplicates
    return np.asarray(found.values[~own].reshape(len(items), k))
