"""Row-wise measures against scalar loops in exact or extended arithmetic, and their conventions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from reprostore.errors import SpecError
from reprostore_analyses.kernels import checks, mean_absolute_error, rowwise_cosine


def vectors(rng, shape=(7, 5)):
    return rng.standard_normal(shape).astype(np.float32)


def images(rng, shape=(7, 3, 4, 2)):
    return rng.integers(0, 256, shape, dtype=np.uint8)


MEASURES = [
    pytest.param(rowwise_cosine, vectors, 1.0, id="cosine"),
    pytest.param(mean_absolute_error, images, 0.0, id="mae"),
]


@pytest.fixture
def rng():
    return np.random.default_rng(20240101)


@pytest.mark.parametrize(("measure", "draw", "identity"), MEASURES)
class TestConventions:
    def test_identical_inputs(self, measure, draw, identity, rng):
        a = draw(rng)
        assert (measure(a, a.copy()) == identity).all()

    def test_symmetry(self, measure, draw, identity, rng):
        a, b = draw(rng), draw(rng)
        np.testing.assert_array_equal(measure(a, b), measure(b, a))

    def test_permuting_seeds_permutes_values(self, measure, draw, identity, rng):
        a, b = draw(rng), draw(rng)
        order = rng.permutation(len(a))
        np.testing.assert_array_equal(measure(a[order], b[order]), measure(a, b)[order])

    @pytest.mark.parametrize("block", [1, 13, 50])
    def test_blocks_cannot_change_the_answer(
        self, measure, draw, identity, block, rng, monkeypatch
    ):
        a, b = draw(rng), draw(rng)
        whole = measure(a, b)
        monkeypatch.setattr(checks, "BLOCK_VALUES", block)
        np.testing.assert_array_equal(measure(a, b), whole)

    def test_one_sample_and_none(self, measure, draw, identity, rng):
        a, b = draw(rng), draw(rng)
        np.testing.assert_array_equal(measure(a[:1], b[:1]), measure(a, b)[:1])
        assert measure(a[:0], b[:0]).shape == (0,)

    def test_different_shapes_are_refused(self, measure, draw, identity, rng):
        a = draw(rng)
        with pytest.raises(SpecError, match=r"have the shapes \(7, .*\) and \(6, .*same seeds"):
            measure(a, a[:6])


@given(
    hnp.arrays(
        np.float32, (2, 3, 6), elements=st.floats(-100, 100, width=32, allow_subnormal=False)
    )
)
def test_cosine_against_exactly_rounded_sums(pair):
    expected = []
    for left, right in zip(*pair.astype(float), strict=True):
        dot = math.fsum(left * right)  # products of two float32 are exact in float64
        norm = math.sqrt(math.fsum(left**2)) * math.sqrt(math.fsum(right**2))
        expected.append(dot / norm if norm else 0.0)
    # Six float64 additions each: a few units of 1.1e-16.
    np.testing.assert_allclose(rowwise_cosine(*pair), expected, rtol=0, atol=4e-15)


def test_cosine_accumulates_in_float64():
    # In float32 the running sum of squares would stop growing at 2**24 ones.
    a = np.ones((1, 2**24 + 2**20), dtype=np.float32)
    b = a.copy()
    b[0, 2**24 :] = -1
    expected = (2**24 - 2**20) / (2**24 + 2**20)
    assert rowwise_cosine(a, b)[0] == pytest.approx(expected, rel=1e-12)


def test_cosine_of_zero_and_constant_vectors():
    a = np.array([[0, 0], [0, 0], [2, 2], [2, 2]], dtype=np.float16)
    b = np.array([[0, 0], [1, 3], [5, 5], [-1, -1]], dtype=np.float16)
    np.testing.assert_array_equal(rowwise_cosine(a, b), [0, 0, 1, -1])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_cosine_refuses_what_is_not_finite(bad, side, rng, monkeypatch):
    monkeypatch.setattr(checks, "BLOCK_VALUES", 10)  # the row is counted over blocks
    pair = [vectors(rng), vectors(rng)]
    pair[side][5, 2] = bad
    with pytest.raises(SpecError, match=r"row 5 contain NaN or infinity.*leave out this seed"):
        rowwise_cosine(*pair)


def test_cosine_refuses_unflattened_samples(rng):
    a = vectors(rng, (4, 3, 2))
    with pytest.raises(SpecError, match=r"shape \(4, 3, 2\)\. Vectors .*\(seed, d\)\. Flatten"):
        rowwise_cosine(a, a)


@given(hnp.arrays(np.uint8, (2, 3, 2, 5)))
def test_mae_against_python_integers(pair):
    a, b = pair.tolist()
    expected = [
        sum(abs(x - y) for u, v in zip(p, q, strict=True) for x, y in zip(u, v, strict=True)) / 10
        for p, q in zip(a, b, strict=True)
    ]
    np.testing.assert_array_equal(mean_absolute_error(*pair), expected)


def test_mae_does_not_wrap_around():
    black, white = np.zeros((2, 300, 300), np.uint8), np.full((2, 300, 300), 255, np.uint8)
    np.testing.assert_array_equal(mean_absolute_error(black, white), [255, 255])
    np.testing.assert_array_equal(mean_absolute_error(white, black), [255, 255])


def test_mae_refuses_other_scales_and_shapes(rng):
    a = images(rng)
    with pytest.raises(SpecError, match=r"are float32\. Images are uint8.*Round the samples"):
        mean_absolute_error(a, a.astype(np.float32))
    for wrong in (a[:, 0, 0, 0], a[:, :0]):
        with pytest.raises(SpecError, match="at least one pixel"):
            mean_absolute_error(wrong, wrong)
