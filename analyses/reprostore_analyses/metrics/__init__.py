"""The metrics by name, each registered once: `analyze`, reports and tests find them here."""

from reprostore_analyses.metrics.base import RunMetric, Score
from reprostore_analyses.metrics.fidelity import FIDELITY_METRICS
from reprostore_analyses.metrics.memorization import MEMORIZATION_METRICS
from reprostore_analyses.metrics.pairs import PAIR_METRICS, PairMetric

__all__ = ["PAIR_METRICS", "RUN_METRICS", "PairMetric", "RunMetric", "Score"]

RUN_METRICS = {metric.name: metric for metric in (*MEMORIZATION_METRICS, *FIDELITY_METRICS)}
