"""What network, oracle and Gaussian draw from the same noise, and the nearest training item."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reprostore_analyses.context import Context
from reprostore_analyses.footnotes import DRIFT, UNCHECKED
from reprostore_analyses.plots.pictures import (
    Picture,
    final_pictures,
    item_pictures,
    put_picture,
    why_no_pictures,
)
from reprostore_analyses.plots.sheet import LINE, MARGIN, Sheet
from reprostore_analyses.plots.style import AGREE, NORMAL, SMALL, WIDTH, run_labels, say
from reprostore_analyses.plots.theory import NAMES
from reprostore_analyses.theory import TheoryOptions

COLUMNS = 8
LABELS = 1.25
HEADER, TITLE, GAP = 0.2, 0.24, 0.1
SIZE = 0.5
SHOWN = 6
"""So many runs are drawn."""

Row = tuple[str, list[Picture | None], list[float] | None]
"""A label, pictures, and their similarities to those of the network."""


def theory_samples(context: Context, result: xr.Dataset, options: TheoryOptions) -> Figure:
    """Draw, for the first common seeds, what all models make of the same noise.

    Parameters
    ----------
    context : Context
        Whose store holds the samples and the items.
    result : xarray.Dataset
        Of `theory`.
    options : TheoryOptions
        What was asked.

    Returns
    -------
    matplotlib.figure.Figure
        A block of rows per run; pictures that are as similar to the network's as the threshold
        asks are framed.

    Raises
    ------
    CorruptionError
        A sample or an item is damaged.
    """
    paths = result["run"].values.tolist()
    blocks = [_block(context, result, place) for place in range(min(len(paths), SHOWN))]
    rows = [max(1, len(block)) for block in blocks]
    line = SIZE + LINE
    height = sum(HEADER + TITLE + count * line + GAP for count in rows)
    sheet = Sheet(height, "Network and closed forms from the same noise", _caption(result))
    labels = run_labels(paths, result.attrs["drift"], limit=60)
    pitch = (WIDTH - LABELS - 2 * MARGIN) / COLUMNS
    top = sheet.top
    for place, (block, count) in enumerate(zip(blocks, rows, strict=True)):
        sheet.text(MARGIN, top, labels[place], va="top", fontsize=NORMAL, weight="bold")
        top += TITLE
        seeds = result["seed"].values[shown_seeds(result.isel(run=place))].tolist()
        for column, seed in enumerate(seeds if block else []):
            center = MARGIN + LABELS + (column + 0.5) * pitch
            sheet.text(center, top, f"seed {seed}", ha="center", va="top")
        top += HEADER
        canvas = sheet.canvas(MARGIN + LABELS, top, pitch * COLUMNS, count * line)
        if not block:
            reason = why_no_pictures(context.store.run(paths[place]))
            say(canvas, f"No pictures: {reason}.", pitch * COLUMNS)
        for row, (label, pictures, similarity) in enumerate(block):
            sheet.text(MARGIN, top + row * line + SIZE / 2, label, va="center", linespacing=1.2)
            _draw_row(canvas, row * line, pitch, pictures, similarity, result.attrs["threshold"])
        top += count * line + GAP
    return sheet.figure


def shown_seeds(one: xr.Dataset) -> list[int]:
    """Return the places of the first seeds that a run shares with all of its closed forms."""
    there = ~np.isnan(one["similarity"].values)
    kinds = there.any(axis=1)
    together = np.flatnonzero(there[kinds].all(axis=0)).tolist()
    return (together or np.flatnonzero(there.any(axis=0)).tolist())[:COLUMNS]


def _block(context: Context, result: xr.Dataset, place: int) -> list[Row]:
    """Return the rows of pictures of one run; none where samples are no pictures."""
    one = result.isel(run=place)
    path = str(one["run"].values)
    run = context.store.run(path)
    if why_no_pictures(run):
        return []
    places = shown_seeds(one)
    seeds = result["seed"].values[places].tolist()
    rows: list[Row] = [("network", final_pictures(run, seeds), None)]
    for kind, name in NAMES.items():
        other = result.attrs["references"][path].get(kind)
        if other is not None:
            similarity = one["similarity"].sel(reference=kind).values[places].tolist()
            rows.append((name, final_pictures(context.store.run(other), seeds), similarity))
    name = result.attrs["datasets"][path]
    if name is not None:
        items = item_pictures(context.dataset(name), one["train_index"].values[places].tolist())
        similarity = one["train_similarity"].values[places].tolist()
        rows.append(("nearest\ntraining item", items, similarity))
    return rows


def _draw_row(
    canvas: Axes,
    top: float,
    pitch: float,
    pictures: list[Picture | None],
    similarity: list[float] | None,
    threshold: float,
) -> None:
    for column, shown in enumerate(pictures):
        center = (column + 0.5) * pitch
        value = float("nan") if similarity is None else similarity[column]
        color = AGREE if value > threshold else None
        put_picture(canvas, shown, (center, top + SIZE / 2), SIZE - 0.03, color)
        if shown is not None and not np.isnan(value):
            canvas.text(
                center,
                top + SIZE + 0.02,
                f"{value:.3f}",
                ha="center",
                va="top",
                fontsize=SMALL,
                color=color or "#444444",
            )


def _caption(result: xr.Dataset) -> str:
    attributes, count = result.attrs, result.sizes["run"]
    text = (
        f"The first seeds that a network shares with its closed forms, not chosen; all pictures "
        f"of a column begin from the same noise. Numbers: similarity to the network's picture "
        f"above (encoder {attributes['encoder']}); framed: > {float(attributes['threshold']):g}. "
        f"Last row: the training item nearest to the network's picture."
    )
    if count > SHOWN:
        text += f" The first {SHOWN} of {count} runs."
    if attributes["unchecked"]:
        text += f" {UNCHECKED} It could not be checked that the noise is the same."
    if attributes["drift"]:
        text += f" {DRIFT} Computed in differing ways."
    return text
