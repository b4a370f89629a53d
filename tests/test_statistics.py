"""Intervals and tests against scipy, closed forms and simulated coverage."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reprostore.errors import SpecError
from reprostore_analyses.kernels import memorized_fraction
from reprostore_analyses.statistics import bootstrap as bootstrap_module
from reprostore_analyses.statistics import (
    bootstrap_mean,
    calibrated_fraction,
    calibrated_threshold,
    mcnemar_p,
    paired_difference,
    resampled_means,
    simultaneous_critical_value,
    simultaneous_intervals,
    wilson_interval,
)
from reprostore_analyses.statistics import calibration as calibration_module
from reprostore_analyses.statistics.binomial import upper_tail


@pytest.fixture
def rng():
    return np.random.default_rng(7)


# Wilson


@given(st.integers(1, 3000), st.floats(0, 1), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_wilson_equals_scipy(trials, share, confidence):
    successes = round(share * trials)
    expected = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    low, high = wilson_interval(successes, trials, confidence)
    # scipy solves the same quadratic in another form: rounding only.
    np.testing.assert_allclose([low, high], expected, rtol=1e-9, atol=1e-12)


def test_wilson_ends_and_empty_trials():
    low, high = wilson_interval([0, 10, 0], [10, 10, 0])
    assert low[0] == 0 < high[0] < 0.3
    assert high[1] == 1 > low[1] > 0.7
    assert np.isnan([low[2], high[2]]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((11, 10), r"more than the trials.*order successes, trials"),
        ((-1, 10), "Some successes are negative"),
        ((np.nan, 10), "1 of 1 successes are NaN"),
        ((1, np.nan), "1 of 1 trials are NaN"),
        ((1, 10, 95), r"confidence is 95.*between 0 and 1.*not in percent"),
    ],
)
def test_what_wilson_refuses(arguments, message):
    with pytest.raises(SpecError, match=message):
        wilson_interval(*arguments)


# Simultaneous intervals


def correlated_indicators(rng, p, seeds, correlation):
    """Bernoulli(p_k) over common seeds, made by cutting normals that share one factor."""
    common = rng.standard_normal(seeds)
    own = rng.standard_normal((len(p), seeds))
    latent = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own
    return latent < stats.norm.ppf(p)[:, None]


def joint_coverage(rng, p, seeds, correlation, rounds):
    joint = single = 0
    for _ in range(rounds):
        indicators = correlated_indicators(rng, p, seeds, correlation)
        result = simultaneous_intervals(indicators, rng=rng, resamples=2000)
        joint += np.all((result.low <= p) & (p <= result.high))
        low, high = wilson_interval(indicators.sum(axis=1), seeds)
        single += np.all((low <= p) & (p <= high))
    return joint / rounds, single / rounds


def test_simultaneous_coverage(rng):
    p = np.linspace(0.2, 0.9, 12)
    joint, single = joint_coverage(rng, p, 400, 0.4, 500)
    # 500 rounds at .95 have a standard deviation of .01.
    assert 0.92 <= joint <= 0.98
    assert single < 0.75  # so the test would notice pointwise intervals


def test_simultaneous_coverage_of_rare_agreement(rng):
    # A fifth of 30 such pairs agree once; Wilson's bound then excludes the truth at any c > 3.
    joint, _ = joint_coverage(rng, np.full(30, 0.06 / 300), 300, 0.0, 200)
    assert joint >= 0.92


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("seeds", [100, 1000])
@pytest.mark.parametrize("expected", ["matrix", "middle", "rare", "rarer", "mixed"])
def test_simultaneous_coverage_over_settings(expected, seeds, correlation, rng):
    p = {
        "matrix": np.linspace(0.05, 0.95, 45),
        "middle": np.linspace(0.3, 0.7, 6),
        "rare": np.full(45, 1 - 2 / seeds),
        "rarer": np.full(45, 0.08 / seeds),
        "mixed": np.r_[0.05 / seeds, 1 / seeds, 1 - 1 / seeds, np.full(8, 0.5)],
    }[expected]
    joint, _ = joint_coverage(rng, p, seeds, correlation, 1000)
    assert joint >= 0.93  # standard deviation .007


def test_critical_value_lies_between_one_pair_and_sidak(rng):
    one = stats.norm.ppf(0.975)
    sidak = stats.norm.ppf((1 + 0.95 ** (1 / 20)) / 2)
    independent = rng.random((20, 20_000)) < 0.5
    copies = np.repeat(independent[:1], 20, axis=0)
    opposite = np.concatenate([copies[:10], ~copies[:10]])
    # 10,000 draws leave an error of .02 in c.
    assert simultaneous_critical_value(independent, rng=rng) == pytest.approx(sidak, abs=0.06)
    assert simultaneous_critical_value(copies, rng=rng) == pytest.approx(one, abs=0.06)
    assert simultaneous_critical_value(opposite, rng=rng) == pytest.approx(one, abs=0.06)
    some = simultaneous_critical_value(
        correlated_indicators(rng, np.full(20, 0.5), 5000, 0.8), rng=rng
    )
    assert one + 0.2 < some < sidak - 0.1


def test_critical_value_equals_that_of_the_multivariate_normal(rng):
    # Two pairs whose indicators have correlation 1/2: P(|Z1| ≤ c, |Z2| ≤ c) from scipy.
    indicators = np.array([[1, 1, 1, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 0, 0, 1]], dtype=bool)
    assert np.corrcoef(indicators)[0, 1] == pytest.approx(0.5)
    c = simultaneous_critical_value(indicators, rng=rng, resamples=200_000)
    normal = stats.multivariate_normal(cov=[[1, 0.5], [0.5, 1]])
    assert normal.cdf([c, c], lower_limit=[-c, -c]) == pytest.approx(0.95, abs=0.002)


def widest(hits, seeds, confidence):
    """Union of Wilson's and Clopper and Pearson's intervals, both from scipy."""
    wilson, exact = (
        stats.binomtest(int(hits), seeds).proportion_ci(confidence, method=method)
        for method in ("wilson", "exact")
    )
    return min(wilson.low, exact.low), max(wilson.high, exact.high)


@pytest.mark.parametrize("value", [False, True])
def test_constant_pairs_have_sidaks_interval(value, rng):
    result = simultaneous_intervals(np.full((8, 50), value), rng=rng)
    low, high = widest(50 * value, 50, 0.95 ** (1 / 8))
    np.testing.assert_array_equal(result.value, np.full(8, value))
    np.testing.assert_allclose(result.low, low, atol=0.005)
    np.testing.assert_allclose(result.high, high, atol=0.005)
    assert (result.high - result.low > 0.1).all()


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 40), st.floats(0, 1))
def test_never_narrower_than_wilson_nor_wider_than_sidak(seed, pairs, seeds, p):
    rng = np.random.default_rng(seed)
    indicators = rng.random((pairs, seeds)) < p
    result = simultaneous_intervals(indicators, rng=rng, resamples=200)
    hits = indicators.sum(axis=1)
    inner = np.transpose(wilson_interval(hits, seeds))
    outer = [widest(k, seeds, 0.95 ** (1 / pairs)) for k in hits]
    for bounds, narrow, wide in zip(zip(*result[1:3], strict=True), inner, outer, strict=True):
        assert wide[0] - 1e-9 <= bounds[0] <= narrow[0] + 1e-9
        assert narrow[1] - 1e-9 <= bounds[1] <= wide[1] + 1e-9


def test_single_pair_has_the_union_of_scipys_intervals(rng):
    for hits in (0, 1, 7, 400, 999, 1000):
        result = simultaneous_intervals(np.arange(1000)[None] < hits, rng=rng)
        assert (result.low[0], result.high[0]) == pytest.approx(widest(hits, 1000, 0.95), abs=1e-9)


@given(st.integers(1, 20_000), st.floats(0, 1), st.floats(0.001, 1))
def test_binomial_tail_equals_scipy(trials, share, closeness):
    successes = max(1, round(share * trials))
    p = min(closeness * successes / trials, 0.999)
    expected = stats.binom.sf(successes - 1, trials, p)
    assert upper_tail(successes, trials, p) == pytest.approx(expected, rel=1e-8, abs=1e-300)


def test_order_of_seeds_changes_no_bit(rng):
    indicators = correlated_indicators(rng, np.linspace(0.1, 0.9, 6), 5000, 0.5)
    shuffled = indicators[:, rng.permutation(5000)]
    first, second = (
        simultaneous_intervals(x, rng=np.random.default_rng(1)) for x in (indicators, shuffled)
    )
    np.testing.assert_array_equal(first[1:3], second[1:3])


def test_simultaneous_without_seeds_or_pairs(rng):
    result = simultaneous_intervals(np.empty((3, 0), dtype=bool), rng=rng)
    assert np.isnan(result[:3]).all()
    assert result.reason == "There are no seeds."
    assert simultaneous_intervals(np.empty((0, 5), dtype=bool), rng=rng).low.shape == (0,)


def test_simultaneous_refuses_values_that_are_no_indicators(rng):
    for wrong in (np.ones((2, 3)), np.ones(3, dtype=bool)):
        with pytest.raises(SpecError, match=r"indicators are .*\(pair, seed\).*with the threshold"):
            simultaneous_intervals(wrong, rng=rng)


# Bootstrap


def test_resampled_means_are_means_of_drawn_seeds(rng):
    # Powers of 10 as values: the digits of 10 times a mean say how often each seed was drawn.
    counts = np.rint(resampled_means(10.0 ** np.arange(5), rng=rng, resamples=300) * 5).astype(int)
    digits = np.array([[int(d) for d in f"{count:05d}"] for count in counts])
    assert (digits.sum(axis=1) == 5).all()
    # Each digit is Binomial(5, 1/5), mean 1 and variance .8; 300 resamples: σ = .05.
    np.testing.assert_allclose(digits.mean(axis=0), 1, atol=0.25)
    np.testing.assert_allclose(digits.var(axis=0), 0.8, atol=0.3)


def test_rows_share_their_resamples(rng):
    values = rng.random(40)
    means = resampled_means(np.stack([values, 1 - values]), rng=rng, resamples=50)
    np.testing.assert_allclose(means.sum(axis=1), 1, atol=1e-12)


def test_bootstrap_equals_scipy(rng):
    values = rng.gamma(2.0, size=200)
    ours = bootstrap_mean(values, rng=rng, resamples=20_000)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(8)
    ).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    # Both ends carry Monte Carlo noise of 2 % of a standard error.
    tolerance = 0.1 * values.std() / np.sqrt(200)
    assert (float(ours.low), float(ours.high)) == pytest.approx(tuple(theirs), abs=tolerance)


def test_bootstrap_coverage(rng):
    result = bootstrap_mean(rng.exponential(size=(1000, 60)), rng=rng)
    covered = np.mean((result.low <= 1) & (result.high >= 1))
    assert 0.90 <= covered <= 0.97  # percentile intervals of a skewed mean fall a little short


def test_blocks_cannot_change_the_answer(rng, monkeypatch):
    values = rng.random((2, 3, 37))
    whole = bootstrap_mean(values, rng=np.random.default_rng(1), resamples=100)
    monkeypatch.setattr(bootstrap_module, "_BLOCK_WEIGHTS", 111)
    blocks = bootstrap_mean(values, rng=np.random.default_rng(1), resamples=100)
    assert whole.low.shape == (2, 3)
    np.testing.assert_allclose(blocks[:3], whole[:3], rtol=1e-12)


def test_bootstrap_without_spread_gives_a_reason(rng):
    none = bootstrap_mean(np.empty((2, 0)), rng=rng)
    assert np.isnan(none[:3]).all()
    assert none.reason == "There are no seeds."
    one = bootstrap_mean([0.5], rng=rng)
    assert one.value == 0.5
    assert np.isnan([one.low, one.high]).all()
    assert one.reason == "An interval needs at least two seeds; there is one."
    constant = bootstrap_mean([[1.0, 1.0, 1.0], [0.0, 1.0, 0.5]], rng=rng)
    assert np.isnan([constant.low, constant.high]).tolist() == [[True, False]] * 2
    assert constant.reason == (
        "All 3 seeds have the same value in 1 of 2 rows; resampling gives them no interval."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"values": [0.1, np.nan]}, "1 of 2 values are NaN or infinite.*Leave out"),
        ({"values": [0.1, np.inf]}, "1 of 2 values are NaN or infinite"),
        ({"values": 0.1}, "single number"),
        ({"resamples": 0}, "number of resamples is 0"),
        ({"confidence": 1.0}, r"confidence is 1\.0"),
    ],
)
def test_what_the_bootstrap_refuses(options, message, rng):
    with pytest.raises(SpecError, match=message):
        bootstrap_mean(**({"values": [0.1, 0.2], "rng": rng} | options))


def test_bootstrap_of_a_large_matrix_is_fast(rng):
    values = rng.random((45, 10_000))
    start = time.perf_counter()
    bootstrap_mean(values, rng=rng, resamples=1000)
    assert time.perf_counter() - start < 5


# Paired differences


def test_paired_difference_uses_the_pairing(rng):
    common = rng.standard_normal(400)
    a, b = common + 0.1 * rng.standard_normal((2, 400)) + [[0.05], [0.0]]
    result = paired_difference(a, b, rng=rng, resamples=4000)
    expected = stats.ttest_rel(a, b).confidence_interval()
    assert result.value == pytest.approx((a - b).mean())
    assert (result.low, result.high) == pytest.approx(tuple(expected), abs=0.002)
    swapped = paired_difference(b, a, rng=rng, resamples=4000)
    assert swapped.value == -result.value


def test_paired_difference_of_equal_scores_and_unequal_seeds(rng):
    same = paired_difference(np.ones((2, 5)), np.ones((2, 5)), rng=rng)
    assert (same.value == 0).all()
    assert "same value in 2 of 2 rows" in same.reason
    with pytest.raises(SpecError, match=r"shapes \(5,\) and \(4,\).*Select the seeds"):
        paired_difference(np.ones(5), np.ones(4), rng=rng)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 5), st.integers(0, 5))
def test_mcnemar_equals_scipy(only_a, only_b, both, neither):
    a = np.repeat([True, False, True, False], [only_a, only_b, both, neither])
    b = np.repeat([False, True, True, False], [only_a, only_b, both, neither])
    n = only_a + only_b
    expected = stats.binomtest(only_a, n).pvalue if n else 1.0
    assert mcnemar_p(a, b) == pytest.approx(expected, rel=1e-10)
    assert mcnemar_p(a, b) == mcnemar_p(b, a)


def test_mcnemar_with_many_seeds_and_rows():
    a, b = np.zeros((2, 3, 10_000), dtype=bool)
    a[0, :5100], b[0, 5100:] = True, True
    a[1, :10_000] = True
    result = mcnemar_p(a, b)
    # The logarithm of C(10,000, 5,100) is about 7,000, known to 1e-12.
    assert result[0] == pytest.approx(stats.binomtest(5100, 10_000).pvalue, rel=1e-8)
    assert result[1] == 0.0  # 2**-9999
    assert result[2] == 1.0
    with pytest.raises(SpecError, match=r"are float64 and bool.*\(…, seed\)"):
        mcnemar_p(np.ones(3), np.ones(3, dtype=bool))


# Calibrated threshold


def test_calibrated_threshold_is_the_interpolated_quantile():
    values = np.random.default_rng(9).permutation(np.arange(201) / 200)
    # (n − 1)(1 − q) = 198 and 197.5: an order statistic, and half-way between two.
    assert calibrated_threshold(values) == pytest.approx(0.99)
    assert calibrated_threshold(values, 0.0125) == pytest.approx(0.9875)


def test_calibrated_threshold_of_too_few_items(rng):
    values = rng.random(100)
    assert np.isfinite(calibrated_threshold(values))
    assert np.isnan(calibrated_threshold(values[:99]))
    result = calibrated_fraction(generated=values, held_out=values[:99], rng=rng)
    assert np.isnan(result.threshold[:3]).all()
    assert np.isnan(result.fraction[:3]).all()
    assert result.fraction.reason == (
        "A calibrated threshold with q = 0.01 needs at least 100 held-out items; there are 99."
    )
    empty = calibrated_fraction(generated=[], held_out=values, rng=rng)
    assert np.isfinite(empty.threshold[:3]).all()
    assert np.isnan(empty.fraction[:3]).all()
    assert empty.fraction.reason == "There are no generated samples."


def test_calibrated_fraction_equals_plain_resampling(rng):
    held_out, generated = rng.beta(5, 2, 400), rng.beta(6, 2, 300)
    result = calibrated_fraction(
        generated=generated, held_out=held_out, rng=rng, q=0.05, resamples=4000
    )
    thetas, shares = [], []
    for _ in range(4000):
        theta = np.quantile(rng.choice(held_out, 400), 0.95)
        thetas.append(theta)
        shares.append(np.mean(rng.choice(generated, 300) > theta))
    assert result.threshold.value == np.quantile(held_out, 0.95)
    assert result.fraction.value == memorized_fraction(generated, np.quantile(held_out, 0.95))
    for estimate, plain in ((result.threshold, thetas), (result.fraction, shares)):
        # Quantiles of 4,000 draws differ by about 4 % of a standard deviation.
        bounds = np.quantile(plain, [0.025, 0.975])
        np.testing.assert_allclose(estimate[1:3], bounds, atol=0.2 * np.std(plain))


def test_interval_holds_the_share_of_real_data(rng):
    # Generated samples that are real data exceed the threshold in q of the cases.
    covered = 0
    for _ in range(200):
        generated, held_out = rng.random((2, 500))
        result = calibrated_fraction(
            generated=generated, held_out=held_out, rng=rng, q=0.1, resamples=200
        )
        covered += result.fraction.low <= 0.1 <= result.fraction.high
    assert covered >= 0.9 * 200


def test_calibration_in_blocks(rng, monkeypatch):
    arguments = {"generated": rng.random(50), "held_out": rng.random(120), "resamples": 40}
    whole = calibrated_fraction(**arguments, rng=np.random.default_rng(1))
    monkeypatch.setattr(calibration_module, "_BLOCK_DRAWS", 250)
    blocks = calibrated_fraction(**arguments, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(whole.threshold[:3], blocks.threshold[:3])
    np.testing.assert_array_equal(whole.fraction[:3], blocks.fraction[:3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"generated": [np.nan]}, "1 of 1 similarities of generated samples are NaN"),
        ({"held_out": [np.nan]}, "1 of 1 similarities of held-out items are NaN"),
        ({"held_out": [[0.5]]}, r"held-out items have the shape \(1, 1\).*\(item,\)"),
        ({"q": 1.0}, r"quantile's q is 1\.0"),
        ({"resamples": 0}, "number of resamples is 0"),
        ({"confidence": 0}, "confidence is 0"),
    ],
)
def test_what_calibration_refuses(options, message, rng):
    good = {"generated": rng.random(5), "held_out": rng.random(200), "rng": rng}
    with pytest.raises(SpecError, match=message):
        calibrated_fraction(**(good | options))
