"""The RP scores of all pairs of runs as a heat map."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from reprostore_analyses.context import Context
from reprostore_analyses.floor import ceiling_sentence
from reprostore_analyses.footnotes import DRIFT, UNCHECKED
from reprostore_analyses.plots.sheet import Sheet
from reprostore_analyses.plots.style import (
    NORMAL,
    SMALL,
    WIDTH,
    decimal,
    run_labels,
    value_range,
)
from reprostore_analyses.reproducibility import ReproducibilityOptions
from reprostore_analyses.results import percent

NUMBERED = 20
"""Up to so many runs have their scores written into the cells."""

WITH_INTERVALS = 8
"""Up to so many runs have intervals there too."""


def matrix_figure(
    context: Context,
    result: xr.Dataset,
    options: ReproducibilityOptions,
) -> Figure:
    """Draw the RP scores of all pairs of runs, similar runs side by side.

    Parameters
    ----------
    context : Context
        Not used: every figure is called alike.
    result : xarray.Dataset
        Of `reproducibility`.
    options : ReproducibilityOptions
        What was asked.

    Returns
    -------
    matplotlib.figure.Figure
        One heat map; hatched cells are pairs without a score.
    """
    order = result["order"].values
    ordered = result.isel(run_a=order, run_b=order)
    count = len(order)
    labels = run_labels([str(path) for path in ordered["run_a"].values], result.attrs["drift"])
    side = max(WIDTH, 2.2 + 0.14 * count)
    sheet = Sheet(
        min(0.84 * side, 2.4 + 0.55 * count),
        "How often do two models draw the same from the same noise?",
        _caption(result, options, count),
        side,
    )
    axes = sheet.single()
    scores = ordered["rp"].values
    image = axes.imshow(np.ma.masked_invalid(scores), vmin=0, vmax=1, cmap="viridis")
    _cover_empty_cells(axes, scores)
    if count <= NUMBERED:
        _write_scores(axes, ordered)
    else:
        _mark_unchecked(axes, ordered)
    fits = max(map(len, labels)) * 0.08 < 4.6 / count
    axes.set_xticks(range(count), labels, rotation=0 if fits else 90)
    axes.set_yticks(range(count), labels)
    axes.tick_params(labelsize=SMALL, length=0)
    axes.spines[:].set_visible(False)
    bar = sheet.figure.colorbar(image, ax=axes, fraction=0.045, pad=0.02)
    seeds = int(result["pairs"].values.max())
    bar.set_label(
        f"RP score ({result.attrs['encoder']}, θ = {result.attrs['threshold']:g}), "
        f"n = {seeds} seeds",
        fontsize=NORMAL,
    )
    bar.ax.tick_params(labelsize=SMALL)
    bar.outline.set_visible(False)
    return sheet.figure


def _caption(result: xr.Dataset, options: ReproducibilityOptions, count: int) -> str:
    scores = result["rp"].values
    confidence = f"{percent(options.confidence)} intervals"
    sentences = [f"Chance level {value_range(result['chance'].values.ravel())}."]
    if count <= WITH_INTERVALS:
        sentences.append(f"Below each score its {confidence.removesuffix('s')} over seeds.")
    elif not np.isnan(scores).all():
        bounds = [result[name].values for name in ("rp_low", "rp_high")]
        reach = np.nanmax(np.abs(np.asarray(bounds) - scores))
        sentences.append(f"The {confidence} over seeds reach at most {reach:.2f} from the score.")
    ceiling = result.attrs["ceiling"] or {}
    if ceiling:
        sentences.append(
            f"Ceiling (one model, or one recipe trained twice) {value_range(ceiling.values(), 2)}."
        )
    if numerical := ceiling_sentence(result):
        sentences.append(numerical)
    if (np.isnan(scores) & ~np.eye(count, dtype=bool)).any():
        sentences.append("Hatched: not compared (different conditions), or not defined.")
    if result.attrs["unchecked"]:
        sentences.append(f"{UNCHECKED} It could not be checked that the noise is the same.")
    if result.attrs["drift"]:
        sentences.append(f"{DRIFT} Computed in differing ways.")
    return " ".join(sentences)


def _cover_empty_cells(axes: Axes, scores: NDArray[np.float64]) -> None:
    for row, column in np.argwhere(np.isnan(scores)).tolist():
        same = row == column
        axes.add_patch(
            Rectangle(
                (column - 0.5, row - 0.5),
                1,
                1,
                facecolor="#D9D9D9" if same else "#F2F2F2",
                edgecolor="#D9D9D9" if same else "#AAAAAA",
                linewidth=0,
                hatch=None if same else "////",
            )
        )


def _write_scores(axes: Axes, ordered: xr.Dataset) -> None:
    scores, unchecked = ordered["rp"].values, _unchecked(ordered)
    low, high = ordered["rp_low"].values, ordered["rp_high"].values
    with_intervals = len(scores) <= WITH_INTERVALS
    for row, column in np.argwhere(~np.isnan(scores)).tolist():
        at = (row, column)
        color = _ink(scores[at])
        mark = UNCHECKED if unchecked[at] else ""
        text = decimal(scores[at]) + mark
        axes.text(
            column,
            row - 0.13 * with_intervals,
            text,
            ha="center",
            va="center",
            fontsize=11 if with_intervals else SMALL,
            color=color,
        )
        if with_intervals:
            interval = f"{decimal(low[at])}–{decimal(high[at])}"
            axes.text(
                column, row + 0.2, interval, ha="center", va="center", fontsize=SMALL, color=color
            )


def _mark_unchecked(axes: Axes, ordered: xr.Dataset) -> None:
    scores = ordered["rp"].values
    for row, column in np.argwhere(_unchecked(ordered)).tolist():
        color = _ink(scores[row, column])
        axes.text(column, row, UNCHECKED, ha="center", va="center", fontsize=SMALL, color=color)


def _ink(score: float) -> str:
    """Return the color of text that is read on a score's color, or on that of a missing one."""
    return "white" if score < 0.6 else "black"


def _unchecked(ordered: xr.Dataset) -> NDArray[np.bool_]:
    compared = ordered["relation"].values >= 0
    unchecked: NDArray[np.bool_] = compared & ~ordered["checked"].values.astype(bool)
    return unchecked
