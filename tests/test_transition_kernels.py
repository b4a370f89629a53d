"""Kernels of the transition against other libraries, brute force and closed forms."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from reprostore.errors import SpecError
from reprostore_analyses.kernels import (
    REGIMES,
    crossing_bracket,
    distinct_items,
    fit_sigmoid,
    log_distance_ratios,
    mismatched_squared_distance,
    probability_flow_distance,
    regimes,
    squared_distances,
    student_quantile,
)

# --- Student's t ---------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 30, 251])
@pytest.mark.parametrize("confidence", [0.1, 0.5, 0.95, 0.999])
def test_quantiles_of_students_t(degrees, confidence):
    expected = stats.t.ppf((1 + confidence) / 2, degrees)
    assert student_quantile(confidence, degrees) == pytest.approx(expected, rel=1e-9)


# --- the sigmoid ---------------------------------------------------------------------------------

SIZES = np.log2([64, 128, 256, 256, 512, 1024])
HITS = np.array([4, 30, 190, 260, 440, 505])
TRIALS = np.array([512, 512, 512, 512, 500, 512])


def deviance(parameters):
    linear = parameters[0] + parameters[1] * (SIZES - 8)
    return -(HITS * linear - TRIALS * np.logaddexp(0, linear)).sum()


def independent_fit():
    """Return (a, s) at x - 8, their covariance, the dispersion and its degrees of freedom."""
    found = optimize.minimize(
        deviance, [0.0, 0.5], method="Nelder-Mead", options={"xatol": 1e-11, "fatol": 1e-11}
    )
    p = 1 / (1 + np.exp(-(found.x[0] + found.x[1] * (SIZES - 8))))
    step, hessian = 1e-3, np.empty((2, 2))
    for i in range(2):
        for j in range(2):
            e, f = np.eye(2)[i] * step, np.eye(2)[j] * step
            hessian[i, j] = (
                deviance(found.x + e + f) - deviance(found.x + e - f)
                - deviance(found.x - e + f) + deviance(found.x - e - f)
            ) / (4 * step**2)  # fmt: skip
    inside = (p > 0.02) & (p < 0.98)
    pearson = ((HITS - TRIALS * p) ** 2 / (TRIALS * p * (1 - p)))[inside].sum()
    degrees = inside.sum() - 2
    return found.x, np.linalg.inv(hessian), pearson / degrees, degrees


def test_fit_agrees_with_a_general_minimizer():
    fit = fit_sigmoid(SIZES, HITS, TRIALS)
    (a, s), _, dispersion, _ = independent_fit()
    assert fit.midpoint == pytest.approx(8 - a / s, abs=1e-6)
    assert fit.slope == pytest.approx(s, rel=1e-6)
    assert fit.dispersion == pytest.approx(dispersion, rel=1e-5)
    assert dispersion > 5  # the two models at 256 differ by more than counts would
    assert fit.reason == ""


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
def test_interval_is_where_the_line_is_not_distinguished_from_zero(confidence):
    fit = fit_sigmoid(SIZES, HITS, TRIALS, confidence)
    (a, s), covariance, dispersion, degrees = independent_fit()
    critical = stats.t.ppf((1 + confidence) / 2, degrees)

    def beyond(x):
        row = np.array([1, x - 8])
        error = math.sqrt(row @ covariance @ row * dispersion)
        return abs(a + s * (x - 8)) / error - critical

    middle = 8 - a / s
    low, high = (optimize.brentq(beyond, middle, middle + d) for d in (-3, 3))
    assert (fit.low, fit.high) == pytest.approx((low, high), abs=1e-4)
    assert fit.low < fit.midpoint < fit.high


def test_counts_that_scatter_less_than_chance_do_not_narrow_the_interval():
    x = np.arange(6.0)
    trials = np.full(6, 10_000)
    exact = 1 / (1 + np.exp(-1.3 * (x - 2.4)))
    fit = fit_sigmoid(x, np.rint(trials * exact), trials)
    assert fit.dispersion < 0.01
    assert fit.midpoint == pytest.approx(2.4, abs=1e-3)
    assert fit.slope == pytest.approx(1.3, abs=1e-3)
    weights = trials * exact * (1 - exact)
    design = np.column_stack([np.ones(6), x - 2.4])
    error = math.sqrt(np.linalg.inv(design.T @ (design * weights[:, None]))[0, 0]) / 1.3
    half = stats.t.ppf(0.975, 4) * error  # the delta method, good to second order here
    assert (fit.high - fit.low) / 2 == pytest.approx(half, rel=0.01)


def test_intervals_hold_as_often_as_they_say():
    rng = np.random.default_rng(0)
    x, trials, inside = np.arange(7.0), np.full(7, 200), 0
    for _ in range(400):
        p = 1 / (1 + np.exp(-(x - 3.3)))
        p = rng.beta(p * 20, (1 - p) * 20)  # models differ by more than seeds
        fit = fit_sigmoid(x, rng.binomial(trials, p), trials)
        inside += fit.low <= 3.3 <= fit.high
    assert 0.91 <= inside / 400 <= 0.985


def test_sizes_beyond_the_slope_add_no_certainty():
    """A steep curve over many sizes, with models that differ: a few points tell the midpoint."""
    rng = np.random.default_rng(1)
    x = np.repeat(np.arange(4.0, 11.0), 2)
    inside = total = 0
    for _ in range(300):
        middle = rng.uniform(7, 8)
        p = 1 / (1 + np.exp(-3 * (x - middle) - rng.normal(0, 0.4, len(x))))
        fit = fit_sigmoid(x, rng.binomial(1000, p), np.full(len(x), 1000))
        if not math.isnan(fit.low):
            total += 1
            inside += fit.low <= middle <= fit.high
    assert total > 150
    assert inside / total >= 0.88
    hits = np.array([35, 60, 260, 470, 800, 900, 965])
    few = fit_sigmoid(np.arange(7.0), hits, np.full(7, 1000))
    more = fit_sigmoid(np.arange(-3.0, 7.0), np.concatenate([[0, 2, 8], hits]), np.full(10, 1000))
    assert more.low == pytest.approx(few.low, abs=0.1)
    assert more.high == pytest.approx(few.high, abs=0.1)


@pytest.mark.parametrize(
    ("hits", "trials", "reason"),
    [
        ([0, 1, 50, 100], 100, "1 of 4 sizes"),  # .01 is beyond .05
        ([0, 0, 100, 100], 100, "0 of 4 sizes"),
        ([90, 60, 30, 10], 100, "do not rise"),
        ([10, 15, 20, 30], 100, "outside of the sizes"),
        ([60, 70, 80, 90], 100, "outside of the sizes"),
    ],
)
def test_no_fit_where_it_would_say_nothing(hits, trials, reason):
    fit = fit_sigmoid([4, 5, 6, 7], hits, [trials] * 4)
    assert math.isnan(fit.midpoint)
    assert math.isnan(fit.low)
    assert math.isnan(fit.high)
    assert reason in fit.reason


def test_two_observations_have_no_interval_and_models_of_one_size_are_one_size():
    fit = fit_sigmoid([4, 5], [20, 80], [100, 100])
    assert fit.midpoint == pytest.approx(4.5)
    assert math.isnan(fit.low)
    assert "third" in fit.reason
    fit = fit_sigmoid([4, 4, 4], [20, 50, 80], [100] * 3)
    assert "1 of 1 sizes" in fit.reason


def test_a_slope_in_doubt_has_no_interval():
    fit = fit_sigmoid([4, 5, 6, 7], [20, 70, 30, 80], [100] * 4)
    assert not math.isnan(fit.midpoint)
    assert math.isnan(fit.low)
    assert "not rise clearly" in fit.reason


def test_extreme_counts_do_not_overflow():
    fit = fit_sigmoid([0, 4, 5, 6, 40], [0, 10, 50, 90, 100], [100] * 5)
    assert fit.midpoint == pytest.approx(5, abs=1e-3)


@pytest.mark.parametrize(
    ("values", "bracket"),
    [
        ([0.0, 0.2, 0.6, 1.0], (2, 3)),
        ([0.0, 0.5, 0.6, 1.0], (2, 3)),  # one half is not above one half
        ([0.1, 0.6, 0.4, 0.9], (1, 4)),  # it passes somewhere between the first and the last
        ([0.6, 0.7, 0.8, 0.9], (math.nan, 1)),
        ([0.1, 0.2, 0.3, 0.4], (4, math.nan)),
        ([0.6, 0.7, 0.8, 0.4], (math.nan, math.nan)),
    ],
)
def test_bracket_by_hand(values, bracket):
    assert crossing_bracket([1, 2, 3, 4], values) == pytest.approx(bracket, nan_ok=True)


def test_mistaken_counts_are_refused():
    for hits, trials in (([1, 2], [3]), ([4], [3]), ([-1], [3]), ([0], [0])):
        with pytest.raises(SpecError):
            fit_sigmoid(np.arange(len(hits)), hits, trials)


# --- the intrinsic dimension ---------------------------------------------------------------------


def neighbor_distances(points, k):
    squared = ((points[:, None] - points[None]) ** 2).sum(axis=-1)
    np.fill_diagonal(squared, np.inf)
    return np.sort(squared, axis=1)[:, :k]


def test_log_ratios_are_those_of_the_formula():
    distances = np.array([[1.0, 4.0, 9.0, 25.0]])
    expected = (math.log(5) + math.log(5 / 2) + math.log(5 / 3)) / 3
    assert log_distance_ratios(distances) == pytest.approx([expected])
    assert log_distance_ratios(distances[:, :2]) == pytest.approx([math.log(2)])


@pytest.mark.parametrize("k", [2, 10])
@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_dimension_of_a_plane_in_a_larger_space(dimension, k):
    rng = np.random.default_rng(dimension)
    basis = np.linalg.qr(rng.standard_normal((12, dimension)))[0]
    points = rng.uniform(size=(900, dimension)) @ basis.T
    ratios = log_distance_ratios(neighbor_distances(points, k))
    error = dimension / math.sqrt(900)  # of TwoNN; larger k add a bias at the edges of the cube
    assert 1 / ratios.mean() == pytest.approx(dimension, abs=4 * error + 0.06 * dimension)


def test_unsorted_and_zero_distances_are_refused():
    for distances in ([[2.0, 1.0]], [[0.0, 1.0]], [[1.0]], [1.0, 2.0]):
        with pytest.raises(SpecError):
            log_distance_ratios(np.asarray(distances))


def test_distinct_items_are_the_first_of_each():
    items = np.array([[1, 2], [3, 4], [1, 2], [1, 3], [3, 4]], dtype=np.uint8)[:, None]
    assert distinct_items(items).tolist() == [0, 1, 3]
    assert distinct_items(np.array([[0.0], [-0.0], [1.0]], dtype=np.float32)).tolist() == [0, 2]


# --- PFD -----------------------------------------------------------------------------------------


def test_distances_by_hand():
    a = np.array([[[0, 255]], [[10, 10]]], dtype=np.uint8)
    b = np.array([[[255, 0]], [[13, 6]]], dtype=np.uint8)  # 8-bit differences would wrap around
    assert squared_distances(a, b).tolist() == [2 * 255**2, 25]
    assert probability_flow_distance([9.0, 25.0, 2.0]) == pytest.approx(math.sqrt(12))


def test_mismatched_pairs_by_brute_force():
    rng = np.random.default_rng(0)
    a, b = rng.normal(5, 1, (2, 7, 3, 2)).astype(np.float32)
    every = [((a[i].astype(float) - b[j]) ** 2).sum() for i in range(7) for j in range(7) if i != j]
    assert mismatched_squared_distance(a, b) == pytest.approx(np.mean(every), rel=1e-9)
    assert mismatched_squared_distance(b, a) == pytest.approx(np.mean(every), rel=1e-9)
    assert math.isnan(mismatched_squared_distance(a[:1], b[:1]))


def test_what_is_no_distance_is_refused():
    with pytest.raises(SpecError):
        squared_distances(np.zeros(3), np.zeros(3))
    with pytest.raises(SpecError):
        probability_flow_distance([-1.0])
    assert math.isnan(probability_flow_distance([]))


# --- regimes -------------------------------------------------------------------------------------


def test_regimes_of_the_published_figure():
    """GL of width 64, 128 and 256 over N = 2^6 … 2^15, and each one's mean RP to the others."""
    gl = [[0, 0, 0, 0.87, 0.99, 1, 1], [0, 0, 0, 0.28, 0.82, 0.98, 0.99],
          [0, 0, 0.03, 0.05, 0.30, 0.99, 0.98]]  # fmt: skip
    pairs = np.array([[0.69, 0.62, 0.65], [0.59, 0.55, 0.56], [0.46, 0.37, 0.41],
                      [0.34, 0.10, 0.17], [0.18, 0.02, 0.17], [0.45, 0.49, 0.45],
                      [0.67, 0.61, 0.85]]).T  # fmt: skip
    rp = [pairs[[0, 1]].mean(axis=0), pairs[[0, 2]].mean(axis=0), pairs[[1, 2]].mean(axis=0)]
    found = regimes(gl, rp, g=0.1, r=0.4)
    names = [[REGIMES[code][0] for code in row] for row in found]
    # The paper draws memorization up to 2^10 and generalization from 2^13.5 on.
    assert ["".join(row) for row in names] == ["mmmbbgg", "mmmbbgg", "mmmmbgg"]


def test_regimes_at_their_borders_and_without_scores():
    nan = math.nan
    assert regimes([0.1, 0.9, nan, 0.95, 0.5], [1, 1, 1, nan, nan], g=0.1, r=0.4).tolist() == [
        0, 0, -1, -1, 0,
    ]  # fmt: skip
    assert regimes(0.95, 0.4, g=0.1, r=0.4) == 0
    for g, r in ((0, 0.4), (0.5, 0.4), (0.1, 1.1), (nan, 0)):
        with pytest.raises(SpecError):
            regimes(0.5, 0.5, g=g, r=r)
