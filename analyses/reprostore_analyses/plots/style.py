"""What all figures share: sizes, colors that color-blind readers tell apart, labels."""

import itertools
import string
import textwrap
from collections.abc import Collection, Iterable, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from reprostore_analyses.footnotes import DRIFT

WIDTH = 6.6
"""Inches; 990 pixels, the width at which a README shows a picture."""

DPI = 150
SMALL, NORMAL, LARGE = 8, 9, 10
"""Font sizes in points."""

AGREE, COPY, REAL = "#0072B2", "#D55E00", "#666666"
"""Agreement of models, copies of training items, and what is there without any model."""

HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#444444")
"""Okabe & Ito's colors that are visible on white."""

_WORD = string.ascii_letters + string.digits


def run_labels(paths: Sequence[str], drifted: Collection[str] = (), limit: int = 24) -> list[str]:
    """Return short labels of runs.

    Parameters
    ----------
    paths : sequence of str
        Paths of the runs, model/sampler/condition.
    drifted : collection of str
        Those of them that get a mark.
    limit : int
        Longer labels lose their middle, or what all begin with, if they stay different.

    Returns
    -------
    list of str
        The parts in which the paths differ; the model where they differ in none.
    """
    columns = list(zip(*(path.split("/") for path in paths), strict=True))
    differing = [column for column in columns if len(set(column)) > 1] or columns[:1]
    labels = _fitting(["/".join(parts) for parts in zip(*differing, strict=True)], limit)
    return [label + DRIFT * (path in drifted) for label, path in zip(labels, paths, strict=True)]


def _fitting(full: list[str], limit: int) -> list[str]:
    longest = max(map(len, full), default=0)
    if longest <= limit:
        return full
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*full, strict=False))
    shared = full[0][: len(list(alike))] if len(full) > 1 else ""
    whole_words = shared[: len(shared.rstrip(_WORD))]
    for length in range(limit, longest + 1):
        for prefix in ("", whole_words, shared):
            if prefix:
                own = [f"…{label[len(prefix) :]}" for label in full]
                labels = [o if len(o) <= length else f"{o[: length - 1]}…" for o in own]
            else:
                labels = [shortened(label, length) for label in full]
            if len(set(labels)) == len(set(full)):
                return labels
    return full


def shortened(text: str, limit: int) -> str:
    """Cut the middle out of a text that is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    tail = limit // 2
    return f"{text[: limit - 1 - tail]}…{text[-tail:]}"


def decimal(value: float) -> str:
    """Write a fraction without its leading zero, for small cells: ".78", "1.0", "–" for NaN."""
    if np.isnan(value):
        return "–"
    text = f"{value:.2f}"
    return text[:-1] if text == "1.00" else text.removeprefix("0")


def estimate(value: float, low: float, high: float) -> str:
    """Write a fraction with its interval: "0.78 [0.74, 0.81]", "undefined" for NaN."""
    return "undefined" if np.isnan(value) else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def value_range(values: Iterable[float], digits: int = 3) -> str:
    """Write the smallest and the largest of the values that are numbers: "0.004–0.012"."""
    numbers = [value for value in values if not np.isnan(value)]
    ends = sorted({f"{end:.{digits}f}" for end in (min(numbers), max(numbers))} if numbers else ())
    return "–".join(ends) or "undefined"


def wrapped(text: str, width: float, size: float = SMALL) -> str:
    """Break a text into lines that fit into `width` inches at a font size in points."""
    return textwrap.fill(text, int(width * 72 / size / 0.515), break_long_words=False)


def tidy(axes: Axes) -> None:
    """Draw axes with small labels, a light grid and no box around them."""
    axes.tick_params(labelsize=SMALL, color="#999999")
    axes.grid(visible=True, color="#E5E5E5", linewidth=0.6)
    axes.set_axisbelow(True)
    for name in ("top", "right"):
        axes.spines[name].set_visible(False)
    for name in ("left", "bottom"):
        axes.spines[name].set_color("#999999")


def mark_threshold(axes: Axes, threshold: float) -> Artist:
    """Draw a vertical line at θ, with its value above the axes; returns the line."""
    line = axes.axvline(threshold, color="#222222", linewidth=0.9, zorder=1.5)
    axes.annotate(
        f"θ = {threshold:g}",
        (threshold, 1),
        xycoords=axes.get_xaxis_transform(),
        xytext=(0, 2),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=SMALL,
    )
    return line


def moving_range(
    thresholds: NDArray[np.float64], curves: Iterable[NDArray[np.float64]], include: float
) -> tuple[float, float]:
    """Return the thresholds between which curves are neither 0 nor 1, and one that is included."""
    moving = np.zeros(len(thresholds), dtype=bool)
    for curve in curves:
        moving |= (curve > 0.01) & (curve < 0.99)
    at = thresholds[moving]
    low, high = (at.min(), at.max()) if len(at) else (include, include)
    low, high = min(low, include), max(high, include)
    margin = max(0.04 * (high - low), 0.01)
    return max(low - margin, thresholds[0]), min(high + margin, thresholds[-1])


def proxy(label: str, **style: str | float) -> Line2D:
    """Return a line that is only in the legend."""
    # mypy would have each key of a line style named.
    return Line2D([], [], label=label, **style)  # type: ignore[arg-type]


def say(axes: Axes, text: str, width: float = WIDTH * 0.8) -> None:
    """Write a text in the middle of axes that have nothing to draw."""
    axes.set_axis_off()
    axes.text(
        0.5,
        0.5,
        wrapped(text, width),
        transform=axes.transAxes,
        ha="center",
        va="center",
        fontsize=SMALL,
        color="#333333",
    )
