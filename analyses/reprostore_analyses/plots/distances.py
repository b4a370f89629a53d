"""How far apart pairs of runs are, one panel per metric."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reprostore_analyses.context import Context
from reprostore_analyses.distances import DistancesOptions
from reprostore_analyses.footnotes import DRIFT, UNCHECKED
from reprostore_analyses.plots.sheet import LINE, Sheet
from reprostore_analyses.plots.style import (
    AGREE,
    NORMAL,
    REAL,
    SMALL,
    proxy,
    run_labels,
    tidy,
)
from reprostore_analyses.results import percent

SHOWN = 24
"""So many pairs are drawn, half of them the closest and half the farthest ones."""

COLUMNS = 2


def distances_figure(context: Context, result: xr.Dataset, options: DistancesOptions) -> Figure:
    """Draw each metric of each pair with its interval, beside its chance level.

    Parameters
    ----------
    context : Context
        Not used: every figure is called alike.
    result : xarray.Dataset
        Of `distances`.
    options : DistancesOptions
        What was asked.

    Returns
    -------
    matplotlib.figure.Figure
        Pairs from top to bottom, in the order of the first metric, the closest at the top.
    """
    metrics = [
        metric
        for metric in result["metric"].values.tolist()
        if not result["value"].sel(metric=metric).isnull().all()
    ]
    order = _order(result, metrics[0])
    places = order if len(order) <= SHOWN else [*order[: SHOWN // 2], *order[-SHOWN // 2 :]]
    lines = -(-len(metrics) // COLUMNS)
    sheet = Sheet(
        lines * (0.75 + LINE * 1.15 * len(places)),
        "How far apart are two models' pictures from the same noise?",
        _caption(result, options, len(order)),
    )
    sheet.legend_below(
        [
            proxy("equal seeds", color=AGREE, marker="o", markersize=4, linewidth=1.2),
            proxy("chance: different seeds", color=REAL, marker="|", markersize=8, linestyle=""),
            proxy("a run and itself", color="#999999", linewidth=0.8, linestyle=":"),
        ],
        3,
    )
    grid = sheet.figure.subplots(lines, COLUMNS, squeeze=False, sharey=True)
    labels = _labels(result, places)
    for place, axes in enumerate(grid.flat):
        if place >= len(metrics):
            axes.set_axis_off()
            continue
        _draw(axes, result, metrics[place], places)
        if place % COLUMNS == 0:
            axes.set_yticks(range(len(places)), labels)
            axes.set_ylim(len(places) - 0.5, -0.5)
    return sheet.figure


def _order(result: xr.Dataset, metric: str) -> list[int]:
    values = result["value"].sel(metric=metric).values
    closer = result.attrs["metrics"][metric]["higher"] == "closer"
    order: list[int] = np.argsort(-values if closer else values, kind="stable").tolist()
    return order


def _labels(result: xr.Dataset, places: list[int]) -> list[str]:
    paths = sorted({path for pair in result.attrs["pairs"] for path in pair})
    names = dict(zip(paths, run_labels(paths, result.attrs["drift"], limit=18), strict=True))
    return [
        " · ".join(names[path] for path in result.attrs["pairs"][place])
        + UNCHECKED * (not int(result["checked"][place]))
        for place in places
    ]


def _draw(axes: Axes, result: xr.Dataset, metric: str, places: list[int]) -> None:
    at = result.sel(metric=metric).isel(pair=places)
    rows = np.arange(len(places))
    value, low, high = (at[name].values for name in ("value", "low", "high"))
    reach = np.nan_to_num(np.clip([value - low, high - value], 0, None))
    described = result.attrs["metrics"][metric]
    axes.axvline(described["identical"], color="#999999", linewidth=0.8, linestyle=":")
    axes.errorbar(value, rows, xerr=reach, fmt="o", color=AGREE, markersize=4, elinewidth=1.2)
    axes.plot(at["chance"].values, rows, linestyle="", marker="|", markersize=8, color=REAL)
    tidy(axes)
    unit = f" ({described['unit']})" if described["unit"] else ""
    axes.set_xlabel(f"{described['title']}{unit}", fontsize=NORMAL)
    axes.set_title(f"higher is {described['higher']}", fontsize=SMALL, color="#444444")


def _caption(result: xr.Dataset, options: DistancesOptions, pairs: int) -> str:
    caption = (
        f"{result.sizes['seed']} seeds; encoder {result.attrs['encoder']}. Dots: mean over seeds "
        f"(PFD: root of the mean square) with {percent(options.confidence)} bootstrap intervals. "
        f"Chance: the seeds of one run shifted, mean over {result.attrs['shifts']} shifts of "
        f"{result.attrs['chance_seeds']} seeds."
    )
    if pairs > SHOWN:
        caption += f" Of {pairs} pairs the {SHOWN // 2} closest and {SHOWN // 2} farthest."
    if result.attrs["unchecked"]:
        caption += f" {UNCHECKED} The noise was not compared."
    if result.attrs["drift"]:
        caption += f" {DRIFT} Computed in differing ways."
    return caption
