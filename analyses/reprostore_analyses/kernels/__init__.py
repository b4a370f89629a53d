"""Pure array kernels of the analyses: NumPy in, NumPy out, shapes checked.

Kernels know no store, no labels and no files. Samples lie along the first axis of what is
compared (seed, …) and per-seed values along the last axis of what is summarized (…, seed).
"""

from reprostore_analyses.kernels.chance import (
    ChanceLevel,
    chance_level,
    corrected_score,
    cyclic_shifts,
)
from reprostore_analyses.kernels.memorization import generalization_score, memorized_fraction
from reprostore_analyses.kernels.similarity import mean_absolute_error, rowwise_cosine
from reprostore_analyses.kernels.thresholds import (
    ExceedanceCounts,
    check_cosine_threshold,
    check_mae_threshold,
    threshold_curve,
)

__all__ = [
    "ChanceLevel",
    "ExceedanceCounts",
    "chance_level",
    "check_cosine_threshold",
    "check_mae_threshold",
    "corrected_score",
    "cyclic_shifts",
    "generalization_score",
    "mean_absolute_error",
    "memorized_fraction",
    "rowwise_cosine",
    "threshold_curve",
]
