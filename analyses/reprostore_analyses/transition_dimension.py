"""The intrinsic dimension of what models were trained on, with what the estimate hangs on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.ingest import StoredDataset
from reprostore.search import knn
from reprostore_analyses.kernels import distinct_items, log_distance_ratios
from reprostore_analyses.statistics import bootstrap_mean

NEIGHBORS = (2, 5, 10, 20)
"""Numbers of neighbors: 2 is TwoNN. A dimension that changes with them depends on the scale."""

ESTIMATORS = {"twonn": 2, "mle": 20}
"""Neighbors of the estimator that the axis N/dimension takes."""

MOST_ITEMS = 10_000
"""Larger sets are represented by so many of their items, drawn without replacement."""

FEWEST_ITEMS = 50
"""With fewer, an estimate is uncertain by more than a seventh, and near the edges biased."""


@dataclass(frozen=True)
class Dimension:
    """Estimates of one set of items.

    Attributes
    ----------
    items, duplicates : int
        Distinct items that were used, and exact copies of others that were left out.
    value, low, high : ndarray of float64, (neighbors,)
        By `NEIGHBORS`; NaN where there are too few items.
    reason : str
        Why something is NaN.
    """

    items: int
    duplicates: int
    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    reason: str = ""


def dimension_of(
    dataset: StoredDataset,
    rows: NDArray[np.int64],
    *,
    engine: str,
    rng: np.random.Generator,
    resamples: int,
    confidence: float,
) -> Dimension:
    """Estimate the intrinsic dimension of items of a dataset, as vectors of their pixels.

    Parameters
    ----------
    dataset : StoredDataset
        The dataset.
    rows : ndarray of int64, (item,)
        Which of its items.
    engine : str
        Search engine.
    rng : numpy.random.Generator
        Draws items where there are more than `MOST_ITEMS`, and resamples.
    resamples : int
        Of the bootstrap over items, whose neighbors stay fixed.
    confidence : float
        Of the intervals.

    Returns
    -------
    Dimension
        With the reason where a value is NaN.

    Raises
    ------
    CorruptionError
        An item is damaged.
    """
    if len(rows) > MOST_ITEMS:
        rows = rng.choice(rows, MOST_ITEMS, replace=False)
    items = dataset.read(np.sort(rows))
    kept = distinct_items(items)
    vectors = items[kept].reshape(len(kept), -1).astype(np.float32)
    return estimate_dimension(
        vectors,
        len(items) - len(kept),
        engine=engine,
        rng=rng,
        resamples=resamples,
        confidence=confidence,
    )


def estimate_dimension(
    vectors: NDArray[np.float32],
    duplicates: int = 0,
    *,
    engine: str,
    rng: np.random.Generator,
    resamples: int,
    confidence: float,
) -> Dimension:
    """Estimate the intrinsic dimension of distinct vectors.

    Parameters
    ----------
    vectors : ndarray of float32, (item, d)
        No two of them equal.
    duplicates : int
        How many were left out.
    engine, rng, resamples, confidence
        As in `dimension_of`.

    Returns
    -------
    Dimension
        With the reason where a value is NaN.
    """
    count, most = len(vectors), max(NEIGHBORS)
    columns: dict[str, Any] = {
        name: np.full(len(NEIGHBORS), np.nan) for name in ("value", "low", "high")
    }
    if count < FEWEST_ITEMS:
        reason = f"A dimension needs {FEWEST_ITEMS} distinct items; there are {count}."
        return Dimension(count, duplicates, **columns, reason=reason)
    found = knn(vectors, vectors, most + 1, "squared_l2", engine)
    others = found.index != np.arange(count)[:, None]
    distances = found.values[others].reshape(count, most)
    for place, neighbors in enumerate(NEIGHBORS):
        inverse = bootstrap_mean(
            log_distance_ratios(distances[:, :neighbors]),
            rng=rng,
            resamples=resamples,
            confidence=confidence,
        )
        if inverse.value > 0:
            columns["value"][place] = 1 / inverse.value
            columns["low"][place], columns["high"][place] = 1 / inverse.high, 1 / inverse.low
    undefined = np.isnan(columns["value"])
    reason = (
        "All neighbors of an item are equally far: their distances say nothing of a dimension."
        if undefined.any()
        else ""
    )
    return Dimension(count, duplicates, **columns, reason=reason)
