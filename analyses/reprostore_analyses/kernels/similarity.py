"""Similarities and distances between the two samples of each pair."""

import numpy as np

from reprostore.errors import SpecError
from reprostore_analyses.kernels.checks import Array, Floats, row_blocks, same_shape


def rowwise_cosine(a: Array, b: Array) -> Floats:
    """Compute the cosine between the vectors of the same seed in two runs.

    With SSCD descriptors this is M(x1, x2) of the paper; with mean-removed pixels it is the
    measure of Kadkhodaie et al.

    Parameters
    ----------
    a, b : ndarray, shape (seed, d)
        Vectors of any real dtype. Sums are accumulated in float64.

    Returns
    -------
    ndarray of float64, shape (seed,)
        M in [-1, 1]; exactly 1 for equal vectors, and 0 where either vector is zero, since a
        vector without direction is similar to nothing.

    Raises
    ------
    SpecError
        The arrays are not (seed, d) of one shape, or a vector contains NaN or infinity.

    Notes
    -----
    Rows are converted in blocks, so the memory needed beside the input does not grow with it.

    References
    ----------
    Zhang et al. 2024, "The Emergence of Reproducibility and Consistency in Diffusion Models",
    arXiv 2310.05264, definition of M in the RP score. Kadkhodaie et al. 2024,
    "Generalization in diffusion models arises from geometry-adaptive harmonic representations",
    arXiv 2310.02557.
    """
    same_shape(a, b, "vectors")
    if a.ndim != 2:
        raise SpecError(
            f"The vectors have the shape {a.shape}.",
            "Vectors have the shape (seed, d).",
            "Flatten each sample, or embed it, before cosines are computed.",
        )
    cosine = np.zeros(a.shape[0])
    for rows in row_blocks(*a.shape):
        left, right = a[rows].astype(np.float64), b[rows].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            # One square root of the product: for equal vectors the quotient is then exactly 1.
            norms = np.sqrt(np.vecdot(left, left) * np.vecdot(right, right))
            dots = np.vecdot(left, right)
        _refuse_non_finite(norms, rows.start)
        np.divide(dots, norms, out=cosine[rows], where=norms > 0)
    return np.clip(cosine, -1.0, 1.0)


def _refuse_non_finite(norms: Floats, start: int) -> None:
    bad = np.flatnonzero(~np.isfinite(norms))
    if bad.size:
        raise SpecError(
            f"The vectors of row {start + int(bad[0])} contain NaN or infinity, or are too large.",
            "All vectors are finite.",
            "Check the samples and the encoder, or leave out this seed in both runs.",
        )


def mean_absolute_error(a: Array, b: Array) -> Floats:
    """Compute the mean absolute difference between the images of the same seed in two runs.

    Parameters
    ----------
    a, b : ndarray of uint8, shape (seed, …)
        Images as a PNG file would hold them, on the scale 0–255.

    Returns
    -------
    ndarray of float64, shape (seed,)
        MAE in [0, 255]; sums are exact, whatever the size of the image.

    Raises
    ------
    SpecError
        The arrays are not uint8, have no pixels, or differ in shape.

    References
    ----------
    Zhang et al. 2024, arXiv 2310.05264, MAE score.
    """
    same_shape(a, b, "images")
    for images in (a, b):
        if images.dtype != np.uint8:
            raise SpecError(
                f"The images are {images.dtype}.",
                "Images are uint8, on the scale 0–255.",
                "Round the samples to uint8 as for a PNG file.",
            )
    pixels = int(np.prod(a.shape[1:]))
    if a.ndim < 2 or pixels == 0:
        raise SpecError(
            f"The images have the shape {a.shape}.",
            "Images have the shape (seed, …), with at least one pixel each.",
            "Keep the axis of the seeds first, also for a single image.",
        )
    error = np.empty(a.shape[0])
    exact = np.uint32 if pixels < 2**24 else np.uint64  # 2**24 pixels of 255 fit into 32 bits
    for rows in row_blocks(a.shape[0], pixels // 8 + 1):  # eight 8-bit values take a float's space
        left, right = (images[rows].reshape(-1, pixels) for images in (a, b))
        # The larger minus the smaller stays within uint8, where a plain difference wraps around.
        difference = np.maximum(left, right)
        difference -= np.minimum(left, right)
        error[rows] = difference.sum(axis=1, dtype=exact) / pixels
    return error
