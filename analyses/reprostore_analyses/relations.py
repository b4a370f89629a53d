"""How the models of two runs are related: by weights, recipe and training items."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import MissingDataError, StorageError
from reprostore.seeds import parse_ranges
from reprostore.specs import IMPORTED, ModelSpec, Subset
from reprostore.store import Run
from reprostore_analyses.context import Context

RELATIONS = (
    "unknown training items",
    "disjoint training items",
    "overlapping training items",
    "same training items",
    "same recipe, other trainer seed",
    "same weights",
)
"""From the weakest to the strongest relation; results store positions in this list."""

CEILING = ("same recipe, other trainer seed", "same weights")
"""Relations whose agreement is the ceiling of that between different models."""

_RECIPE = ("recipe", "family", "parameters", "width", "training_step")


def relation(context: Context, a: Run, b: Run) -> str:
    """Say how the models of two runs are related.

    Items are compared by their numbers in one dataset. Nothing is known of items of two datasets,
    which may hold the same images.

    Returns
    -------
    str
        One of `RELATIONS`.
    """
    if a.spec.weights and a.spec.weights == b.spec.weights:
        return "same weights"
    first, second = context.model_spec(a), context.model_spec(b)
    if first.trained_on is None or second.trained_on is None:
        return "unknown training items"
    if first.trained_on.dataset != second.trained_on.dataset:
        return "unknown training items"
    if first.trained_on.index != second.trained_on.index:
        try:
            seen, other = (_items(context, spec) for spec in (first.trained_on, second.trained_on))
        except (MissingDataError, StorageError):  # "all" of a dataset that is not at hand
            return "unknown training items"
        shared = len(np.intersect1d(seen, other, assume_unique=True))
        if shared == 0:
            return "disjoint training items"
        if not shared == len(seen) == len(other):
            return "overlapping training items"
    seeds = (first.trainer_seed, second.trainer_seed)
    if _same_recipe(first, second) and None not in seeds and seeds[0] != seeds[1]:
        return "same recipe, other trainer seed"
    return "same training items"


def is_ceiling(relation_name: str, a: Run, b: Run) -> bool:
    """Say whether the agreement of two runs is a ceiling of that between different models.

    That of one model (or of two trainings by one recipe) with itself under one sampler: two
    samplers may differ by more than two models do. Of imported samples nothing but the name tells
    which sampler they come from.
    """
    samplers = [
        (
            run.spec.scheduler,
            run.spec.steps[-1],
            run.spec.sampler_spec.eta,
            run.spec.sampler if run.spec.sampler_spec.scheduler == IMPORTED else None,
        )
        for run in (a, b)
    ]
    return relation_name in CEILING and samplers[0] == samplers[1]


def _same_recipe(first: ModelSpec, second: ModelSpec) -> bool:
    """Recipes of which nothing is said are not known to be the same."""
    known = [getattr(first, key) for key in _RECIPE]
    return any(value is not None for value in known) and known == [
        getattr(second, key) for key in _RECIPE
    ]


def _items(context: Context, subset: Subset) -> NDArray[np.int64]:
    # Ranges are read without the dataset, which need not be read in for this.
    if subset.index == "all":
        return context.dataset(subset.dataset).index("all")
    return _numbers(subset.index)


@lru_cache(maxsize=64)
def _numbers(ranges: str) -> NDArray[np.int64]:
    return np.asarray(parse_ranges(ranges, "index"), dtype=np.int64)
