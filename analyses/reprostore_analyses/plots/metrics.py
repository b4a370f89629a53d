"""All metrics of runs beside their controls, one panel per metric."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reprostore_analyses.context import Context
from reprostore_analyses.footnotes import DRIFT
from reprostore_analyses.plots.sheet import LINE, Sheet
from reprostore_analyses.plots.style import (
    COPY,
    HUES,
    NORMAL,
    REAL,
    SMALL,
    proxy,
    run_labels,
    tidy,
)
from reprostore_analyses.results import percent

SHOWN = 16
"""So many runs are drawn; the numbers of further ones are in the result."""

COLUMNS = 3

STYLES: dict[str, dict[str, Any]] = {
    "generated|train": {"label": "samples, to training items", "color": COPY, "marker": "o"},
    "held_out|train": {"label": "unseen real items, to training items", "color": REAL,
                       "marker": "s"},
    "train|train": {"label": "training items, to the others", "color": "#999999", "marker": "x"},
    "generated|held_out": {"label": "samples, to unseen items", "color": HUES[0], "marker": "^"},
    "generated|generated": {"label": "samples alone", "color": COPY, "marker": "D"},
    "held_out|held_out": {"label": "unseen items alone", "color": REAL, "marker": "D"},
}  # fmt: skip
"""Of each comparison."""

TITLES = {
    "memorization": "Does the model memorize? Every rule beside unseen real items",
    "fidelity": "How near are samples to what the model saw, and to what it did not?",
}


def metrics_figure(context: Context, result: xr.Dataset, options: Any) -> Figure:  # noqa: ANN401
    """Draw every metric of every run with its interval, beside its controls.

    Parameters
    ----------
    context : Context
        Not used: every figure is called alike.
    result : xarray.Dataset
        Of `memorization` or `fidelity`.
    options : Spec
        What was asked.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per metric that is defined for a run; runs from top to bottom.
    """
    metrics = [
        metric
        for metric in result["metric"].values.tolist()
        if not result["value"].sel(metric=metric).isnull().all()
    ]
    shown = result.isel(run=slice(SHOWN))
    columns = min(COLUMNS, max(1, len(metrics)))
    lines = max(1, -(-len(metrics) // columns))
    compared = [
        comparison
        for comparison in STYLES
        if comparison in result["comparison"].values
        and not result["value"].sel(comparison=comparison).isnull().all()
    ]
    sheet = Sheet(
        lines * (0.72 + LINE * 1.25 * shown.sizes["run"]),
        TITLES[result.attrs["analysis"]],
        _caption(result, options, len(metrics)),
    )
    styles = {each: STYLES[each] for each in compared}
    if "generated|generated" in styles:  # then it is of the training items alone
        styles["train|train"] = STYLES["train|train"] | {"label": "training items alone"}
    labelled = (proxy(markersize=5, linestyle="", **style) for style in styles.values())
    sheet.legend_below(list(labelled), 2)
    grid = sheet.figure.subplots(lines, columns, squeeze=False, sharey=True)
    labels = [
        f"{label}, N = {size}"
        for label, size in zip(
            run_labels(shown["run"].values.tolist(), result.attrs["drift"], limit=18),
            shown["train_size"].values.tolist(),
            strict=True,
        )
    ]
    for place, axes in enumerate(grid.flat):
        if place >= len(metrics):
            axes.set_axis_off()
            continue
        _draw(axes, shown, metrics[place], compared)
        if place % columns == 0:
            axes.set_yticks(range(len(labels)), labels)
            axes.set_ylim(len(labels) - 0.5, -0.5)
    return sheet.figure


def _draw(axes: Axes, result: xr.Dataset, metric: str, compared: list[str]) -> None:
    rows = np.arange(result.sizes["run"], dtype=np.float64)
    own = [
        comparison
        for comparison in compared
        if not result["value"].sel(metric=metric, comparison=comparison).isnull().all()
    ]
    for offset, comparison in enumerate(own):
        at = result.sel(metric=metric, comparison=comparison)
        value, low, high = (at[name].values for name in ("value", "low", "high"))
        style = STYLES[comparison]
        axes.errorbar(
            value,
            rows + 0.16 * (offset - (len(own) - 1) / 2),
            xerr=np.nan_to_num(np.clip([value - low, high - value], 0, None)),
            linestyle="",
            marker=style["marker"],
            color=style["color"],
            markersize=3.5,
            elinewidth=1.0,
        )
    tidy(axes)
    described = result.attrs["metrics"][metric]
    axes.set_title(described["title"], fontsize=NORMAL)
    axes.set_xlabel(f"higher: {described['higher']}", fontsize=SMALL)
    axes.locator_params(axis="x", nbins=4)


def _caption(result: xr.Dataset, options: Any, metrics: int) -> str:  # noqa: ANN401
    absent = result.sizes["metric"] - metrics
    caption = (
        f"Encoder {result.attrs['encoder']}. Bars: {percent(options.confidence)} intervals over "
        "samples or items, for the trained models at hand; metrics of whole sets by "
        "subsampling, of as many samples as unseen items."
    )
    if absent:
        caption += f" {absent} metrics are undefined for all runs."
    if result.sizes["run"] > SHOWN:
        caption += f" The first {SHOWN} of {result.sizes['run']} runs."
    if result.attrs["drift"]:
        caption += f" {DRIFT} Computed in differing ways."
    return caption
