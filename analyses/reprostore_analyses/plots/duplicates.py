"""Near-identical training items beside how often samples copy them."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from reprostore_analyses.context import Context
from reprostore_analyses.duplicates import DuplicatesOptions
from reprostore_analyses.footnotes import DRIFT
from reprostore_analyses.plots.pictures import item_pictures, put_picture
from reprostore_analyses.plots.sheet import LINE, MARGIN, Sheet
from reprostore_analyses.plots.style import COPY, NORMAL, SMALL, WIDTH, run_labels

COLUMNS = 8
RUNS = 12
LABELS = 1.9
PICTURE = 0.52


def duplicates_figure(context: Context, result: xr.Dataset, options: DuplicatesOptions) -> Figure:
    """Draw, for each run, the training items that samples copy most.

    Parameters
    ----------
    context : Context
        Whose store holds the items.
    result : xarray.Dataset
        Of `duplicates`.
    options : DuplicatesOptions
        What was asked.

    Returns
    -------
    matplotlib.figure.Figure
        One row per run; under each item the samples that copy it and its near-identical others.
    """
    paths = result["run"].values.tolist()
    shown = paths[:RUNS]
    pitch = (WIDTH - LABELS - 2 * MARGIN) / COLUMNS
    block = PICTURE + 2 * LINE + 0.2
    labels = run_labels(paths, result.attrs["drift"], limit=22)
    caption = (
        f"The training items with most copies. A sample copies its nearest item above "
        f"{result.attrs['copy_threshold']:g}, two items are near-identical above "
        f"{result.attrs['threshold']:g} (cosine, encoder {result.attrs['encoder']}). z: rank test "
        "of the sizes of groups of near-identical items, copied groups against the others; above "
        "2, copied groups are larger."
    )
    if len(paths) > RUNS:
        caption += f" The first {RUNS} of {len(paths)} runs."
    if result.attrs["drift"]:
        caption += f" {DRIFT} Computed in differing ways."
    sheet = Sheet(block * len(shown), "Are the copied items those with duplicates?", caption)
    for row in range(len(shown)):
        top = sheet.top + row * block
        at = result.isel(run=row)
        sheet.text(MARGIN, top + 0.02, labels[row], va="top", fontsize=NORMAL, weight="bold")
        sheet.text(MARGIN, top + 0.2, _run_text(at), va="top", linespacing=1.3)
        canvas = sheet.canvas(MARGIN + LABELS, top, pitch * COLUMNS, block)
        copies = at["copies"].values
        order = [int(p) for p in np.argsort(-copies, kind="stable")[:COLUMNS] if copies[p] > 0]
        dataset = context.dataset(result.attrs["datasets"][row])
        seen = dataset.index(result.attrs["index"][row])
        for column, (position, item) in enumerate(
            zip(order, item_pictures(dataset, seen[order].tolist()), strict=True)
        ):
            center = (column + 0.5) * pitch
            count = int(at["count"].values[position])
            put_picture(
                canvas, item, (center, PICTURE / 2), PICTURE - 0.03, COPY if count else None
            )
            for line, text in enumerate((f"{copies[position]} copies", f"{count} alike")):
                canvas.text(
                    center,
                    PICTURE + 0.04 + line * LINE * 0.85,
                    text,
                    ha="center",
                    va="top",
                    fontsize=SMALL - 1,
                    color="#444444",
                )
    return sheet.figure


def _run_text(at: xr.Dataset) -> str:
    z = float(at["z"])
    return "\n".join(
        [
            f"{int(at['train_size'])} items, {int(at['near'])} with near ones",
            f"further: copied {float(at['copied_mean']):.2f}, "
            f"others {float(at['other_mean']):.2f}".replace("nan", "–"),
            f"{int(at['copied'])} of {int(at['groups'])} groups copied,",
            f"z = {'–' if np.isnan(z) else f'{z:.1f}'}",
        ]
    )
