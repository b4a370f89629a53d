"""Every engine finds the neighbors that integer arithmetic finds.

All vectors are whole numbers times a power of two, so that Python's integers give their order
without any rounding, ties included.
"""

from fractions import Fraction

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import cosine_similarity

from reprostore.search import exact, faiss_engine, knn

ENGINES = ("faiss-cpu", "torch")
FAMILIES = ("random", "small", "duplicates", "near", "offset", "parallel")


@pytest.fixture(autouse=True, scope="module")
def _matrix_products():
    """FAISS takes differences for few queries; have it multiply matrices, as it does for many."""
    before = faiss.cvar.distance_compute_blas_threshold
    faiss.cvar.distance_compute_blas_threshold = 1
    yield
    faiss.cvar.distance_compute_blas_threshold = before


def whole_numbers(family, rng, shape):
    """Draw whole numbers below 2**24 whose squared distances float64 holds exactly."""
    if family == "random":
        return rng.integers(-(2**20), 2**20, shape)
    if family in ("small", "parallel"):
        numbers = rng.integers(-2, 3, shape)
        return numbers * rng.integers(1, 4, (shape[0], 1)) if family == "parallel" else numbers
    if family == "duplicates":
        pool = np.random.default_rng(7).integers(-(2**18), 2**18, (3, shape[1]))
        return pool[rng.integers(0, len(pool), shape[0])]
    center = np.random.default_rng(7).integers(-(2**16), 2**16, shape[1])
    if family == "near":
        return center + rng.integers(-1, 2, shape)
    return 1000 * 2**13 + rng.integers(-(2**10), 2**10, shape)


def exact_neighbors(queries, corpus, k, metric, rows=None):
    """Sort all rows by (distance, row) in integers."""
    rows = range(len(corpus)) if rows is None else sorted(rows)
    result = []
    for q in queries.tolist():
        keys = []
        for row in rows:
            t = corpus[row].tolist()
            if metric == "squared_l2":
                distance = sum((a - b) ** 2 for a, b in zip(q, t, strict=True))
            else:
                dot = sum(a * b for a, b in zip(q, t, strict=True))
                norms = sum(a * a for a in q) * sum(b * b for b in t)
                distance = -Fraction(dot * abs(dot), norms) if norms else Fraction(0)
            keys.append((distance, row))
        result.append(sorted(keys)[:k])
    return result


def exact_index(*arguments, **options):
    return [[row for _, row in keys] for keys in exact_neighbors(*arguments, **options)]


@st.composite
def searches(draw, families):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dimension = draw(st.integers(1, 24))
    size = draw(st.integers(1, 60))
    family = draw(st.sampled_from(families))
    numbers = whole_numbers(family, rng, (size + draw(st.integers(1, 5)), dimension))
    corpus, queries = numbers[:size], numbers[size:]
    rows = None
    if draw(st.booleans()):
        rows = rng.permutation(size)[: draw(st.integers(1, size))]
    k = draw(st.integers(1, min(4, size if rows is None else len(rows))))
    return queries, corpus, k, rows, draw(st.sampled_from((1, 3, 17, 100)))


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=150, deadline=None)
@given(search=searches(FAMILIES))
def test_squared_l2_is_exact(engine, search):
    queries, corpus, k, rows, block_rows = search
    found = knn(
        queries.astype(np.float32), corpus.astype(np.float32), k, "squared_l2", engine,
        index=rows, block_rows=block_rows,
    )  # fmt: skip
    expected = exact_neighbors(queries, corpus, k, "squared_l2", rows)
    assert found.index.tolist() == [[row for _, row in keys] for keys in expected]
    assert found.values.tolist() == [[distance for distance, _ in keys] for keys in expected]


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=150, deadline=None)
@given(search=searches(("small", "parallel")))
def test_cosine_is_exact_where_float64_is(engine, search):
    queries, corpus, k, rows, block_rows = search
    found = knn(
        queries.astype(np.float32), corpus.astype(np.float32), k, "cosine", engine,
        index=rows, block_rows=block_rows,
    )  # fmt: skip
    assert found.index.tolist() == exact_index(queries, corpus, k, "cosine", rows=rows)


