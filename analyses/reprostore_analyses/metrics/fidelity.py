"""Metrics that compare a whole set of samples with a set of real items."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reprostore_analyses.kernels.frechet import frechet_distance
from reprostore_analyses.kernels.kernel_distance import kernel_distances, squared_discrepancy
from reprostore_analyses.kernels.manifold import manifold
from reprostore_analyses.kernels.vendi import vendi_score
from reprostore_analyses.metrics.base import Better, RunMetric, Score, ScoreOptions
from reprostore_analyses.metrics.evidence import Evidence, Who
from reprostore_analyses.statistics.subsampling import subsampling_margin

COMPARISONS: tuple[tuple[Who, Who], ...] = (
    ("generated", "train"),
    ("generated", "held_out"),
    ("held_out", "train"),
)
"""Samples against what the model saw and against what it did not, and real items against real."""


class FidelityScoring(ScoreOptions, Protocol):
    """Options that these metrics take."""

    @property
    def subsamples(self) -> int:
        """Number of subsamples."""

    @property
    def k(self) -> int:
        """Neighbor of precision and recall."""

    @property
    def k_density(self) -> int:
        """Neighbor of density and coverage."""

    @property
    def kid_subsets(self) -> int:
        """Subsets of KID."""


Statistic = Callable[[NDArray[Any], NDArray[Any]], float]


def _scored(
    evidence: Evidence,
    who: Who,
    against: Who,
    options: FidelityScoring,
    statistic: Statistic,
    value: float,
    reason: str,
    bounds: tuple[float, float],
) -> Score:
    if np.isnan(value):
        return Score(value, reason=reason)
    sets = [evidence.some(against), evidence.some(who)]
    margin = subsampling_margin(
        statistic,
        sets,
        rng=evidence.rng(),
        subsamples=options.subsamples,
        confidence=options.confidence,
    )
    return _between(value, float(margin), bounds, reason)


def _between(value: float, margin: float, bounds: tuple[float, float], reason: str) -> Score:
    low, high = (float(np.clip(value + side * margin, *bounds)) for side in (-1, 1))
    if np.isnan(margin) and not np.isnan(value):
        unknown = "no interval: subsamples are too small, or all have the same value"
        reason = f"{reason}; {unknown}" if reason else unknown
    return Score(value, low, high, reason)


def _frechet(evidence: Evidence, who: Who, against: Who, options: FidelityScoring) -> Score:
    real, made = evidence.some(against), evidence.some(who)
    smaller = min(len(real), len(made))
    reason = ""
    if smaller < 2:
        reason = "FD needs two items of each set"
    elif smaller <= real.shape[1]:
        reason = (
            f"FD of {smaller} vectors of {real.shape[1]} dimensions is far above that of many: "
            "compare it only at equal numbers"
        )
    return _scored(
        evidence,
        who,
        against,
        options,
        lambda a, b: frechet_distance(real=a, generated=b),
        frechet_distance(real=real, generated=made),
        reason,
        (0.0, np.inf),
    )


def _kernel(evidence: Evidence, who: Who, against: Who, options: FidelityScoring) -> Score:
    real, made = evidence.some(against), evidence.some(who)
    found = kernel_distances(
        real=real, generated=made, rng=evidence.rng(), subsets=options.kid_subsets
    )
    return _scored(
        evidence,
        who,
        against,
        options,
        lambda a, b: squared_discrepancy(a.astype(np.float64), b.astype(np.float64)),
        float(found.mean()) if len(found) else np.nan,
        "" if len(found) else "KID needs four items of each set",
        (-np.inf, np.inf),
    )


MANIFOLD = ("precise", "recalled", "density", "covered")


def _manifold(name: str) -> Callable[[Evidence, Who, Who, FidelityScoring], Score]:
    """Return what computes one of four metrics, which are found together and kept."""

    def compute(evidence: Evidence, who: Who, against: Who, options: FidelityScoring) -> Score:
        def means(real: NDArray[Any], made: NDArray[Any]) -> NDArray[np.float64]:
            found = manifold(real=real, generated=made, k=options.k, k_density=options.k_density)
            if found is None:
                return np.full(len(MANIFOLD), np.nan)
            return np.asarray([getattr(found, each).mean() for each in MANIFOLD])

        key = ("manifold", who, against)
        if key not in evidence.kept:
            sets = [evidence.some(each) for each in (against, who)]
            margins = subsampling_margin(
                means,
                sets,
                rng=evidence.rng(),
                subsamples=options.subsamples,
                confidence=options.confidence,
            )
            values = means(*sets)
            evidence.kept[key] = (values, np.broadcast_to(margins, values.shape))
        values, margins = evidence.kept[key]
        place = MANIFOLD.index(name)
        value, margin = float(values[place]), float(margins[place])
        if np.isnan(value):
            fewest = max(options.k, options.k_density) + 1
            return Score(value, reason=f"it needs {fewest} items of each set")
        return _between(value, margin, (0.0, np.inf if name == "density" else 1.0), "")

    return compute


def _vendi(evidence: Evidence, who: Who, against: Who, options: FidelityScoring) -> Score:
    """Compute the Vendi score of one set; `against` is that set."""
    vectors = evidence.some(who)
    value = vendi_score(vectors) if evidence.cosine else np.nan
    if not evidence.cosine:
        return Score(np.nan, reason="the encoder's vectors are not compared by a cosine")
    margin = subsampling_margin(
        vendi_score,
        [vectors],
        rng=evidence.rng(),
        subsamples=options.subsamples,
        confidence=options.confidence,
    )
    reason = "" if len(vectors) else "there are no items"
    return _between(value, float(margin), (1.0, float(max(1, len(vectors)))), reason)


def _metric(
    name: str,
    title: str,
    higher: Better,
    compute: Callable[..., Score],
    source: str,
    most: float = np.inf,
) -> RunMetric:
    return RunMetric(
        name, title, higher, "subsampling", "fidelity", COMPARISONS, compute, source, (0.0, most)
    )


FIDELITY_METRICS = (
    _metric("fd", "FD", "farther", _frechet, "Heusel et al. 2017, arXiv 1706.08500"),
    RunMetric(
        "kid",
        "KID",
        "farther",
        "subsampling",
        "fidelity",
        COMPARISONS,
        _kernel,
        "Bińkowski et al. 2018, arXiv 1801.01401",
        (-np.inf, np.inf),
    ),
    _metric("precision", "precision", "closer", _manifold("precise"),
            "Kynkäänniemi et al. 2019, arXiv 1904.06991", 1.0),
    _metric("recall", "recall", "more varied", _manifold("recalled"),
            "Kynkäänniemi et al. 2019, arXiv 1904.06991", 1.0),
    _metric("density", "density", "closer", _manifold("density"),
            "Naeem et al. 2020, arXiv 2002.09797"),
    _metric("coverage", "coverage", "more varied", _manifold("covered"),
            "Naeem et al. 2020, arXiv 2002.09797", 1.0),
    RunMetric(
        "vendi",
        "Vendi",
        "more varied",
        "subsampling",
        "fidelity",
        (("generated", "generated"), ("held_out", "held_out"), ("train", "train")),
        _vendi,
        "Friedman & Dieng 2023, arXiv 2210.02410",
        (1.0, np.inf),
    ),
)  # fmt: skip
"""Metrics of the analysis `fidelity`."""
