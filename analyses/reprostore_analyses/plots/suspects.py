"""The samples that look most like copies, each over the training item that it resembles."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from reprostore_analyses.context import Context
from reprostore_analyses.footnotes import DRIFT
from reprostore_analyses.memorization_options import MemorizationOptions
from reprostore_analyses.plots.pictures import (
    final_pictures,
    item_pictures,
    put_picture,
    why_no_pictures,
)
from reprostore_analyses.plots.sheet import LINE, MARGIN, Sheet
from reprostore_analyses.plots.style import COPY, NORMAL, SMALL, WIDTH, run_labels, say

COLUMNS = 8
RUNS = 12
LABELS = 1.55
PICTURE = 0.52


def suspects_figure(context: Context, result: xr.Dataset, options: MemorizationOptions) -> Figure:
    """Draw, for each run, the samples with the smallest d1/d2 over their nearest training items.

    Parameters
    ----------
    context : Context
        Whose store holds the samples and the items.
    result : xarray.Dataset
        Of `memorization`.
    options : MemorizationOptions
        What was asked.

    Returns
    -------
    matplotlib.figure.Figure
        Two rows per run; samples that are memorized by the ratio rule are framed.

    Raises
    ------
    CorruptionError
        A sample or an item is damaged.
    """
    paths = result["run"].values.tolist()
    shown = paths[:RUNS]
    pitch = (WIDTH - LABELS - 2 * MARGIN) / COLUMNS
    block = 2 * PICTURE + 2 * LINE + 0.14
    labels = run_labels(paths, result.attrs["drift"], limit=22)
    by_ratio = "ratio" in result
    caption = (
        f"The {COLUMNS} samples of each run with the smallest "
        + ("d₁/d₂" if by_ratio else "distance to a training item")
        + ": chosen, so no fraction can be read from them. Above the sample, below its nearest "
        "training item in pixels, with "
        + (
            f"d₁/d₂ and the seed; framed: d₁/d₂ < {options.ratio:.3g}, memorized by the ratio rule."
            if by_ratio
            else "the root mean square difference of pixels in [0, 1] and the seed."
        )
    )
    if len(paths) > RUNS:
        caption += f" The first {RUNS} of {len(paths)} runs."
    if result.attrs["drift"]:
        caption += f" {DRIFT} Computed in differing ways."
    sheet = Sheet(block * len(shown), "The most suspicious samples", caption)
    for row, path in enumerate(shown):
        top = sheet.top + row * block
        at = result.isel(run=row)
        sheet.text(MARGIN, top + 0.02, labels[row], va="top", fontsize=NORMAL, weight="bold")
        sheet.text(MARGIN, top + 0.2, _run_text(result, row), va="top", linespacing=1.3)
        canvas = sheet.canvas(MARGIN + LABELS, top, pitch * COLUMNS, block)
        run = context.store.run(path)
        reason = why_no_pictures(run)
        if reason:
            say(canvas, f"No pictures: {reason}.", pitch * COLUMNS)
            continue
        score = at["ratio" if by_ratio else "pixel_distance"].values
        order = np.argsort(np.where(np.isnan(score), np.inf, score), kind="stable")
        places = [place for place in order[:COLUMNS].tolist() if not np.isnan(score[place])]
        here = at.isel(seed=places)
        seeds = here["seed"].values.tolist()
        dataset = context.dataset(result.attrs["datasets"][row])
        pictures = zip(
            final_pictures(run, seeds),
            item_pictures(dataset, here["train_index"].values.tolist()),
            score[places].tolist(),
            seeds,
            strict=True,
        )
        for column, (sample, item, value, seed) in enumerate(pictures):
            center = (column + 0.5) * pitch
            color = COPY if by_ratio and value < options.ratio else None
            put_picture(canvas, sample, (center, PICTURE / 2), PICTURE - 0.03, color)
            put_picture(canvas, item, (center, 1.5 * PICTURE + 0.02), PICTURE - 0.03, color)
            for line, text in enumerate((f"{value:.3f}", f"seed {seed}")):
                canvas.text(
                    center,
                    2 * PICTURE + 0.04 + line * LINE * 0.85,
                    text,
                    ha="center",
                    va="top",
                    fontsize=SMALL if line == 0 else SMALL - 1,
                    color=color if color and line == 0 else "#444444",
                )
    return sheet.figure


def _run_text(result: xr.Dataset, row: int) -> str:
    at = result.isel(run=row)
    lines = [f"{int(at['train_size'])} training items", f"{int(at['seeds'])} samples"]
    if "ratio" in result["metric"].values:
        for text, comparison in (("memorized", "generated|train"), ("unseen", "held_out|train")):
            if comparison in result["comparison"].values:
                value = float(at["value"].sel(metric="ratio", comparison=comparison))
                if not np.isnan(value):
                    lines.append(f"{text} {value:.2f}")
    return "\n".join(lines)
