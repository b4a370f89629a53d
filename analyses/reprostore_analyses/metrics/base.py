"""What a metric of a run is: how it is computed, how it is read, and what it is beside."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from reprostore_analyses.metrics.evidence import Evidence, Who
from reprostore_analyses.statistics import Estimate, wilson_interval

Better = Literal["more copying", "closer", "farther", "more varied", "less copying"]
"""What a higher value of a metric means."""

Interval = Literal["Wilson", "bootstrap", "order statistics", "subsampling", "none"]
"""How the interval of a metric is found."""


class Score(NamedTuple):
    """A score with its interval.

    Attributes
    ----------
    value, low, high : float
        NaN where there is none.
    reason : str
        Why something is NaN, or what has to be known to read it; else empty.
    """

    value: float
    low: float = np.nan
    high: float = np.nan
    reason: str = ""


class ScoreOptions(Protocol):
    """Options that all metrics share."""

    @property
    def confidence(self) -> float:
        """Of all intervals."""


@dataclass(frozen=True)
class RunMetric:
    """A metric of a run's samples.

    Attributes
    ----------
    name : str
        In results, options and ``--json``.
    title : str
        In tables and figures.
    higher : str
        What a higher value means.
    interval : str
        How its interval is found.
    analysis : str
        The analysis that computes it.
    comparisons : tuple of (who, against)
        What is compared with what: the samples first, then the controls.
    compute : callable
        (evidence, who, against, options) → Score.
    source : str
        Where it is defined.
    own_control : bool
        Whether the control depends on the samples too, and is not that of other runs.
    bounds : (float, float)
        Smallest and largest possible value.
    """

    name: str
    title: str
    higher: Better
    interval: Interval
    analysis: str
    comparisons: tuple[tuple[Who, Who], ...]
    compute: Callable[[Evidence, Who, Who, Any], Score]
    source: str
    bounds: tuple[float, float] = (0.0, 1.0)
    own_control: bool = False

    def described(self) -> dict[str, Any]:
        """Return what a reader of the result has to know, in JSON types."""
        return {
            "title": self.title,
            "higher": self.higher,
            "interval": self.interval,
            "source": self.source,
        }


def share(hits: NDArray[np.bool_], options: ScoreOptions, reason: str = "") -> Score:
    """Return the share of items that count, with its Wilson interval.

    Parameters
    ----------
    hits : ndarray of bool, shape (item,)
        Whether each item counts.
    options : ScoreOptions
        Confidence.
    reason : str
        What has to be known to read the share.
    """
    if len(hits) == 0:
        return Score(np.nan, reason="there are no items")
    low, high = wilson_interval(int(hits.sum()), len(hits), options.confidence)
    return Score(float(hits.mean()), float(low), float(high), reason)


def scored(estimate: Estimate, factor: float = 1.0) -> Score:
    """Return an estimate of one number as a score."""
    value, low, high = (factor * float(part) for part in estimate[:3])
    return Score(value, low, high, estimate.reason)
