"""Candidates by FAISS, on the CPU or on all GPUs."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from reprostore.search.kernel import Index, Metric

GPU_LIMIT = 2048
"""The most candidates that FAISS finds on a GPU."""

_METRICS = {"cosine": faiss.METRIC_INNER_PRODUCT, "squared_l2": faiss.METRIC_L2}


def gpu_count() -> int:
    """Return the number of GPUs that the installed FAISS can use; 0 for faiss-cpu."""
    return int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0


def cpu_candidates(
    queries: NDArray[np.float32], rows: NDArray[np.float32], count: int, metric: Metric
) -> tuple[NDArray[np.float32], Index]:
    """Find the best rows by their float32 score on the CPU.

    Parameters
    ----------
    queries, rows : ndarray of float32, shapes (query, d) and (row, d)
        Prepared vectors, C-contiguous.
    count : int
        How many to find, at most the number of rows.
    metric : {"cosine", "squared_l2"}
        Inner product or squared distance of the prepared vectors.

    Returns
    -------
    scores : ndarray of float32, shape (query, count)
        Lower is nearer: squared distances, or minus inner products.
    index : ndarray of int64, shape (query, count)
        Positions among `rows`; -1 where FAISS found no more, because scores overflow.
    """
    scores, index = faiss.knn(queries, rows, count, metric=_METRICS[metric])
    return _lower_is_nearer(scores, metric), index


def gpu_candidates(
    queries: NDArray[np.float32], rows: NDArray[np.float32], count: int, metric: Metric
) -> tuple[NDArray[np.float32], Index]:
    """Find the best rows on all GPUs, each of which takes a share of the queries.

    Parameters and results are those of `cpu_candidates`.
    """
    shares = np.array_split(queries, min(gpu_count(), len(queries)))

    def search(device: int) -> tuple[NDArray[np.float32], Index]:
        found: tuple[NDArray[np.float32], Index] = faiss.knn_gpu(
            _resources(device), shares[device], rows, count, metric=_METRICS[metric], device=device
        )
        return found

    with ThreadPoolExecutor(len(shares)) as pool:
        found = list(pool.map(search, range(len(shares))))
    scores = np.concatenate([scores for scores, _ in found])
    return _lower_is_nearer(scores, metric), np.concatenate([index for _, index in found])


@cache
def _resources(device: int) -> Any:  # noqa: ANN401
    """Keep one scratch memory per device: making it takes longer than a small search."""
    del device
    return faiss.StandardGpuResources()


def _lower_is_nearer(scores: NDArray[np.float32], metric: Metric) -> NDArray[np.float32]:
    return np.negative(scores, out=scores) if metric == "cosine" else scores
