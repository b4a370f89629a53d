"""Models that are still to be trained, as far as a plan needs them: shape and noise levels."""

from collections.abc import Sequence
from typing import Any, NoReturn

import torch

from reprostore.models.base import DiffusersModel, Model
from reprostore.models.checkpoint import quiet_diffusers
from reprostore.models.preconditioned import is_preconditioned, preconditioned_model
from reprostore.recipe import RecipeSpec
from reprostore.training.objectives import scheduler_of


def untrained_model(recipe: RecipeSpec, sample_shape: Sequence[int], dtype: str) -> Model:
    """Return what a model of a recipe will be, without its network.

    Samplers can be built for it, and say what they record; they cannot draw samples.

    Parameters
    ----------
    recipe : RecipeSpec
        The recipe.
    sample_shape : sequence of int
        Shape of its training items.
    dtype : str
        In what it will compute.

    Raises
    ------
    SpecError
        The recipe does not fit the items.
    """
    recipe.check_shape(sample_shape)
    with quiet_diffusers():
        scheduler = scheduler_of(recipe)
    config = {**scheduler.config, "_class_name": type(scheduler).__name__}
    shape, place, precision = tuple(sample_shape), torch.device("cpu"), getattr(torch, dtype)
    if not is_preconditioned(config):
        return DiffusersModel(
            network=_not_trained,
            sample_shape=shape,
            device=place,
            dtype=precision,
            scheduler_config=config,
        )
    return preconditioned_model(
        _not_trained,
        config,
        "the recipe",
        sample_shape=shape,
        device=place,
        dtype=precision,
        noise_schedule=None,
    )


def _not_trained(*_arguments: Any, **_keywords: Any) -> NoReturn:  # noqa: ANN401
    raise AssertionError("a model that is not trained was called")
