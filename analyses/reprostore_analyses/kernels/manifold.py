"""Precision, recall, density and coverage: balls around items as an estimate of the manifold."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reprostore.search import knn
from reprostore.search.kernel import pair_distances
from reprostore_analyses.kernels.checks import Floats
from reprostore_analyses.kernels.frechet import vector_sets

BLOCK_VALUES = 2**22
"""Distances of one block: 32 MiB in float64."""


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
    Squared distances are computed in float64 as ‖x‖² + ‖y‖² − 2 xᵀy, in blocks about the mean of
    the real items. Those that are within rounding of a radius are computed once more, as sums of
    squared differences, like the radii. So a sample that copies the k-th neighbor of an item lies
    exactly on the edge of its ball, where ≤ and < differ: the density of a copy of the real items
    is 1, and not, as rounding decides, up to 7 % more.

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
    places = [k - 1, k_density - 1]
    real_radii, own_radii = _radii(a, most)[:, places], _radii(b, most)[:, k - 1]
    center = a.mean(axis=0)
    made = b - center
    norms = np.vecdot(made, made)
    precise = np.zeros(len(b), dtype=bool)
    density = np.zeros(len(b))
    recalled, covered = np.zeros(len(a), dtype=bool), np.zeros(len(a), dtype=bool)
    length = max(1, BLOCK_VALUES // len(b))
    for start in range(0, len(a), length):
        part = slice(start, min(start + length, len(a)))
        squared = _squared_distances(a[part] - center, made, norms)
        limits = [own_radii, *real_radii[part].T[:, :, None]]
        slack = _rounding(a[part] - center, norms)[:, None]
        doubtful = np.zeros(squared.shape, dtype=bool)
        for limit in limits:
            doubtful |= np.abs(squared - limit) <= slack
        item, sample = np.nonzero(doubtful)
        squared[item, sample] = pair_distances(b, norms, sample, a[part], item, "squared_l2")
        recalled[part] = (squared <= limits[0]).any(axis=1)
        precise |= (squared <= limits[1]).any(axis=0)
        inside = squared < limits[2]
        density += inside.sum(axis=0)
        covered[part] = inside.any(axis=1)
    return Manifold(precise, recalled, density / k_density, covered)


def _squared_distances(items: Floats, samples: Floats, norms: Floats) -> Floats:
    """Return (item, sample) squared distances; `norms` are the squared ones of the samples."""
    squared = items @ samples.T
    squared *= -2
    squared += norms
    squared += np.vecdot(items, items)[:, None]
    return squared


def _rounding(items: Floats, norms: Floats) -> Floats:
    """Bound how far each item's squared distances are from sums of squared differences, (item,).

    γ(‖x‖ + ‖y‖)² ≤ 2γ(‖x‖² + ‖y‖²), γ as in `reprostore.search.bounds.rounding_bound`.
    """
    gamma = (items.shape[1] + 32) * float(np.finfo(np.float64).eps) / 2
    return np.asarray(2 * gamma * (np.vecdot(items, items) + norms.max()))


def _radii(items: Floats, k: int) -> Floats:
    """Return the squared distances of each item to its k nearest others, (item, k)."""
    found = knn(items, items, k + 1, "squared_l2")
    own = found.index == np.arange(len(items))[:, None]
    own[~own.any(axis=1), -1] = True  # one of many exact duplicates
    return np.asarray(found.values[~own].reshape(len(items), k))
