"""Proportions of seeds above (or below) a threshold, for one threshold or for a whole curve."""

import math
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reprostore.errors import SpecError
from reprostore_analyses.kernels.checks import Floats, finite, per_seed

Side = Literal["above", "below"]


def check_cosine_threshold(threshold: float) -> float:
    """Return a threshold on a cosine similarity.

    Parameters
    ----------
    threshold : float
        θ, in [-1, 1].

    Returns
    -------
    float
        The same number.

    Raises
    ------
    SpecError
        The threshold is NaN or outside [-1, 1].
    """
    if not -1 <= threshold <= 1:
        raise SpecError(
            f"The cosine threshold is {threshold}.",
            "A cosine threshold lies in [-1, 1].",
            "Use 0.6 as in the paper for SSCD, or a threshold calibrated on held-out items.",
        )
    return float(threshold)


def check_mae_threshold(threshold: float) -> float:
    """Return a threshold on the mean absolute error.

    Parameters
    ----------
    threshold : float
        In [0, 255], since images are compared on the 0–255 scale.

    Returns
    -------
    float
        The same number.

    Raises
    ------
    SpecError
        The threshold is NaN or outside [0, 255].
    """
    if not 0 <= threshold <= 255:
        raise SpecError(
            f"The MAE threshold is {threshold}.",
            "An MAE threshold lies in [0, 255], the scale of 8-bit images.",
            "Use 15 as in the paper.",
        )
    return float(threshold)


class ExceedanceCounts:
    """Counts of seeds strictly above (or below) each threshold, gathered chunk by chunk.

    Chunks may come in any order and in any sizes: counts are integers, so `finalize` returns the
    same bits as for all seeds at once.

    Parameters
    ----------
    thresholds : array_like, shape () or (threshold,)
        θ, finite, in any order.
    side : "above" or "below"
        Count values > θ, or values < θ; equality never counts.

    Attributes
    ----------
    thresholds : ndarray of float64
        The thresholds.
    counts : ndarray of int64, shape (…, threshold)
        Seeds beyond each threshold so far; the leading axes are those of the values.
    total : int
        Seeds so far.

    Raises
    ------
    SpecError
        A threshold is NaN or infinite, there is more than one axis, or no such side.
    """

    def __init__(self, thresholds: ArrayLike, side: Side = "above") -> None:
        self.thresholds = finite(thresholds, "thresholds")
        self.side: Side = side
        if self.thresholds.ndim > 1:
            raise SpecError(
                f"The thresholds have the shape {self.thresholds.shape}.",
                "Thresholds are one number or have the shape (threshold,).",
                "Pass a flat list of thresholds.",
            )
        if side not in ("above", "below"):
            raise SpecError(
                f"The side is {side!r}.",
                'The side is "above" or "below".',
                'Use "above" for similarities and "below" for distances.',
            )
        self._order = np.argsort(self.thresholds, axis=None)
        self.counts: NDArray[np.int64] | None = None
        self.total = 0

    def update(self, values: ArrayLike) -> Self:
        """Count a chunk of seeds.

        Parameters
        ----------
        values : array_like, shape (…, seed)
            Similarities or distances, compared in float64. The leading axes are the same in
            all chunks.

        Returns
        -------
        ExceedanceCounts
            This object.

        Raises
        ------
        SpecError
            A value is NaN or infinite, or the leading axes differ from earlier chunks.
        """
        array = per_seed(values, "values")
        self._add(self._beyond(array), array.shape[-1])
        return self

    def merge(self, other: "ExceedanceCounts") -> Self:
        """Add the counts of other seeds to these.

        Parameters
        ----------
        other : ExceedanceCounts
            Counts for the same thresholds and side.

        Returns
        -------
        ExceedanceCounts
            This object.

        Raises
        ------
        SpecError
            Thresholds, side or leading axes differ.
        """
        if self.side != other.side or not np.array_equal(self.thresholds, other.thresholds):
            raise SpecError(
                "The two counts have different thresholds or sides.",
                "Counts that are merged have the same thresholds and the same side.",
                "Make all parts with the same thresholds.",
            )
        if other.counts is not None:
            self._add(other.counts, other.total)
        return self

    def finalize(self) -> Floats:
        """Return the proportion of seeds beyond each threshold.

        Returns
        -------
        ndarray of float64, shape (…, threshold)
            In [0, 1]; NaN without any seed. A scalar threshold adds no axis.
        """
        if self.counts is None or self.total == 0:
            shape = self.thresholds.shape if self.counts is None else self.counts.shape
            return np.full(shape, np.nan)
        return np.asarray(self.counts / self.total)

    def _beyond(self, values: Floats) -> NDArray[np.int64]:
        # A value's place among the sorted thresholds says which of them it lies beyond, so one
        # binary search per value and a running sum replace (seed × threshold) comparisons.
        above = self.side == "above"
        size = self.thresholds.size
        place = np.searchsorted(
            self.thresholds.ravel()[self._order], values, side="left" if above else "right"
        )
        rows = math.prod(values.shape[:-1])
        offset = np.arange(rows).reshape(*values.shape[:-1], 1) * (size + 1)
        found = np.bincount((place + offset).ravel(), minlength=rows * (size + 1))
        found = found.reshape(rows, size + 1)
        running = found[:, :0:-1].cumsum(axis=1)[:, ::-1] if above else found.cumsum(axis=1)[:, :-1]
        counts = np.empty((rows, size), dtype=np.int64)
        counts[:, self._order] = running
        return counts.reshape(values.shape[:-1] + self.thresholds.shape)

    def _add(self, counts: NDArray[np.int64], total: int) -> None:
        if self.counts is not None and self.counts.shape != counts.shape:
            raise SpecError(
                f"Counts of the shape {counts.shape} were added to counts of the shape "
                f"{self.counts.shape}.",
                "All chunks have the same axes before the seeds.",
                "Cut the values into chunks along the last axis only.",
            )
        self.counts = counts if self.counts is None else self.counts + counts
        self.total += total


def threshold_curve(values: ArrayLike, thresholds: ArrayLike, side: Side = "above") -> Floats:
    """Compute the proportion of seeds beyond each threshold.

    With M of one pair of models and θ = 0.6 this is the RP score P(M(x1, x2) > θ); with MAE,
    θ = 15 and "below" it is the MAE score.

    Parameters
    ----------
    values : array_like, shape (…, seed)
        Similarities or distances, compared with the thresholds in float64.
    thresholds : array_like, shape () or (threshold,)
        θ, in any order.
    side : "above" or "below"
        Count values > θ, or values < θ; equality never counts.

    Returns
    -------
    ndarray of float64, shape (…, threshold)
        In [0, 1]; NaN without any seed. A scalar threshold adds no axis.

    Raises
    ------
    SpecError
        A value or threshold is NaN or infinite, or the shapes are not as above.

    References
    ----------
    Zhang et al. 2024, arXiv 2310.05264, RP score (SSCD, 0.6) and MAE score (15.0).
    """
    return ExceedanceCounts(thresholds, side).update(values).finalize()
