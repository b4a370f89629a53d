"""What `knn` accepts, refuses, imports and holds in memory."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import torch
import zarr

from reprostore.errors import DatasetError, DependencyError, SpecError
from reprostore.search import knn

QUERIES = np.eye(3, 4, dtype=np.float32)
CORPUS = np.arange(24, dtype=np.float32).reshape(6, 4)


def with_value(array, row, value):
    array = array.copy()
    array[row, 1] = value
    return array


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"k": 7}, SpecError, r"k is 7\. 6 rows are searched, so k is from 1 to 6\. Ask for fewer"),
        ({"k": 0}, SpecError, r"k is 0\. .* Ask for at least one\."),
        ({"k": 3, "index": [0, 5]}, SpecError, r"k is 3\. 2 rows are searched"),
        ({"metric": "l2"}, SpecError, r"'l2' is no metric\. .*\"cosine\" and \"squared_l2\""),
        ({"engine": "annoy"}, SpecError, r"'annoy' is no .*\"auto\", 'faiss-gpu', 'faiss-cpu'"),
        ({"queries": QUERIES[:, :3]}, DatasetError, r"shape \(3, 3\), the corpus \(6, 4\)"),
        ({"queries": QUERIES[0]}, DatasetError, r"shape \(4,\), .* Queries are vectors of 4"),
        ({"queries": with_value(QUERIES, 2, np.nan)}, DatasetError, "Row 2 of the queries holds"),
        ({"corpus": with_value(CORPUS, 4, np.inf)}, DatasetError, "Row 4 of the corpus holds NaN"),
        (
            {"corpus": np.full((6, 4), 1e39)},
            DatasetError,
            "Row 0 of the corpus holds .* too large for",
        ),
        ({"corpus": CORPUS[:0]}, DatasetError, r"shape \(0, 4\)\. A corpus is a non-empty array"),
        ({"corpus": CORPUS.ravel()}, DatasetError, r"shape \(24,\)"),
        ({"corpus": CORPUS.astype(complex)}, DatasetError, "The corpus has dtype complex128"),
        ({"index": []}, DatasetError, r"shape \(0,\) .* non-empty list of row numbers"),
        ({"index": [0.5]}, DatasetError, "dtype float64"),
        ({"index": [1, 6]}, SpecError, "6 in the index is no row of .* rows 0 to 5"),
        ({"index": [-1, 2]}, SpecError, "-1 in the index is no row of the corpus"),
        ({"index": [3, 1, 3]}, SpecError, "3 stands twice in the index"),
        ({"block_rows": 0}, SpecError, "block_rows is 0"),
    ],
)
def test_wrong_input_is_explained(changes, error, message):
    arguments = {"queries": QUERIES, "corpus": np.asarray(CORPUS, np.float64), "k": 1} | changes
    with pytest.raises(error, match=message):
        knn(**arguments)


def test_nan_outside_the_subset_is_not_searched():
    corpus = with_value(CORPUS, 4, np.nan)
    found = knn(QUERIES, corpus, 1, "squared_l2", index=[5, 2], block_rows=2)
    assert found.index.tolist() == [[2], [2], [2]]
    with pytest.raises(DatasetError, match="Row 4 of the corpus"):
        knn(QUERIES, corpus, 1, index=[5, 4])


def test_a_corpus_that_lies_about_its_shape_is_an_error():
    class Corpus:
        shape = (8, 4)

        def __getitem__(self, rows):
            return CORPUS[rows]

    with pytest.raises(DatasetError, match=r"Rows 0 to 7 of the corpus have shape \(6, 4\)"):
        knn(QUERIES, Corpus(), 1)


def test_no_queries_have_no_neighbors():
    found = knn(QUERIES[:0], CORPUS, 2)
    assert found.values.shape == found.index.shape == (0, 2)


def test_auto_prefers_faiss_then_torch_then_explains(monkeypatch):
    assert knn(QUERIES, CORPUS, 1).engine in ("faiss-gpu", "faiss-cpu")
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert knn(QUERIES, CORPUS, 1).engine == "torch"
    with pytest.raises(DependencyError, match=r"needs faiss, .*\"reprostore\[cpu\]\""):
        knn(QUERIES, CORPUS, 1, engine="faiss-cpu")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DependencyError, match=r"Neither FAISS nor torch .*\"reprostore\[cpu\]\""):
        knn(QUERIES, CORPUS, 1)
    with pytest.raises(DependencyError, match=r"\"reprostore\[generate\]\""):
        knn(QUERIES, CORPUS, 1, engine="torch")


def test_faiss_gpu_needs_a_gpu_and_limits_k(monkeypatch):
    from reprostore.search import faiss_engine

    monkeypatch.setattr(faiss_engine, "gpu_count", lambda: 0)
    with pytest.raises(SpecError, match=r"\"faiss-gpu\" was asked for, .* has no GPU"):
        knn(QUERIES, CORPUS, 1, engine="faiss-gpu")
    monkeypatch.setattr(faiss_engine, "gpu_count", lambda: 1)
    many = np.random.default_rng(0).standard_normal((2100, 4))
    with pytest.raises(SpecError, match=r"k is 2041\. .* at most 2040 neighbors"):
        knn(QUERIES, many, 2041, engine="faiss-gpu")
    assert knn(QUERIES, many, 2041).engine == "faiss-cpu"


def test_importing_the_search_imports_no_engine():
    code = "import sys, reprostore.search; print({'torch', 'faiss'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_reduced_precision_products_are_off_during_a_search_only(monkeypatch):
    matmul, seen = torch.backends.cuda.matmul, []

    def failing(*arguments, **options):
        seen.append(matmul.fp32_precision)
        raise MemoryError

    monkeypatch.setattr(torch, "addmm", failing)
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "tf32"
        with pytest.raises(MemoryError):
            knn(QUERIES, CORPUS, 1, engine="torch")
        assert seen == ["ieee"]
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = before


@pytest.mark.parametrize("metric", ["cosine", "squared_l2"])
@pytest.mark.parametrize("engine", ["faiss-cpu", "torch"])
def test_memory_does_not_grow_with_the_corpus(tmp_path, metric, engine):
    """Eight times the rows, full search of duplicates included, take the same memory."""
    peaks = []
    for size in (8_000, 64_000):
        corpus = zarr.create_array(
            tmp_path / f"{size}.zarr", shape=(size, 64), chunks=(1000, 64), dtype="float32"
        )
        vectors = np.random.default_rng(0).standard_normal((size, 64), np.float32)
        vectors[:20] = vectors[0]
        corpus[:] = vectors
        expected = vectors[[0, 30]]
        del vectors
        knn(expected, corpus, 1, metric, engine, index=np.arange(10))
        tracemalloc.start()
        found = knn(expected, corpus, 2, metric, engine, block_rows=2000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found.index[0].tolist() == [0, 1]
        assert found.index[1, 0] == 30
    assert peaks[1] < 1.5 * peaks[0]
    assert peaks[1] < 64_000 * 64 * 4 / 2
