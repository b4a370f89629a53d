"""C_T: whether samples are nearer to the training items than unseen real items are."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import SpecError
from reprostore.search import knn
from reprostore_analyses.kernels.checks import Floats, finite
from reprostore_analyses.kernels.kmeans import kmeans, nearest_center
from reprostore_analyses.kernels.rank_test import mann_whitney

DIMENSIONS = 64
FEWEST = 20
"""Cells with no more generated items than this are left out."""


class CopyingTest(NamedTuple):
    """C_T with what it was computed from.

    Attributes
    ----------
    value : float
        Far below 0: copying; far above: underfitting. NaN where `reason` says why.
    deviation : float
        Its standard deviation without copying, √Σw² with the weights w of the cells: 1 for one
        cell, 1/√3 for three of equal weight.
    cells : ndarray of float64, (cell,)
        z-score of each cell; NaN of cells that were left out.
    reason : str
        Why there is no value; else empty.
    """

    value: float
    deviation: float
    cells: Floats
    reason: str = ""


def data_copying(
    *,
    generated: NDArray[np.floating],
    train: NDArray[np.floating],
    test: NDArray[np.floating],
    rng: np.random.Generator,
    cells: int = 3,
) -> CopyingTest:
    """Compute C_T.

    Per cell of the training set, the z-score of the Mann–Whitney statistic of the distances to the
    nearest training item, generated against test items; their mean, weighted by the share of test
    items in each cell, over the cells with more than 20 generated items.

    Parameters
    ----------
    generated, train, test : ndarray, shapes (sample, d), (item, d), (item, d)
        Vectors of one space. Those of more than 64 dimensions are projected on the first 64
        principal components of `train`.
    rng : numpy.random.Generator
        Of the clustering.
    cells : int
        Number of cells.

    Returns
    -------
    CopyingTest
        About normal without copying, with mean 0 and the `deviation` given, if generated and test
        items come from one distribution and cells are large.

    Raises
    ------
    SpecError
        The vectors differ in length, or are not finite.

    References
    ----------
    Meehan, Chaudhuri & Dasgupta 2020, "A Non-Parametric Test to Detect Data-Copying in Generative
    Models", arXiv 2004.05675, section 3; casey-meehan/data-copying, ``data_copying_tests.py``
    (cells with more than 20 generated items); dgm-eval (PCA to 64 dimensions).
    """
    parts = [finite(part, "vectors") for part in (generated, train, test)]
    if any(part.ndim != 2 for part in parts) or len({part.shape[1] for part in parts}) > 1:
        raise SpecError(
            f"The vectors have the shapes {', '.join(str(part.shape) for part in parts)}.",
            "All sets have the shape (item, d), with one d.",
            "Use vectors of one encoder.",
        )
    made, seen, unseen = parts
    if min(map(len, parts)) == 0:
        return CopyingTest(np.nan, np.nan, np.empty(0), "a set is empty")
    if seen.shape[1] > DIMENSIONS:
        center = seen.mean(axis=0)
        axes = _principal_axes(seen - center)
        made, seen, unseen = ((part - center) @ axes for part in (made, seen, unseen))
    centers = kmeans(seen, cells, rng)
    own = nearest_center(seen, centers)
    scores = np.full(len(centers), np.nan)
    weights = np.zeros(len(centers))
    for cell in range(len(centers)):
        mine = seen[own == cell]
        inside = [part[nearest_center(part, centers) == cell] for part in (made, unseen)]
        if len(inside[0]) <= FEWEST or len(inside[1]) == 0 or len(mine) == 0:
            continue
        near = [knn(part, mine, 1, "squared_l2").values[:, 0] for part in inside]
        scores[cell] = mann_whitney(near[0], near[1]).z
        weights[cell] = len(inside[1]) / len(unseen)
    used = ~np.isnan(scores)
    if not used.any():
        reason = f"no cell has more than {FEWEST} generated items beside held-out items"
        return CopyingTest(np.nan, np.nan, scores, reason)
    weights = weights[used] / weights[used].sum()
    return CopyingTest(float(weights @ scores[used]), float(np.linalg.norm(weights)), scores)


def _principal_axes(centered: Floats) -> Floats:
    """Return the first principal axes as columns, (d, `DIMENSIONS` or fewer)."""
    if len(centered) < centered.shape[1]:
        _, _, axes = np.linalg.svd(centered, full_matrices=False)
        return np.asarray(axes[:DIMENSIONS].T)
    _, vectors = np.linalg.eigh(centered.T @ centered)
    return np.asarray(vectors[:, ::-1][:, :DIMENSIONS])
