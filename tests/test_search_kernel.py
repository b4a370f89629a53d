"""The float64 kernel gives the same bits in any company; the rounding bound holds."""

import math

import faiss
import numpy as np
import pytest
import torch

from reprostore.search import faiss_engine, torch_engine
from reprostore.search.bounds import farthest, rounding_bound
from reprostore.search.kernel import (
    ordered_sum,
    pair_distances,
    prepared,
    squared_norms,
)


@pytest.fixture(autouse=True, scope="module")
def _matrix_products():
    """FAISS takes differences for few queries; have it multiply matrices, as it does for many."""
    before = faiss.cvar.distance_compute_blas_threshold
    faiss.cvar.distance_compute_blas_threshold = 1
    yield
    faiss.cvar.distance_compute_blas_threshold = before


@pytest.mark.parametrize("metric", ["cosine", "squared_l2"])
@pytest.mark.parametrize("dimension", [1, 2, 3, 7, 64, 513, 9000])
def test_a_pair_has_the_same_bits_in_any_batch(metric, dimension):
    rng = np.random.default_rng(dimension)
    queries = rng.standard_normal((5, dimension)).astype(np.float32)
    rows = np.asfortranarray(rng.standard_normal((40, dimension)).astype(np.float32))
    query, row = (axis.ravel() for axis in np.indices((5, 40)))
    norms = squared_norms(queries)
    together = pair_distances(queries, norms, query, rows, row, metric)
    shuffled = rng.permutation(200)
    apart = pair_distances(queries, norms, query[shuffled], rows, row[shuffled], metric)
    assert apart.tobytes() == together[shuffled].tobytes()
    for pair in rng.choice(200, 20):
        q, t = query[pair], row[pair]
        alone = pair_distances(
            queries[q : q + 1], squared_norms(queries[q : q + 1]), np.array([0]),
            np.ascontiguousarray(rows[t : t + 1]), np.array([0]), metric,
        )  # fmt: skip
        assert alone[0] == together[pair]


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 100, 1023])
def test_ordered_sum_is_accurate(length):
    terms = np.random.default_rng(length).standard_normal((4, length))
    expected = [math.fsum(row) for row in terms]
    size = np.abs(terms).sum(axis=1)
    assert (np.abs(ordered_sum(terms.copy()) - expected) <= 2.0**-53 * 11 * size).all()


def test_cosine_is_one_for_a_vector_itself_and_ties_for_its_multiples():
    query = np.array([[3, -7, 2]], np.float32)
    rows = np.concatenate([query * factor for factor in (1, 3, 5, 7, 11)])
    every = np.arange(5)
    cosine = pair_distances(query, squared_norms(query), 0 * every, rows, every, "cosine")
    assert cosine.tolist() == [-1.0] * 5
    other = np.array([[1, 1, 1]], np.float32)
    cosine = pair_distances(other, squared_norms(other), 0 * every, rows, every, "cosine")
    assert len(set(cosine.tolist())) == 1
    assert cosine[0] == pytest.approx(2 / math.sqrt(3 * 62), rel=1e-15)


def test_cosine_never_leaves_its_range():
    rng = np.random.default_rng(0)
    query = rng.standard_normal((1, 300))
    rows = np.concatenate([query * rng.standard_normal((5000, 1)), query])
    every = np.arange(len(rows))
    cosine = pair_distances(query, squared_norms(query), 0 * every, rows, every, "cosine")
    assert (np.abs(cosine) <= 1).all()
    assert cosine[-1] == -1


@pytest.mark.parametrize(
    "candidates", [faiss_engine.cpu_candidates, torch_engine.TorchCandidates()]
)
@pytest.mark.parametrize("metric", ["cosine", "squared_l2"])
@pytest.mark.parametrize(("dimension", "exponent"), [(2, 0), (4, -70), (100, 0), (3000, 0)])
def test_the_bound_covers_the_error_of_every_score(candidates, metric, dimension, exponent):
    """Squares of 2**-70 are subnormal in float32."""
    rng = np.random.default_rng(dimension)
    rows = (rng.standard_normal((60, dimension)) * rng.lognormal(0, 2, (60, 1))).astype(np.float32)
    queries = rows[:25] + rng.standard_normal((25, dimension)).astype(np.float32) * 1e-4
    rows, queries = np.ldexp(rows, exponent), np.ldexp(queries, exponent)
    norms, center = squared_norms(queries), rows.mean(axis=0, dtype=np.float64)
    left = prepared(queries, norms, center, metric, np.float32)
    right = prepared(rows, squared_norms(rows), center, metric, np.float32)
    scores, index = candidates(left, right, 60, metric)
    query = np.repeat(np.arange(25), 60)
    exact = pair_distances(queries, norms, query, rows, index.ravel(), metric)
    centered = squared_norms(queries - center)[query]
    bound = rounding_bound(metric, dimension, centered, exact, np.float32)
    error = np.abs(scores.ravel() - exact)
    assert (error <= bound).all()
    assert error.max() > 0
    limit = farthest(metric, dimension, centered, scores.ravel().astype(np.float64))
    assert (exact <= limit).all()
    scale = 1 if metric == "cosine" else (2 * np.sqrt(centered) + np.sqrt(exact)) ** 2
    if exponent == 0:
        assert (bound <= 1.01 * (dimension + 32) * 2.0**-24 * scale).all()
        assert (limit <= exact + 4 * (dimension + 32) * 2.0**-24 * scale).all()


def test_torch_finds_the_lowest_scores_whatever_overflows():
    scores = np.random.default_rng(0).standard_normal((6, 500)).astype(np.float32)
    scores[0, ::7] = np.nan
    scores[1, ::7] = np.inf
    for given in (scores, scores[1:]):  # with and without NaN
        values, columns = torch_engine._lowest(torch.from_numpy(given), 10)
        assert values.numpy().tolist() == np.sort(given, axis=1)[:, :10].tolist()
        assert np.take_along_axis(given, columns.numpy(), axis=1).tolist() == values.tolist()


def test_the_bound_is_infinite_where_float32_overflows():
    norms, distances = np.array([1e37, 1e38]), np.zeros(2)
    bound = rounding_bound("squared_l2", 8, norms, distances, np.float32)
    assert np.isfinite(bound).tolist() == [True, False]
    assert np.isinf(rounding_bound("cosine", 2**24, norms, distances, np.float32)).all()
