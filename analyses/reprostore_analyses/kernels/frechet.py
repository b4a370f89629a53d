"""Fréchet distance between two sets of vectors, as between two normal distributions."""

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import SpecError
from reprostore_analyses.kernels.checks import Floats, finite


def frechet_distance(*, real: NDArray[np.floating], generated: NDArray[np.floating]) -> float:
    """Compute ‖μ − μ'‖² + tr(Σ + Σ' − 2(ΣΣ')^½).

    Parameters
    ----------
    real, generated : ndarray, shapes (item, d) and (sample, d)
        Vectors of one space; with Inception's features this is the FID.

    Returns
    -------
    float
        At least 0, in squared units of the vectors; lower is closer. NaN with fewer than two
        vectors in a set. It is biased upwards for few vectors, so it is compared at equal numbers.

    Raises
    ------
    SpecError
        The vectors differ in length, or are not finite.

    Notes
    -----
    With U = (X − μ)/√(n − 1), so that Σ = UᵀU, and V alike, the eigenvalues of ΣΣ' that are not
    0 are the squared singular values of UVᵀ. So tr (ΣΣ')^½ is the sum of the singular values of
    UVᵀ or, where there are more vectors than dimensions, of Σ^½Σ'^½: nothing is inverted, and
    sets with fewer vectors than dimensions need no jitter.

    References
    ----------
    Heusel et al. 2017, arXiv 1706.08500, eq. 6; toshas/torch-fidelity, ``metric_fid.py``
    (covariances with n − 1).
    """
    a, b = vector_sets(real, generated)
    if min(len(a), len(b)) < 2:
        return float("nan")
    means = [part.mean(axis=0) for part in (a, b)]
    roots = [
        _root(part - mean) / np.sqrt(len(part) - 1)
        for part, mean in zip((a, b), means, strict=True)
    ]
    spread = sum(float(np.square(root).sum()) for root in roots)
    common = float(np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum())
    return max(0.0, float(np.square(means[0] - means[1]).sum()) + spread - 2 * common)


def _root(centered: Floats) -> Floats:
    """Return R with RᵀR = XᵀX and no more rows than columns."""
    if len(centered) <= centered.shape[1]:
        return centered
    return np.asarray(np.linalg.qr(centered, mode="r"))


def vector_sets(
    real: NDArray[np.floating], generated: NDArray[np.floating]
) -> tuple[Floats, Floats]:
    """Return two sets of vectors as float64.

    Raises
    ------
    SpecError
        They are not (item, d) with one d, or a value is not finite.
    """
    a, b = finite(real, "real vectors"), finite(generated, "generated vectors")
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or a.shape[1] == 0:
        raise SpecError(
            f"Real vectors have the shape {a.shape}, generated ones {b.shape}.",
            "Both have the shape (item, d), with one d.",
            "Use vectors of one encoder.",
        )
    return a, b
