"""RP to the oracle and to the Gaussian of the same items over N: the paper's Figure 4, left."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from reprostore_analyses.context import Context
from reprostore_analyses.plots.sheet import LINE, Sheet
from reprostore_analyses.plots.style import NORMAL, proxy, say, value_range
from reprostore_analyses.plots.transition_style import (
    CHANCE,
    about,
    bounds,
    draw_band,
    over_sizes,
    short_names,
    style_of,
)
from reprostore_analyses.transition_groups import REFERENCES
from reprostore_analyses.transition_options import TransitionOptions

_NAMES = {"oracle": "oracle", "gaussian": "Gaussian"}
_DASHES = {"oracle": "-", "gaussian": (0, (4, 1.5))}


def transition_oracle(context: Context, result: xr.Dataset, options: TransitionOptions) -> Figure:
    """Draw RP between networks and the closed-form models of their items over N.

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
        One line per architecture and reference, with its chance level.
    """
    names = result["architecture"].values.tolist()
    short = short_names(names)
    shown = [
        (place, line) for place, line in enumerate(result.attrs["lines"])
        if line["kind"] in REFERENCES
    ]  # fmt: skip
    sizes = result["size"].values.astype(np.float64)
    text = (
        "Share of seeds on which a network draws what a closed-form model of its own training "
        f"items draws, θ = {result.attrs['oracle_threshold']:g}; mean over models. The oracle "
        "draws nothing but these items; the Gaussian knows no more than mean and covariance."
    )
    if shown:
        levels = np.concatenate([result["chance"].values[place] for place, _ in shown])
        text += f" Dotted: chance level, {value_range(levels)}."
    sheet = Sheet(
        2.9 + LINE * -(-(len(shown) + 1) // 2),
        "Agreement with closed-form models of the same training items",
        about(result, text),
    )
    axes = sheet.single()
    if not shown:
        say(axes, " ".join(result.attrs["absent"][f"RP to the {name}"] for name in REFERENCES))
        return sheet.figure
    handles = []
    for place, line in shown:
        at = result.isel(line=place)
        style = style_of(names.index(line["a"]), linestyle=_DASHES[line["kind"]])
        draw_band(axes, sizes, bounds(at, "rp"), style)
        there = ~np.isnan(at["chance"].values)
        axes.plot(sizes[there], at["chance"].values[there], **CHANCE, zorder=1.2)
        handles.append(proxy(f"{short[line['a']]} and the {_NAMES[line['kind']]}", **style))
    over_sizes(axes, sizes)
    axes.set_ylabel("RP score to the closed form", fontsize=NORMAL)
    sheet.legend_below([*handles, proxy("chance", **CHANCE)], 2)
    return sheet.figure
