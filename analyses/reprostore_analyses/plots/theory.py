"""How far networks are from their closed forms along σ, and where they leave them."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter
from numpy.typing import NDArray

from reprostore_analyses.context import Context
from reprostore_analyses.footnotes import DRIFT, UNCHECKED
from reprostore_analyses.plots.curves import distinct_styles
from reprostore_analyses.plots.sheet import LINE, Sheet
from reprostore_analyses.plots.style import (
    AGREE,
    COPY,
    NORMAL,
    REAL,
    SMALL,
    proxy,
    run_labels,
    say,
    tidy,
)
from reprostore_analyses.results import percent
from reprostore_analyses.theory import TheoryOptions

SHOWN = 8
"""So many runs are drawn; of further ones, the numbers alone are in the result."""

NAMES = {"oracle": "oracle", "gaussian": "Gaussian"}
COLORS = {"oracle": COPY, "gaussian": AGREE}
NO_PATH = (
    "The estimates x̂_0 along the trajectory were not recorded: sample network and closed form with "
    'record = "all" and denoised = true.'
)


def theory_curves(context: Context, result: xr.Dataset, options: TheoryOptions) -> Figure:
    """Draw the distance of x̂_0 from oracle and Gaussian over σ, one panel per run.

    Parameters
    ----------
    context : Context
        Not used: every figure is called alike.
    result : xarray.Dataset
        Of `theory`.
    options : TheoryOptions
        What was asked.

    Returns
    -------
    matplotlib.figure.Figure
        Lines are medians over seeds, bands reach from the 5 % to the 95 % quantile. Noise falls
        from left to right.
    """
    paths = result["run"].values.tolist()
    shown = paths[:SHOWN]
    columns = 1 if len(shown) == 1 else 2
    lines = -(-len(shown) // columns)
    sheet = Sheet(
        lines * (3.0 if columns == 1 else 2.3) + 0.3,
        "How far is the network from the closed forms of its training items?",
        _paths_caption(result, len(paths)),
    )
    sheet.legend_below(_paths_handles(result), 4)
    grid = sheet.figure.subplots(lines, columns, squeeze=False, sharey=True)
    top = np.nanmax(result[["path_quantile", "between_quantile"]].to_array().values, initial=0.0)
    top = max(top, 1.5 * float(result.attrs["tolerance"]))
    labels = run_labels(paths, result.attrs["drift"])
    for place, axes in enumerate(grid.flat):
        if place >= len(shown):
            axes.set_axis_off()
            continue
        one = result.isel(run=place)
        if one["path_mean"].isnull().all():
            say(axes, f"{labels[place]}: {NO_PATH}", 2.6 * (3 - columns))
            continue
        _draw_path(axes, one, float(result.attrs["tolerance"]))
        # Linear below 1: distances span three orders of magnitude, and 0 is one of them.
        axes.set_yscale("symlog", linthresh=1.0)
        axes.set_ylim(0, 1.2 * top)
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.set_title(labels[place], fontsize=NORMAL)
        if place % columns == 0:
            axes.set_ylabel("RMS distance of x̂₀ (0–255)", fontsize=SMALL)
        if place + columns >= len(shown):
            axes.set_xlabel("σ, falling to the right", fontsize=SMALL)
    return sheet.figure


def theory_departures(context: Context, result: xr.Dataset, options: TheoryOptions) -> Figure:
    """Draw over σ how many seeds have left each closed form by then.

    Parameters
    ----------
    context : Context
        Not used: every figure is called alike.
    result : xarray.Dataset
        Of `theory`.
    options : TheoryOptions
        What was asked.

    Returns
    -------
    matplotlib.figure.Figure
        One line per run and closed form, the oracle's solid and the Gaussian's dashed; it begins
        at the share that was never near, and ends at one minus the share that stays.
    """
    paths = result["run"].values.tolist()
    drawn = [
        (place, kind)
        for place in range(min(len(paths), SHOWN))
        for kind in NAMES
        if not result["gone"].isel(run=place).sel(reference=kind).isnull().all()
    ]
    sheet = Sheet(
        3.4 + LINE * max(1, len(drawn)),
        "At which noise level does the network leave the closed forms?",
        _departures_caption(result, len(paths)),
    )
    axes = sheet.single()
    if not drawn:
        say(axes, NO_PATH)
        return sheet.figure
    labels = run_labels(paths, result.attrs["drift"])
    styles = distinct_styles(min(len(paths), SHOWN))
    handles: list[Artist] = []
    passed = result["gone"].notnull().any("reference").isel(run=slice(SHOWN)).values
    every = result["sigma"].isel(run=slice(SHOWN)).values[passed]
    for place, kind in drawn:
        at = result.isel(run=place).sel(reference=kind)
        style: dict[str, Any] = {
            "color": styles[place]["color"],
            "linewidth": 1.5,
            "linestyle": "-" if kind == "oracle" else (0, (4, 2)),
        }
        used = ~np.isnan(at["gone"].values)
        x = sigma_positions(at["sigma"].values[used], every)
        axes.step(x, at["gone"].values[used], where="post", **style)
        low, high = (at[f"gone_{bound}"].values[used] for bound in ("low", "high"))
        axes.fill_between(x, low, high, step="post", color=style["color"], alpha=0.12, linewidth=0)
        handles.append(proxy(_departure_text(at, labels[place], kind), **style))
    tidy(axes)
    sigma_axis(axes, every)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("σ, falling to the right", fontsize=NORMAL)
    axes.set_ylabel("share of seeds that have left by σ", fontsize=NORMAL)
    sheet.legend_below(handles, 1)
    return sheet.figure


def sigma_positions(sigma: NDArray[np.float64], every: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where noise levels stand on a logarithmic axis that also shows 0 and infinity.

    Parameters
    ----------
    sigma : ndarray
        Noise levels ≥ 0, of one line.
    every : ndarray
        Those of all lines.

    Returns
    -------
    ndarray
        σ itself; 0 and infinity half a decade beyond the others.
    """
    inside = every[(every > 0) & np.isfinite(every)]
    low, high = (inside.min(), inside.max()) if len(inside) else (1.0, 1.0)
    return np.asarray(
        np.where(sigma == 0, low / 10**0.5, np.where(np.isinf(sigma), high * 10**0.5, sigma))
    )


