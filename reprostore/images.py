"""Between samples in [-1, 1] and the 8-bit images of a PNG workflow."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import DatasetError


def to_uint8(samples: NDArray[Any]) -> NDArray[np.uint8]:
    """Round samples to 8 bits as they would be in a PNG file.

    Parameters
    ----------
    samples : ndarray, any shape
        Floating-point values, clipped to [-1, 1], or uint8, which passes through.

    Returns
    -------
    ndarray of uint8, same shape
        round((x + 1) · 127.5), computed in float32 (in float64 for float64 input).

    Raises
    ------
    DatasetError
        A value is NaN: such a sample is missing or failed, and has no image.
    TypeError
        The values are neither floating point nor uint8.

    Notes
    -----
    Halves go to the even number, bit for bit as in diffusers' pipelines. EDM's ``generate.py``
    truncates x · 127.5 + 128 instead, which sends halves up: the two differ by one grey level,
    and only where x lies within float rounding of a half.

    References
    ----------
    huggingface/diffusers, ``image_processor.py::VaeImageProcessor`` (``denormalize`` and
    ``numpy_to_pil``); NVlabs/edm, ``generate.py``.
    """
    if samples.dtype == np.uint8:
        return samples
    if samples.dtype.kind != "f":
        raise TypeError(f"samples are floating point or uint8, not {samples.dtype}")
    values: NDArray[np.floating[Any]] = samples.astype(np.result_type(samples.dtype, np.float32))
    if np.isnan(values).any():
        raise DatasetError(
            "A sample to be rounded to 8 bits contains NaN.",
            "Images consist of numbers, clipped to [-1, 1].",
            "Leave out samples that are missing, or generate those that failed again.",
        )
    values += 1
    values *= 127.5
    np.clip(values, 0, 255, out=values)
    np.rint(values, out=values)
    return values.astype(np.uint8)


def from_uint8(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn 8-bit images into float32 in [-1, 1]; `to_uint8` gives exactly the images back.

    Parameters
    ----------
    images : ndarray of uint8, any shape
        Grey levels, 0 (black) to 255 (white).

    Returns
    -------
    ndarray of float32, same shape
        x / 127.5 - 1.

    Raises
    ------
    TypeError
        The images are not uint8.
    """
    if images.dtype != np.uint8:
        raise TypeError(f"images are uint8, not {images.dtype}")
    return images.astype(np.float32) / np.float32(127.5) - np.float32(1)
