"""Figures: each takes a result and draws what it says; none computes a score."""

from collections.abc import Callable
from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from reprostore_analyses.context import Context
from reprostore_analyses.plots.agreement import agreement_figure
from reprostore_analyses.plots.generalization_curves import generalization_curves
from reprostore_analyses.plots.matrix import matrix_figure
from reprostore_analyses.plots.output import save_figure
from reprostore_analyses.plots.reproducibility_curves import reproducibility_curves
from reprostore_analyses.plots.samples import samples_figure

__all__ = ["FIGURES", "save_figure"]

Plot = Callable[[Context, xr.Dataset, Any], Figure]

FIGURES: dict[str, dict[str, Plot]] = {
    "reproducibility": {"matrix": matrix_figure, "thresholds": reproducibility_curves},
    "generalization": {"thresholds": generalization_curves, "samples": samples_figure},
    "agreement": {"agreement": agreement_figure},
}
"""The figures of each analysis by file name; called with (context, result, options)."""