def sigma_axis(axes: Axes, every: NDArray[np.float64]) -> None:
    """Make the x axis logarithmic in σ, falling to the right, with 0 and ∞ where they occur."""
    ends = sigma_positions(np.asarray([every.max(), every.min()]), every)
    axes.set_xscale("log")
    axes.set_xlim(ends[0] * 1.15, ends[1] / 1.15)
    inside = every[(every > 0) & np.isfinite(every)]
    decades = np.arange(
        np.ceil(np.log10(inside.min()) - 1e-9), np.floor(np.log10(inside.max()) + 1e-9) + 1
    )
    decades = decades[:: max(1, -(-len(decades) // 6))]
    ticks = dict(zip((10.0**decades).tolist(), (f"{10.0**d:g}" for d in decades), strict=True))
    if len(ticks) < 2:
        ticks = {float(end): f"{end:.2g}" for end in (inside.max(), inside.min())}
    if (every == 0).any():
        ticks[float(ends[1])] = "0"
    if np.isinf(every).any():
        ticks[float(ends[0])] = "∞"
    axes.xaxis.set_major_locator(FixedLocator(list(ticks)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(list(ticks), list(ticks.values()))


def _draw_path(axes: Axes, one: xr.Dataset, tolerance: float) -> None:
    lines = {
        kind: one["path_quantile"].sel(reference=kind)
        for kind in NAMES
        if not one["path_mean"].sel(reference=kind).isnull().all()
    }
    used = np.logical_or.reduce(
        [~np.isnan(line.sel(quantile=0.5).values) for line in lines.values()]
    )
    sigma = one["sigma"].values[used]
    x = sigma_positions(sigma, sigma)
    for kind, line in lines.items():
        at = line.isel(row=used)
        low, middle, high = (at.sel(quantile=q).values for q in (0.05, 0.5, 0.95))
        axes.fill_between(x, low, high, color=COLORS[kind], alpha=0.18, linewidth=0)
        axes.plot(x, middle, color=COLORS[kind], linewidth=1.5)
    between = one["between_quantile"].sel(quantile=0.5).values[used]
    if not np.isnan(between).all():
        axes.plot(x, between, color=REAL, linewidth=1.1, linestyle=":")
    axes.axhline(tolerance, color="#222222", linewidth=0.8, linestyle="--")
    tidy(axes)
    sigma_axis(axes, sigma)


def _paths_handles(result: xr.Dataset) -> list[Artist]:
    handles: list[Artist] = [
        Patch(facecolor=COLORS[kind], label=f"to the {name}") for kind, name in NAMES.items()
    ]
    handles.append(proxy("between the two", color=REAL, linewidth=1.1, linestyle=":"))
    label = f"δ = {float(result.attrs['tolerance']):g}"
    handles.append(proxy(label, color="#222222", linewidth=0.8, linestyle="--"))
    return handles


def _paths_caption(result: xr.Dataset, count: int) -> str:
    text = (
        "Root mean square over pixels of the difference between the estimates x̂₀ of the network "
        "and of the closed form, each along its own trajectory from the same noise. Lines: median "
        "over seeds; bands: 5 % to 95 % of the seeds. Dotted: median distance between the two "
        "closed forms; where it is small, it means little which one is nearer. Logarithmic above 1."
    )
    return text + _marks(result, count)


def _departures_caption(result: xr.Dataset, count: int) -> str:
    text = (
        f"A seed has left at the first recorded σ after which the distance of x̂₀ stays at or above "
        f"δ = {float(result.attrs['tolerance']):g} (RMS, 0–255). Lines begin at the share of seeds "
        f"that were near at no σ; what they lack of 1 in the end stays near. Solid: oracle; "
        f"dashed: Gaussian; bands: {percent(result.attrs['confidence'])} intervals."
    )
    return text + _marks(result, count)


def _marks(result: xr.Dataset, count: int) -> str:
    text = f" The first {SHOWN} of {count} runs." if count > SHOWN else ""
    if result.attrs["unchecked"]:
        text += f" {UNCHECKED} It could not be checked that the noise is the same."
    if result.attrs["drift"]:
        text += f" {DRIFT} Computed in differing ways."
    return text


def _departure_text(at: xr.Dataset, label: str, kind: str) -> str:
    sigma, low, high = (float(at[f"departure_sigma{bound}"]) for bound in ("", "_low", "_high"))
    text = f"{label}, {NAMES[kind]}: {float(at['left']):.2f} leave"
    if not np.isnan(sigma):
        text += f" (median σ {sigma:.3g}"
        text += ")" if np.isnan([low, high]).any() else f" [{low:.3g}, {high:.3g}])"
    return f"{text}, {float(at['stayed']):.2f} stay, {float(at['never_near']):.2f} never near"
