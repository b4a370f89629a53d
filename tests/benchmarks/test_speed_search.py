"""Speed and memory of the nearest-neighbor search, each against its measure in the same run.

The two sides take turns, and the median of the ratios goes to `extra_info`:
``make bench PYTEST_ARGS=--benchmark-json=search.json``.
"""

import subprocess
import sys

import numpy as np
import pytest
import torch
import zarr
from sides import compare

from reprostore.search import knn

QUERIES, CORPUS, DIMENSION, K = 2_000, 20_000, 512, 2


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal((n, DIMENSION), np.float32) for n in (QUERIES, CORPUS))


@pytest.mark.parametrize("metric", ["cosine", "squared_l2"])
def test_faiss_cpu_against_one_numpy_product(benchmark, vectors, metric):
    """At most 1.3 times the product."""
    queries, corpus = vectors
    compare(
        benchmark,
        lambda: knn(queries, corpus, K, metric, "faiss-cpu"),
        lambda: queries @ corpus.T,
    )


@pytest.mark.parametrize("metric", ["cosine", "squared_l2"])
def test_torch_against_its_own_product(benchmark, vectors, metric):
    """At most 1.3 times the product."""
    queries, corpus = vectors
    left, right = torch.from_numpy(queries), torch.from_numpy(corpus)
    compare(
        benchmark,
        lambda: knn(queries, corpus, K, metric, "torch"),
        lambda: torch.mm(left, right.T),
    )


def test_against_the_broadcast_product(benchmark, vectors):
    """At most 1/80 of 40 queries at a time; one batch of them stands for all 50."""
    queries, corpus = vectors
    compare(
        benchmark,
        lambda: knn(queries, corpus, K, "cosine"),
        lambda: (queries[:40, None] * corpus[None]).sum(2).max(1),
        repeats=3,
        times=QUERIES // 40,
    )


MEASURE = """
import sys, numpy, pathlib, zarr
from reprostore.search import knn

def memory(kind):
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split(kind + ":")[1].split()[0]) / 1024

corpus = zarr.open_array(sys.argv[1], mode="r")
queries = numpy.random.default_rng(1).standard_normal((2000, corpus.shape[1]), numpy.float32)
knn(queries[:8], corpus, 2, sys.argv[2], sys.argv[3], index=range(8), block_rows=8)
before = memory("VmRSS")
knn(queries, corpus, 2, sys.argv[2], sys.argv[3])
print(memory("VmHWM") - before)
"""


@pytest.fixture(scope="module")
def stored_corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("search") / "corpus.zarr"
    array = zarr.create_array(
        path, shape=(400_000, DIMENSION), chunks=(2_000, DIMENSION), dtype="f4"
    )
    rng = np.random.default_rng(2)
    for start in range(0, array.shape[0], 20_000):
        array[start : start + 20_000] = rng.standard_normal((20_000, DIMENSION), np.float32)
    return path


@pytest.mark.parametrize("engine", ["faiss-cpu", "torch"])
@pytest.mark.parametrize("metric", ["cosine", "squared_l2"])
def test_memory_against_400_000_stored_rows(benchmark, stored_corpus, metric, engine):
    """At most 300 MB beyond what the process holds before."""
    command = [sys.executable, "-c", MEASURE, str(stored_corpus), metric, engine]

    def measure():
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        benchmark.extra_info["extra_mib"] = float(done.stdout)
        assert float(done.stdout) * 2**20 < 300e6

    benchmark.pedantic(measure)
