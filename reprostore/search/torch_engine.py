"""Candidates by torch's matrix product, on a CUDA device or on the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from reprostore.search.kernel import Index, Metric

_TILE = 2**24
"""Scores that are held at a time, 64 MiB."""


def candidates(
    queries: NDArray[np.float32], rows: NDArray[np.float32], count: int, metric: Metric
) -> tuple[NDArray[np.float32], Index]:
    """Find the best rows by their float32 score.

    Parameters
    ----------
    queries, rows : ndarray of float32, shapes (query, d) and (row, d)
        Prepared vectors.
    count : int
        How many to find, at most the number of rows.
    metric : {"cosine", "squared_l2"}
        Inner product or squared distance of the prepared vectors.

    Returns
    -------
    scores : ndarray of float32, shape (query, count)
        Lower is nearer: squared distances, or minus inner products.
    index : ndarray of int64, shape (query, count)
        Positions among `rows`.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    left, right = (torch.from_numpy(array).to(device) for array in (queries, rows))
    scores = np.empty((len(queries), count), np.float32)
    index = np.empty((len(queries), count), np.int64)
    with torch.inference_mode(), _full_precision():
        row_norms = right.square().sum(1)
        step = max(1, _TILE // len(rows))
        for start in range(0, len(queries), step):
            part = left[start : start + step]
            if metric == "cosine":
                tile = torch.mm(part, right.T).neg_()
            else:
                tile = torch.addmm(row_norms, part, right.T, alpha=-2)
            best = tile.topk(count, dim=1, largest=False)
            values = best.values
            if metric == "squared_l2":
                values = values + part.square().sum(1, keepdim=True)
            scores[start : start + step] = values.cpu().numpy()
            index[start : start + step] = best.indices.cpu().numpy()
    return scores, index


@contextmanager
def _full_precision() -> Iterator[None]:
    """Switch off TF32 and bfloat16 products, whose errors the rounding bound does not cover."""
    backends = [torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, "matmul", None)]
    modern = [backend for backend in backends if hasattr(backend, "fp32_precision")]
    if modern:
        before = [backend.fp32_precision for backend in modern]
        for backend in modern:
            backend.fp32_precision = "ieee"
        try:
            yield
        finally:
            for backend, precision in zip(modern, before, strict=True):
                backend.fp32_precision = precision
    else:  # torch < 2.9
        legacy = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(legacy)
