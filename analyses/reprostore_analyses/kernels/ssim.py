"""Structural similarity of pairs of images."""

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import SpecError
from reprostore_analyses.kernels.checks import Array, Floats, row_blocks, same_shape

WINDOW, SIGMA = 11, 1.5
K1, K2, RANGE = 0.01, 0.03, 255.0


def structural_similarity(a: Array, b: Array) -> Floats:
    """Compute the mean SSIM between the images of the same seed in two runs.

    Parameters
    ----------
    a, b : ndarray, shape (seed, channel, y, x)
        Images on the scale 0–255.

    Returns
    -------
    ndarray of float64, shape (seed,)
        In [-1, 1], exactly 1 for equal images: the mean over channels and over all places at which
        a Gaussian window of 11 × 11 (σ = 1.5) lies within the image.

    Raises
    ------
    SpecError
        Shapes differ, an image is smaller than the window, or a value is not finite.

    Notes
    -----
    SSIM = (2 μ_a μ_b + C1)(2 σ_ab + C2)/((μ_a² + μ_b² + C1)(σ_a² + σ_b² + C2)) with
    C1 = (0.01 · 255)², C2 = (0.03 · 255)², moments weighted by the window.

    References
    ----------
    Wang, Bovik, Sheikh & Simoncelli 2004, "Image quality assessment: from error visibility to
    structural similarity", eq. 13–17 and section III-C.
    """
    same_shape(a, b, "images")
    if a.ndim != 4 or min(a.shape[-2:]) < WINDOW or a.shape[1] == 0:
        raise SpecError(
            f"The images have the shape {a.shape}.",
            f"Images have the shape (seed, channel, y, x), and at least {WINDOW} × {WINDOW} "
            "pixels, the window of SSIM.",
            "Compare smaller images by another measure.",
        )
    found = np.empty(len(a))
    for rows in row_blocks(len(a), int(np.prod(a.shape[1:]))):
        found[rows] = _block(a[rows].astype(np.float64), b[rows].astype(np.float64))
    if not np.isfinite(found).all():
        raise SpecError(
            "An image contains NaN or infinity.",
            "All values are finite.",
            "Check the samples, or leave out this seed in both runs.",
        )
    return found


def _block(a: Floats, b: Floats) -> Floats:
    mean_a, mean_b = _windowed(a), _windowed(b)
    variance_a = _windowed(a * a) - mean_a * mean_a
    variance_b = _windowed(b * b) - mean_b * mean_b
    covariance = _windowed(a * b) - mean_a * mean_b
    c1, c2 = (K1 * RANGE) ** 2, (K2 * RANGE) ** 2
    above = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    below = (mean_a * mean_a + mean_b * mean_b + c1) * (variance_a + variance_b + c2)
    similarity: Floats = (above / below).mean(axis=(1, 2, 3))
    return similarity


def _windowed(images: Floats) -> Floats:
    """Average over the window at all places where it lies within the image."""
    weights = _weights()
    for axis in (-2, -1):
        parts = np.lib.stride_tricks.sliding_window_view(images, WINDOW, axis=axis)
        images = parts @ weights
    return images


def _weights() -> NDArray[np.float64]:
    offsets = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-0.5 * np.square(offsets / SIGMA))
    return np.asarray(weights / weights.sum())
