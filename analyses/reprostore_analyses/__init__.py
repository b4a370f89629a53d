"""Analyses of sample stores, one question per file.

Kernels take and return arrays, the analyses take a store and return labelled results, and plots
draw results without computing anything.
"""

from reprostore_analyses.api import (
    agreement,
    distances,
    duplicates,
    fidelity,
    generalization,
    memorization,
    pair_similarity,
    reproducibility,
    theory,
    transition,
)

__all__ = [
    "agreement",
    "distances",
    "duplicates",
    "fidelity",
    "generalization",
    "memorization",
    "pair_similarity",
    "reproducibility",
    "theory",
    "transition",
]
