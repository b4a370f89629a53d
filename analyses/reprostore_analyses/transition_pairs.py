"""Scores of the pairs of models of one N: RP from `reproducibility`, and PFD."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from reprostore_analyses.context import Context
from reprostore_analyses.kernels import (
    mismatched_squared_distance,
    probability_flow_distance,
    squared_distances,
)
from reprostore_analyses.reproducibility import ReproducibilityOptions, reproducibility
from reprostore_analyses.statistics import bootstrap_mean
from reprostore_analyses.transition_groups import REFERENCES, Member
from reprostore_analyses.transition_kinds import Pair
from reprostore_analyses.transition_options import TransitionOptions
from reprostore_analyses.vectors import Collection

SPACES = ("pixel", "encoder")
"""Where PFD is measured: 8-bit images on the scale of [-1, 1], and the encoder's vectors."""

RP_COLUMNS = ("rp", "rp_low", "rp_high", "chance", "corrected")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """The pairs of one N with their scores.

    Attributes
    ----------
    pairs : list of Pair
        The pairs.
    seeds : ndarray of int64, (seed,)
        That all members of this N have.
    hits : ndarray of bool, (pair, seed)
        Whether the similarity is above the threshold of the pair's kind.
    columns : dict of ndarray, (pair,)
        `RP_COLUMNS`, and by space `pfd_…` with bounds and `pfd_…_chance`.
    squared : dict of ndarray of float64, (pair, seed)
        Squared distance by space; NaN where samples are not images of one shape.
    drift, unchecked : dict
        As in the attributes of `reproducibility`.
    """

    pairs: list[Pair]
    seeds: NDArray[np.int64]
    hits: NDArray[np.bool_]
    columns: dict[str, Floats]
    squared: dict[str, Floats]
    drift: dict[str, Any]
    unchecked: dict[str, str]


def score_pairs(
    context: Context, options: TransitionOptions, members: Sequence[Member], pairs: list[Pair]
) -> Scored:
    """Compute RP and PFD of the pairs of one N.

    Parameters
    ----------
    context : Context
        The store, and what the study says.
    options : TransitionOptions
        Encoder and thresholds.
    members : sequence of Member
        All members.
    pairs : list of Pair
        At least one.

    Returns
    -------
    Scored
        In the order of the pairs.

    Raises
    ------
    ReprostoreError
        As `reproducibility`.
    """
    places = sorted({place for pair in pairs for place in (pair.a, pair.b)})
    position = {place: row for row, place in enumerate(places)}
    runs = tuple(members[place].run.path for place in places)
    own = replace(context, run_paths=runs)
    thresholds = options.thresholds
    results = {
        threshold: reproducibility(own, _options(options, threshold))
        for threshold in {thresholds[_score(pair)] for pair in pairs}
    }
    agreeing = [results[thresholds[_score(pair)]] for pair in pairs]
    at = [(position[pair.a], position[pair.b]) for pair in pairs]
    similarity = np.stack(
        [result["similarity"].values[place] for result, place in zip(agreeing, at, strict=True)]
    )
    levels = np.asarray([thresholds[_score(pair)] for pair in pairs])
    columns = {
        name: np.asarray(
            [float(result[name].values[place]) for result, place in zip(agreeing, at, strict=True)]
        )
        for name in RP_COLUMNS
    }
    first = next(iter(results.values()))
    seeds = first["seed"].values
    squared, chance = _distances(own, options, members, pairs, seeds)
    for space in SPACES:
        for bound, values in zip(
            ("", "_low", "_high"), pfd_interval(squared[space][:, None], options), strict=True
        ):
            columns[f"pfd_{space}{bound}"] = values
        columns[f"pfd_{space}_chance"] = np.sqrt(chance[space])
    return Scored(
        pairs,
        seeds,
        similarity > levels[:, None],
        columns,
        squared,
        dict(first.attrs["drift"]),
        _unchecked(first, members, pairs),
    )


def pfd_interval(squared: Floats, options: TransitionOptions) -> tuple[Floats, Floats, Floats]:
    """Compute PFD over several pairs, √(mean over pairs and seeds), and its bootstrap interval.

    Parameters
    ----------
    squared : ndarray, shape (…, pair, seed)
        Squared distances at common seeds.
    options : TransitionOptions
        Resampling.

    Returns
    -------
    value, low, high : ndarray of float64, shape (…)
        NaN where squared distances are NaN; an interval is NaN too where all seeds are equal.
    """
    means = squared.mean(axis=-2)
    defined = ~np.isnan(means).any(axis=-1)
    found = np.full((3, *defined.shape), np.nan)
    if defined.any():
        estimate = bootstrap_mean(
            means[defined],
            rng=np.random.default_rng(options.rng_seed),
            resamples=options.resamples,
            confidence=options.confidence,
        )
        found[0, defined] = probability_flow_distance(means[defined])
        # A root is monotone, so it takes the ends of an interval to those of another.
        found[1, defined], found[2, defined] = np.sqrt(estimate.low), np.sqrt(estimate.high)
    return found[0], found[1], found[2]


def _score(pair: Pair) -> str:
    return "oracle" if pair.kind in REFERENCES else "rp"


def _options(options: TransitionOptions, threshold: float) -> ReproducibilityOptions:
    return ReproducibilityOptions(
        encoder=options.encoder,
        threshold=threshold,
        allow_unchecked=options.allow_unchecked,
        confidence=options.confidence,
        rng_seed=options.rng_seed,
    )


def _distances(
    context: Context,
    options: TransitionOptions,
    members: Sequence[Member],
    pairs: list[Pair],
    seeds: NDArray[np.int64],
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return by space the squared distances (pair, seed), and of samples of different noise."""
    squared = {space: np.full((len(pairs), len(seeds)), np.nan) for space in SPACES}
    chance = {space: np.full(len(pairs), np.nan) for space in SPACES}
    places = {place for pair in pairs for place in (pair.a, pair.b)}
    slots = {place: _slots(members[place], seeds) for place in places}
    encoder = context.encoder(options.encoder)

    def vectors(collection: Collection, place: int) -> NDArray[Any]:
        run = members[place].run
        return collection.vectors(context.store, encoder, run, slots[place], context.progress)

    for space in SPACES:
        with Collection(len(seeds), len(places)) as collection:
            for row, pair in enumerate(pairs):
                runs = [members[place].run for place in (pair.a, pair.b)]
                kinds = {(run.spec.kind, run.spec.sample_shape) for run in runs}
                if space == "pixel" and (len(kinds) > 1 or runs[0].spec.kind != "image"):
                    continue
                a, b = (
                    collection.images(members[place].run, slots[place])
                    if space == "pixel"
                    else vectors(collection, place)
                    for place in (pair.a, pair.b)
                )
                scale = 127.5**2 if space == "pixel" else 1.0  # 255 levels span [-1, 1]
                squared[space][row] = squared_distances(a, b) / scale
                chance[space][row] = mismatched_squared_distance(a, b) / scale
    return squared, chance


def _slots(member: Member, seeds: NDArray[np.int64]) -> NDArray[np.int64]:
    order = np.argsort(member.written.seeds)
    return member.written.slots[order][np.searchsorted(member.written.seeds[order], seeds)]


def _unchecked(result: xr.Dataset, members: Sequence[Member], pairs: list[Pair]) -> dict[str, str]:
    """Return why the noise of pairs was not compared, for those that are shown."""
    shown = {frozenset(members[place].run.path for place in (pair.a, pair.b)) for pair in pairs}
    return {
        text: reason
        for text, reason in result.attrs["unchecked"].items()
        if frozenset(text.split(" | ")) in shown
    }
