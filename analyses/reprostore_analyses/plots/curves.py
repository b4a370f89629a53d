"""What figures over the threshold share: a choice of θ is seen beside all the others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from reprostore_analyses.plots.style import HUES, NORMAL, mark_threshold, moving_range, tidy

MANY = 12
"""More lines than this are not told apart one by one: they share the color of a group."""

REFERENCE: dict[str, Any] = {"linewidth": 1.0, "linestyle": (0, (4, 2)), "marker": ""}
"""Of the curve to which that of the same color is compared."""


def distinct_styles(count: int) -> list[dict[str, Any]]:
    """Return the style of each of up to `MANY` lines: colors, and markers where these repeat."""
    return [
        {
            "color": HUES[place % len(HUES)],
            "linewidth": 1.6,
            "marker": ("", "o")[place // len(HUES)],
            "markersize": 4,
            "markevery": 15,
        }
        for place in range(count)
    ]


def finish(
    axes: Axes, result: xr.Dataset, curves: Sequence[np.ndarray[Any, Any]], label: str
) -> None:
    """Mark θ, and choose the range in which the curves move."""
    tidy(axes)
    threshold = float(result.attrs["threshold"])
    mark_threshold(axes, threshold)
    axes.set_xlim(*moving_range(result["threshold"].values, curves, threshold))
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("cosine threshold θ", fontsize=NORMAL)
    axes.set_ylabel(label, fontsize=NORMAL)
