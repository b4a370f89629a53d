"""Candidates by torch's matrix product, on a CUDA device or on the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reprostore.search.kernel import Index, Metric

_TILE = 2**23
"""Scores that are held at a time, 32 MiB: the product of half as many is a third slower."""

_GROUP = 16
"""Columns whose lowest score is looked at first."""


class TorchCandidates:
    """Candidates by torch, all blocks in one buffer: allocating it anew scatters memory."""

    def __init__(self) -> None:
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._buffer = torch.empty(0, device=self._device)

    def __call__(
        self,
        queries: NDArray[np.float32],
        rows: NDArray[np.float32],
        count: int,
        metric: Metric,
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
        left, right = (torch.from_numpy(array).to(self._device) for array in (queries, rows))
        scores = np.empty((len(queries), count), np.float32)
        index = np.empty((len(queries), count), np.int64)
        with torch.inference_mode(), _full_precision():
            if metric == "cosine":
                row_norms, alpha, beta = right.new_zeros(1), -1, 0
            else:
                row_norms, alpha, beta = right.square().sum(1), -2, 1
            step = max(1, _TILE // len(rows))
            for start in range(0, len(queries), step):
                part = left[start : start + step]
                product = self._tile(len(part), len(right))
                torch.addmm(row_norms, part, right.T, alpha=alpha, beta=beta, out=product)
                values, columns = _lowest(product, count)
                if metric == "squared_l2":
                    values += part.square().sum(1, keepdim=True)
                scores[start : start + step] = values.cpu().numpy()
                index[start : start + step] = columns.cpu().numpy()
        return scores, index

    def _tile(self, height: int, width: int) -> torch.Tensor:
        if len(self._buffer) < height * width:
            self._buffer = self._buffer.new_empty(height * width)
        return self._buffer[: height * width].view(height, width)


def _lowest(scores: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the lowest scores of each row and their columns.

    The lowest scores lie in the groups of columns whose minima are lowest; to find those first is
    a quicker pass over all scores than `topk`. NaN, from sums that overflow, would hide a group.
    """
    groups = scores.shape[1] // _GROUP
    whole = groups * _GROUP
    minima = scores[:, :whole].view(len(scores), _GROUP, groups).amin(1)
    if groups <= count or minima.isnan().any():
        found = scores.topk(count, dim=1, largest=False)
        return found.values, found.indices
    best = minima.topk(count, dim=1, largest=False).indices
    every = torch.arange(scores.shape[1], device=scores.device)
    columns = (best[:, None] + every[:whole:groups, None]).flatten(1)
    columns = torch.cat([columns, every[whole:].expand(len(scores), -1)], dim=1)
    found = scores.gather(1, columns).topk(count, dim=1, largest=False)
    return found.values, columns.gather(1, found.indices)


@contextmanager
def _full_precision() -> Iterator[None]:
    """Switch off TF32 and bfloat16 products, whose errors the rounding bound does not cover."""
    backends: list[Any] = [
        torch.backends.cuda.matmul,
        getattr(torch.backends.mkldnn, "matmul", None),
    ]
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
