"""Building diffusers schedulers on exactly the noise schedule that a model was trained with.

``HeunDiscreteScheduler.from_config(DDPMScheduler(...).config)`` silently takes other betas, since
defaults of one class are not carried over to another. So the noise schedule is resolved by the
checkpoint's own scheduler class, handed on in full, and compared.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import diffusers
import torch

from reprostore.errors import ModelError, SpecError
from reprostore.models.base import Denoiser, Model
from reprostore.models.checkpoint import quiet_diffusers
from reprostore.models.prediction import PREDICTION_TYPES
from reprostore.samplers.table import TESTED, check_options, nearest

_SCHEDULE = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
    "prediction_type",
)
"""What belongs to the model: a sampler takes it over and cannot change it."""

_UNTESTED = {
    "solver_p",
    "use_flow_sigmas",
    "flow_shift",
    "use_dynamic_shifting",
    "time_shift_type",
    "shift_terminal",
    "timestep_type",
    "interpolation_type",
}
"""Options for other kinds of model, or that take the noise levels off the training schedule."""

_ZERO_SNR = 2.0**-24
"""Several schedulers replace ᾱ = 0 at the last timestep by this."""


def reference_scheduler(model: Model) -> Any:  # noqa: ANN401
    """Build the scheduler that a model's own config describes.

    Parameters
    ----------
    model : Model
        With a `scheduler_config`.

    Returns
    -------
    diffusers scheduler
        Has `alphas_cumprod`, (timesteps,), and a `config` with every value resolved.

    Raises
    ------
    ModelError
        The model has no scheduler config, or the config has no variance-preserving schedule.
    """
    config = model.scheduler_config
    if config is None and isinstance(model, Denoiser):
        raise ModelError(
            "The model is a denoiser of continuous noise levels: it has no variance-preserving "
            "noise schedule.",
            "This solver of diffusers follows one, which then belongs to the model.",
            "Choose edm-euler or edm-heun (or flow-euler, if it is defined up to pure noise), "
            "or add the schedule on which the denoiser is to run to the model, such as "
            'noise_schedule = { beta_schedule = "linear", beta_start = 1e-4, beta_end = 0.02 }.',
        )
    if config is None:
        raise ModelError(
            "The model has no noise schedule: its checkpoint has no scheduler_config.json.",
            "diffusers' solvers, and all solvers of a diffusers network, need to know with which "
            "noise schedule the model was trained.",
            'Add noise_schedule = { beta_schedule = "linear", beta_start = 1e-4, beta_end = 0.02, '
            'prediction_type = "epsilon" } to the model, with the values it was trained with.',
        )
    name = config.get("_class_name", "DDPMScheduler")
    found = getattr(diffusers, name, None) if isinstance(name, str) else None
    if not (isinstance(found, type) and issubclass(found, diffusers.SchedulerMixin)):
        raise ModelError(
            f"The scheduler config names the class {name!r}, which is no scheduler of diffusers "
            f"{diffusers.__version__}.",
            "_class_name is a scheduler such as DDPMScheduler.",
            "Correct scheduler_config.json, or the model's noise_schedule.",
        )
    if "_class_name" not in config:
        _check_explicit(config, init_keys(found))
    scheduler = build_scheduler(found, config)
    prediction_type = scheduler.config.get("prediction_type")
    if (
        not isinstance(getattr(scheduler, "alphas_cumprod", None), torch.Tensor)
        or prediction_type not in PREDICTION_TYPES
        or scheduler.config.get("use_flow_sigmas")
    ):
        raise ModelError(
            f"The model's {name} has no variance-preserving noise schedule, or predicts "
            f"{prediction_type!r}.",
            f"A schedule of betas, and one of {', '.join(PREDICTION_TYPES)}, was expected.",
            "Choose another checkpoint, or wrap the network as a Denoiser in a python: factory.",
        )
    return scheduler


def solver_scheduler(name: str, options: Mapping[str, Any], model: Model) -> Any:  # noqa: ANN401
    """Build a tested scheduler on the noise schedule of a model.

    Parameters
    ----------
    name : str
        Class name, a key of `TESTED`.
    options : mapping
        Values that replace those of the checkpoint's scheduler config.
    model : Model
        With a `scheduler_config`.

    Returns
    -------
    diffusers scheduler
        Before `set_timesteps`.

    Raises
    ------
    SpecError
        An option is unknown or has a value that the scheduler refuses.
    ModelError
        The scheduler has no such noise schedule, or is not defined for what the model predicts.
    """
    reference = reference_scheduler(model)
    target = getattr(diffusers, name)
    known = init_keys(target)
    check_options(name, options, known - set(_SCHEDULE) - _UNTESTED)
    prediction_type = reference.config["prediction_type"]
    if prediction_type not in TESTED[name].prediction_types:
        raise ModelError(
            f"{name} is not defined for a model that predicts {prediction_type!r}.",
            f"It takes {', '.join(TESTED[name].prediction_types)}.",
            "Choose another sampler for this model, such as ddim.",
        )
    schedule = {key: reference.config[key] for key in _SCHEDULE if key in reference.config}
    scheduler = build_scheduler(target, {**(model.scheduler_config or {}), **schedule}, options)
    if not _same_schedule(scheduler.alphas_cumprod, reference.alphas_cumprod):
        raise ModelError(
            f"{name} cannot be given the noise schedule of the model's "
            f"{type(reference).__name__}: its ᾱ differs.",
            "A solver uses the noise schedule that the model was trained with.",
            "Choose another sampler for this model, such as ddim.",
        )
    return scheduler


def resolved_config(scheduler: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return every value that a scheduler was built with, without private keys.

    Keys of other classes, which diffusers carries along, have no effect and are left out.
    """
    keys = init_keys(type(scheduler))
    return {key: value for key, value in scheduler.config.items() if key in keys}


