"""Chance levels with less work: those of the plain comparison under each shift, bit for bit."""

import numpy as np
import pytest

from reprostore.errors import SpecError
from reprostore_analyses.kernels import (
    chance_level,
    cosine_chance_levels,
    mae_chance_level,
    mean_absolute_error,
    shifted,
    within_classes,
)

GRID = np.linspace(-1, 1, 41)


def same(found, expected):
    np.testing.assert_array_equal(found.level, expected.level)
    np.testing.assert_array_equal(found.by_shift, expected.by_shift)
    assert (found.shifts, found.reason) == (expected.shifts, expected.reason)


@pytest.mark.parametrize("block", [1, 60, 2**19])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int8"])
@pytest.mark.parametrize("seeds", [1, 2, 21, 57])
def test_cosines(seeds, dtype, block, monkeypatch):
    monkeypatch.setattr(shifted, "_BLOCK_VALUES", block)
    rng = np.random.default_rng(seeds)
    a, b, c = (3 * rng.standard_normal((3, seeds, 5))).astype(dtype)
    a[seeds // 2] = 0  # a vector without direction
    c[seeds // 3] = b[0]
    for others in ([a], [a, b, c]):
        found = cosine_chance_levels(others, b, GRID, shifts=7)
        assert len(found) == len(others)
        for each, other in zip(found, others, strict=True):
            same(each, chance_level(other, b, GRID, shifts=7))


def test_cosines_of_no_others_and_of_one_threshold():
    a, b = np.random.default_rng(0).standard_normal((2, 30, 4))
    assert cosine_chance_levels([], b, 0.6) == []
    same(cosine_chance_levels([a], b, 0.6)[0], chance_level(a, b, 0.6))


@pytest.mark.parametrize("shape", [(1,), (7,), (1, 8, 8), (3, 9, 11), (3, 16, 16)])
@pytest.mark.parametrize("spread", [3, 60])
def test_errors(shape, spread):
    """Images that all resemble each other, and such that a bound tells apart."""
    rng = np.random.default_rng(len(shape) + spread)
    a, b = np.clip(
        rng.normal(128, spread, (2, 44, *[1] * len(shape))) + rng.normal(0, 10, (2, 44, *shape)),
        0, 255,
    ).astype(np.uint8)  # fmt: skip
    for thresholds in (15.0, np.linspace(0, 255, 80), [12.0, 3.0, 12.0], np.empty(0)):
        expected = chance_level(a, b, thresholds, measure=mean_absolute_error, side="below")
        same(mae_chance_level(a, b, thresholds), expected)
    assert 0 < float(mae_chance_level(a, b, 15.0).level) < 1 or spread == 3


def test_shifts_within_classes_have_the_mean_of_the_level():
    a, b = np.random.default_rng(3).standard_normal((2, 60, 2))
    classes = np.random.default_rng(4).permutation(np.repeat([7, -1, 3, 5], [40, 13, 6, 1]))

    def levels(others, b):
        return cosine_chance_levels(others, b, GRID, shifts=20)

    same(within_classes(None, levels, [a], b)[0], chance_level(a, b, GRID))
    same(within_classes(0 * classes, levels, [a], b)[0], chance_level(a, b, GRID))
    for found, other in zip(within_classes(classes, levels, [a, b], b), [a, b], strict=True):
        own = [chance_level(other[classes == k], b[classes == k], GRID).level for k in (7, -1, 3)]
        np.testing.assert_allclose(found.level, np.average(own, axis=0, weights=[40, 13, 6]))
        np.testing.assert_array_equal(found.by_shift, found.level[None])
    alone = within_classes(np.arange(60), levels, [a], b)[0]
    assert np.isnan(alone.level).all()
    assert "60 have none" in alone.reason


def test_a_threshold_that_is_met_exactly_does_not_count():
    a = np.zeros((12, 2, 8, 8), dtype=np.uint8)
    b = np.full_like(a, 15)
    assert mae_chance_level(a, b, 15.0).level == 0
    assert mae_chance_level(a, b, np.nextafter(15.0, 16)).level == 1


def test_images_that_differ_in_their_sums_are_not_compared_pixel_by_pixel(monkeypatch):
    compared = []

    def counted(a, b):
        compared.append(len(a))
        return mean_absolute_error(a, b)

    monkeypatch.setattr(shifted, "mean_absolute_error", counted)
    rng = np.random.default_rng(1)
    a, b = np.kron(rng.integers(0, 256, (2, 200, 3, 4, 4)), np.ones((8, 8))).astype(np.uint8)
    mae_chance_level(a, b, 15.0)
    assert sum(compared) <= 1 + 0.01 * 20 * 200


@pytest.mark.parametrize("seeds", [0, 1])
def test_too_few_seeds_have_a_reason(seeds):
    images = np.zeros((seeds, 1, 4, 4), dtype=np.uint8)
    expected = chance_level(images, images, [1.0], measure=mean_absolute_error, side="below")
    same(mae_chance_level(images, images, [1.0]), expected)
    (found,) = cosine_chance_levels([np.ones((seeds, 3))], np.ones((seeds, 3)), GRID)
    same(found, chance_level(np.ones((seeds, 3)), np.ones((seeds, 3)), GRID))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cosine_chance_levels([np.ones((3, 2))], np.ones((4, 2)), 0.5), r"\(3, 2\)"),
        (lambda: cosine_chance_levels([np.ones(3)], np.ones(3), 0.5), r"shape \(3,\)"),
        (lambda: cosine_chance_levels([np.full((3, 2), np.nan)], np.ones((3, 2)), 0.5), "row 0"),
        (lambda: cosine_chance_levels([np.ones((3, 2))], np.full((3, 2), np.inf), 0.5), "NaN or"),
        (lambda: cosine_chance_levels([np.ones((3, 2))], np.ones((3, 2)), np.nan), "1 of 1"),
        (lambda: mae_chance_level(np.ones((3, 2)), np.ones((3, 2)), 15.0), "float64"),
        (
            lambda: mae_chance_level(np.zeros((3, 2), np.uint8), np.zeros((4, 2), np.uint8), 15.0),
            r"\(3, 2\) and \(4, 2\)",
        ),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(SpecError, match=message):
        call()