@settings(max_examples=150, deadline=None)
@given(search=searches(FAMILIES))
def test_cosine_is_right_to_float64_rounding_and_engines_agree_bit_for_bit(search):
    queries, corpus, k, rows, block_rows = search
    faiss_found, torch_found = (
        knn(
            queries.astype(np.float32), corpus.astype(np.float32), k, "cosine", engine,
            index=rows, block_rows=block,
        )
        for engine, block in (("faiss-cpu", block_rows), ("torch", None))
    )  # fmt: skip
    assert faiss_found.index.tolist() == torch_found.index.tolist()
    assert faiss_found.values.tobytes() == torch_found.values.tobytes()
    everything = exact_neighbors(queries, corpus, len(corpus), "cosine", rows)
    for keys, values, found in zip(everything, faiss_found.values, faiss_found.index, strict=True):
        similarity = {row: -np.sign(float(d)) * np.sqrt(abs(float(d))) for d, row in keys}
        best = [similarity[row] for _, row in keys[:k]]
        # 2 ** -50: a few units in the last place of dot product, norms, quotient and root
        np.testing.assert_allclose(values, best, rtol=0, atol=2.0**-50)
        np.testing.assert_allclose([similarity[row] for row in found], values, atol=2.0**-50)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("metric", ["cosine", "squared_l2"])
def test_many_rows_in_float64_brute_force(engine, family, metric):
    rng = np.random.default_rng(1)
    numbers = whole_numbers(family, rng, (1540, 64))
    corpus, queries = numbers[:1500].astype(np.float32), numbers[1500:].astype(np.float32)
    found = knn(queries, corpus, 5, metric, engine, block_rows=400)
    if metric == "squared_l2":
        truth = cdist(queries.astype(float), corpus.astype(float), "sqeuclidean")
        assert found.index.tolist() == np.argsort(truth, axis=1, kind="stable")[:, :5].tolist()
    else:
        truth = cosine_similarity(queries.astype(float), corpus.astype(float))
        picked = np.take_along_axis(truth, found.index, axis=1)
        np.testing.assert_allclose(picked, -np.sort(-truth, axis=1)[:, :5], atol=1e-14)
    values = np.take_along_axis(truth, found.index, axis=1)
    np.testing.assert_allclose(found.values, values, rtol=1e-13, atol=1e-13)


def test_separated_vectors_are_not_searched_in_full(monkeypatch):
    def in_full(queries, *_):
        raise AssertionError(f"{len(queries)} queries are in doubt")

    monkeypatch.setattr(exact, "_in_full", in_full)
    vectors = np.random.default_rng(9).standard_normal((2200, 256)).astype(np.float32) + 3
    for metric in ("cosine", "squared_l2"):
        knn(vectors[:200], vectors[200:], 2, metric)


@pytest.mark.parametrize("family", ["near", "offset"])
def test_candidates_alone_are_not_exact(family):
    """The data above are hard: the best k by the float32 product are often wrong."""
    numbers = whole_numbers(family, np.random.default_rng(1), (1540, 64))
    corpus, queries = numbers[:1500].astype(np.float32), numbers[1500:].astype(np.float32)
    _, index = faiss_engine.cpu_candidates(queries, corpus, 5, "squared_l2")
    truth = cdist(queries.astype(float), corpus.astype(float), "sqeuclidean")
    assert (index != np.argsort(truth, axis=1, kind="stable")[:, :5]).any(axis=1).mean() > 0.5


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("exponent", [-120, -74, 0, 90])
@pytest.mark.parametrize("metric", ["cosine", "squared_l2"])
def test_products_that_leave_the_range_of_float32(engine, exponent, metric):
    """Squares of 2**-120 become zero in float32, of 2**-74 subnormal, of 2**90 infinite."""
    rng = np.random.default_rng(2)
    numbers = rng.integers(-3, 4, (50, 6))
    corpus, queries = numbers[:40], numbers[40:]
    scaled = [np.ldexp(part.astype(np.float32), exponent) for part in (queries, corpus)]
    found = knn(*scaled, 3, metric, engine, block_rows=16)
    assert found.index.tolist() == exact_index(queries, corpus, 3, metric)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("block_rows", [50, 600])
