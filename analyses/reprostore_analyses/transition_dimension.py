"""The intrinsic dimension of what models were trained on, with what the estimate hangs on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.ingest import StoredDataset
from reprostore.search import knn
from reprostore_analyses.kernels import distinct_items, log_distance_ratios
from reprostore_analyses.statistics.subsampling import subsampling_margin

NEIGHBORS = (2, 5, 10, 20)
"""Numbers of neighbors: 2 is TwoNN. A dimension that changes with them depends on the scale."""

ESTIMATORS = {"twonn": 2, "mle": 20}
"""Neighbors of the estimator that the axis N/dimension takes."""

MOST_ITEMS = 10_000
"""Larger sets are represented by so many of their items, drawn without replacement."""

FEWEST_ITEMS = 50
"""With fewer there is no estimate."""

ITEMS_PER_NEIGHBOR = 10
"""With fewer items for each of k neighbors, these are no neighborhood."""

SUBSAMPLES = 40


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
        Draws items where there are more than `MOST_ITEMS`, and subsamples.
    confidence : float
        Of the intervals, found by subsampling: they hold how an estimate varies from one set of
        items to another, and neither its bias nor its dependence on the scale, which the spread
        over `NEIGHBORS` shows.

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
        confidence=confidence,
    )


def estimate_dimension(
    vectors: NDArray[np.float32],
    duplicates: int = 0,
    *,
    engine: str,
    rng: np.random.Generator,
    confidence: float,
) -> Dimension:
    """Estimate the intrinsic dimension of distinct vectors.

    Parameters
    ----------
    vectors : ndarray of float32, (item, d)
        No two of them equal.
    duplicates : int
        How many were left out.
    engine, rng, confidence
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
    enough = count >= ITEMS_PER_NEIGHBOR * np.asarray(NEIGHBORS)
    if count < FEWEST_ITEMS:
        reason = f"A dimension needs {FEWEST_ITEMS} distinct items; there are {count}."
        return Dimension(count, duplicates, **columns, reason=reason)

    def estimates(items: NDArray[np.float32]) -> NDArray[np.float64]:
        length = len(items)
        if length <= most:
            return np.full(len(NEIGHBORS), np.nan)
        found = knn(items, items, most + 1, "squared_l2", engine)
        others = found.index != np.arange(length)[:, None]
        distances = found.values[others].reshape(length, most)
        inverse = [log_distance_ratios(distances[:, :k]).mean() for k in NEIGHBORS]
        return np.asarray([1 / value if value > 0 else np.nan for value in inverse])

    columns["value"] = np.where(enough, estimates(vectors), np.nan)
    # Neighbors share distances, so items are not independent: resampling them is too narrow.
    margin = subsampling_margin(
        estimates, [vectors], rng=rng, subsamples=SUBSAMPLES, confidence=confidence
    )
    columns["low"] = np.maximum(columns["value"] - margin, 0)
    columns["high"] = columns["value"] + margin
    undefined = np.isnan(columns["value"])
    reason = ""
    if undefined[enough].any():
        reason = (
            "All neighbors of an item are equally far: their distances say nothing of a dimension."
        )
    elif not enough.all():
        k = min(k for k, there in zip(NEIGHBORS, enough, strict=True) if not there)
        reason = f"{count} distinct items are too few for {k} neighbors or more."
    return Dimension(count, duplicates, **columns, reason=reason)
