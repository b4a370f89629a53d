"""Samples and training items as small pictures."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from reprostore.images import to_uint8
from reprostore.ingest import StoredDataset
from reprostore.store import Run
from reprostore.store.checked import CheckedArray

Picture = NDArray[np.uint8]
"""(y, x) or (y, x, 3)."""

LONGEST = 96
"""Pixels of a picture's longer side; larger ones are averaged down in blocks."""


def why_no_pictures(run: Run) -> str:
    """Say why the samples of a run are no pictures; empty when they are."""
    if run.spec.kind != "image":
        return f"samples are {run.spec.kind} data, not images"
    channels = run.spec.sample_shape[0]
    if channels not in (1, 3):
        return f"samples have {channels} channels, neither grey nor RGB"
    return ""


def picture(sample: NDArray[np.generic]) -> Picture:
    """Turn an image (channel, y, x) in [-1, 1], or uint8, into a picture.

    Returns
    -------
    ndarray of uint8
        (y, x) for one channel, (y, x, 3) for three; at most `LONGEST` pixels high and wide.
    """
    values = to_uint8(sample)
    factor = -(-max(values.shape[1:]) // LONGEST)
    if factor > 1:
        channels, height, width = values.shape
        height, width = height // factor * factor, width // factor * factor
        blocks = values[:, :height, :width].reshape(
            channels, height // factor, factor, width // factor, factor
        )
        values = np.rint(blocks.mean(axis=(2, 4))).astype(np.uint8)
    return values[0] if len(values) == 1 else np.moveaxis(values, 0, -1)


def final_pictures(run: Run, seeds: Sequence[int]) -> list[Picture | None]:
    """Return the last states at some seeds; None where the run does not have the seed.

    Raises
    ------
    CorruptionError
        A sample is damaged.
    """
    slots, written = run.written()
    slot_of = dict(zip(written.tolist(), slots.tolist(), strict=True))
    states = CheckedArray(run, "sample")
    found = [slot_of[seed] for seed in seeds if seed in slot_of]
    block: Iterable[NDArray[Any]]
    if found and found == list(range(found[0], found[0] + len(found))):
        block = states[found[0] : found[0] + len(found), -1]
    else:
        block = [states[slot, -1] for slot in found]
    shown = dict(zip(found, map(picture, block), strict=True))
    return [shown[slot_of[seed]] if seed in slot_of else None for seed in seeds]


def item_pictures(dataset: StoredDataset, indices: Sequence[int]) -> list[Picture | None]:
    """Return items of a dataset; None for the index -1.

    Raises
    ------
    CorruptionError
        An item is damaged.
    """
    return [
        None if index < 0 else picture(dataset.read(slice(index, index + 1))[0])
        for index in indices
    ]


def put_picture(
    axes: Axes, shown: Picture | None, center: tuple[float, float], size: float, color: str | None
) -> AxesImage | None:
    """Put a picture into a square cell.

    Parameters
    ----------
    axes : Axes
        With equal units on both axes and y pointing down.
    shown : ndarray or None
        None leaves the cell empty.
    center, size : float
        Of the cell; the longer side of the picture fills it.
    color : str, optional
        Of a thick frame; a thin grey one when left out.

    Returns
    -------
    AxesImage or None
        What was drawn.
    """
    if shown is None:
        return None
    (x, y), longest = center, max(shown.shape[:2])
    half_y, half_x = (size / 2 * length / longest for length in shown.shape[:2])
    extent = (x - half_x, x + half_x, y + half_y, y - half_y)
    limits = axes.get_xlim(), axes.get_ylim()
    image = axes.imshow(
        shown,
        cmap="gray",
        vmin=0,
        vmax=255,
        interpolation="nearest",
        extent=extent,
        aspect="auto",
        zorder=2,
    )
    axes.set(xlim=limits[0], ylim=limits[1])
    axes.add_patch(
        Rectangle(
            (x - half_x, y - half_y),
            2 * half_x,
            2 * half_y,
            fill=False,
            edgecolor=color or "#BBBBBB",
            linewidth=2.2 if color else 0.5,
            zorder=3,
        )
    )
    return image
