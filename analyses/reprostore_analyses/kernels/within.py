"""Chance levels of samples of several classes: seeds are shifted within each class."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from reprostore_analyses.kernels.chance import ChanceLevel
from reprostore_analyses.kernels.checks import Array


def in_shared_classes(classes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which seeds share their class with another one, shape (seed,)."""
    _, inverse, counts = np.unique(classes, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse] > 1)


def within_classes(
    classes: NDArray[np.int64] | None,
    levels: Callable[[Sequence[Array], Array], Sequence[ChanceLevel]],
    others: Sequence[Array],
    b: Array,
) -> list[ChanceLevel]:
    """Compute chance levels from those of each class, weighted by its seeds.

    Samples of one class resemble each other whatever noise they began from. Shifts over all seeds
    would compare mostly samples of different classes, and tell too low a level.

    Parameters
    ----------
    classes : ndarray of int64, shape (seed,), optional
        The class of each seed; without it there is one class.
    levels : callable
        Some seeds of the others and of b → their chance levels, one for each of the others.
    others : sequence of ndarray, shape (seed, …)
        Vectors or images of the runs a.
    b : ndarray, shape (seed, …)
        Those of the run that is shifted.

    Returns
    -------
    list of ChanceLevel
        A seed alone in its class has no shift and no part in the level, which is NaN, with the
        reason, if there are no others. Of several classes `by_shift` is the level alone: they
        have different shifts, whose spread says nothing of the level's.
    """
    if classes is None or len(np.unique(classes)) == 1:
        return list(levels(others, b))
    shared = in_shared_classes(classes)

    def of(rows: NDArray[np.bool_]) -> Sequence[ChanceLevel]:
        return levels([a[rows] for a in others], b[rows])

    if not shared.any():
        alone = of(classes == classes[0])
        reason = f"A chance level within classes needs two seeds of one; {len(classes)} have none."
        return [each._replace(by_shift=each.level[None], reason=reason) for each in alone]
    members = [classes == each for each in np.unique(classes[shared])]
    weights = np.asarray([rows.sum() / shared.sum() for rows in members])
    by_class = zip(*(of(rows) for rows in members), strict=True)
    return [_joined(found, weights) for found in by_class]


def _joined(found: Sequence[ChanceLevel], weights: NDArray[np.float64]) -> ChanceLevel:
    level = np.asarray(sum(w * each.level for w, each in zip(weights, found, strict=True)))
    return ChanceLevel(level, level[None], max((each.shifts for each in found), key=len))
