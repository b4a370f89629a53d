"""RP between models of equal N and GL of each, over N: the paper's Figure 2."""

from itertools import zip_longest
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reprostore_analyses.context import Context
from reprostore_analyses.plots.sheet import LINE, Sheet
from reprostore_analyses.plots.style import NORMAL, WIDTH, proxy, say, value_range
from reprostore_analyses.plots.transition_style import (
    CHANCE,
    UNSEEN,
    about,
    bounds,
    draw_band,
    over_sizes,
    short_names,
    style_of,
)
from reprostore_analyses.transition_groups import REFERENCES
from reprostore_analyses.transition_lines import Line
from reprostore_analyses.transition_options import TransitionOptions

MOST_LINES = 12
"""So many lines of RP are told apart; of more, those of kinds that come first are drawn."""


def transition_curves(context: Context, result: xr.Dataset, options: TransitionOptions) -> Figure:
    """Draw RP between models of equal N, and GL of each architecture, over N.

    Parameters
    ----------
    context : Context
        Not used: every figure is called alike.
    result : xarray.Dataset
        Of `transition`.
    options : TransitionOptions
        What was asked.

    Returns
    -------
    matplotlib.figure.Figure
        Left one line per pair of architectures and kind, with chance levels; right one line per
        architecture, with N at GL = 1/2, and the held-out row.
    """
    lines = agreement_lines(result)
    handles = _handles(result, lines)
    text = (
        f"Left: share of seeds on which two models draw the same, θ = "
        f"{result.attrs['threshold']:g}; mean over pairs of models. Right: share of samples "
        f"without a training item above θ = {result.attrs['copy_threshold']:g}, mean over models."
    )
    if (result["held_out_items"].values > 0).any():
        text += " Dashed: the same of real items that no model saw."
    chance = [result["chance"].values[place] for place, _ in lines]
    if chance:
        text += f" Dotted: chance level, {value_range(np.concatenate(chance))}."
    if (~np.isnan(result["n50_low"].values)).any():
        text += " Bars at ½: where the fit passes it."
    rows = -(-len(handles) // 2)
    sheet = Sheet(
        2.75 + LINE * rows, "Agreement and copies as training sets grow", about(result, text)
    )
    left, right = sheet.figure.subplots(1, 2)
    draw_agreement(left, result, lines)
    draw_novelty(right, result)
    sheet.legend_below(handles, 2)
    return sheet.figure


def agreement_lines(result: xr.Dataset) -> list[tuple[int, dict[str, Any]]]:
    """Return places and styles of the lines of RP between networks.

    Those of two architectures have colors of their own, after those of the architectures; those
    within one architecture have its color, and are dashed.
    """
    names = result["architecture"].values.tolist()
    found: list[tuple[int, dict[str, Any]]] = []
    for place, line in enumerate(result.attrs["lines"]):
        if line["kind"] in REFERENCES or len(found) == MOST_LINES:
            continue
        if line["kind"] == "architectures":
            style = style_of(len(names) + len(found))
        elif line["kind"] in ("trainer seeds", "one architecture"):
            style = style_of(names.index(line["a"]), linestyle=(0, (4, 1.5)))
        else:
            style = style_of(len(found), color="#444444", linestyle=(0, (5, 1.5, 1, 1.5)))
        found.append((place, style))
    return found


def draw_agreement(axes: Axes, result: xr.Dataset, lines: list[tuple[int, dict[str, Any]]]) -> None:
    """Draw RP of lines over N, with their chance levels."""
    if not lines:
        say(axes, "No two models were trained on equally many items.", WIDTH * 0.35)
        return
    sizes = result["size"].values.astype(np.float64)
    for place, style in lines:
        at = result.isel(line=place)
        draw_band(axes, sizes, bounds(at, "rp"), style)
        there = ~np.isnan(at["chance"].values)
        axes.plot(sizes[there], at["chance"].values[there], **CHANCE, zorder=1.2)
    over_sizes(axes, sizes)
    axes.set_ylabel("RP score", fontsize=NORMAL)


def draw_novelty(axes: Axes, result: xr.Dataset) -> None:
    """Draw GL of the architectures over N, with the held-out row and N at GL = 1/2."""
    sizes = result["size"].values.astype(np.float64)
    drawn: list[list[float]] = []
    for place in range(result.sizes["architecture"]):
        at = result.isel(architecture=place)
        style = style_of(place)
        draw_band(axes, sizes, bounds(at, "gl"), style)
        unseen = at["held_out_gl"].values
        there = ~np.isnan(unseen)
        if there.any() and (line := unseen[there].tolist()) not in drawn:
            drawn.append(line)
            axes.plot(sizes[there], unseen[there], **UNSEEN, zorder=1.4)
        low, high = float(at["n50_low"]), float(at["n50_high"])
        if not np.isnan(low):
            axes.hlines(0.5, low, high, color=style["color"], linewidth=3, alpha=0.6, zorder=2.5)
    over_sizes(axes, sizes)
    axes.set_ylabel("GL score", fontsize=NORMAL)


def _handles(result: xr.Dataset, lines: list[tuple[int, dict[str, Any]]]) -> list[Artist]:
    """Return the legend, filled column by column: lines of RP left, those of GL right."""
    names = result["architecture"].values.tolist()
    short = short_names(names)
    left: list[Artist] = []
    for place, style in lines:
        left.append(proxy(_line_text(result.attrs["lines"][place], short), **style))
    right: list[Artist] = [
        proxy(f"GL of {short[name]}", **style_of(place)) for place, name in enumerate(names)
    ]
    if (result["held_out_items"].values > 0).any():
        right.append(proxy("GL of unseen real items", **UNSEEN))
    if lines:
        left.append(proxy("chance", **CHANCE))
    # Legends are filled by columns, and both have the same length.
    empty = proxy(" ", linestyle="")
    pairs = list(zip_longest(left, right, fillvalue=empty))
    return [pair[0] for pair in pairs] + [pair[1] for pair in pairs]


def _line_text(line: dict[str, str], short: dict[str, str]) -> str:
    return Line(line["kind"], short[line["a"]], short[line["b"]]).label
