"""Metrics of two runs at equal seeds: a measure of each seed, and how seeds are summarized."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from reprostore_analyses.kernels import (
    cyclic_shifts,
    mean_absolute_error,
    rowwise_cosine,
    squared_distances,
)
from reprostore_analyses.kernels.checks import Array, Floats
from reprostore_analyses.kernels.ssim import structural_similarity

Space = Literal["images", "vectors"]


@dataclass(frozen=True)
class PairMetric:
    """A metric of two runs.

    Attributes
    ----------
    name : str
        In results, options and ``--json``.
    title : str
        In tables and figures.
    higher : str
        Whether a higher value means that samples are "closer" or "farther".
    space : str
        "images" (seed, channel, y, x) uint8, or "vectors" (seed, d) of an encoder.
    encoder_metric : str, optional
        Which vectors: those that are compared by "cosine" or by "squared_l2"; None takes any.
    measure : callable
        (seed, …), (seed, …) → (seed,).
    summarize : callable
        Mean over seeds of the measure → score; monotone, so that it takes the ends of an interval
        of the mean to those of an interval of the score.
    identical : float
        The score of a run and itself.
    unit : str
        Of the score.
    source : str
        Where it is defined.
    """

    name: str
    title: str
    higher: Literal["closer", "farther"]
    space: Space
    measure: Callable[[Array, Array], Floats]
    identical: float
    unit: str
    source: str
    encoder_metric: str | None = None
    summarize: Callable[[Floats], Floats] = np.asarray

    def described(self) -> dict[str, Any]:
        """Return what a reader of the result has to know, in JSON types."""
        return {
            "title": self.title,
            "higher": self.higher,
            "interval": "bootstrap",
            "unit": self.unit,
            "identical": self.identical,
            "source": self.source,
        }


def mean_over_shifts(
    a: Array, b: Array, measure: Callable[[Array, Array], Floats], shifts: int = 20
) -> float:
    """Compute the mean of a measure between samples of different seeds.

    Parameters
    ----------
    a, b : ndarray, shape (seed, …)
        What the measure takes.
    measure : callable
        (seed, …), (seed, …) → (seed,).
    shifts : int
        Number of cyclic shifts of the seeds.

    Returns
    -------
    float
        Mean over shifts and seeds; NaN with fewer than two seeds.
    """
    seeds = len(a)
    means = [
        (
            measure(a[: seeds - shift], b[shift:]).sum()
            + measure(a[seeds - shift :], b[:shift]).sum()
        )
        / seeds
        for shift in cyclic_shifts(seeds, shifts)
    ]
    return float(np.mean(means)) if means else float("nan")


def _pixel_distances(a: Array, b: Array) -> Floats:
    return squared_distances(a, b) / 127.5**2  # 255 levels span [-1, 1]


def _root(mean: Floats) -> Floats:
    """Return the root of a mean square; NaN where there is none."""
    return np.sqrt(np.asarray(mean, dtype=np.float64))


PAIR_METRICS = {
    metric.name: metric
    for metric in (
        PairMetric(
            "mae",
            "MAE",
            "farther",
            "images",
            mean_absolute_error,
            0.0,
            "grey levels of 255",
            "Zhang et al. 2024, arXiv 2310.05264",
        ),
        PairMetric(
            "ssim",
            "SSIM",
            "closer",
            "images",
            structural_similarity,
            1.0,
            "",
            "Wang et al. 2004",
        ),
        PairMetric(
            "pfd_pixel",
            "PFD",
            "farther",
            "images",
            _pixel_distances,
            0.0,
            "pixels in [-1, 1]",
            "Zhang et al. 2025, arXiv 2505.20123",
            summarize=_root,
        ),
        PairMetric(
            "similarity",
            "cosine",
            "closer",
            "vectors",
            rowwise_cosine,
            1.0,
            "",
            "Zhang et al. 2024, arXiv 2310.05264",
            encoder_metric="cosine",
        ),
        PairMetric(
            "pfd",
            "PFD, encoder",
            "farther",
            "vectors",
            squared_distances,
            0.0,
            "units of its vectors",
            "Zhang et al. 2025, arXiv 2505.20123",
            encoder_metric="cosine",
            summarize=_root,
        ),
        PairMetric(
            "distance",
            "squared distance",
            "farther",
            "vectors",
            squared_distances,
            0.0,
            "LPIPS, with an LPIPS encoder",
            "Zhang et al. 2018, arXiv 1801.03924",
            encoder_metric="squared_l2",
        ),
    )
}
"""Metrics of the analysis `distances`, by name."""
