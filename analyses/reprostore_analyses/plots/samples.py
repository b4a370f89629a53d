"""Samples of every run with the training items that are nearest to them."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from reprostore_analyses.context import Context
from reprostore_analyses.footnotes import DRIFT
from reprostore_analyses.generalization import GeneralizationOptions
from reprostore_analyses.plots.pictures import (
    final_pictures,
    item_pictures,
    put_picture,
    why_no_pictures,
)
from reprostore_analyses.plots.sheet import LINE, MARGIN, Sheet
from reprostore_analyses.plots.style import (
    COPY,
    NORMAL,
    SMALL,
    WIDTH,
    estimate,
    run_labels,
    say,
)

COLUMNS = 8
LABELS = 1.55
HEADER = 0.2


def samples_figure(context: Context, result: xr.Dataset, options: GeneralizationOptions) -> Figure:
    """Draw, for the first common seeds, each run's samples over their nearest training items.

    Parameters
    ----------
    context : Context
        Whose store holds the samples and the items.
    result : xarray.Dataset
        Of `generalization`.
    options : GeneralizationOptions
        What was asked.

    Returns
    -------
    matplotlib.figure.Figure
        Two rows per run; copies are framed.

    Raises
    ------
    CorruptionError
        A sample or an item is damaged.
    """
    paths = result["run"].values.tolist()
    places = shown_seeds(result)
    seeds = result["seed"].values[places].tolist()
    size = 0.52 if len(paths) <= 10 else 0.4
    pitch = (WIDTH - LABELS - 2 * MARGIN) / COLUMNS
    block = 2 * size + LINE + 0.14
    labels = run_labels(paths, result.attrs["drift"], limit=22)
    threshold = float(result.attrs["threshold"])
    common = np.all(result["train_index"].values[:, places] >= 0)
    which = "seeds that all runs have" if common else "seeds of any run, since none is common"
    caption = (
        f"The first {len(seeds)} {which}, not chosen. Above the sample, below its "
        f"nearest training item of the run's own model with their similarity (encoder "
        f"{result.attrs['encoder']}). Framed: a copy, similarity > {threshold:g}; fractions are "
        f"of all seeds, and of real items that the model never saw (unseen)."
    )
    if result.attrs["drift"]:
        caption += f" {DRIFT} Computed in differing ways."
    sheet = Sheet(HEADER + block * len(paths), "Samples and what they were trained on", caption)
    for column, seed in enumerate(seeds):
        center = MARGIN + LABELS + (column + 0.5) * pitch
        sheet.text(center, sheet.top, f"seed {seed}", ha="center", va="top")
    for row, path in enumerate(paths):
        top = sheet.top + HEADER + row * block
        at = result.isel(run=row)
        sheet.text(MARGIN, top + 0.02, labels[row], va="top", fontsize=NORMAL, weight="bold")
        sheet.text(MARGIN, top + 0.2, _run_text(at), va="top", linespacing=1.3)
        canvas = sheet.canvas(MARGIN + LABELS, top, pitch * COLUMNS, block)
        run = context.store.run(path)
        reason = why_no_pictures(run)
        if reason:
            say(canvas, f"No pictures: {reason}.", pitch * COLUMNS)
            continue
        here = at.isel(seed=places)
        dataset = context.dataset(result.attrs["datasets"][row])
        pictures = zip(
            final_pictures(run, seeds),
            item_pictures(dataset, here["train_index"].values.tolist()),
            here["similarity"].values.tolist(),
            strict=True,
        )
        for column, (sample, item, similarity) in enumerate(pictures):
            center = (column + 0.5) * pitch
            color = COPY if similarity > threshold else None
            put_picture(canvas, sample, (center, size / 2), size - 0.03, color)
            put_picture(canvas, item, (center, 1.5 * size + 0.02), size - 0.03, color)
            if item is not None:
                canvas.text(
                    center,
                    2 * size + 0.04,
                    f"{similarity:.3f}",
                    ha="center",
                    va="top",
                    fontsize=SMALL,
                    color=color or "#444444",
                )
    return sheet.figure


def shown_seeds(result: xr.Dataset) -> list[int]:
    """Return the places of the first seeds that all runs have, else of the first seeds."""
    common = np.flatnonzero(np.all(result["train_index"].values >= 0, axis=0)).tolist()
    return (common or list(range(result.sizes["seed"])))[:COLUMNS]


def _run_text(at: xr.Dataset) -> str:
    copies = estimate(*(float(at[f"memorized{bound}"]) for bound in ("", "_low", "_high")))
    lines = [f"{int(at['train_size'])} training items", f"copies {copies}"]
    if int(at["held_out_size"]):
        lines.append(f"unseen items {float(at['held_out_memorized']):.2f}")
    return "\n".join(lines)
