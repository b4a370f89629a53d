"""Proportions beyond thresholds against comparison one by one, and the scores made of them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from reprostore.errors import SpecError
from reprostore_analyses.kernels import (
    ExceedanceCounts,
    check_cosine_threshold,
    check_mae_threshold,
    generalization_score,
    memorized_fraction,
    threshold_curve,
)

# A coarse grid on both sides, so that values often equal a threshold, where strictness shows.
GRID = st.integers(-4, 4).map(lambda k: k / 4)
VALUES = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=6), elements=GRID
)
THRESHOLDS = hnp.arrays(np.float64, st.integers(0, 7), elements=GRID)
SIDES = st.sampled_from(["above", "below"])


def brute_force(values, thresholds, side):
    columns = [(values > t if side == "above" else values < t).mean(axis=-1) for t in thresholds]
    return np.stack(columns, axis=-1) if columns else np.empty((*values.shape[:-1], 0))


@given(VALUES, THRESHOLDS, SIDES)
def test_curve_equals_comparison_one_by_one(values, thresholds, side):
    expected = brute_force(values, thresholds, side)
    np.testing.assert_array_equal(threshold_curve(values, thresholds, side), expected)


@given(VALUES, THRESHOLDS, SIDES, st.data())
def test_chunks_cannot_change_the_answer(values, thresholds, side, data):
    seeds = values.shape[-1]
    cuts = sorted(data.draw(st.lists(st.integers(0, seeds), max_size=4)))
    chunks = [values[..., i:j] for i, j in pairwise([0, *cuts, seeds])]
    parts = [ExceedanceCounts(thresholds, side).update(chunk) for chunk in chunks]
    merged = ExceedanceCounts(thresholds, side)
    for part in data.draw(st.permutations(parts)):
        merged.merge(part)
    one_by_one = ExceedanceCounts(thresholds, side)
    for chunk in chunks:
        one_by_one.update(chunk)
    expected = brute_force(values, thresholds, side)
    np.testing.assert_array_equal(merged.finalize(), expected)
    np.testing.assert_array_equal(one_by_one.finalize(), expected)
    assert merged.total == one_by_one.total == seeds


def test_merging_leaves_the_other_counts_alone():
    total, part = ExceedanceCounts([0.5]), ExceedanceCounts([0.5]).update([1.0, 0.0])
    total.merge(part).update([1.0, 1.0])
    assert part.finalize().tolist() == [0.5]
    assert total.finalize().tolist() == [0.75]


def test_equality_counts_on_neither_side():
    assert threshold_curve([0.6, 0.6, 0.7, 0.5], 0.6) == 0.25
    assert threshold_curve([15.0, 15.0, 14.0, 16.0], 15.0, "below") == 0.25


def test_values_are_compared_in_float64():
    # 0.6 in float32 is 0.6000000238, which does exceed 0.6.
    assert threshold_curve(np.array([0.6], dtype=np.float32), 0.6) == 1.0


def test_a_scalar_threshold_adds_no_axis():
    values = np.arange(24.0).reshape(2, 3, 4)
    assert threshold_curve(values, 3.5).shape == (2, 3)
    assert threshold_curve(values, [3.5]).shape == (2, 3, 1)
    assert threshold_curve(values[0, 0], 1.5).shape == ()


def test_no_seeds_give_nan():
    np.testing.assert_array_equal(
        threshold_curve(np.empty((2, 0)), [0.1, 0.2]), np.full((2, 2), np.nan)
    )
    assert np.isnan(ExceedanceCounts(0.5).finalize())


def test_permuting_seeds_changes_nothing():
    rng = np.random.default_rng(1)
    values, thresholds = rng.random((3, 50)), np.linspace(0, 1, 9)
    shuffled = values[:, rng.permutation(50)]
    np.testing.assert_array_equal(
        threshold_curve(values, thresholds), threshold_curve(shuffled, thresholds)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: threshold_curve([0.1, np.nan], 0.5), "1 of 2 values are NaN.*Leave out"),
        (lambda: threshold_curve([0.1], [np.nan]), "1 of 1 thresholds are NaN"),
        (lambda: threshold_curve(0.1, 0.5), r"single number.*\(…, seed\)"),
        (lambda: threshold_curve([0.1], [[0.5]]), r"shape \(1, 1\).*flat list"),
        (lambda: threshold_curve([0.1], 0.5, "over"), 'side is \'over\'.*"above" or "below"'),
        (
            lambda: ExceedanceCounts([0.5]).merge(ExceedanceCounts([0.6])),
            "different thresholds or sides.*same thresholds",
        ),
        (
            lambda: ExceedanceCounts([0.5]).merge(ExceedanceCounts([0.5], "below")),
            "different thresholds or sides",
        ),
        (
            lambda: ExceedanceCounts([0.5]).update([1.0]).update([[1.0]]),
            r"shape \(1, 1\) .*shape \(1,\).*last axis",
        ),
    ],
)
def test_what_curves_refuse(call, message):
    with pytest.raises(SpecError, match=message):
        call()


@pytest.mark.parametrize(
    ("check", "good", "bad", "message"),
    [
        (check_cosine_threshold, [-1, 0.6, 1], [-1.01, 1.5, np.nan], r"in \[-1, 1\]\. Use 0\.6"),
        (check_mae_threshold, [0, 15, 255], [-1, 255.5, np.nan], r"in \[0, 255\].*Use 15"),
    ],
)
def test_threshold_ranges(check, good, bad, message):
    assert [check(threshold) for threshold in good] == good
    for threshold in bad:
        with pytest.raises(SpecError, match=f"threshold is {threshold}.*{message}"):
            check(threshold)


def test_memorized_and_generalized_share():
    similarity = np.array([[0.2, 0.6, 0.61, 0.99], [0.1, 0.2, 0.3, 0.4]])
    np.testing.assert_array_equal(memorized_fraction(similarity, 0.6), [0.5, 0.0])
    np.testing.assert_array_equal(generalization_score(similarity, 0.6), [0.5, 1.0])
    assert np.isnan(memorized_fraction([], 0.6))
    for score in (memorized_fraction, generalization_score):
        with pytest.raises(SpecError, match=r"threshold is 1\.5"):
            score(similarity, 1.5)
        with pytest.raises(SpecError, match="1 of 1 values are NaN"):
            score([np.nan], 0.5)
