"""The picture of a pack: samples of a few equal seeds, one row per run."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import DependencyError
from reprostore.images import to_uint8
from reprostore.sharing.packing.snapshot import RunSnapshot
from reprostore.store.checked import CheckedArray

ROWS, COLUMNS, CELL, GAP = 12, 8, 80, 6
"""At most so many runs and seeds; pixels of a cell and between cells."""

_HEAD, _LETTER = 18, 7


def picture(runs: Sequence[RunSnapshot]) -> bytes | None:
    """Draw the last states of a few seeds that runs have in common.

    Parameters
    ----------
    runs : sequence of RunSnapshot
        The packed runs; those whose samples are withheld are never drawn.

    Returns
    -------
    bytes or None
        A PNG file; None where there is nothing to draw: no run with images of one or three
        channels.

    Raises
    ------
    DependencyError
        Pillow is not installed.
    CorruptionError
        A sample is damaged.
    """
    shown = [snapshot for snapshot in runs if _is_drawn(snapshot)][:ROWS]
    if not shown:
        return None
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise DependencyError(
            "The package Pillow is not installed.",
            "The picture of a pack is drawn with it.",
            "Install it with `pip install 'reprostore[share]'`.",
        ) from error
    seeds = [_seeds(snapshot, shown) for snapshot in shown]
    names = [snapshot.run.path.removesuffix("/none") for snapshot in shown]
    left = min(360, _LETTER * max(map(len, names))) + 2 * GAP
    columns = max(map(len, seeds))
    size = (left + columns * (CELL + GAP) + GAP, _HEAD + len(shown) * (CELL + GAP) + GAP)
    canvas = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(11)
    common = all(row == seeds[0] for row in seeds)
    for column, seed in enumerate(seeds[0] if common else []):
        x = left + column * (CELL + GAP) + CELL // 2
        draw.text((x, 3), f"seed {seed}", fill="#555555", font=font, anchor="ma")
    for row, (snapshot, own) in enumerate(zip(shown, seeds, strict=True)):
        y = _HEAD + row * (CELL + GAP)
        draw.text((GAP, y + CELL // 2), names[row][:54], fill="black", font=font, anchor="lm")
        for column, image in enumerate(_images(snapshot, own)):
            cell = Image.fromarray(image)
            scale = CELL / max(cell.size)
            width, height = (max(1, round(length * scale)) for length in cell.size)
            method = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
            canvas.paste(cell.resize((width, height), method), (left + column * (CELL + GAP), y))
    stream = io.BytesIO()
    canvas.save(stream, format="PNG", optimize=False)
    return stream.getvalue()


def _is_drawn(snapshot: RunSnapshot) -> bool:
    spec = snapshot.run.spec
    return not snapshot.withheld and spec.kind == "image" and spec.sample_shape[0] in (1, 3)


def _seeds(snapshot: RunSnapshot, shown: Sequence[RunSnapshot]) -> list[int]:
    """Return the smallest seeds that all runs have, or those of one where there are none."""
    common = set(snapshot.seeds.tolist())
    for other in shown:
        common &= set(other.seeds.tolist())
    return sorted(common or snapshot.seeds.tolist())[:COLUMNS]


def _images(snapshot: RunSnapshot, seeds: Sequence[int]) -> list[NDArray[np.uint8]]:
    """Return the last states, (y, x) or (y, x, 3) uint8."""
    slot_of = dict(zip(snapshot.seeds.tolist(), snapshot.slots.tolist(), strict=True))
    samples = CheckedArray(snapshot.run, "sample")
    states = [to_uint8(samples[slot_of[seed], -1]) for seed in seeds]
    return [s[0] if len(s) == 1 else np.ascontiguousarray(np.moveaxis(s, 0, -1)) for s in states]
