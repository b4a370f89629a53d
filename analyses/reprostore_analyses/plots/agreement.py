"""Whether models agree because they copy: scores of pairs, and what they drew, side by side."""

import xarray as xr
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from reprostore.seeds import format_ranges
from reprostore_analyses.agreement import AgreementOptions
from reprostore_analyses.context import Context
from reprostore_analyses.footnotes import DRIFT, UNCHECKED
from reprostore_analyses.plots.pair_block import (
    CHART,
    COLUMNS,
    LABELS,
    LEFT,
    PICTURES_HEIGHT,
    SCORES_HEIGHT,
    draw_pictures,
    draw_scores,
)
from reprostore_analyses.plots.sheet import MARGIN, Sheet
from reprostore_analyses.plots.style import (
    AGREE,
    COPY,
    NORMAL,
    REAL,
    SMALL,
    WIDTH,
    proxy,
    run_labels,
)
from reprostore_analyses.relations import RELATIONS
from reprostore_analyses.results import percent

PICTURED = 6
"""So many pairs are shown with pictures; of further ones, the scores alone."""

HEADER, GAP, TICKS, LEGEND = 0.22, 0.14, 0.2, 0.26


def agreement_figure(context: Context, result: xr.Dataset, options: AgreementOptions) -> Figure:
    """Draw, for each pair of models, how often they agree and copy, and what they draw.

    Parameters
    ----------
    context : Context
        Whose store holds the samples and the items.
    result : xarray.Dataset
        Of `agreement`.
    options : AgreementOptions
        What was asked.

    Returns
    -------
    matplotlib.figure.Figure
        One block per pair: left the scores with intervals; right, for the first common seeds,
        the samples of both between their nearest training items.

    Raises
    ------
    CorruptionError
        A sample or an item is damaged.
    """
    count = result.sizes["pair"]
    heights = [PICTURES_HEIGHT if place < PICTURED else SCORES_HEIGHT for place in range(count)]
    height = LEGEND + sum(heights) + count * (HEADER + GAP) + TICKS
    sheet = Sheet(height, "Do models agree because they copy?", _caption(result, count))
    _legend(sheet, result.attrs["confidence"])
    top = sheet.top + LEGEND
    for place, block in enumerate(heights):
        at, names = result.isel(pair=place), options.compare[place]
        shown = _shown_names(names)
        sheet.text(
            MARGIN, top, _headline(at, names, shown), va="top", fontsize=NORMAL, weight="bold"
        )
        related = RELATIONS[int(at["relation"])]
        sheet.text(WIDTH - MARGIN, top, related, va="top", ha="right", color="#333333")
        top += HEADER
        last = place == count - 1
        chart = sheet.axes(MARGIN + LABELS, top, CHART, block)
        draw_scores(chart, at, shown, last=last)
        if place < PICTURED:
            canvas = sheet.canvas(LEFT, top, WIDTH - MARGIN - LEFT, block)
            draw_pictures(canvas, context, at, shown)
        top += block + GAP
    return sheet.figure


def _caption(result: xr.Dataset, count: int) -> str:
    attributes = result.attrs
    first = result["seed"].values[:COLUMNS].tolist()
    text = (
        f"{int(result['pairs'].values.max())} seeds; encoder {attributes['encoder']}. Agree: two "
        f"samples of the same noise have a similarity > {attributes['threshold']:g} (RP); chance: "
        f"of different seeds. Copies: the nearest training item of the sample's own model has a "
        f"similarity > {attributes['copy_threshold']:g}; hollow and in brackets, the same of real "
        f"items that the model never saw. Pictures: the first common seeds "
        f"({format_ranges(first)}), not chosen, each with its nearest training item; blue: agree, "
        f"framed: copy."
    )
    if count > PICTURED:
        text += f" Pictures of the first {PICTURED} of {count} pairs."
    if attributes["unchecked"]:
        text += f" {UNCHECKED} It could not be checked that the noise is the same."
    if attributes["drift"]:
        text += f" {DRIFT} Computed in differing ways."
    return text


def _legend(sheet: Sheet, confidence: float) -> None:
    handles = [
        Patch(facecolor=AGREE, label="agree (RP)"),
        proxy("chance", color=REAL, marker="|", markersize=9, markeredgewidth=1.5, linestyle=""),
        Patch(facecolor=COPY, label="copies"),
        Patch(facecolor="white", edgecolor=REAL, label="the same of unseen real items"),
        proxy(f"{percent(confidence)} interval", color="black", linewidth=1.2),
    ]
    sheet.figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=((MARGIN - 0.06) / WIDTH, 1 - (sheet.top - 0.06) / sheet.height),
        borderaxespad=0,
        ncols=len(handles),
        fontsize=SMALL,
        frameon=False,
        columnspacing=1.4,
        handletextpad=0.5,
    )


def _shown_names(names: tuple[str, str]) -> tuple[str, str]:
    return names if max(map(len, names)) <= 9 else ("A", "B")


def _headline(at: xr.Dataset, names: tuple[str, str], shown: tuple[str, str]) -> str:
    parts = [
        f"{short if short == name else f'{short} = {label}'} (N = {int(size)})"
        for short, name, label, size in zip(
            shown, names, run_labels(names, limit=14), at["train_size"].values, strict=True
        )
    ]
    return " × ".join(parts)
