"""Chance level against all shuffled pairs, closed forms and its conventions."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprostore.errors import SpecError
from reprostore_analyses.kernels import (
    chance_level,
    corrected_score,
    cyclic_shifts,
    mean_absolute_error,
    rowwise_cosine,
    threshold_curve,
)


@given(st.integers(0, 200), st.integers(1, 40))
def test_shifts_are_distinct_spread_and_symmetric(seeds, count):
    shifts = cyclic_shifts(seeds, count)
    assert len(shifts) == min(count, max(seeds - 1, 0))
    assert list(shifts) == sorted(set(shifts))
    assert all(0 < s < seeds for s in shifts)
    if len(shifts) < 2:
        return
    # Evenly spread: gaps differ by rounding only (each end rounds by at most 1/2, mirrored 1).
    assert np.ptp(np.diff(shifts)) <= 2
    if count % 2 == 0 or seeds - 1 <= count:
        assert {seeds - s for s in shifts} == set(shifts)


def test_level_of_few_seeds_is_that_of_all_mismatched_pairs():
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((2, 15, 3))
    thresholds = np.linspace(-1, 1, 11)
    cosine = (a @ b.T) / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
    others = cosine[~np.eye(15, dtype=bool)]
    result = chance_level(a, b, thresholds)
    expected = [(others > t).mean() for t in thresholds]
    np.testing.assert_allclose(result.level, expected, atol=1e-12)
    assert result.shifts == tuple(range(1, 15))
    assert result.reason == ""
    # All mismatched pairs: the order of the seeds no longer matters.
    order = rng.permutation(15)
    np.testing.assert_allclose(
        chance_level(a[order], b[order], thresholds).level, expected, atol=1e-12
    )


def test_each_shift_equals_a_rolled_comparison():
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 256, (2, 61, 2, 3), dtype=np.uint8)
    thresholds = [80.0, 90.0]
    result = chance_level(a, b, thresholds, measure=mean_absolute_error, side="below", shifts=4)
    assert result.by_shift.shape == (4, 2)
    for row, shift in zip(result.by_shift, result.shifts, strict=True):
        error = np.abs(a.astype(int) - np.roll(b, -shift, axis=0)).mean(axis=(1, 2))
        np.testing.assert_array_equal(row, [(error < t).mean() for t in thresholds])
    np.testing.assert_allclose(result.level, result.by_shift.mean(axis=0))


def test_exchanging_the_runs_changes_nothing():
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((2, 101, 4))
    np.testing.assert_allclose(
        chance_level(a, b, [0.0, 0.5]).level, chance_level(b, a, [0.0, 0.5]).level, atol=1e-12
    )


def test_shuffled_runs_score_at_chance():
    # Two independent sets of directions on the circle: P(cos > θ) = arccos(θ)/π in closed form.
    rng = np.random.default_rng(5)
    angle = rng.uniform(0, 2 * np.pi, (2, 4000))
    a, b = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    thresholds = np.array([-0.5, 0.0, 0.6, 0.9])
    expected = np.arccos(thresholds) / np.pi
    # 80,000 comparisons, of which each sample takes part in 40: within 4 σ of 4,000 · 2 samples.
    np.testing.assert_allclose(chance_level(a, b, thresholds).level, expected, atol=0.02)
    np.testing.assert_allclose(
        threshold_curve(rowwise_cosine(a, b), thresholds), expected, atol=0.035
    )


def test_identical_runs_score_one_and_their_chance_does_not():
    rng = np.random.default_rng(6)
    a = rng.standard_normal((300, 16))
    score = threshold_curve(rowwise_cosine(a, a), 0.9)
    chance = chance_level(a, a, 0.9).level
    assert score == 1.0
    assert chance == 0.0  # 16 independent normals never reach a cosine of .9
    assert corrected_score(score, chance) == 1.0


def test_constant_samples_leave_the_score_without_information():
    a = np.ones((30, 4))
    chance = chance_level(a, a, 0.6).level
    assert chance == 1.0
    assert np.isnan(corrected_score(1.0, chance))


@pytest.mark.parametrize("seeds", [0, 1])
def test_too_few_seeds_give_nan_and_a_reason(seeds):
    result = chance_level(np.ones((seeds, 3)), np.ones((seeds, 3)), [0.5, 0.6])
    assert np.isnan(result.level).all()
    assert result.level.shape == (2,)
    assert result.by_shift.shape == (0, 2)
    assert result.reason == f"A chance level needs at least two seeds; there are {seeds}."


def test_samples_are_not_copied():
    a = np.ones((2000, 2000), dtype=np.float32)
    chance_level(a[:4], a[:4], 0.5)
    tracemalloc.start()
    chance_level(a, a, 0.5, shifts=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < a.nbytes / 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: chance_level(np.ones((3, 2)), np.ones((4, 2)), 0.5), r"\(3, 2\) and \(4, 2\)"),
        (lambda: chance_level(np.array(1.0), np.array(1.0), 0.5), r"single number.*\(seed, …\)"),
        (lambda: chance_level(np.full((3, 2), np.nan), np.ones((3, 2)), 0.5), "contain NaN"),
        (lambda: chance_level(np.ones((3, 2)), np.ones((3, 2)), np.nan), "1 of 1 thresholds"),
        (lambda: cyclic_shifts(10, 0), r"number of shifts is 0.*at least 1"),
        (lambda: corrected_score(1.2, 0.1), r"A score is 1\.2.*\[0, 1\].*not percentages"),
        (lambda: corrected_score(0.2, [0.1, -0.1]), r"A chance level is -0\.1"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(SpecError, match=message):
        call()


def test_corrected_score_in_closed_form():
    np.testing.assert_allclose(
        corrected_score([1.0, 0.2, 0.6, 0.0, np.nan], 0.2), [1.0, 0.0, 0.5, -0.25, np.nan]
    )
    np.testing.assert_array_equal(corrected_score(0.5, [np.nan, 1.0]), [np.nan, np.nan])
