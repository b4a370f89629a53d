"""The networks that are trained: new ones, and those of checkpoints with what trains of them."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.models.attention_processor import Attention

from reprostore.errors import ModelError, SpecError
from reprostore.models import load_model
from reprostore.models.base import Denoiser, Model
from reprostore.recipe import VP_OBJECTIVES, RecipeSpec
from reprostore.specs import ModelSpec
from reprostore.training.objectives import scheduler_of


def make_network(
    recipe: RecipeSpec, sample_shape: Sequence[int], base: Path
) -> tuple[torch.nn.Module, list[torch.nn.Parameter]]:
    """Return the network at the start of a training, and the parameters that train.

    A new network is initialized from torch's global random state. That of a checkpoint has its
    architecture; of the recipe only the dropout counts.

    Parameters
    ----------
    recipe : RecipeSpec
        The recipe.
    sample_shape : sequence of int
        (channel, y, x).
    base : Path
        Folder to which `recipe.start_from` is relative.

    Raises
    ------
    SpecError
        The architecture does not fit the samples, or a pattern matches no parameter.
    ModelError
        The checkpoint does not fit the samples or the objective.
    """
    recipe.check_shape(sample_shape)
    if recipe.start_from is None:
        network = new_unet(recipe, sample_shape)
    else:
        network = _checkpoint(recipe, recipe.start_from, sample_shape, base)
    names = _trainable(recipe, network)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in names)
    return network.train(), [p for p in network.parameters() if p.requires_grad]


def new_unet(recipe: RecipeSpec, sample_shape: Sequence[int]) -> UNet2DModel:
    """Return an untrained U-Net for samples of shape (channel, y, x)."""
    channels, height, width = sample_shape
    levels = range(recipe.depth)
    down = ["AttnDownBlock2D" if i in recipe.attention else "DownBlock2D" for i in levels]
    up = ["AttnUpBlock2D" if i in recipe.attention else "UpBlock2D" for i in reversed(levels)]
    return UNet2DModel(
        sample_size=height if height == width else (height, width),
        in_channels=channels,
        out_channels=channels,
        layers_per_block=recipe.layers,
        block_out_channels=recipe.channels,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        norm_num_groups=recipe.norm_groups,
        attention_head_dim=recipe.head_dim,
        dropout=recipe.dropout,
    )


def _checkpoint(
    recipe: RecipeSpec, source: str, sample_shape: Sequence[int], base: Path
) -> torch.nn.Module:
    model = load_model(ModelSpec(source=source), base, "cpu", "float32")
    network: Any = getattr(model, "network", None)
    if not hasattr(network, "state_dict") or not hasattr(network, "save_pretrained"):
        raise ModelError(
            f"{source} is no diffusers network.",
            "`start_from` names a folder with the weights of a diffusers model.",
            "Name such a folder.",
        )
    if model.sample_shape != tuple(sample_shape):
        raise ModelError(
            f"{source} has samples of shape {model.sample_shape}, the items have "
            f"{tuple(sample_shape)}.",
            "A network is fine-tuned on items of the shape that it was trained on.",
            "Choose another checkpoint, or another dataset.",
        )
    _check_objective(recipe, source, model)
    kind: Any = type(network)
    # Without the keys that say where it was loaded from: config.json is part of its identity.
    config = {key: value for key, value in network.config.items() if not key.startswith("_")}
    if "dropout" in config:
        config["dropout"] = recipe.dropout
    elif recipe.dropout:
        raise SpecError(
            f"`dropout` is {recipe.dropout}, and {source} is a {kind.__name__}.",
            "Networks of this class have no dropout.",
            "Remove `dropout` from the recipe.",
        )
    tuned: torch.nn.Module = kind.from_config(config)
    tuned.load_state_dict(network.state_dict())
    return tuned


def _check_objective(recipe: RecipeSpec, source: str, model: Model) -> None:
    """Refuse an objective under which the checkpoint's outputs mean something else."""
    config, ours = model.scheduler_config, scheduler_of(recipe)
    if isinstance(model, Denoiser):
        _check_convention(recipe, source, model.conventions, ours.config)
        return
    if config is None:
        return
    if recipe.objective not in VP_OBJECTIVES:
        raise _another_objective(source, "under a schedule of betas", recipe.objective)
    theirs = DDPMScheduler.from_config(dict(config))
    same = theirs.config["prediction_type"] == ours.config["prediction_type"] and torch.equal(
        theirs.alphas_cumprod, ours.alphas_cumprod
    )
    if not same:
        raise ModelError(
            f"{source} was trained for {theirs.config['prediction_type']} under "
            f"{theirs.config['beta_schedule']} betas from {theirs.config['beta_start']} to "
            f"{theirs.config['beta_end']}, the recipe for {recipe.objective} under "
            f"{ours.config['beta_schedule']} betas from {ours.config['beta_start']} to "
            f"{ours.config['beta_end']}.",
            "A network is fine-tuned under the objective and noise schedule that it knows.",
            "Correct `objective` or `noise_schedule` in the recipe.",
        )


def _check_convention(
    recipe: RecipeSpec, source: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]
) -> None:
    """Compare what defines a denoiser of continuous noise levels, but for the solver's class."""
    values = {key: value for key, value in theirs.items() if key != "class"}
    kind = "edm" if "sigma_data" in values else "flow"
    told = ", ".join(f"{key} = {value}" for key, value in values.items())
    if kind != recipe.objective:
        raise _another_objective(source, f"for {kind} with {told}", recipe.objective)
    if any(ours[key] != value for key, value in values.items()):
        own = ", ".join(f"{key} = {ours[key]}" for key in values)
        raise _another_objective(source, f"for {kind} with {told}", f"{kind} with {own}")


def _another_objective(source: str, theirs: str, ours: str) -> ModelError:
    return ModelError(
        f"{source} was trained {theirs}, the recipe is for {ours}.",
        "A network is fine-tuned under the objective and noise levels that it knows.",
        "Correct the recipe, or choose another checkpoint.",
    )


def _trainable(recipe: RecipeSpec, network: torch.nn.Module) -> set[str]:
    """Return the names of the parameters that train."""
    names = [name for name, _ in network.named_parameters()]
    if recipe.trainable == "all":
        return set(names)
    if recipe.trainable == "attention":
        inside = tuple(
            f"{name}." for name, module in network.named_modules() if isinstance(module, Attention)
        )
        chosen = {name for name in names if name.startswith(inside)} if inside else set()
        if not chosen:
            raise SpecError(
                f"{recipe.start_from} has no attention.",
                'With trainable = "attention" its parameters train, and no others.',
                'Write trainable = "all", or patterns of parameter names.',
            )
        return chosen
    chosen = set()
    for pattern in recipe.trainable:
        matched = {name for name in names if fnmatchcase(name, pattern)}
        if not matched:
            raise SpecError(
                f"No parameter of {recipe.start_from} is named like {pattern!r}.",
                f"Names are such as {names[0]} and {names[-1]}; * stands for any characters.",
                "Correct `trainable` in the recipe.",
            )
        chosen |= matched
    return chosen
