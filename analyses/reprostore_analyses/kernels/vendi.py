"""Vendi score: the effective number of distinct items."""

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import SpecError
from reprostore_analyses.kernels.checks import finite


def vendi_score(vectors: NDArray[np.floating]) -> float:
    """Compute exp(−Σ λ ln λ) of the eigenvalues λ of K/n, K the matrix of cosines.

    Parameters
    ----------
    vectors : ndarray, shape (item, d)
        Finite. Zero vectors, such as those of blank images, count as alike, and as similar to
        nothing else.

    Returns
    -------
    float
        From 1 (all items alike) to n (all orthogonal), and at most d where no vector is zero;
        higher is more varied. NaN without items.

    Raises
    ------
    SpecError
        The vectors are not (item, d), or not finite.

    Notes
    -----
    The eigenvalues of XXᵀ/n that are not 0 are those of XᵀX/n, d × d.

    References
    ----------
    Friedman & Dieng 2023, "The Vendi Score", arXiv 2210.02410, definition 3.1 and section 3.2.
    """
    values = finite(vectors, "vectors")
    if values.ndim != 2:
        raise SpecError(
            f"The vectors have the shape {values.shape}.",
            "Vectors have the shape (item, d).",
            "Flatten each item, or embed it.",
        )
    count = len(values)
    if count == 0:
        return float("nan")
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    unit = np.divide(values, norms, out=np.zeros_like(values), where=norms > 0)
    gram = unit.T @ unit if count > values.shape[1] else unit @ unit.T
    weights = np.clip(np.linalg.eigvalsh(gram), 0, None) / count
    blank = np.count_nonzero(norms == 0) / count
    weights = np.append(weights[weights > 0], [blank] if blank else [])
    return float(np.exp(-np.sum(weights * np.log(weights))))
