"""Rounding to 8 bits, against diffusers, EDM's formula and numbers worked by hand."""

import numpy as np
import pytest

from reprostore.errors import DatasetError
from reprostore.images import from_uint8, to_uint8


def dense_samples():
    """Values on and around every boundary between two grey levels, and beyond the range."""
    boundaries = (np.arange(255, dtype=np.float64) + 0.5) / 127.5 - 1
    below = boundaries.astype(np.float32)
    around = [np.nextafter(below, np.float32(sign * 2)) for sign in (-1, 1)]
    return np.concatenate([below, *around, np.linspace(-1.3, 1.3, 10_001, dtype=np.float32)])


def test_known_values():
    # (x + 1) * 127.5: 0, 63.75, 127.5 (a half, to the even 128), 191.25, 255
    samples = np.array([-1, -0.5, 0, 0.5, 1], dtype=np.float32)
    np.testing.assert_array_equal(to_uint8(samples), [0, 64, 128, 191, 255])


def test_values_outside_are_clipped():
    samples = np.array([-np.inf, -1.5, -1.0001, 1.0001, 300, np.inf], dtype=np.float32)
    np.testing.assert_array_equal(to_uint8(samples), [0, 0, 0, 255, 255, 255])


def test_equals_diffusers_bit_for_bit():
    torch = pytest.importorskip("torch")
    image_processor = pytest.importorskip("diffusers.image_processor")
    samples = dense_samples().reshape(1, 1, 2, -1)
    processor = image_processor.VaeImageProcessor(do_normalize=True)
    image = processor.postprocess(torch.from_numpy(samples), output_type="pil")[0]
    np.testing.assert_array_equal(to_uint8(samples)[0, 0], np.asarray(image))


def test_differs_from_edm_only_within_float_rounding_of_a_half():
    samples = dense_samples()
    edm = (samples * np.float32(127.5) + np.float32(128)).clip(0, 255).astype(np.uint8)
    ours = to_uint8(samples)
    different = edm != ours
    exact = (samples.astype(np.float64) + 1) * 127.5
    assert different.any()
    assert np.abs(edm.astype(int) - ours)[different].max() == 1
    # float32 spacing at 128 to 256 is 1.5e-5
    assert np.abs(exact - np.floor(exact) - 0.5)[different].max() < 3.1e-5


def test_every_grey_level_survives():
    levels = np.arange(256, dtype=np.uint8)
    samples = from_uint8(levels)
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples, np.arange(256) / 127.5 - 1, atol=6e-8, rtol=0)
    assert (samples[0], samples[-1]) == (-1, 1)
    np.testing.assert_array_equal(to_uint8(samples), levels)


def test_half_precision_is_computed_in_single():
    samples = np.linspace(-1, 1, 4001).astype(np.float16)
    expected = np.rint((samples.astype(np.float64) + 1) * 127.5)
    np.testing.assert_array_equal(to_uint8(samples), expected)


def test_input_is_left_alone_and_uint8_passes_through():
    samples = np.array([0.25, 2.0], dtype=np.float32)
    to_uint8(samples)
    np.testing.assert_array_equal(samples, np.array([0.25, 2.0], dtype=np.float32))
    images = np.array([[3, 250]], dtype=np.uint8)
    assert to_uint8(images) is images


def test_nan_is_refused():
    with pytest.raises(DatasetError, match=r"contains NaN.*missing"):
        to_uint8(np.array([0.0, np.nan], dtype=np.float32))


@pytest.mark.parametrize("convert", [to_uint8, from_uint8])
def test_other_integers_are_refused(convert):
    with pytest.raises(TypeError, match="uint8, not int64"):
        convert(np.array([1, 2]))


def test_from_uint8_refuses_floats():
    with pytest.raises(TypeError, match="uint8, not float32"):
        from_uint8(np.zeros(2, dtype=np.float32))
