"""What the figures of `transition` share: curves with bands over a logarithmic axis."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, NullLocator
from numpy.typing import NDArray

from reprostore_analyses.footnotes import DRIFT, UNCHECKED
from reprostore_analyses.plots.style import HUES, NORMAL, REAL, shortened, tidy
from reprostore_analyses.results import percent

Floats = NDArray[np.float64]

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""By place, together with the colors: lines are told apart without color too."""

CHANCE: dict[str, Any] = {"color": REAL, "linewidth": 0.9, "linestyle": (0, (1, 1.5))}
UNSEEN: dict[str, Any] = {"color": REAL, "linewidth": 1.1, "linestyle": (0, (4, 2))}
"""Reference lines: scores of different noise, and of real items that no model saw."""


def style_of(place: int, **changed: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return color and marker of the line at a place."""
    made = {
        "color": HUES[place % len(HUES)],
        "marker": MARKERS[(place + place // len(HUES)) % len(MARKERS)],
        "linewidth": 1.5,
        "markersize": 4.5,
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
    }
    return made | changed


def draw_band(axes: Axes, x: Floats, values: Sequence[Floats], style: dict[str, Any]) -> None:
    """Draw a line with its interval, over the points that have a value.

    Parameters
    ----------
    axes : Axes
        Where.
    x : ndarray, (point,)
        Positive.
    values : sequence of three ndarray, (point,)
        The line, and its interval's lower and upper ends; NaN where there are none. A point whose
        interval has no ends is drawn without.
    style : dict
        Of the line.
    """
    there = ~np.isnan(values[0]) & ~np.isnan(x)
    order = np.flatnonzero(there)[np.argsort(x[there], kind="stable")]
    at, (line, low, high) = x[order], (part[order] for part in values)
    axes.plot(at, line, **style, zorder=3)
    bounded = ~np.isnan(low) & ~np.isnan(high)
    color = style["color"]
    if bounded.sum() > 1:
        axes.fill_between(
            at, low, high, where=bounded.tolist(), color=color, alpha=0.16, linewidth=0, zorder=1.5
        )
    alone = bounded & ~(np.roll(bounded, 1) | np.roll(bounded, -1)) if len(at) > 1 else bounded
    if alone.any():
        axes.vlines(at[alone], low[alone], high[alone], color=color, linewidth=1.0, zorder=2)


def bounds(at: xr.Dataset, name: str) -> list[Floats]:
    """Return a score and the ends of its interval."""
    return [at[name + end].values for end in ("", "_low", "_high")]


def over_sizes(axes: Axes, sizes: Floats, label: str = "training items N") -> None:
    """Give axes a logarithmic axis with the sizes as ticks, and shares from 0 to 1."""
    shares(axes)
    _logarithmic(axes, sizes, label)
    span = np.log2(sizes.max() / sizes.min()) or 1.0
    shown: list[float] = []
    for size in sizes.tolist():
        if not shown or np.log2(size / shown[-1]) >= 0.11 * span:
            shown.append(size)
    powers = all(np.log2(size) % 1 == 0 for size in shown) and max(shown) > 2048
    texts = [f"$2^{{{np.log2(s):.0f}}}$" if powers else f"{s:.0f}" for s in shown]
    axes.set_xticks(shown, texts)


def over_axis(axes: Axes, values: Floats, label: str) -> None:
    """Give axes a logarithmic axis with ticks at powers of two, and shares from 0 to 1."""
    shares(axes)
    _logarithmic(axes, values[~np.isnan(values)], label)
    low, high = (int(end) for end in (np.ceil(np.log2(axes.get_xlim()[0])),
                                      np.floor(np.log2(axes.get_xlim()[1]))))  # fmt: skip
    every = max(1, (high - low) // 5)
    ticks = [2.0**power for power in range(low, high + 1, every)]
    axes.set_xticks(ticks, [f"{t:.0f}" if t >= 1 else f"1/{1 / t:.0f}" for t in ticks])


def shares(axes: Axes) -> None:
    """Give axes a range for shares."""
    tidy(axes)
    axes.set_ylim(-0.02, 1.02)


def _logarithmic(axes: Axes, values: Floats, label: str) -> None:
    axes.set_xscale("log", base=2)
    low, high = float(values.min()), float(values.max())
    margin = 2.0 ** (0.04 * max(np.log2(high / low), 2.0))
    axes.set_xlim(low / margin, high * margin)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label, fontsize=NORMAL)


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Return names of architectures that fit into a legend."""
    return {name: shortened(name, 26) for name in names}


def about(result: xr.Dataset, text: str) -> str:
    """Write a caption: what is drawn, of how many seeds, in whose space, what intervals say."""
    counts = sorted({int(c) for c in result["run_seeds"].values})
    seeds = "–".join(str(end) for end in dict.fromkeys((counts[0], counts[-1])))
    caption = (
        f"{seeds} seeds; encoder {result.attrs['encoder']}. {text} Bands: "
        f"{percent(result.attrs['confidence'])} intervals over seeds, for these trained models."
    )
    if result.attrs["unchecked"]:
        caption += f" {UNCHECKED} It could not be checked that the noise is the same."
    if result.attrs["drift"]:
        caption += f" {DRIFT} Some runs were computed in differing ways."
    return caption
