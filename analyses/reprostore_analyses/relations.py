"""How the models of two runs are related: by weights, recipe and training items."""

import numpy as np

from reprostore.errors import MissingDataError
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


def relation(context: Context, a: Run, b: Run) -> str:
    """Say how the models of two runs are related.

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
        return "disjoint training items"
    try:
        dataset = context.dataset(first.trained_on.dataset)
    except MissingDataError:
        return "unknown training items"
    items_a, items_b = (dataset.index(spec.index) for spec in (first.trained_on, second.trained_on))
    shared = len(np.intersect1d(items_a, items_b))
    if shared == 0:
        return "disjoint training items"
    if not shared == len(items_a) == len(items_b):
        return "overlapping training items"
    recipe = ("family", "parameters", "width", "training_step")
    same_recipe = all(
        getattr(a.spec.model_spec, key) == getattr(b.spec.model_spec, key) for key in recipe
    )
    seeds = (first.trainer_seed, second.trainer_seed)
    if same_recipe and None not in seeds and seeds[0] != seeds[1]:
        return "same recipe, other trainer seed"
    return "same training items"
