"""SSIM against a double loop over windows and SciPy's Gaussian filter."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from reprostore.errors import SpecError
from reprostore_analyses.kernels.ssim import structural_similarity


def images(count=3, shape=(2, 14, 17), seed=0):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
    b = np.clip(a + rng.normal(0, 30, a.shape), 0, 255).astype(np.uint8)
    return a, b


def windows(a, b):
    """SSIM of one channel by the definition, window by window."""
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    found = []
    for y in range(a.shape[0] - 10):
        for x in range(a.shape[1] - 10):
            p, q = (part[y : y + 11, x : x + 11].astype(float) for part in (a, b))
            mp, mq = (weights * p).sum(), (weights * q).sum()
            vp, vq = (weights * (p - mp) ** 2).sum(), (weights * (q - mq) ** 2).sum()
            cov = (weights * (p - mp) * (q - mq)).sum()
            c1, c2 = 2.55**2, 7.65**2
            found.append(
                (2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2))
            )
    return np.mean(found)


def test_the_definition_window_by_window():
    a, b = images()
    expected = [
        np.mean([windows(x, y) for x, y in zip(*pair, strict=True)])
        for pair in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(structural_similarity(a, b), expected, rtol=1e-10)


def test_inside_the_image_it_is_that_of_a_gaussian_filter():
    a, b = (part.astype(np.float64) for part in images(1, (1, 40, 31), seed=1))
    x, y = a[0, 0], b[0, 0]

    def blur(image):
        return gaussian_filter(image, 1.5, truncate=5 / 1.5)[5:-5, 5:-5]

    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
    expected = (2 * mx * my + 2.55**2) * (2 * cov + 7.65**2)
    expected /= (mx**2 + my**2 + 2.55**2) * (vx + vy + 7.65**2)
    assert structural_similarity(a, b)[0] == pytest.approx(expected.mean(), rel=1e-10)


def test_equal_images_symmetry_and_contrast():
    a, b = images()
    np.testing.assert_array_equal(structural_similarity(a, a), 1.0)
    np.testing.assert_array_equal(structural_similarity(a, b), structural_similarity(b, a))
    assert (structural_similarity(a, 255 - a) < 0).all()
    flat = np.full((1, 1, 11, 11), 40, dtype=np.uint8)
    assert structural_similarity(flat, flat)[0] == 1.0
    dark = np.zeros_like(flat)
    assert structural_similarity(flat, dark)[0] == pytest.approx(2.55**2 / (1600 + 2.55**2))


def test_blocks_do_not_matter(monkeypatch):
    a, b = images(7)
    whole = structural_similarity(a, b)
    monkeypatch.setattr("reprostore_analyses.kernels.checks.BLOCK_VALUES", 1)
    np.testing.assert_array_equal(structural_similarity(a, b), whole)


def test_images_that_have_no_ssim_are_refused():
    a, b = images(2, (1, 10, 40))
    with pytest.raises(SpecError, match="11 × 11"):
        structural_similarity(a, b)
    with pytest.raises(SpecError):
        structural_similarity(a[:1], b)
    wrong = np.full((1, 1, 12, 12), np.nan)
    with pytest.raises(SpecError, match="NaN"):
        structural_similarity(wrong, wrong)
