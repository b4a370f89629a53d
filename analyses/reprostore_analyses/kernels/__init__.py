"""Pure array kernels of the analyses: NumPy in, NumPy out, shapes checked.

Kernels know no store, no labels and no files. Samples lie along the first axis of what is
compared (seed, …) and per-seed values along the last axis of what is summarized (…, seed).
"""

from reprostore_analyses.kernels.chance import (
    ChanceLevel,
    chance_level,
    chance_threshold,
    corrected_score,
    cyclic_shifts,
    fine_thresholds,
)
from reprostore_analyses.kernels.departure import (
    STAYS,
    Departures,
    departure_row,
    departures,
    root_mean_square,
)
from reprostore_analyses.kernels.dimension import distinct_items, log_distance_ratios
from reprostore_analyses.kernels.memorization import generalization_score, memorized_fraction
from reprostore_analyses.kernels.pfd import (
    mismatched_squared_distance,
    probability_flow_distance,
    squared_distances,
)
from reprostore_analyses.kernels.regimes import REGIMES, regimes
from reprostore_analyses.kernels.shifted import cosine_chance_levels, mae_chance_level
from reprostore_analyses.kernels.sigmoid_fit import SigmoidFit, crossing_bracket, fit_sigmoid
from reprostore_analyses.kernels.similarity import mean_absolute_error, rowwise_cosine
from reprostore_analyses.kernels.student import student_quantile
from reprostore_analyses.kernels.thresholds import (
    ExceedanceCounts,
    check_cosine_threshold,
    check_mae_threshold,
    threshold_curve,
)
from reprostore_analyses.kernels.within import in_shared_classes, within_classes

__all__ = [
    "REGIMES",
    "STAYS",
    "ChanceLevel",
    "Departures",
    "ExceedanceCounts",
    "SigmoidFit",
    "chance_level",
    "chance_threshold",
    "check_cosine_threshold",
    "check_mae_threshold",
    "corrected_score",
    "cosine_chance_levels",
    "crossing_bracket",
    "cyclic_shifts",
    "departure_row",
    "departures",
    "distinct_items",
    "fine_thresholds",
    "fit_sigmoid",
    "generalization_score",
    "in_shared_classes",
    "log_distance_ratios",
    "mae_chance_level",
    "mean_absolute_error",
    "memorized_fraction",
    "mismatched_squared_distance",
    "probability_flow_distance",
    "regimes",
    "root_mean_square",
    "rowwise_cosine",
    "squared_distances",
    "student_quantile",
    "threshold_curve",
    "within_classes",
]
