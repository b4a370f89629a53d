"""Intervals and tests over seeds, conditional on the trained models.

They say how far a score would move with other seeds, not with other trainings: two trainer
seeds of one architecture can differ by more than any of these intervals.
"""

from reprostore_analyses.statistics.bootstrap import bootstrap_mean, resampled_means
from reprostore_analyses.statistics.calibration import (
    CalibratedFraction,
    calibrated_fraction,
    calibrated_threshold,
)
from reprostore_analyses.statistics.estimate import Estimate
from reprostore_analyses.statistics.paired import mcnemar_p, paired_difference
from reprostore_analyses.statistics.proportions import (
    simultaneous_critical_value,
    simultaneous_intervals,
    wilson_interval,
)

__all__ = [
    "CalibratedFraction",
    "Estimate",
    "bootstrap_mean",
    "calibrated_fraction",
    "calibrated_threshold",
    "mcnemar_p",
    "paired_difference",
    "resampled_means",
    "simultaneous_critical_value",
    "simultaneous_intervals",
    "wilson_interval",
]
