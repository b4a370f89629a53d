"""Exact nearest neighbors of vectors in a corpus that is streamed from wherever it lies."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reprostore.errors import DatasetError, DependencyError, SpecError
from reprostore.search.blocks import Blocks, Corpus, checked_norms, make_blocks
from reprostore.search.exact import SPARE, Candidates, nearest
from reprostore.search.kernel import Metric

__all__ = ["Corpus", "Neighbors", "knn"]

_ENGINES = ("faiss-gpu", "faiss-cpu", "torch")


@dataclass(frozen=True)
class Neighbors:
    """The nearest rows of each query, nearest first.

    Attributes
    ----------
    values : ndarray of float64, shape (query, k)
        Cosine similarities in [-1, 1], decreasing, or squared L2 distances, increasing.
    index : ndarray of int64, shape (query, k)
        Row numbers in the corpus.
    metric : str
        "cosine" or "squared_l2".
    engine : str
        Which engine searched; it makes no difference to the result.
    """

    values: NDArray[np.float64]
    index: NDArray[np.int64]
    metric: str
    engine: str


def knn(
    queries: ArrayLike,
    corpus: Corpus,
    k: int,
    metric: str = "cosine",
    engine: str = "auto",
    *,
    index: ArrayLike | None = None,
    block_rows: int | None = None,
) -> Neighbors:
    """Find the k nearest rows of a corpus for each query, exactly.

    Distances are computed in float64 from the values as given, and sorted by (distance, row
    number), so that ties go to the lower row number. Engines propose candidates in float32 and
    are checked with a rounding bound; all give the same result, bit for bit.

    Parameters
    ----------
    queries : array_like, shape (query, d)
        Vectors, float32 or any other real dtype.
    corpus : ndarray, zarr.Array or alike, shape (N, d)
        Vectors; read by slices ``corpus[start:stop]``, so that memory does not grow with N.
    k : int
        Number of neighbors, from 1 to the number of rows.
    metric : {"cosine", "squared_l2"}
        Cosine similarity, where a zero vector has similarity 0 to everything, or squared distance.
    engine : {"auto", "faiss-gpu", "faiss-cpu", "torch"}
        What proposes the candidates. "auto" takes FAISS on all GPUs if the installed FAISS
        can use any, else FAISS on the CPU if it is installed, else torch (on CUDA if there is).
    index : array_like of int, shape (row,), optional
        Search among these rows of the corpus only; row numbers are still those of the corpus.
    block_rows : int, optional
        Corpus rows that are read at a time; 8 MiB of float32 when not given (64 MiB of an array
        in memory).

    Returns
    -------
    Neighbors
        Values and row numbers, shape (query, k).

    Raises
    ------
    SpecError
        `k`, `metric`, `engine`, `index` or `block_rows` is not valid.
    DatasetError
        Shapes do not fit, the corpus is empty, or a value is not a finite number.
    DependencyError
        The engine, or any engine for "auto", is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> corpus = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    >>> knn(np.array([[2.0, 0.0]]), corpus, k=2).index
    array([[1, 2]])
    """
    if metric not in get_args(Metric):
        raise SpecError(
            f"{metric!r} is no metric.",
            'The metrics are "cosine" and "squared_l2".',
            "Choose one of them.",
        )
    vectors = np.asarray(queries)
    blocks = make_blocks(corpus, index, block_rows)
    _check_shapes(vectors, blocks, k)
    checked_norms(vectors, "queries", np.arange(len(vectors)))
    name, candidates = _engine(engine, k)
    if len(vectors) == 0:
        return Neighbors(np.empty((0, k)), np.empty((0, k), np.int64), metric, name)
    distances, rows = nearest(vectors, blocks, k, cast("Metric", metric), candidates)
    values = 0.0 - distances if metric == "cosine" else distances
    return Neighbors(values, rows, metric, name)


def _check_shapes(queries: NDArray[Any], blocks: Blocks, k: int) -> None:
    dimension = blocks.corpus.shape[1]
    if queries.ndim != 2 or queries.shape[1] != dimension:
        raise DatasetError(
            f"The queries have shape {queries.shape}, the corpus {tuple(blocks.corpus.shape)}.",
            f"Queries are vectors of {dimension} values, as in the corpus, shape (query, d).",
            "Encode both with the same encoder.",
        )
    if not 1 <= k <= len(blocks):
        raise SpecError(
            f"k is {k}.",
            f"{len(blocks)} rows are searched, so k is from 1 to {len(blocks)}.",
            "Ask for fewer neighbors, or search more rows." if k > 0 else "Ask for at least one.",
        )


def _engine(engine: str, k: int) -> tuple[str, Candidates]:
    """Resolve "auto" and import the engine."""
    if engine not in ("auto", *_ENGINES):
        raise SpecError(
            f"{engine!r} is no search engine.",
            f'The engines are "auto", {", ".join(f"{name!r}" for name in _ENGINES)}.',
            "Choose one of them.",
        )
    name = _installed_engine(k) if engine == "auto" else engine
    module = "torch" if name == "torch" else "faiss"
    if not find_spec(module):
        extra = {"torch": "generate", "faiss-cpu": "cpu", "faiss-gpu": "gpu"}[name]
        raise DependencyError(
            f"The search engine {name!r} needs {module}, which is not installed.",
            f'It comes with the extra "{extra}".',
            f'Install it: pip install "reprostore[{extra}]".',
        )
    if name == "torch":
        from reprostore.search import torch_engine

        return name, torch_engine.TorchCandidates()
    from reprostore.search import faiss_engine

    if name == "faiss-cpu":
        return name, faiss_engine.cpu_candidates
    if faiss_engine.gpu_count() == 0:
        raise SpecError(
            'The engine "faiss-gpu" was asked for, but the installed FAISS has no GPU.',
            "It needs a FAISS with GPU support and a GPU that it can see.",
            'Use engine="auto", or replace faiss-cpu by pip install "reprostore[gpu]".',
        )
    if k + SPARE > faiss_engine.GPU_LIMIT:
        raise SpecError(
            f"k is {k}.",
            f'The engine "faiss-gpu" finds at most {faiss_engine.GPU_LIMIT - SPARE} neighbors.',
            'Use engine="faiss-cpu" or "torch".',
        )
    return name, faiss_engine.gpu_candidates


def _installed_engine(k: int) -> str:
    if find_spec("faiss"):
        from reprostore.search import faiss_engine

        usable = faiss_engine.gpu_count() > 0 and k + SPARE <= faiss_engine.GPU_LIMIT
        return "faiss-gpu" if usable else "faiss-cpu"
    if find_spec("torch"):
        return "torch"
    raise DependencyError(
        "Neither FAISS nor torch is installed.",
        "The nearest-neighbor search needs one of them.",
        'Install FAISS: pip install "reprostore[cpu]", or "reprostore[gpu]" for CUDA.',
    )
