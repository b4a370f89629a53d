"""Chance levels of samples of several classes: seeds are shifted within each class."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from reprostore_analyses.kernels.chance import ChanceLevel
from reprostore_analyses.kernels.checks import Array


def within_classes(
    classes: NDArray[np.int64] | None,
    levels: Callable[[Sequence[Array], Array], Sequence[ChanceLevel]],
    others: Sequence[Array],
    b: Array,
    *,
    shifts: int,
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
    shifts : int
        How many shifts `levels` takes; classes of no more seeds have fewer.

    Returns
    -------
    list of ChanceLevel
        A seed alone in its class has no shift and no part in the level, which is NaN, with the
        reason, if there are no others. `by_shift` has as many rows as the class with most shifts:
        a class with fewer repeats them as often as they fit, and fills up with their mean.
    """
    if classes is None:
        return list(levels(others, b))
    members = [np.flatnonzero(classes == each) for each in np.unique(classes)]
    shared = [rows for rows in members if len(rows) > 1]

    def of(rows: NDArray[np.int64]) -> Sequence[ChanceLevel]:
        return levels([a[rows] for a in others], b[rows])

    if not shared:
        alone = of(members[0])
        reason = f"A chance level within classes needs two seeds of one; {len(classes)} have none."
        return [each._replace(by_shift=each.level[None], reason=reason) for each in alone]
    weights = np.asarray([len(rows) for rows in shared]) / sum(map(len, shared))
    count = min(shifts, max(map(len, shared)) - 1)
    by_class = zip(*(of(rows) for rows in shared), strict=True)
    return [_joined(found, weights, count) for found in by_class]


def _joined(found: Sequence[ChanceLevel], weights: NDArray[np.float64], count: int) -> ChanceLevel:
    level = sum(w * each.level for w, each in zip(weights, found, strict=True))
    by_shift = sum(w * _rows(each, count) for w, each in zip(weights, found, strict=True))
    longest = max((each.shifts for each in found), key=len)
    return ChanceLevel(np.asarray(level), np.asarray(by_shift), longest)


def _rows(found: ChanceLevel, count: int) -> NDArray[np.float64]:
    """Return `count` rows with the mean of the shifts there are."""
    own = found.by_shift
    filled = np.broadcast_to(found.level, (count, *np.shape(found.level))).copy()
    whole = count // len(own) * len(own)
    filled[:whole] = np.concatenate([own] * (whole // len(own)))
    return filled
