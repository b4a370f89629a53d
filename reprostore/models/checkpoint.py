"""Unconditional diffusers checkpoints, loaded without executing anything that they contain."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.utils import logging as diffusers_logging

from reprostore.errors import ModelError
from reprostore.models.base import DiffusersModel, Model, network_output
from reprostore.models.factory import schedule_given_twice
from reprostore.models.locate import CheckpointFiles, read_json
from reprostore.models.preconditioned import is_preconditioned, preconditioned_model

_CONDITIONAL = ("num_class_embeds", "class_embed_type", "encoder_hid_dim", "addition_embed_type")
"""Config keys that a network has a value for when it needs a class or a text."""


def load_checkpoint(
    files: CheckpointFiles,
    device: torch.device,
    dtype: torch.dtype,
    noise_schedule: Mapping[str, Any] | None,
) -> Model:
    """Load a diffusers network from a local folder.

    What its scheduler config says of the training decides what it becomes: EDM's preconditioning
    and flow matching make a denoiser, betas a network under a variance-preserving schedule.

    Parameters
    ----------
    files : CheckpointFiles
        Where the files are.
    device, dtype : torch.device, torch.dtype
        Where and in what to compute.
    noise_schedule : mapping, optional
        Scheduler config values of a checkpoint that has no scheduler_config.json; or the
        variance-preserving schedule on which a denoiser may be run.

    Returns
    -------
    DiffusersModel or Denoiser
        In evaluation mode.

    Raises
    ------
    ModelError
        The config is no unconditional image model, the weights are damaged or do not fit the
        config, or a noise schedule is given twice.
    """
    config = read_json(files.config)
    shape = _sample_shape(config, files.config)
    _refuse_conditional(config, files.config)
    network = _load_network(_network_class(config, files.config), files)
    # Parameters keep requires_grad, as in diffusers' pipelines: without it torch chooses other
    # convolutions for small networks, and samples differ in the last bits. Samplers run under
    # inference_mode, so nothing is recorded for gradients.
    with quiet_diffusers():
        network.eval().to(device=device, dtype=dtype)
    _try(network, shape, device, dtype, files.config)
    trained = noise_schedule if files.scheduler is None else read_json(files.scheduler)
    other = None if files.scheduler is None else noise_schedule
    if other is not None and (is_preconditioned(other) or not is_preconditioned(trained)):
        raise schedule_given_twice(f"{files.scheduler}")
    if trained is None or not is_preconditioned(trained):
        return DiffusersModel(
            network=network,
            sample_shape=shape,
            device=device,
            dtype=dtype,
            scheduler_config=trained,
        )
    with quiet_diffusers():
        return preconditioned_model(
            network,
            trained,
            f"{files.scheduler or 'The noise_schedule of the study'}",
            sample_shape=shape,
            device=device,
            dtype=dtype,
            noise_schedule=other,
        )


@contextmanager
def quiet_diffusers() -> Iterator[None]:
    """Keep diffusers from logging and warning of what is checked here anyway."""
    verbosity = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity(diffusers_logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        diffusers_logging.set_verbosity(verbosity)


def _sample_shape(config: Mapping[str, Any], path: Path) -> tuple[int, int, int]:
    """Return (channel, y, x) of an image model."""
    channels, size = config.get("in_channels"), config.get("sample_size")
    y, x = size if isinstance(size, list | tuple) and len(size) == 2 else (size, size)
    if not all(isinstance(length, int) and length > 0 for length in (channels, y, x)):
        raise ModelError(
            f"{path} has in_channels = {channels!r} and sample_size = {size!r}.",
            "An image model has a number of channels and a size in pixels.",
            "Add them to config.json, or write a python: factory.",
        )
    # All three are integers, as was checked above.
    return channels, y, x  # type: ignore[return-value]


def _refuse_conditional(config: Mapping[str, Any], path: Path) -> None:
    """Refuse models that cannot be called with a sample and a timestep alone."""
    needed = [key for key in _CONDITIONAL if config.get(key) is not None]
    out_channels = config.get("out_channels", config["in_channels"])
    if needed:
        raise ModelError(
            f"{path} has {', '.join(f'{key} = {config[key]!r}' for key in needed)}: the model is "
            "conditioned on a class or a text.",
            "Only unconditional models can be sampled from.",
            "Choose an unconditional checkpoint, or write a python: factory that fixes the class.",
        )
    if out_channels != config["in_channels"]:
        raise ModelError(
            f"{path} has {config['in_channels']} channels in and {out_channels} out.",
            "A model has as many channels out as in; learned variances are not supported.",
            "Choose another checkpoint, or write a python: factory that drops the variance.",
        )


def _network_class(config: Mapping[str, Any], path: Path) -> Any:  # noqa: ANN401
    """Return the class that a config names."""
    name = config.get("_class_name")
    found = getattr(diffusers, name, None) if isinstance(name, str) else None
    if not (isinstance(found, type) and issubclass(found, diffusers.ModelMixin)):
        raise ModelError(
            f"{path} names the class {name!r}, which is no model of diffusers "
            f"{diffusers.__version__}.",
            "_class_name is a diffusers model such as UNet2DModel.",
            "Save the model with diffusers' save_pretrained, or write a python: factory.",
        )
    return found


def _load_network(network_class: Any, files: CheckpointFiles) -> Any:  # noqa: ANN401
    """Load the weights; diffusers reads .bin files with torch.load(weights_only=True)."""
    folder = files.config.parent
    with quiet_diffusers():
        try:
            network, loaded = network_class.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=files.is_safetensors,
                low_cpu_mem_usage=False,
                output_loading_info=True,
            )
        except Exception as error:
            reason = str(error).strip().splitlines()
            raise ModelError(
                f"The weights in {folder} cannot be loaded "
                f"({type(error).__name__}: {reason[0] if reason else 'no reason given'}).",
                f"{files.weights[0].name} holds the tensors of the {network_class.__name__} that "
                "config.json describes.",
                "The file may be damaged or incomplete: copy or download the checkpoint again.",
            ) from error
    wrong = [*loaded["missing_keys"], *loaded["unexpected_keys"], *loaded["mismatched_keys"]]
    if wrong:
        raise ModelError(
            f"The weights in {folder} do not fit its config.json: {len(wrong)} tensors are "
            f"missing, unknown or of another shape, such as {wrong[0]}.",
            f"The weights are those of a {network_class.__name__} with this configuration.",
            "Copy config.json and the weights from the same checkpoint.",
        )
    return network


def _try(
    network: Any,  # noqa: ANN401
    sample_shape: tuple[int, ...],
    device: torch.device,
    dtype: torch.dtype,
    path: Path,
) -> None:
    """Call the network once: what else it needs, or another shape, shows here and not later."""
    x = torch.zeros((1, *sample_shape), device=device)
    try:
        with torch.inference_mode():
            output = network_output(network, x, torch.tensor(0), dtype)
    except (AttributeError, AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(
            f"The model of {path} cannot be called with a sample and a timestep "
            f"({type(error).__name__}: {(str(error) or 'no reason given').splitlines()[0]}).",
            f"A sample of shape {sample_shape} and a timestep are all it needs.",
            "Choose an unconditional image model whose sample_size fits, or write a python: "
            "factory.",
        ) from error
    if output.shape != x.shape:
        raise ModelError(
            f"The model of {path} returns the shape {tuple(output.shape[1:])} for a sample of "
            f"shape {sample_shape}.",
            "Input and output have the same shape.",
            "Correct sample_size in config.json.",
        )
