"""What a reproducibility score would be if the two runs had nothing to do with each other."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from reprostore.errors import SpecError
from reprostore_analyses.kernels.checks import Array, Floats, fraction, positive, same_shape
from reprostore_analyses.kernels.similarity import rowwise_cosine
from reprostore_analyses.kernels.thresholds import ExceedanceCounts, Side


class ChanceLevel(NamedTuple):
    """Chance level of a score at each threshold.

    Attributes
    ----------
    level : ndarray of float64, shape () or (threshold,)
        Mean over the shifts, in [0, 1]; NaN where `reason` says why.
    by_shift : ndarray of float64, shape (shift,) or (shift, threshold)
        The score under each shift; its spread says how far a single shuffle can mislead.
    shifts : tuple of int
        The shifts s: seed i of one run was compared with seed i + s (mod n) of the other.
    reason : str
        Why there is no level; empty if there is one.
    """

    level: Floats
    by_shift: Floats
    shifts: tuple[int, ...]
    reason: str = ""


def cyclic_shifts(seeds: int, count: int = 20) -> tuple[int, ...]:
    """Choose distinct shifts that are spread evenly over 1 … n − 1, in increasing order.

    Parameters
    ----------
    seeds : int
        n, the number of seeds.
    count : int
        Number of shifts; all n − 1 if there are no more than that.

    Returns
    -------
    tuple of int
        Never 0. With s also n − s is chosen (an odd count has a middle one), so that exchanging
        the two runs compares the same samples.

    Raises
    ------
    SpecError
        `count` is smaller than 1.
    """
    positive(count, "shifts")
    if seeds - 1 <= count:
        return tuple(range(1, seeds))
    lower = np.rint(np.linspace(1, seeds - 1, count)[: count // 2]).astype(int)
    middle = [seeds // 2] if count % 2 else []
    return (*lower.tolist(), *middle, *(seeds - lower[::-1]).tolist())


def chance_level(
    a: Array,
    b: Array,
    thresholds: ArrayLike,
    *,
    measure: Callable[[Array, Array], Floats] = rowwise_cosine,
    side: Side = "above",
    shifts: int = 20,
) -> ChanceLevel:
    """Compute P(M(a_i, b_(i+s)) > θ), averaged over cyclic shifts s of the seeds.

    Shifted samples come from different noise but from the same two models, so this is what
    the models' marginal distributions alone give. One shuffle is too noisy for this; with 20
    shifts each sample is compared with 20 others.

    Parameters
    ----------
    a, b : ndarray, shape (seed, …)
        What `measure` takes: vectors for cosines, uint8 images for the mean absolute error.
    thresholds : array_like, shape () or (threshold,)
        θ; the whole curve costs no more than one point of it.
    measure : callable
        Row-wise measure (seed, …), (seed, …) → (seed,), symmetric in the two runs.
    side : "above" or "below"
        Whether values > θ (similarities) or values < θ (distances) count.
    shifts : int
        Number of cyclic shifts.

    Returns
    -------
    ChanceLevel
        NaN with a reason when there are fewer than two seeds.

    Raises
    ------
    SpecError
        The arrays do not fit each other or the measure, or something is NaN.

    Notes
    -----
    Shifted arrays are pairs of contiguous views, and measures work in blocks of rows, so `a`
    and `b` are never copied.
    """
    same_shape(a, b, "samples")
    if a.ndim == 0:
        raise SpecError(
            "The samples are a single number.",
            "Samples have the shape (seed, …).",
            "Pass the vectors or images of all seeds, seeds first.",
        )
    seeds = a.shape[0]
    chosen = cyclic_shifts(seeds, shifts)
    shape = ExceedanceCounts(thresholds, side).thresholds.shape
    if not chosen:
        nothing = np.full(shape, np.nan)
        reason = f"A chance level needs at least two seeds; there are {seeds}."
        return ChanceLevel(nothing, np.empty((0, *shape)), (), reason)
    by_shift = np.empty((len(chosen), *shape))
    for row, shift in enumerate(chosen):
        counts = ExceedanceCounts(thresholds, side)
        counts.update(measure(a[: seeds - shift], b[shift:]))
        counts.update(measure(a[seeds - shift :], b[:shift]))
        by_shift[row] = counts.finalize()
    return ChanceLevel(np.asarray(by_shift.mean(axis=0)), by_shift, chosen)


def corrected_score(score: ArrayLike, chance: ArrayLike) -> Floats:
    """Correct a score for chance: (RP − chance)/(1 − chance), as in Cohen's κ.

    Parameters
    ----------
    score, chance : array_like
        Proportions in [0, 1] that broadcast; NaN (no value) is kept.

    Returns
    -------
    ndarray of float64
        1 for perfect agreement, 0 at chance level, negative below; NaN where chance is 1,
        since no score is then informative.

    Raises
    ------
    SpecError
        A score or chance level is outside [0, 1].

    References
    ----------
    Cohen 1960, "A coefficient of agreement for nominal scales", eq. 1.
    """
    proportions = []
    for what, values in (("score", score), ("chance level", chance)):
        array = np.asarray(values, dtype=np.float64)
        outside = array[(array < 0) | (array > 1)]
        if outside.size:
            raise SpecError(
                f"A {what} is {outside.flat[0]}.",
                f"A {what} is a proportion in [0, 1].",
                "Pass proportions, not percentages or similarities.",
            )
        proportions.append(array)
    observed, expected = np.broadcast_arrays(*proportions)
    corrected = np.full(observed.shape, np.nan)
    np.divide(observed - expected, 1 - expected, out=corrected, where=expected != 1)
    return corrected


class ChanceThreshold(NamedTuple):
    """The threshold that only a share q of pairs of different seeds exceeds.

    Attributes
    ----------
    value, low, high : ndarray of float64, shape (…)
        θ_q and a range that holds its uncertainty; NaN where there is none.
    """

    value: Floats
    low: Floats
    high: Floats


def fine_thresholds(thresholds: ArrayLike) -> Floats:
    """Return thresholds with further ones near 1, where vectors with a common part lie.

    Parameters
    ----------
    thresholds : array_like, shape (threshold,)
        Evenly spaced up to 1, increasing.
    """
    grid = np.asarray(thresholds, dtype=np.float64)
    step = grid[-1] - grid[-2]
    near = grid[-1] - step * 0.7 ** np.arange(1, 40)
    return np.union1d(grid, near)


def chance_threshold(thresholds: ArrayLike, by_shift: ArrayLike, q: float) -> ChanceThreshold:
    """Find the threshold that only a share q of pairs of different seeds exceeds.

    A score at a fixed threshold says nothing where unrelated samples exceed it too; at this one it
    does, whatever the encoder.

    Parameters
    ----------
    thresholds : array_like, shape (threshold,)
        θ, increasing; θ_q is one of them.
    by_shift : array_like, shape (…, shift, threshold)
        P(M(a_i, b_(i+s)) > θ) of each shift, as `ChanceLevel.by_shift`.
    q : float
        In (0, 1).

    Returns
    -------
    ChanceThreshold
        The first θ at which the mean over shifts is at most q, plus and minus 1.96 standard
        deviations of the same θ of single shifts: each is found from n pairs, and since shifts
        share their samples, their mean is not taken to be more certain than one of them. NaN
        where only the last threshold, the largest possible similarity, lets so few through.

    Raises
    ------
    SpecError
        q is not in (0, 1).
    """
    fraction(q, "quantile's q")
    grid, shares = np.asarray(thresholds, dtype=np.float64), np.asarray(by_shift, dtype=np.float64)

    def first(chance: Floats) -> Floats:
        enough = chance <= q
        there = enough[..., :-1].any(axis=-1)
        return np.where(there, grid[enough.argmax(axis=-1)], np.nan)

    value, single = first(shares.mean(axis=-2)), first(shares)
    reach = 1.96 * single.std(axis=-1, ddof=1) if shares.shape[-2] > 1 else np.nan * value
    return ChanceThreshold(value, value - reach, np.minimum(value + reach, grid[-1]))
