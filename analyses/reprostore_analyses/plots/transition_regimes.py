"""Memorization and generalization as shaded ranges of N, and GL over the other axes."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from reprostore_analyses.context import Context
from reprostore_analyses.plots.sheet import LINE, Sheet
from reprostore_analyses.plots.style import NORMAL, SMALL, WIDTH, proxy, say
from reprostore_analyses.plots.transition_style import (
    about,
    bounds,
    draw_band,
    over_axis,
    over_sizes,
    short_names,
    style_of,
)
from reprostore_analyses.transition_options import TransitionOptions

SHADES = {"memorization": "#B8860B", "generalization": "#6A5ACD"}
"""None of them is the color of a line."""

STRIP = 0.065
"""Height of an architecture's strip of regimes, as a share of the axes."""


def transition_regimes(context: Context, result: xr.Dataset, options: TransitionOptions) -> Figure:
    """Draw GL and RP over N with both regimes shaded.

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
        Two lines per architecture, GL (solid) and the RP that its regime is told from (dashed). N
        at which all architectures are in one regime are shaded; strips above show each.
    """
    names = result["architecture"].values.tolist()
    short = short_names(names)
    sizes = result["size"].values.astype(np.float64)
    g, r = result.attrs["g"], result.attrs["r"]
    text = (
        f"Memorization: GL < {g:g}. Generalization: GL > {1 - g:g} and RP > {r:g}, RP to the other "
        "architectures, or across trainer seeds where there are none. Strips: each architecture; "
        "shaded over the whole height: all of them. Hatched: unknown, since there is no RP."
    )
    rows = -(-(2 * len(names) + 2) // 2)
    sheet = Sheet(
        3.1 + 0.2 * len(names) + LINE * rows,
        "Memorization and generalization",
        about(result, text),
    )
    axes = sheet.single()
    for place in range(len(names)):
        at = result.isel(architecture=place)
        draw_band(axes, sizes, bounds(at, "gl"), style_of(place))
        there = ~np.isnan(at["regime_rp"].values)
        dashed = style_of(place, linestyle=(0, (4, 1.5)), linewidth=1.1, markersize=3.5)
        axes.plot(sizes[there], at["regime_rp"].values[there], **dashed, zorder=2.8)
    over_sizes(axes, sizes)
    _shade(axes, result, sizes)
    axes.set_ylabel("GL and RP score", fontsize=NORMAL)
    shades = [Patch(facecolor=color, alpha=0.35, label=name) for name, color in SHADES.items()]
    thin = {"linestyle": (0, (4, 1.5)), "linewidth": 1.1}
    gl = [proxy(f"GL of {short[name]}", **style_of(i)) for i, name in enumerate(names)]
    rp = [proxy(f"RP of {short[name]}", **style_of(i, **thin)) for i, name in enumerate(names)]
    handles = [shades[0], *gl, shades[1], *rp]
    sheet.legend_below(handles, 2)
    return sheet.figure


def _shade(axes: Axes, result: xr.Dataset, sizes: NDArray[np.float64]) -> None:
    """Shade each N up to the middle, on the logarithmic axis, between it and its neighbors."""
    codes, names = result["regime"].values, result["architecture"].values.tolist()
    there = result["models"].values > 0
    left, right = axes.get_xlim()
    middles = np.sqrt(sizes[1:] * sizes[:-1])
    edges = np.concatenate([[left], middles, [right]])
    count = len(names)
    top = 1.04
    axes.set_ylim(-0.02, top + count * STRIP)
    axes.set_yticks(np.linspace(0, 1, 6))
    for name, color in SHADES.items():
        code = result.attrs["regimes"].index(name)
        for column in range(len(sizes)):
            own = codes[there[:, column], column]
            if len(own) and (own == code).all():
                axes.axvspan(
                    edges[column],
                    edges[column + 1],
                    ymax=(top + 0.02) / (top + count * STRIP + 0.02),
                    color=color,
                    alpha=0.13,
                    linewidth=0,
                    zorder=0.5,
                )
            for row in np.flatnonzero((codes[:, column] == code) & there[:, column]).tolist():
                _strip(axes, edges[column : column + 2], top + (count - 1 - row) * STRIP, color, "")
    for row, column in np.argwhere((codes < 0) & there).tolist():
        _strip(axes, edges[column : column + 2], top + (count - 1 - row) * STRIP, "none", "////")
    for row in range(count):
        axes.plot(
            [0.008],
            [top + (count - 0.55 - row) * STRIP],
            transform=axes.get_yaxis_transform(),
            **style_of(row, markersize=4),
            clip_on=False,
            zorder=4,
        )


def _strip(axes: Axes, ends: NDArray[np.float64], bottom: float, color: str, hatch: str) -> None:
    axes.add_patch(
        Rectangle(
            (ends[0], bottom),
            ends[1] - ends[0],
            STRIP * 0.85,
            facecolor=color,
            alpha=0.45,
            edgecolor="#777777" if hatch else "none",
            linewidth=0,
            hatch=hatch or None,
            zorder=2,
        )
    )


def transition_axes(context: Context, result: xr.Dataset, options: TransitionOptions) -> Figure:
    """Draw GL over N/√(parameters) and over N/dimension.

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
        Two charts with one line per architecture; where a number is not known, the reason.
    """
    names = result["architecture"].values.tolist()
    short = short_names(names)
    sheet = Sheet(
        2.6 + LINE * -(-len(names) // 3),
        "Copies over other measures of size",
        about(result, f"GL, θ = {result.attrs['copy_threshold']:g}. {_dimension_text(result)}"),
    )
    charts = sheet.figure.subplots(1, 2)
    reasons = " ".join(result.attrs["dimension_reasons"].values())
    for axes, name, label, reason in (
        (charts[0], "size_per_root_parameters", "N / √(parameters)",
         result.attrs["absent"].get("N/√(parameters)", "")),
        (charts[1], "size_per_dimension", "N / intrinsic dimension", reasons),
    ):  # fmt: skip
        values = result[name].values
        if np.isnan(values).all():
            say(axes, reason or "Nothing is known of this.", WIDTH * 0.35)
            continue
        for place in range(len(names)):
            at = result.isel(architecture=place)
            draw_band(axes, at[name].values, bounds(at, "gl"), style_of(place))
        over_axis(axes, values, label)
        axes.set_ylabel("GL score", fontsize=NORMAL)
        axes.tick_params(labelsize=SMALL)
    sheet.legend_below(
        [proxy(short[name], **style_of(place)) for place, name in enumerate(names)], 3
    )
    return sheet.figure


def _dimension_text(result: xr.Dataset) -> str:
    parts = []
    neighbors = {"twonn": 2, "mle": 20}.get(result.attrs["dimension"])
    for place, name in enumerate(result["dataset"].values):
        at = result.isel(dataset=place)
        if neighbors is None or np.isnan(at["dimension"].values).all():
            continue
        own = at.sel(neighbors=neighbors)
        others = "–".join(f"{f(at['dimension'].values):.1f}" for f in (np.nanmin, np.nanmax))
        estimator = "TwoNN" if neighbors == 2 else f"maximum likelihood, {neighbors} neighbors"
        parts.append(
            f"Intrinsic dimension of {name} ({estimator}, {int(at['dimension_items'])} items): "
            f"{float(own['dimension']):.1f} [{float(own['dimension_low']):.1f}, "
            f"{float(own['dimension_high']):.1f}]; with 2 to 20 neighbors {others}."
        )
    return " ".join(parts)
