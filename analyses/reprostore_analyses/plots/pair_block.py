"""One pair of models in the figure of `agreement`: its scores, and what both drew."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from reprostore_analyses.context import Context
from reprostore_analyses.plots.pictures import (
    final_pictures,
    item_pictures,
    put_picture,
    why_no_pictures,
)
from reprostore_analyses.plots.sheet import MARGIN
from reprostore_analyses.plots.style import AGREE, COPY, REAL, SMALL, WIDTH, say, tidy

COLUMNS = 8
LABELS, CHART, VALUES, ROWS = 0.82, 1.22, 0.72, 0.6
"""Widths in inches: names of the scores, bars, numbers, names of the rows of pictures."""

LEFT = MARGIN + LABELS + CHART + VALUES
PITCH = (WIDTH - MARGIN - LEFT - ROWS) / COLUMNS
ITEM = 0.76 * PITCH
PICTURES_HEIGHT = 2 * ITEM + 2 * PITCH + 0.06
SCORES_HEIGHT = 0.6

_VALUE: dict[str, Any] = {"fontsize": SMALL, "va": "center", "weight": "bold"}


def draw_scores(axes: Axes, at: xr.Dataset, shown: tuple[str, str], *, last: bool) -> None:
    """Draw the scores of a pair as bars: agreement, and the copies of each member.

    Parameters
    ----------
    axes : Axes
        Empty.
    at : xarray.Dataset
        The pair's part of the result of `agreement`.
    shown : tuple of str
        Short names of the members.
    last : bool
        Whether the axis is labelled.
    """
    tidy(axes)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set(xlim=(0, 1), ylim=(2.5, -0.5))
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"] if last else [""] * 5)
    axes.set_yticks(
        range(3), ["agree", *(f"{name} copies" for name in shown)], fontsize=SMALL, color="black"
    )
    axes.tick_params(length=0)
    _bar(axes, 0, 0.4, at, "rp", AGREE)
    axes.plot([float(at["chance"])] * 2, [-0.35, 0.35], color=REAL, linewidth=1.5, label="chance")
    axes.text(1.06, 0, _rounded(at["rp"]), color=AGREE, **_VALUE)
    for row, member in enumerate((0, 1), start=1):
        one = at.isel(member=member)
        _bar(axes, row - 0.15, 0.4, one, "memorized", COPY)
        _bar(axes, row + 0.2, 0.22, one, "held_out_memorized", "white", REAL)
        axes.text(1.06, row, _rounded(one["memorized"]), color=COPY, **_VALUE)
        unseen = f"({_rounded(one['held_out_memorized'])})"
        axes.text(1.36, row, unseen, color=REAL, fontsize=SMALL, va="center")
    if last:
        axes.set_xlabel("fraction", fontsize=SMALL, labelpad=1)


def _bar(
    axes: Axes, y: float, height: float, at: xr.Dataset, name: str, face: str, edge: str = "none"
) -> None:
    """Draw a bar to a value, and a line over its interval."""
    value, low, high = (float(at[name + bound]) for bound in ("", "_low", "_high"))
    axes.barh(y, value, height, linewidth=1, zorder=2, label=name, facecolor=face, edgecolor=edge)
    axes.plot([low, high], [y, y], color="black", linewidth=1.2, zorder=3, label=f"{name} interval")


def _rounded(value: xr.DataArray) -> str:
    return "–" if np.isnan(float(value)) else f"{float(value):.2f}"


def draw_pictures(canvas: Axes, context: Context, at: xr.Dataset, shown: tuple[str, str]) -> None:
    """Draw the samples of a pair, one over the other, between their nearest training items.

    Parameters
    ----------
    canvas : Axes
        Empty, in inches.
    context : Context
        Whose store holds the pictures.
    at : xarray.Dataset
        The pair's part of the result of `agreement`.
    shown : tuple of str
        Short names of the members.
    """
    members = at["run"].values.tolist()
    runs = [context.store.run(at.attrs["runs"][member]) for member in members]
    reason = next(filter(None, map(why_no_pictures, runs)), "")
    if reason:
        say(canvas, f"No pictures: {reason}.", PITCH * COLUMNS)
        return
    first = at.isel(seed=slice(COLUMNS))
    seeds = first["seed"].values.tolist()
    similar = first["similarity"].values > at.attrs["threshold"]
    copies = first["train_similarity"].values > at.attrs["copy_threshold"]
    for column in np.flatnonzero(similar).tolist():
        corner = (ROWS + column * PITCH, ITEM + 0.01)
        canvas.add_patch(Rectangle(corner, PITCH, 2 * PITCH + 0.04, facecolor=AGREE, zorder=1))
    middle = ITEM + 0.03
    sample_rows = (middle + PITCH / 2, middle + 1.5 * PITCH)
    item_rows = (ITEM / 2, middle + 2 * PITCH + 0.03 + ITEM / 2)
    for member, run in enumerate(runs):
        dataset = context.dataset(at.attrs["datasets"][members[member]])
        rows = (
            (shown[member], "black", sample_rows[member], 0.82 * PITCH,
             final_pictures(run, seeds)),
            ("nearest", REAL, item_rows[member], 0.9 * ITEM,
             item_pictures(dataset, first["train_index"].values[member].tolist())),
        )  # fmt: skip
        for label, color, y, size, pictures in rows:
            canvas.text(ROWS - 0.06, y, label, color=color, fontsize=SMALL, ha="right", va="center")
            for column, one in enumerate(pictures):
                frame = COPY if copies[member, column] else None
                put_picture(canvas, one, (ROWS + (column + 0.5) * PITCH, y), size, frame)
