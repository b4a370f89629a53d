"""Models that are still to be trained, as far as a plan needs them: shape and noise levels."""

from collections.abc import Sequence
from types import SimpleNamespace

import torch

from reprostore.models.base import DiffusersModel, Model
from reprostore.models.checkpoint import quiet_diffusers
from reprostore.models.preconditioned import is_preconditioned, preconditioned_model
from reprostore.recipe import RecipeSpec
from reprostore.training.objectives import scheduler_of


def untrained_model(recipe: RecipeSpec, sample_shape: Sequence[int], dtype: str) -> Model:
    """Return what a model of a recipe will be, without its network.

    Samplers can be built for it, and say what they record; zeros stand for the network's output.

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
            network=_zeros,
            sample_shape=shape,
            device=place,
            dtype=precision,
            scheduler_config=config,
        )
    return preconditioned_model(
        _zeros,
        config,
        "the recipe",
        sample_shape=shape,
        device=place,
        dtype=precision,
        noise_schedule=None,
    )


def _zeros(sample: torch.Tensor, *_arguments: object) -> SimpleNamespace:
    """Stand for the network: a denoiser is called once to see that it can be."""
    return SimpleNamespace(sample=torch.zeros_like(sample))
