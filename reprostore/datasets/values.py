"""How the axes and the values of a source are understood, or why they are not."""

import numpy as np

from reprostore.datasets.items import Items
from reprostore.errors import DatasetError

_CHANNELS = frozenset({1, 3, 4})


def channel_axis(items: Items) -> int | None:
    """Find the channel axis of images; None when they have none, (item, y, x).

    Parameters
    ----------
    items : Items
        The source.

    Returns
    -------
    int or None
        1 for (item, channel, y, x), 3 for (item, y, x, channel), with 1, 3 or 4 channels.

    Raises
    ------
    DatasetError
        The array is no array of images, or both axes could be the channels.
    """
    shape = items.shape
    action = "Save the array with its axes in one of these orders."
    if len(shape) == 3 and 0 not in shape:
        return None
    if len(shape) == 4 and 0 not in shape:
        candidates = [axis for axis in (1, 3) if shape[axis] in _CHANNELS]
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            action = (
                "Both the second and the last axis could be the channels. Save grey images as "
                "(item, y, x), and colour images with only one axis of length 1, 3 or 4."
            )
    raise DatasetError(
        f"The layout of {items.what} is unclear: its shape is {shape}.",
        "Images are (item, y, x), (item, channel, y, x) or (item, y, x, channel), with 1, 3 or 4 "
        "channels.",
        action,
    )


def check_range(
    items: Items, value_range: tuple[float, float] | None
) -> tuple[float, float] | None:
    """Check the values, and find what maps them to [-1, 1].

    Parameters
    ----------
    items : Items
        The source.
    value_range : tuple of float, optional
        The values of black and white, as the user gave them. White may be the smaller one.

    Returns
    -------
    tuple of float, optional
        The values that are mapped to -1 and 1; None where values stay as they are, either uint8
        from 0 to 255 or floating point in [-1, 1].

    Raises
    ------
    DatasetError
        Values are no real numbers, not finite, outside the range, or of unknown range.
    """
    kind = items.dtype.kind
    if kind not in "biuf":
        raise DatasetError(
            f"{items.what[0].upper()}{items.what[1:]} has values of the type {items.dtype}.",
            "Values are real numbers.",
            "Save the items as uint8 or float32.",
        )
    given = value_range or items.value_range
    if items.dtype == np.uint8 and given in {None, (0, 255)}:
        return None
    low, high = items.scan()
    found = f"{items.what[0].upper()}{items.what[1:]} has values from {low:.9g} to {high:.9g}"
    action = "Set value_range of the dataset to the values of black and white, such as [0, 1]."
    if given is not None:
        if low < min(given) or high > max(given):
            raise DatasetError(
                f"{found}.",
                f"Its value_range is {list(given)}, and no value lies outside.",
                action,
            )
        return None if kind == "f" and given == (-1, 1) else given
    if kind != "f":
        raise DatasetError(
            f"{found}, of the type {items.dtype}.",
            "Without a value_range, whole numbers are uint8, from 0 to 255.",
            action,
        )
    if low < -1 or high > 1:
        raise DatasetError(
            f"{found}.", "Without a value_range, floating-point values lie in [-1, 1].", action
        )
    if low >= 0 and high > 0:
        raise DatasetError(
            f"{found}, none of them negative: black could be 0 or -1.",
            "Without a value_range, floating-point values lie in [-1, 1].",
            "Set value_range of the dataset to [0, 1] or [-1, 1].",
        )
    return None
