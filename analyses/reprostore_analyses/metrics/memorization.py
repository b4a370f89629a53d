"""Metrics of how near samples are to the items that their model was trained on."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from reprostore_analyses.kernels.cliques import in_cliques, tiled_distances
from reprostore_analyses.kernels.extraction import (
    EDGE,
    adaptive_ratio,
    normalized_distance,
    within,
)
from reprostore_analyses.kernels.ratio_rule import distance_ratio, nearest_distinct
from reprostore_analyses.memorization_options import MemorizationOptions as Options
from reprostore_analyses.metrics.authenticity import authentic, copying
from reprostore_analyses.metrics.base import Better, Interval, RunMetric, Score, scored, share
from reprostore_analyses.metrics.evidence import Evidence, Who
from reprostore_analyses.statistics import bootstrap_mean
from reprostore_analyses.statistics.order_statistics import quantile_interval

ITEMS: tuple[tuple[Who, Who], ...] = (("generated", "train"), ("held_out", "train"))
"""Samples, and as the control real items that the model never saw, against its training items."""

ALL_ITEMS: tuple[tuple[Who, Who], ...] = (*ITEMS, ("train", "train"))
"""Also each training item against the others."""

NO_COSINE = "the encoder's vectors are not compared by a cosine"


def _pixel_ratio(evidence: Evidence, who: Who, *, distinct: bool) -> NDArray[np.float64]:
    near = evidence.pixels.nearest(who, "l2")
    if near.values.shape[1] < 2:
        return np.full(len(near.values), np.nan)
    if not distinct:
        return distance_ratio(near.values[:, 0], near.values[:, 1])
    groups = evidence.duplicates()
    if who != "train":
        return distance_ratio(*nearest_distinct(near.values, groups[near.positions]))
    ratio = distance_ratio(*nearest_distinct(near.values, groups[near.positions], groups))
    once = groups == np.arange(len(groups))  # each item once, as in a set without duplicates
    return np.asarray(ratio[once])


def _ratio(*, distinct: bool) -> Callable[[Evidence, Who, Who, Options], Score]:
    def compute(evidence: Evidence, who: Who, against: Who, options: Options) -> Score:
        ratio = _pixel_ratio(evidence, who, distinct=distinct)
        undefined = np.isnan(ratio)
        if undefined.all():
            return Score(np.nan, reason="the ratio rule needs two different training items")
        reason = ""
        if undefined.any():
            reason = (
                f"{undefined.sum()} items are left out, whose nearest training items are all "
                "duplicates of one"
            )
        return share(ratio[~undefined] < options.ratio, options, reason)

    return compute


def _adaptive(reading: str) -> Callable[[Evidence, Who, Who, Options], Score]:
    def compute(evidence: Evidence, who: Who, against: Who, options: Options) -> Score:
        near = evidence.pixels.nearest(who, "l2")
        table = near.values[:, : options.neighbors]
        if reading == "item":
            others = evidence.pixels.nearest("train", "l2").values[:, : options.neighbors]
            table = others[near.positions[:, 0]] if others.size else others
        if table.shape[1] < options.neighbors:
            needed = options.neighbors + (reading == "item")
            return Score(np.nan, reason=f"the adaptive rule needs {needed} training items")
        return share(adaptive_ratio(near.values[:, 0], table, options.alpha) < 1, options)

    return compute


def _extracted(evidence: Evidence, who: Who, against: Who, options: Options) -> Score:
    return share(_within_delta(evidence, who, options), options)


def _within_delta(evidence: Evidence, who: Who, options: Options) -> NDArray[np.bool_]:
    nearest = evidence.pixels.nearest(who, "l2").values[:, 0]
    limit = options.delta * (1 + EDGE)
    return normalized_distance(nearest, evidence.pixels.train.shape[1]) <= limit


def _eidetic(evidence: Evidence, who: Who, against: Who, options: Options) -> Score:
    near = evidence.pixels.nearest(who, "l2")
    others = evidence.pixels.nearest("train", "l2").values
    if others.shape[1] < min(options.eidetic, evidence.pixels.train.shape[0] - 1):
        return Score(np.nan, reason=f"fewer than {options.eidetic} neighbors were searched")
    limit = options.delta * (1 + EDGE) * np.sqrt(evidence.pixels.train.shape[1])
    count = 1 + within(others, limit) if others.size else np.ones(len(others))  # itself too
    few = count[near.positions[:, 0]] <= options.eidetic
    return share(_within_delta(evidence, who, options) & few, options)


def _cliques(*, verified: bool) -> Callable[[Evidence, Who, Who, Options], Score]:
    def compute(evidence: Evidence, who: Who, against: Who, options: Options) -> Score:
        rows = evidence.pixels.rows(who)
        count = min(options.clique_samples, evidence.compared)
        if count < options.clique_size:
            return Score(np.nan, reason=f"there are fewer than {options.clique_size} items")
        images = np.asarray(rows[0:count]).reshape(count, *evidence.item_shape)
        if min(evidence.item_shape[-2:]) < 4:
            return Score(np.nan, reason="images are smaller than the grid of 4 × 4 tiles")
        near = tiled_distances(images) <= options.clique_threshold
        found = in_cliques(near, options.clique_size)
        if found is None:
            return Score(np.nan, reason="the search for cliques took too many steps")
        if verified:
            found &= _within_delta(evidence, who, options)[:count]
        # Whether an item lies in a clique depends on the others: no interval over items holds.
        return Score(float(found.mean()))

    return compute


def _similarity(evidence: Evidence, who: Who) -> NDArray[np.float64]:
    if not evidence.cosine:
        return np.empty(0)
    nearest = evidence.encoder.nearest(who, "cosine").values
    return nearest[:, 0] if nearest.shape[1] else np.empty(0)


def _of_similarity(
    compute: Callable[[NDArray[np.float64], Evidence, Options], Score],
) -> Callable[[Evidence, Who, Who, Options], Score]:
    def scores(evidence: Evidence, who: Who, against: Who, options: Options) -> Score:
        values = _similarity(evidence, who)
        if len(values) == 0:
            reason = NO_COSINE if not evidence.cosine else "there is no other training item"
            return Score(np.nan, reason=reason)
        return compute(values, evidence, options)

    return scores


def _replicated(values: NDArray[np.float64], evidence: Evidence, options: Options) -> Score:
    return share(values > options.replication_threshold, options)


def _mean(values: NDArray[np.float64], evidence: Evidence, options: Options) -> Score:
    return scored(
        bootstrap_mean(
            values,
            rng=evidence.rng(),
            resamples=options.resamples,
            confidence=options.confidence,
        )
    )


def _deviation(values: NDArray[np.float64], evidence: Evidence, options: Options) -> Score:
    if len(values) < 2:
        return Score(np.nan, reason="a standard deviation needs two items")
    return Score(float(values.std(ddof=1)))


def _percentile(
    percent: int,
) -> Callable[[NDArray[np.float64], Evidence, Options], Score]:
    def compute(values: NDArray[np.float64], evidence: Evidence, options: Options) -> Score:
        return scored(quantile_interval(values, percent / 100, confidence=options.confidence))

    return compute


def _matched(evidence: Evidence, who: Who, against: Who, options: Options) -> Score:
    values = _similarity(evidence, who)
    if len(values) == 0:
        return Score(np.nan, reason=NO_COSINE)
    positions = evidence.encoder.nearest(who, "cosine").positions[:, 0]
    return Score(float(len(np.unique(positions[values > options.replication_threshold]))))


def _metric(
    name: str,
    title: str,
    higher: Better,
    interval: Interval,
    comparisons: tuple[tuple[Who, Who], ...],
    compute: Callable[[Evidence, Who, Who, Options], Score],
    source: str,
    bounds: tuple[float, float] = (0.0, 1.0),
    *,
    own_control: bool = False,
) -> RunMetric:
    return RunMetric(
        name, title, higher, interval, "memorization", comparisons, compute, source, bounds,
        own_control,
    )  # fmt: skip


_YOON = "Yoon et al. 2023; Gu et al. 2023, arXiv 2310.02664"
_CARLINI = "Carlini et al. 2023, arXiv 2301.13188"
_SOMEPALLI = "Somepalli et al. 2023, arXiv 2212.03860"
_COSINE = (-1.0, 1.0)
_MANY = (0.0, np.inf)

MEMORIZATION_METRICS = (
    _metric("ratio", "d₁/d₂ rule", "more copying", "Wilson", ALL_ITEMS, _ratio(distinct=False),
            _YOON),
    _metric("ratio_distinct", "d₁/d₂, no duplicates", "more copying", "Wilson", ALL_ITEMS,
            _ratio(distinct=True), _YOON),
    _metric("adaptive", "adaptive (sample)", "more copying", "Wilson", ITEMS,
            _adaptive("sample"), _CARLINI),
    _metric("adaptive_item", "adaptive (item)", "more copying", "Wilson", ITEMS,
            _adaptive("item"), _CARLINI),
    _metric("extracted", "within δ", "more copying", "Wilson", ITEMS, _extracted, _CARLINI),
    _metric("eidetic", "eidetic", "more copying", "Wilson", ITEMS, _eidetic, _CARLINI),
    _metric("cliques", "in cliques", "more copying", "none", ITEMS, _cliques(verified=False),
            _CARLINI),
    _metric("cliques_extracted", "in cliques, within δ", "more copying", "none", ITEMS,
            _cliques(verified=True), _CARLINI),
    _metric("replicated", "replicated", "more copying", "Wilson", ALL_ITEMS,
            _of_similarity(_replicated), _SOMEPALLI),
    _metric("similarity_mean", "similarity, mean", "more copying", "bootstrap", ALL_ITEMS,
            _of_similarity(_mean), _SOMEPALLI, _COSINE),
    _metric("similarity_std", "similarity, SD", "more varied", "none", ALL_ITEMS,
            _of_similarity(_deviation), _SOMEPALLI),
    *(
        _metric(f"similarity_p{percent}", f"similarity, {percent} %", "more copying",
                "order statistics", ALL_ITEMS, _of_similarity(_percentile(percent)),
                _SOMEPALLI, _COSINE)
        for percent in (75, 90, 95)
    ),
    # Alone: how many items are matched depends on how many samples there are.
    _metric("matched_items", "items matched", "more copying", "none", ITEMS[:1], _matched,
            _SOMEPALLI, _MANY),
    _metric("authpct", "AuthPct", "less copying", "Wilson", ITEMS, authentic,
            "Alaa et al. 2022, arXiv 2102.08921", (0.0, 100.0)),
    _metric("ct", "C_T", "less copying", "none", ITEMS, copying,
            "Meehan et al. 2020, arXiv 2004.05675", (-np.inf, np.inf), own_control=True),
)  # fmt: skip
"""Metrics of the analysis `memorization`."""