def test_outliers_that_overflow_leave_the_others_exact(engine, block_rows):
    numbers = whole_numbers("near", np.random.default_rng(3), (310, 8))
    corpus = np.full((600, 8), 2.0**100, np.float32)
    corpus[::4] *= -1
    for order in (1, -1):
        corpus[1::2] = numbers[:300][::order]
        found = knn(
            numbers[300:].astype(np.float32),
            corpus,
            4,
            "squared_l2",
            engine,
            block_rows=block_rows,
        )
        truth = exact_index(numbers[300:], numbers[:300][::order], 4, "squared_l2")
        assert ((found.index - 1) // 2).tolist() == truth
        assert (found.index % 2 == 1).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_more_duplicates_than_candidates_go_to_the_lowest_rows(engine):
    rng = np.random.default_rng(4)
    corpus = rng.standard_normal((300, 32)).astype(np.float32)
    copies = rng.choice(300, 40, replace=False)
    corpus[copies] = corpus[copies[0]]
    for metric, value in (("cosine", 1.0), ("squared_l2", 0.0)):
        found = knn(corpus[copies[:2]], corpus, 6, metric, engine, block_rows=64)
        assert found.index.tolist() == [np.sort(copies)[:6].tolist()] * 2
        assert (found.values == value).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_zero_vectors_are_similar_to_nothing(engine):
    corpus = np.array([[-1, 0], [0, 0], [0, 1], [2, 2]], np.float32)
    queries = np.array([[0, 0], [1, 0]], np.float32)
    found = knn(queries, corpus, 4, "cosine", engine)
    assert found.index.tolist() == [[0, 1, 2, 3], [3, 1, 2, 0]]
    np.testing.assert_allclose(
        found.values, -np.sort(-cosine_similarity(queries, corpus)), atol=1e-7
    )
    assert not np.signbit(found.values[0]).any()


@pytest.mark.parametrize("engine", ENGINES)
def test_float64_values_that_float32_cannot_tell_apart(engine):
    rng = np.random.default_rng(5)
    corpus = 1.0 + np.ldexp(rng.integers(0, 1000, (200, 5)).astype(float), -40)
    assert (corpus.astype(np.float32) == 1).all()
    whole = np.ldexp(corpus - 1, 40).astype(np.int64)
    found = knn(corpus[:10], corpus, 3, "squared_l2", engine)
    assert found.index.tolist() == exact_index(whole[:10], whole, 3, "squared_l2")


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.uint8, np.int64])
def test_other_dtypes_give_the_neighbors_of_their_values(dtype):
    numbers = np.random.default_rng(6).integers(0, 4, (50, 6))
    expected = exact_index(numbers[40:], numbers[:40], 3, "squared_l2")
    found = knn(numbers[40:].astype(dtype), numbers[:40].astype(dtype), 3, "squared_l2", "torch")
    assert found.index.tolist() == expected


@pytest.mark.gpu
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("metric", ["cosine", "squared_l2"])
def test_gpu_engine_agrees_with_the_cpu_engine(family, metric):
    if faiss_engine.gpu_count() == 0:
        pytest.skip("the installed FAISS has no GPU")
    numbers = whole_numbers(family, np.random.default_rng(1), (3100, 64)).astype(np.float32)
    cpu, gpu = (
        knn(numbers[3000:], numbers[:3000], 5, metric, engine, block_rows=1000)
        for engine in ("faiss-cpu", "faiss-gpu")
    )
    assert cpu.index.tolist() == gpu.index.tolist()
    assert cpu.values.tobytes() == gpu.values.tobytes()


def test_gpus_share_the_queries(monkeypatch):
    """Without GPUs: the CPU stands in for two of them and five queries are split 3 + 2."""
    used = {}

    def knn_gpu(resources, queries, rows, count, metric, device):
        used[device] = (resources, len(queries))
        return faiss.knn(queries, rows, count, metric=metric)

    monkeypatch.setattr(faiss_engine, "gpu_count", lambda: 2)
    monkeypatch.setattr(faiss_engine, "_resources", lambda device: f"memory of {device}")
    monkeypatch.setattr(faiss, "knn_gpu", knn_gpu, raising=False)
    numbers = whole_numbers("near", np.random.default_rng(8), (45, 6))
    for metric in ("cosine", "squared_l2"):
        found = knn(numbers[40:].astype(np.float32), numbers[:40].astype(np.float32), 3, metric)
        assert found.engine == "faiss-gpu"
        if metric == "squared_l2":
            assert found.index.tolist() == exact_index(numbers[40:], numbers[:40], 3, metric)
        else:
            other = knn(numbers[40:], numbers[:40], 3, metric, "faiss-cpu")
            assert found.index.tolist() == other.index.tolist()
    assert used == {0: ("memory of 0", 3), 1: ("memory of 1", 2)}
