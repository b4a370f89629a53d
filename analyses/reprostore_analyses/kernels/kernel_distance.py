"""Kernel distance: the squared maximum mean discrepancy with a polynomial kernel."""

import numpy as np
from numpy.typing import NDArray

from reprostore_analyses.kernels.checks import Floats, positive
from reprostore_analyses.kernels.frechet import vector_sets


def kernel_distances(
    *,
    real: NDArray[np.floating],
    generated: NDArray[np.floating],
    rng: np.random.Generator,
    subsets: int = 100,
    subset_size: int | None = None,
) -> Floats:
    """Compute the unbiased MMD² of random subsets, whose mean is the KID.

    Parameters
    ----------
    real, generated : ndarray, shapes (item, d) and (sample, d)
        Vectors of one space.
    rng : numpy.random.Generator
        Of the subsets, which are drawn without replacement.
    subsets : int
        How many.
    subset_size : int, optional
        min(1000, n/2) by default, n the size of the smaller set, so that subsets differ.

    Returns
    -------
    ndarray of float64, shape (subset,)
        Around 0 for equal distributions, also below; lower is closer. Empty where the smaller
        set has fewer than four vectors.

    Raises
    ------
    SpecError
        The vectors differ in length, or are not finite.

    References
    ----------
    Bińkowski et al. 2018, arXiv 1801.01401, kernel (xᵀy/d + 1)³, eq. 4 for the unbiased
    estimate; toshas/torch-fidelity, ``metric_kid.py``.
    """
    positive(subsets, "subsets")
    a, b = vector_sets(real, generated)
    size = min(1000, min(len(a), len(b)) // 2) if subset_size is None else subset_size
    if size < 2:
        return np.empty(0)
    found = np.empty(subsets)
    for subset in range(subsets):
        x = a[rng.choice(len(a), size, replace=False)]
        y = b[rng.choice(len(b), size, replace=False)]
        found[subset] = squared_discrepancy(x, y)
    return found


def squared_discrepancy(x: Floats, y: Floats) -> float:
    """Compute the unbiased MMD² of two sets with the kernel (xᵀy/d + 1)³.

    Parameters
    ----------
    x, y : ndarray of float64, shape (item, d)
        At least two vectors each.
    """
    dimension = x.shape[1]

    def kernel(left: Floats, right: Floats) -> Floats:
        return np.asarray((left @ right.T / dimension + 1) ** 3)

    total = 0.0
    for part in (x, y):
        within = kernel(part, part)
        total += float(within.sum() - np.trace(within)) / (len(part) * (len(part) - 1))
    return total - 2 * float(kernel(x, y).mean())
