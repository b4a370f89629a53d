"""Where a proportion that rises with the training-set size passes one half."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from reprostore.errors import SpecError
from reprostore_analyses.kernels.checks import Floats, fraction, one_dimensional
from reprostore_analyses.kernels.student import student_quantile

INFORMATIVE = (0.05, 0.95)
"""Between these a proportion says where the sigmoid is; beyond them, on which side."""

SCATTERING = (0.02, 0.98)
"""Between these fitted proportions models that differ have other proportions, too."""

_NEWTON_STEPS = 100
_TOLERANCE = 1e-12


class SigmoidFit(NamedTuple):
    """A sigmoid p(x) = 1/(1 + exp(−s (x − m))).

    Attributes
    ----------
    midpoint, low, high : float
        m, where p = 1/2, and its interval; NaN where `reason` says why.
    slope : float
        s, per unit of x.
    dispersion : float
        φ = χ²/(k − 2), Pearson's χ² of the k observations with a fitted proportion in (.02, .98)
        over the degrees of freedom; about 1 if they scatter around the sigmoid as binomial counts
        do, and larger if something else moves them.
    reason : str
        Why something is NaN; empty if nothing is.
    """

    midpoint: float
    low: float
    high: float
    slope: float
    dispersion: float
    reason: str = ""


def fit_sigmoid(
    x: ArrayLike, successes: ArrayLike, trials: ArrayLike, confidence: float = 0.95
) -> SigmoidFit:
    """Fit a two-parameter sigmoid to proportions by quasi-binomial maximum likelihood.

    Parameters
    ----------
    x : array_like, shape (observation,)
        Such as log2 of the training-set size; several models of one size are several observations.
    successes, trials : array_like, shape (observation,)
        Whole numbers, 0 ≤ successes ≤ trials, trials at least 1.
    confidence : float
        Of the interval, in (0, 1).

    Returns
    -------
    SigmoidFit
        All NaN, with a reason, unless at two values of x at least the pooled proportion lies in
        (.05, .95), p rises with x, and the midpoint lies between the smallest and the largest x:
        a crossing outside of these would be an extrapolation.

    Raises
    ------
    SpecError
        Shapes differ, a number is NaN or out of range, or `confidence` is not in (0, 1).

    Notes
    -----
    | variable | symbol |
    |---|---|
    | intercept, slope | a, s of logit p = a + s x |
    | covariance | φ (XᵀWX)⁻¹ |

    The interval is Fieller's: all x at which a + s x = 0 is not rejected, with Student's t of
    k − 2 degrees of freedom. Observations near 0 and 1 fit whatever moves the midpoint: counted as
    degrees of freedom they would make the interval of a steep curve cover its midpoint in .6 of
    the cases instead of .95 (simulated). Its scale is max(1, φ), for a φ below 1 from few sizes is
    chance more often than it is order. It is not symmetric, and unbounded (NaN here) where the
    slope itself is not distinguished from 0.

    References
    ----------
    McCullagh & Nelder 1989, "Generalized Linear Models", section 4.5 (quasi-likelihood);
    Finney 1971, "Probit Analysis", section 4.6 (Fieller's theorem for the median).
    """
    fraction(confidence, "confidence")
    at = one_dimensional(x, "positions")
    hits, tries = _counts(successes, trials, at.size)
    nothing = SigmoidFit(math.nan, math.nan, math.nan, math.nan, math.nan)
    informative = sum(
        INFORMATIVE[0] < hits[at == value].sum() / tries[at == value].sum() < INFORMATIVE[1]
        for value in np.unique(at)
    )
    if informative < 2:
        return nothing._replace(
            reason=f"{informative} of {len(np.unique(at))} sizes have a value between "
            f"{INFORMATIVE[0]} and {INFORMATIVE[1]}; a fit needs two."
        )
    center = float(at.mean())
    coefficients, information, fitted = _maximum_likelihood(at - center, hits, tries)
    intercept, slope = coefficients
    if slope <= 0:
        return nothing._replace(slope=slope, reason="The values do not rise with the size.")
    midpoint = center - intercept / slope
    if not at.min() <= midpoint <= at.max():
        return nothing._replace(
            slope=slope, reason="The fit passes one half outside of the sizes that there are."
        )
    scattering = (fitted > SCATTERING[0]) & (fitted < SCATTERING[1])
    degrees = int(scattering.sum()) - 2
    if degrees < 1:
        return nothing._replace(
            midpoint=midpoint,
            slope=slope,
            reason=f"There are {degrees + 2} observations on the slope of the curve; an interval "
            "needs a third.",
        )
    squares, variance = (hits - tries * fitted) ** 2, tries * fitted * (1 - fitted)
    # Where the variance is below the smallest double, so is what is left unexplained.
    pearson = np.divide(squares, variance, out=np.zeros_like(squares), where=variance > 0)
    dispersion = float(pearson[scattering].sum()) / degrees
    covariance: Floats = np.asarray(
        np.linalg.inv(information) * max(1.0, dispersion), dtype=np.float64
    )
    ends = _fieller(coefficients, covariance, student_quantile(confidence, degrees))
    if ends is None:
        reason = "The interval has no ends: the values do not rise clearly enough with the size."
        return SigmoidFit(midpoint, math.nan, math.nan, slope, dispersion, reason)
    return SigmoidFit(midpoint, center + ends[0], center + ends[1], slope, dispersion)


def crossing_bracket(
    x: ArrayLike, proportion: ArrayLike, level: float = 0.5
) -> tuple[float, float]:
    """Find between which x a proportion passes a level, without a model of how.

    Parameters
    ----------
    x : array_like, shape (size,)
        In increasing order.
    proportion : array_like, shape (size,)
        In [0, 1].
    level : float
        The level that is passed.

    Returns
    -------
    low, high : float
        The last x up to which no proportion is above the level, and the first from which on all
        are; NaN where there is none. Where the proportion rises steadily these are neighbors.

    Raises
    ------
    SpecError
        Shapes differ, or a number is NaN.
    """
    at, values = one_dimensional(x, "positions"), one_dimensional(proportion, "proportions")
    if at.shape != values.shape:
        raise SpecError(
            f"There are {at.size} positions and {values.size} proportions.",
            "Each position has one proportion.",
            "Pass as many of one as of the other.",
        )
    above = values > level
    before = np.flatnonzero(~np.logical_or.accumulate(above))
    after = np.flatnonzero(np.logical_and.accumulate(above[::-1])[::-1])
    low = float(at[before[-1]]) if before.size else math.nan
    return low, float(at[after[0]]) if after.size else math.nan


def _counts(successes: ArrayLike, trials: ArrayLike, count: int) -> tuple[Floats, Floats]:
    hits, tries = one_dimensional(successes, "successes"), one_dimensional(trials, "trials")
    if not hits.size == tries.size == count:
        raise SpecError(
            f"There are {count} positions, {hits.size} successes and {tries.size} trials.",
            "Each observation has one of each.",
            "Pass as many of one as of the other.",
        )
    if np.any(tries < 1) or np.any(hits < 0) or np.any(hits > tries):
        raise SpecError(
            "Some successes are negative or more than the trials, or there are no trials.",
            "Successes lie between 0 and the number of trials, which is at least 1.",
            "Pass counts in the order successes, trials.",
        )
    return hits, tries


def _maximum_likelihood(
    x: Floats, hits: Floats, tries: Floats
) -> tuple[tuple[float, float], Floats, Floats]:
    """Return (a, s), XᵀWX and the fitted proportions, by Newton's method with halved steps."""
    design = np.column_stack([np.ones_like(x), x])
    share = hits.sum() / tries.sum()
    coefficients = np.array([math.log(share / (1 - share)), 0.0])

    def likelihood(trial: Floats) -> float:
        linear = design @ trial
        return float((hits * linear - tries * np.logaddexp(0, linear)).sum())

    best = likelihood(coefficients)
    for _ in range(_NEWTON_STEPS):
        fitted = _logistic(design @ coefficients)
        information = design.T @ (design * (tries * fitted * (1 - fitted))[:, None])
        step = np.linalg.solve(information, design.T @ (hits - tries * fitted))
        # The likelihood is concave: some fraction of the step raises it, until rounding ends that.
        while (now := likelihood(coefficients + step)) < best and np.abs(step).max() > _TOLERANCE:
            step /= 2
        coefficients, best = coefficients + step, now
        if np.abs(step).max() <= _TOLERANCE * (1 + np.abs(coefficients).max()):
            break
    fitted = _logistic(design @ coefficients)
    information = design.T @ (design * (tries * fitted * (1 - fitted))[:, None])
    return (float(coefficients[0]), float(coefficients[1])), information, fitted


def _logistic(linear: Floats) -> Floats:
    return np.asarray(np.exp(-np.logaddexp(0, -linear)))


def _fieller(
    coefficients: tuple[float, float], covariance: Floats, critical: float
) -> tuple[float, float] | None:
    """Return the ends of {x : (a + s x)² ≤ c² Var(a + s x)}, or None where it has none."""
    (a, s), c2 = coefficients, critical**2
    square = s**2 - c2 * covariance[1, 1]
    linear = a * s - c2 * covariance[0, 1]
    constant = a**2 - c2 * covariance[0, 0]
    if square <= 0:
        return None
    # The midpoint is in the set, so the parabola that opens upward has two roots.
    half = math.sqrt(max(0.0, linear**2 - square * constant))
    return (-linear - half) / square, (-linear + half) / square
