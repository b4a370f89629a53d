"""Images in .npy and .npz files, as guided-diffusion and many scripts write them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import DatasetError, SpecError
from reprostore.importing.request import ImportRequest
from reprostore.importing.rows import class_labels, require_finite, seeds_of_rows
from reprostore.importing.samples import Samples
from reprostore.importing.stored_arrays import StoredArray
from reprostore.specs import StoredDtype

OVERSHOOT = 0.25
"""By this part of their range values may lie outside: models do not stop at black and white."""

UNCLIPPED = 3.0
"""By so much they may lie outside of [-1, 1] where this range is given: unclipped samples do."""

LEFT_OUT = "The class labels in arr_1 were left out: a run is of one condition."

_CHANNELS = frozenset({1, 3, 4})


def open_images(request: ImportRequest, array: StoredArray) -> Samples:
    """Check an array of images; it is read once.

    Parameters
    ----------
    request : ImportRequest
        Seeds, layout and value range.
    array : StoredArray
        (sample, y, x), (sample, channel, y, x) or (sample, y, x, channel): uint8, or floating
        point in [-1, 1] or the given range.

    Returns
    -------
    Samples
        uint8, float16 or float32 as in the file; float32 of float64, and where values are scaled.

    Raises
    ------
    SpecError
        Seeds are missing, or not as many as rows.
    DatasetError
        The layout or the range is unclear, or a value is not finite or outside of it.

    References
    ----------
    openai/guided-diffusion, ``scripts/image_sample.py``: ``arr_0`` (sample, y, x, channel) uint8,
    and ``arr_1`` with the class labels.
    """
    what = array.what
    _refuse_vectors(array)
    axis = _channel_axis(array, request.layout)
    dtype = _stored_dtype(array, request)
    scale = _scale(request.value_range, dtype)
    seeds = seeds_of_rows(request, array)
    content = array.content()
    content.update(f" {axis} {scale} {seeds}".encode())
    low, high = np.inf, -np.inf
    for start, block in array.blocks():
        content.update(np.ascontiguousarray(block, dtype=array.dtype.newbyteorder("<")).data)
        if block.dtype.kind == "f":
            require_finite(block, start, what)
        low, high = min(low, float(block.min())), max(high, float(block.max()))
    if array.dtype.kind == "f":
        _check_range(low, high, request.value_range, what)
    elif high <= 1 and request.value_range is None:
        raise DatasetError(
            f"{what[0].upper()}{what[1:]} has 8-bit values of 0 and 1 alone.",
            "8-bit images have black at 0 and white at 255: all samples would be black.",
            "Save the images with white at 255, or give the value range 0 and 255 if they are as "
            "dark as this.",
        )
    labels = class_labels(request, array)

    def read(rows: NDArray[np.int64]) -> NDArray[Any]:
        raw = array.read(rows)
        raw = raw[:, None] if axis is None else np.moveaxis(raw, axis, 1)
        if scale is not None:
            black, white = scale
            raw = (raw.astype(np.float64) - black) / (white - black) * 2 - 1
        return np.ascontiguousarray(raw, dtype=dtype)

    lengths = [n for place, n in enumerate(array.shape) if place not in {0, axis}]
    shape = (1 if axis is None else array.shape[axis], *lengths)
    notes = _notes(array, dtype, request, labelled=labels is not None)
    return Samples(what, seeds, shape, dtype, content.hexdigest(), read, 1, notes, labels)


def _refuse_vectors(array: StoredArray) -> None:
    """Refuse arrays of one axis beside that of the samples, whatever axes of length 1 stand by."""
    lengths = array.shape[1:]
    if len(lengths) > 1 and sum(length > 1 for length in lengths) < 2:
        raise DatasetError(
            f"{array.what[0].upper()}{array.what[1:]} holds an array of shape {array.shape}.",
            "Images have rows and columns; these look like vectors of samples.",
            "Save the array squeezed to (sample, embedding), and import it as vectors.",
        )


def _channel_axis(array: StoredArray, layout: str | None) -> int | None:
    shape = array.shape
    if len(shape) == 3:
        return None
    if len(shape) == 4:
        candidates = [axis for axis in (1, 3) if shape[axis] in _CHANNELS]
        square = {axis: shape[2] == shape[4 - axis] for axis in (1, 3)}
        if layout is not None:
            axis = {"nchw": 1, "nhwc": 3}[layout]
            other = 4 - axis
            # Latents of 16 channels and 4×4 pixels are no RGBA images of 16×4.
            certain = square[other] or (shape[other] != 4 and not square[axis])
            if candidates == [other] and certain:
                raise DatasetError(
                    f"The layout {layout} was given for {array.what}, whose shape is {shape}.",
                    f"Its images would have {shape[axis]} channels, and with the other layout "
                    f"{shape[other]}.",
                    "Give the other layout.",
                )
            return axis
        if len(candidates) == 1 and square[candidates[0]] >= square[4 - candidates[0]]:
            return candidates[0]
    if len(shape) == 2:
        raise DatasetError(
            f"{array.what[0].upper()}{array.what[1:]} holds an array of shape {shape}.",
            "Images are (sample, channel, y, x), (sample, y, x, channel) or (sample, y, x).",
            "Name the encoder, if these are vectors of samples.",
        )
    raise DatasetError(
        f"The layout of {array.what} is unclear: its shape is {shape}.",
        "Images are (sample, channel, y, x), (sample, y, x, channel) or (sample, y, x), with 1, 3 "
        "or 4 channels.",
        "Give the layout, nchw or nhwc."
        if len(shape) == 4
        else "Save the array with its axes in one of these orders.",
    )


def _stored_dtype(array: StoredArray, request: ImportRequest) -> StoredDtype:
    dtype, given = array.dtype, request.value_range
    if dtype == np.uint8 and given in {None, (0, 255)}:
        return "uint8"
    if dtype == np.uint8:
        raise SpecError(
            f"The value range {list(given or ())} was given for {array.what}, whose values are "
            "uint8.",
            "8-bit images have black at 0 and white at 255.",
            "Leave the value range out.",
        )
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise DatasetError(
            f"{array.what[0].upper()}{array.what[1:]} has values of the type {dtype}.",
            "Images are uint8, or float16, float32 or float64.",
            "Save the images as uint8 or float32.",
        )
    return "float16" if dtype.itemsize == 2 and given in {None, (-1, 1)} else "float32"


def _scale(given: tuple[float, float] | None, dtype: StoredDtype) -> tuple[float, float] | None:
    """Return the values of black and white from which values are scaled, if they are."""
    if given is None or given == (-1, 1) or dtype == "uint8":
        return None
    return float(given[0]), float(given[1])


def _check_range(low: float, high: float, given: tuple[float, float] | None, what: str) -> None:
    found = f"{what[0].upper()}{what[1:]} has values from {low:.6g} to {high:.6g}"
    action = "Give the values of black and white as the value range, such as 0 and 1."
    if given is not None:
        slack = UNCLIPPED if given == (-1, 1) else OVERSHOOT * abs(given[1] - given[0])
        if low < min(given) - slack or high > max(given) + slack:
            raise DatasetError(
                f"{found}.",
                f"Black and white were given as {given[0]:g} and {given[1]:g}, and values lie "
                f"outside by {slack:g} at most.",
                "Correct the value range, or clip the values.",
            )
        if high - low < 2 / 255 * abs(given[1] - given[0]):
            raise DatasetError(
                f"{found}.",
                f"Black and white were given as {given[0]:g} and {given[1]:g}: as 8-bit images all "
                "samples would have one and the same grey.",
                "Correct the value range, such as to 0 and 1.",
            )
        return
    if low < -1 or high > 1:
        raise DatasetError(
            f"{found}.",
            "Without a value range, floating-point values lie in [-1, 1].",
            f"{action} Samples in [-1, 1] that overshoot have the range -1 and 1.",
        )
    if low >= -OVERSHOOT:  # values of [0, 1] that overshoot are negative too
        raise DatasetError(
            f"{found}: black could be 0 or -1.",
            f"Without a value range, floating-point values lie in [-1, 1], some below {-OVERSHOOT}"
            ".",
            "Give the values of black and white as the value range, 0 and 1 or -1 and 1.",
        )


def _notes(
    array: StoredArray, dtype: str, request: ImportRequest, *, labelled: bool
) -> tuple[str, ...]:
    notes = []
    if array.dtype.itemsize == 8 and dtype == "float32":
        notes.append("The values were rounded from float64 to float32.")
    if labelled:
        notes.append(LEFT_OUT)
    elif request.key in {None, "arr_0"} and "arr_1" in array.names:
        notes.append("The array arr_1 was left out: it does not hold one class label for each row.")
    return tuple(notes)
