"""Figures: each takes a result and draws what it says; none computes a score."""

from collections.abc import Callable
from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from reprostore_analyses.context import Context
from reprostore_analyses.plots.agreement import agreement_figure
from reprostore_analyses.plots.distances import distances_figure
from reprostore_analyses.plots.duplicates import duplicates_figure
from reprostore_analyses.plots.generalization_curves import generalization_curves
from reprostore_analyses.plots.matrix import matrix_figure
from reprostore_analyses.plots.metrics import metrics_figure
from reprostore_analyses.plots.output import save_figure
from reprostore_analyses.plots.reproducibility_curves import reproducibility_curves
from reprostore_analyses.plots.samples import samples_figure
from reprostore_analyses.plots.suspects import suspects_figure
from reprostore_analyses.plots.theory import theory_curves, theory_departures
from reprostore_analyses.plots.theory_samples import theory_samples
from reprostore_analyses.plots.transition import transition_curves
from reprostore_analyses.plots.transition_oracle import transition_oracle
from reprostore_analyses.plots.transition_regimes import transition_axes, transition_regimes

__all__ = ["FIGURES", "save_figure"]

Plot = Callable[[Context, xr.Dataset, Any], Figure]

FIGURES: dict[str, dict[str, Plot]] = {
    "reproducibility": {"matrix": matrix_figure, "thresholds": reproducibility_curves},
    "generalization": {"thresholds": generalization_curves, "samples": samples_figure},
    "agreement": {"agreement": agreement_figure},
    "duplicates": {"duplicates": duplicates_figure},
    "distances": {"distances": distances_figure},
    "memorization": {"rules": metrics_figure, "suspects": suspects_figure},
    "fidelity": {"sets": metrics_figure},
    "transition": {
        "curves": transition_curves,
        "oracle": transition_oracle,
        "regimes": transition_regimes,
        "axes": transition_axes,
    },
    "theory": {
        "sigma": theory_curves,
        "departures": theory_departures,
        "samples": theory_samples,
    },
}
"""The figures of each analysis by file name; called with (context, result, options)."""