def schedule_config(scheduler: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the values of a scheduler that belong to the model."""
    return {key: value for key, value in resolved_config(scheduler).items() if key in _SCHEDULE}


def init_keys(scheduler_class: type) -> set[str]:
    """Return the names of all config values of a scheduler class."""
    return set(inspect.signature(scheduler_class).parameters)


def _check_explicit(config: Mapping[str, Any], known: set[str]) -> None:
    """Refuse a noise schedule of a study that leaves the betas to defaults or misspells a key."""
    for key in config:
        if key not in known:
            raise SpecError(
                f"The noise_schedule of the model has the unknown key {key!r}."
                f"{nearest(key, known)}",
                f"Its keys are those of diffusers' DDPMScheduler: {', '.join(sorted(known))}.",
                "Correct or remove the key.",
            )
    if "beta_schedule" not in config and config.get("trained_betas") is None:
        raise ModelError(
            f"The noise_schedule of the model has only {', '.join(config) or 'nothing'}.",
            "It says beta_schedule, or lists trained_betas.",
            "Add what the model was trained with: a wrong schedule gives plausible pictures.",
        )


def build_scheduler(
    scheduler_class: Any,  # noqa: ANN401
    config: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
) -> Any:  # noqa: ANN401
    """Call from_config, whose own errors become ours.

    Raises
    ------
    SpecError, ModelError
        The class refuses the config with the options, or without any.
    """
    with quiet_diffusers():
        try:
            return scheduler_class.from_config(dict(config), **(options or {}))
        except Exception as error:
            kind = SpecError if options else ModelError
            raise kind(
                f"{scheduler_class.__name__} refuses its configuration: {error}.",
                "The model's scheduler config, with the sampler's options, is valid for it.",
                "Correct the sampler's options, or choose another sampler for this model.",
            ) from error


def _same_schedule(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Compare two ᾱ exactly, but for the last where it was zero."""
    if found.shape != expected.shape or not torch.equal(found[:-1], expected[:-1]):
        return False
    return bool((found[-1] - expected[-1]).abs() <= _ZERO_SNR)
