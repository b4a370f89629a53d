"""Distances of all pairs of runs, computed from what is stored of them."""

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from reprostore.embed import EncoderHandle
from reprostore.embed.pairwise import pairwise_measure
from reprostore.neighbors import Written
from reprostore.store import Run
from reprostore_analyses.context import Context
from reprostore_analyses.metrics.pairs import PAIR_METRICS, PairMetric, mean_over_shifts
from reprostore_analyses.pairing import check_pairing
from reprostore_analyses.relations import RELATIONS
from reprostore_analyses.reproducibility_scores import common_seeds
from reprostore_analyses.results import drifted_runs
from reprostore_analyses.statistics import bootstrap_mean
from reprostore_analyses.vectors import Collection

SHIFTS = 20


def distance_scores(
    context: Context,
    options: Any,  # noqa: ANN401  # DistancesOptions, which is defined one layer up
    runs: list[Run],
    written: list[Written],
    pairs: list[tuple[int, int]],
    relations: list[str],
) -> xr.Dataset:
    """Compute what `reprostore_analyses.distances.distances` returns.

    Parameters
    ----------
    context, options
        As there.
    runs : list of Run
        At least two.
    written : list of Written
        What each run held when its samples were looked at.
    pairs : list of tuple of int
        Positions of the runs that are compared.
    relations : list of str
        How the models of each pair are related.
    """
    seeds, slots = common_seeds(runs, written)
    checks = [
        check_pairing(
            runs[i], runs[j], slots[i], slots[j], allow_unchecked=options.allow_unchecked
        )
        for i, j in pairs
    ]  # fmt: skip
    encoder = context.encoder(options.encoder)
    metrics = [_in_pairs(each, encoder, runs, len(seeds)) for each in PAIR_METRICS.values()]
    shape = (len(pairs), len(metrics))
    columns = {name: np.full(shape, np.nan) for name in ("value", "low", "high", "chance")}
    per_seed = np.full((*shape, len(seeds)), np.nan)
    reasons: dict[str, dict[str, str]] = {}
    # Spread evenly over the seeds, whatever their number.
    some = np.unique(np.linspace(0, len(seeds) - 1, options.chance_seeds).astype(np.int64))
    for space in ("images", "vectors"):
        with Collection(len(seeds), len(runs)) as collection:
            for row, (i, j) in enumerate(pairs):
                for column, metric in enumerate(metrics):
                    if metric.space != space:
                        continue
                    reason = why_not(metric, encoder.metric, runs[i], runs[j])
                    if not reason:
                        a, b = (
                            collection.images(runs[place], slots[place])
                            if space == "images"
                            else collection.vectors(
                                context.store, encoder, runs[place], slots[place], context.progress
                            )
                            for place in (i, j)
                        )
                        if a.shape != b.shape:
                            reason = "their vectors differ in length"
                    if reason:
                        own = reasons.setdefault(f"{runs[i].path} | {runs[j].path}", {})
                        own[metric.name] = reason
                        continue
                    per_seed[row, column] = metric.measure(a, b)
                    chance = mean_over_shifts(a[some], b[some], metric.measure, SHIFTS)
                    columns["chance"][row, column] = float(metric.summarize(np.asarray(chance)))
    for column, metric in enumerate(metrics):
        defined = ~np.isnan(per_seed[:, column]).any(axis=1)
        if not defined.any():
            continue
        estimate = bootstrap_mean(
            per_seed[defined, column],
            rng=np.random.default_rng(options.rng_seed),
            resamples=options.resamples,
            confidence=options.confidence,
        )
        for name, values in zip(("value", "low", "high"), estimate[:3], strict=True):
            columns[name][defined, column] = metric.summarize(values)
    paths = [(runs[i].path, runs[j].path) for i, j in pairs]
    result = xr.Dataset(
        {name: (("pair", "metric"), values) for name, values in columns.items()}
        | {
            "per_seed": (("pair", "metric", "seed"), per_seed),
            "relation": ("pair", np.asarray([RELATIONS.index(each) for each in relations])),
            "checked": ("pair", np.asarray([check.checked for check in checks], dtype=np.int64)),
        },
        coords={
            "pair": [" | ".join(pair) for pair in paths],
            "metric": [metric.name for metric in metrics],
            "seed": seeds,
        },
    )
    result.attrs.update(
        encoder=options.encoder,
        encoder_identity=encoder.identity,
        confidence=options.confidence,
        pairs=[list(pair) for pair in paths],
        metrics={metric.name: metric.described() for metric in metrics},
        shifts=SHIFTS,
        chance_seeds=len(some),
        reasons=reasons,
        drift=drifted_runs(context.store, runs),
        unchecked={" | ".join(pair): check.reason
                   for pair, check in zip(paths, checks, strict=True) if not check.checked},
    )  # fmt: skip
    return result


def _in_pairs(
    metric: PairMetric, encoder: EncoderHandle, runs: list[Run], count: int
) -> PairMetric:
    """Return a metric of images, where an encoder's vectors of these are too large to be kept."""
    shape = runs[0].spec.sample_shape
    if metric.encoder_metric != "squared_l2" or any(r.spec.sample_shape != shape for r in runs):
        return metric
    measure = pairwise_measure(encoder, shape, count)
    return metric if measure is None else replace(metric, space="images", measure=measure)


def why_not(metric: PairMetric, encoder_metric: str, a: Run, b: Run) -> str:
    """Say why a metric does not apply to two runs; an empty text where it does."""
    if metric.encoder_metric not in (None, encoder_metric):
        return f"the encoder compares vectors by {encoder_metric}"
    if metric.space == "vectors":
        return ""
    if a.spec.kind != "image" or b.spec.kind != "image":
        return "samples are no images"
    if a.spec.sample_shape != b.spec.sample_shape:
        return f"images have the shapes {a.spec.sample_shape} and {b.spec.sample_shape}"
    return "images are smaller than SSIM's window of 11 × 11" if too_small(metric, a) else ""


def too_small(metric: PairMetric, run: Run) -> bool:
    """Say whether a run's images are smaller than the window of SSIM."""
    return metric.name == "ssim" and min(run.spec.sample_shape[-2:]) < 11
