"""The fraction of copies as a function of the threshold."""

from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from reprostore_analyses.context import Context
from reprostore_analyses.footnotes import DRIFT
from reprostore_analyses.generalization import GeneralizationOptions
from reprostore_analyses.plots.curves import MANY, REFERENCE, distinct_styles, finish
from reprostore_analyses.plots.sheet import LINE, Sheet
from reprostore_analyses.plots.style import estimate, proxy, run_labels, value_range
from reprostore_analyses.results import percent


def generalization_curves(
    context: Context,
    result: xr.Dataset,
    options: GeneralizationOptions,
) -> Figure:
    """Draw the fraction of copies over θ for each run, beside that of held-out real items.

    Parameters
    ----------
    context : Context
        Not used: every figure is called alike.
    result : xarray.Dataset
        Of `generalization`.
    options : GeneralizationOptions
        What was asked.

    Returns
    -------
    matplotlib.figure.Figure
        Two lines per run, samples (solid) and held-out items (dashed), and a diamond with its
        intervals at the calibrated threshold. Many runs are colored by their training items.
    """
    paths, sizes = result["run"].values.tolist(), result["train_size"].values
    labels = run_labels(paths, result.attrs["drift"])
    by_size = len(paths) > MANY
    entries = -(-len(np.unique(sizes)) // 3) if by_size else len(paths)
    sheet = Sheet(
        3.9 + LINE * entries,
        "Copies of training items at every threshold",
        _copies_caption(result, options),
    )
    axes = sheet.single()
    styles = _size_styles(sizes) if by_size else distinct_styles(len(paths))
    thresholds, shown = result["threshold"].values, []
    for place, style in enumerate(styles):
        at = result.isel(run=place)
        axes.plot(thresholds, at["curve"].values, **style)
        shown.append(at["curve"].values)
        if int(at["held_out_size"]):
            held_out = {**style, **REFERENCE}
            axes.plot(thresholds, at["held_out_curve"].values, **held_out)
            shown.append(at["held_out_curve"].values)
            _mark_calibrated(axes, at, style["color"])
    handles: list[Artist]
    if by_size:
        handles = _size_handles(sizes, styles)
    else:
        handles = [
            proxy(_run_text(result.isel(run=place), label), **style)
            for place, (label, style) in enumerate(zip(labels, styles, strict=True))
        ]
    finish(axes, result, shown, "fraction whose nearest\ntraining item is above θ")
    sheet.legend_below(handles, 3 if by_size else 1)
    return sheet.figure


def _copies_caption(result: xr.Dataset, options: GeneralizationOptions) -> str:
    caption = (
        f"{value_range(result['seeds'].values, 0)} seeds; encoder {result.attrs['encoder']}. "
        "Solid: generated samples, against the training items of their own model."
    )
    if (result["held_out_size"].values > 0).any():
        caption += (
            " Dashed: real items that this model never saw, against the same training items. "
            f"Diamonds: calibrated threshold, which {options.q:g} of these exceed, and the copies "
            f"at it, with {percent(options.confidence)} intervals."
        )
    if result.attrs["drift"]:
        caption += f" {DRIFT} Computed in differing ways."
    return caption


def _mark_calibrated(axes: Axes, at: xr.Dataset, color: str) -> None:
    x, y = float(at["calibrated_threshold"]), float(at["calibrated_memorized"])
    if np.isnan(x) or np.isnan(y):
        return
    reach = [
        [[max(0.0, value - low)], [max(0.0, high - value)]]
        for value, low, high in (
            [float(at[name + bound]) for bound in ("", "_low", "_high")]
            for name in ("calibrated_threshold", "calibrated_memorized")
        )
    ]
    axes.errorbar(
        x,
        y,
        xerr=np.nan_to_num(reach[0]),
        yerr=np.nan_to_num(reach[1]),
        fmt="D",
        markersize=4.5,
        color=color,
        markeredgecolor="white",
        markeredgewidth=0.7,
        elinewidth=1.2,
        zorder=3,
    )


def _size_styles(sizes: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    unique = np.unique(sizes)
    colors = mpl.colormaps["viridis"](np.linspace(0, 0.88, len(unique)))
    places = np.searchsorted(unique, sizes)
    return [{"color": to_hex(colors[place]), "linewidth": 1.0, "alpha": 0.8} for place in places]


def _size_handles(sizes: np.ndarray[Any, Any], styles: list[dict[str, Any]]) -> list[Artist]:
    handles: list[Artist] = []
    for size in np.unique(sizes).tolist():
        own = np.flatnonzero(sizes == size)
        text = f"{size} training items: {len(own)} run{'s' * (len(own) > 1)}"
        handles.append(proxy(text, color=styles[own[0]]["color"], linewidth=2))
    return handles


def _run_text(at: xr.Dataset, label: str) -> str:
    copies = estimate(*(float(at[f"memorized{bound}"]) for bound in ("", "_low", "_high")))
    text = f"{label}, {int(at['train_size'])} training items: copies {copies}"
    if int(at["held_out_size"]):
        text += f", unseen {float(at['held_out_memorized']):.2f}"
    return text
