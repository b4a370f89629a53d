"""Distances and departures against plain Python, and intervals of quantiles against scipy."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binom

from reprostore.errors import SpecError
from reprostore_analyses.kernels import STAYS, checks, departure_row, departures, root_mean_square
from reprostore_analyses.statistics.order_statistics import interval_ranks, quantile_interval


def plain_departure(distances, tolerance):
    """Return the first row from which on no distance is below the tolerance."""
    for row in range(len(distances)):
        if all(value >= tolerance for value in distances[row:]):
            return row
    return STAYS


@pytest.mark.parametrize(
    ("distances", "row"),
    [
        ([1, 1, 1, 1], STAYS),  # never leaves
        ([9, 9, 9, 9], 0),  # was never near
        ([1, 1, 9, 9], 2),
        ([1, 9, 1, 9], 3),  # leaves, returns and leaves again
        ([1, 9, 9, 1], STAYS),  # leaves and returns
        ([9, 1, 1, 1], STAYS),  # arrives late
        ([9, 1, 9, 9], 2),
        ([1, 5, 5, 5], 1),  # at the tolerance is not near
        ([9], 0),
        ([1], STAYS),
    ],
)
def test_departures_worked_out_by_hand(distances, row):
    assert departure_row(np.asarray([distances], dtype=float), 5.0).tolist() == [row]


def test_all_ways_of_five_steps():
    far = np.asarray(list(itertools.product([0.0, 2.0], repeat=5)))
    rows = departure_row(far, 1.0)
    assert rows.tolist() == [plain_departure(path, 1.0) for path in far.tolist()]
    ways = departures(rows)
    assert ways.stayed.sum() == 16  # near in the last of five
    assert ways.never_near.sum() == 1
    assert (np.stack(ways).sum(axis=0) == 1).all()


@given(arrays(float, (4, 6), elements=st.floats(0, 10)), st.floats(0.1, 9))
def test_departures_as_in_plain_python(distance, tolerance):
    expected = [plain_departure(path, tolerance) for path in distance.tolist()]
    assert departure_row(distance, tolerance).tolist() == expected


@pytest.mark.parametrize(
    ("distance", "tolerance", "message"),
    [
        ([[1, np.nan]], 1, "1 of 2 distances are NaN"),
        ([1, 2], 1, r"shape \(2,\)"),
        (np.empty((3, 0)), 1, "at least one row"),
        ([[1, 2]], 0, "tolerance is 0"),
        ([[1, 2]], np.nan, "tolerance is nan"),
    ],
)
def test_departures_of_what_has_none(distance, tolerance, message):
    with pytest.raises(SpecError, match=message):
        departure_row(np.asarray(distance, dtype=float), tolerance)


def test_the_distance_is_the_root_of_the_mean_square(monkeypatch):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((7, 2, 3, 5)).astype(np.float32) for _ in range(2))
    truth = [
        np.linalg.norm(x.astype(float).ravel() - y.astype(float).ravel()) / np.sqrt(30)
        for x, y in zip(a, b, strict=True)
    ]
    whole = root_mean_square(a, b)
    np.testing.assert_allclose(whole, truth, rtol=1e-14)
    monkeypatch.setattr(checks, "BLOCK_VALUES", 1)  # one row at a time
    np.testing.assert_array_equal(root_mean_square(a, b), whole)
    np.testing.assert_array_equal(root_mean_square(b[2:5], a[2:5]), whole[2:5])


def test_the_distance_of_bytes_does_not_wrap_around():
    a = np.asarray([[0, 255]], dtype=np.uint8)
    assert root_mean_square(a, a[:, ::-1]).tolist() == [255.0]


def test_the_distance_of_what_is_no_number_is_none():
    a = np.asarray([[1.0, np.nan], [1.0, np.inf], [0.0, 2.0]])
    found = root_mean_square(a, np.asarray([[1.0, 1.0], [1.0, np.inf], [0.0, 0.0]]))
    assert np.isnan(found[:2]).all()
    assert found[2] == np.sqrt(2)
    with pytest.raises(SpecError, match=r"shape \(3, 0\)"):
        root_mean_square(np.empty((3, 0)), np.empty((3, 0)))
    with pytest.raises(SpecError, match="two sets of states"):
        root_mean_square(a, a[:2])


@pytest.mark.parametrize("seeds", [1, 2, 5, 6, 30, 101, 1000])
@pytest.mark.parametrize("quantile", [0.05, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_ranks_are_the_narrowest_with_tails_that_small(seeds, quantile, confidence):
    lower, upper = interval_ranks(seeds, quantile, confidence)
    count, tail = binom(seeds, quantile), (1 - confidence) / 2
    assert count.cdf(lower - 1) <= tail < count.cdf(lower)
    assert count.sf(upper - 1) <= tail < count.sf(upper - 2)


def test_the_interval_of_the_median_of_ten_as_in_tables():
    # Binomial (10, 1/2): P(≤ 1) = 11/1024 = .011 and P(≤ 2) = .055, so ranks 2 and 9.
    found = quantile_interval(np.arange(10, 0, -1.0))
    assert (float(found.value), float(found.low), float(found.high)) == (5.5, 2.0, 9.0)
    assert found.reason == ""


def test_the_interval_holds_as_often_as_it_says():
    rng = np.random.default_rng(4)
    for quantile in (0.25, 0.5):
        values = rng.exponential(size=(4000, 40))
        found = quantile_interval(values, quantile, confidence=0.9)
        truth = -np.log1p(-quantile)
        held = np.mean((found.low <= truth) & (truth <= found.high))
        assert 0.9 - 3 * np.sqrt(0.09 / 4000) <= held < 0.97


def test_too_few_seeds_have_no_interval():
    found = quantile_interval(np.asarray([[3.0, 1.0, 2.0, 5.0, 4.0]]))
    assert found.value.tolist() == [3.0]
    assert np.isnan(found.low).all()
    assert np.isnan(found.high).all()
    assert found.reason == "5 seeds are too few for an interval of the 0.5 quantile."
    assert quantile_interval(np.arange(6.0)).low == 0  # 2 · 2⁻⁶ ≤ .05
    empty = quantile_interval(np.empty((2, 0)))
    assert np.isnan(empty.value).all()
    assert empty.reason == "There are no seeds."
