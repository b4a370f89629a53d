"""RP as a function of the threshold."""

from typing import Any

import xarray as xr
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from reprostore_analyses.context import Context
from reprostore_analyses.floor import ceiling_sentence
from reprostore_analyses.footnotes import DRIFT, UNCHECKED
from reprostore_analyses.plots.curves import MANY, REFERENCE, distinct_styles, finish
from reprostore_analyses.plots.sheet import LINE, Sheet
from reprostore_analyses.plots.style import (
    HUES,
    estimate,
    proxy,
    run_labels,
    say,
    value_range,
)
from reprostore_analyses.relations import RELATIONS
from reprostore_analyses.reproducibility import ReproducibilityOptions, reproducibility_rows


def reproducibility_curves(
    context: Context,
    result: xr.Dataset,
    options: ReproducibilityOptions,
) -> Figure:
    """Draw RP over θ for the pairs of runs that the table shows, and their chance levels.

    Parameters
    ----------
    context : Context
        Not used: every figure is called alike.
    result : xarray.Dataset
        Of `reproducibility`.
    options : ReproducibilityOptions
        `compare` restricts the pairs.

    Returns
    -------
    matplotlib.figure.Figure
        Two lines per pair, RP (solid) and chance (dashed). Many pairs are colored by relation.
    """
    rows = reproducibility_rows(result, options)
    seeds = int(result["pairs"].values.max())
    caption = (
        f"{seeds} seeds; encoder {result.attrs['encoder']}. Dashed: chance level, pairs of "
        f"different seeds; at θ {value_range([row['chance'] for row in rows])}."
    )
    if numerical := ceiling_sentence(result):
        caption += f" {numerical}"
    if any(row["drift"] for row in rows):
        caption += f" {DRIFT} Computed in differing ways."
    if not all(row["checked"] for row in rows):
        caption += f" {UNCHECKED} It could not be checked that the noise is the same."
    by_relation = len(rows) > MANY
    entries = len({row["relation"] for row in rows}) if by_relation else len(rows)
    sheet = Sheet(3.7 + LINE * entries, "Agreement of models at every threshold", caption)
    axes = sheet.single()
    if not rows:
        say(axes, "There is no pair of runs to show: none was compared, or none is in `compare`.")
        return sheet.figure
    styles = _relation_styles(rows) if by_relation else distinct_styles(len(rows))
    thresholds, shown = result["threshold"].values, []
    for row, style in zip(rows, styles, strict=True):
        at = result.sel(run_a=row["run_a"], run_b=row["run_b"])
        axes.plot(thresholds, at["curve"].values, **style)
        chance = {**style, **REFERENCE, "linewidth": 0.8, "zorder": 1.2}
        axes.plot(thresholds, at["chance_curve"].values, **chance)
        shown.append(at["curve"].values)
    handles: list[Artist]
    if by_relation:
        handles = _relation_handles(rows)
    else:
        paths = result["run_a"].values.tolist()
        labels = dict(zip(paths, run_labels(paths, result.attrs["drift"]), strict=True))
        handles = [
            proxy(_pair_text(row, labels), **style) for row, style in zip(rows, styles, strict=True)
        ]
    finish(axes, result, shown, "RP score: fraction of seeds above θ")
    sheet.legend_below(handles, 2 if by_relation else 1)
    return sheet.figure


def _relation_styles(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    opacity = 0.8 if len(rows) <= 40 else 0.35
    return [
        {"color": HUES[RELATIONS.index(row["relation"])], "linewidth": 1.0, "alpha": opacity}
        for row in rows
    ]


def _relation_handles(rows: list[dict[str, Any]]) -> list[Artist]:
    handles: list[Artist] = []
    for place, relation in enumerate(RELATIONS):
        scores = [row["rp"] for row in rows if row["relation"] == relation]
        if scores:
            text = f"{relation}: {len(scores)} pairs, RP {value_range(scores, 2)}"
            handles.append(proxy(text, color=HUES[place], linewidth=2))
    return handles


def _pair_text(row: dict[str, Any], labels: dict[str, str]) -> str:
    score = estimate(row["rp"], row["rp_low"], row["rp_high"])
    mark = "" if row["checked"] else UNCHECKED
    return f"{labels[row['run_a']]} × {labels[row['run_b']]}{mark}: RP {score}"
