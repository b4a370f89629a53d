"""diffusers' Euler solver of flow matching, for velocity networks and for denoisers.

The state is x_t = (1−t) x_0 + t ε; the solver follows dx/dt = v from t = 1, pure noise, to 0. A
network that was trained with flow matching is called as it is. Any other denoiser gives the same
velocity as v = (x_t − x̂_0)/t, at t = 1 from its limit for σ → ∞; see
`reprostore.models.base.Denoiser.sigma_max`.

References
----------
Lipman et al. 2023, "Flow Matching for Generative Modeling"; Liu et al. 2023, "Flow Straight and
Fast"; Esser et al. 2024, "Scaling Rectified Flow Transformers", equation 23 (the shift).
"""

from collections.abc import Mapping
from typing import Any

import diffusers

from reprostore.errors import ModelError, SpecError
from reprostore.models.base import Denoiser, Model
from reprostore.models.preconditioned import FLOW_SCHEDULER
from reprostore.samplers.schedule import build_scheduler, init_keys
from reprostore.samplers.table import check_options

_MODEL = {"num_train_timesteps"}
"""What belongs to the model: a sampler takes it over and cannot change it."""

_DYNAMIC = {
    "use_dynamic_shifting",
    "base_shift",
    "max_shift",
    "base_image_seq_len",
    "max_image_seq_len",
    "time_shift_type",
}
"""Of a shift that a pipeline computes from the size of its latents, outside of the scheduler."""


def flow_scheduler(options: Mapping[str, Any], model: Model) -> Any:  # noqa: ANN401
    """Build diffusers' flow matching scheduler for a model.

    Parameters
    ----------
    options : mapping
        Values that replace those of the model's config.
    model : Model
        A network trained with flow matching, whose config is taken over; or another denoiser,
        whose `scheduler_config` is taken over if it is one of flow matching, and else diffusers'
        defaults.

    Returns
    -------
    diffusers.FlowMatchEulerDiscreteScheduler
        Before `set_timesteps`.

    Raises
    ------
    SpecError
        An option is unknown or not valid, or asks for `stochastic_sampling` of a model that was
        not made for it.
    ModelError
        The model is no denoiser, or its config shifts time in a way that is not supported.
    """
    if not isinstance(model, Denoiser):
        raise ModelError(
            f"{FLOW_SCHEDULER} is not defined for a network under a variance-preserving schedule.",
            "It takes a network that was trained with flow matching, or a denoiser that is "
            "defined up to pure noise, such as an oracle.",
            "Choose another sampler for this model, such as ddim.",
        )
    target = diffusers.FlowMatchEulerDiscreteScheduler
    known = init_keys(target) - _MODEL - _DYNAMIC - {"invert_sigmas"}
    check_options(FLOW_SCHEDULER, options, known)
    shift = options.get("shift", 1.0)
    if isinstance(shift, bool) or not isinstance(shift, int | float) or not shift > 0:
        raise SpecError(
            f"{FLOW_SCHEDULER} has shift = {shift!r}.",
            "shift is a number above 0.",
            "Correct or remove it in the sampler's options.",
        )
    config = _own_config(model)
    if options.get("stochastic_sampling") and not config.get("stochastic_sampling"):
        raise SpecError(
            f"{FLOW_SCHEDULER} has stochastic_sampling = true, and the model's config has not.",
            "It draws noise anew around the mean E[x_0 | x_t]: however many steps it takes, "
            "samples of an exact model end with half of the variance of Gaussian data. It is "
            "for networks that are distilled to predict samples.",
            "Remove it; ddpm, on a noise_schedule, draws noise and keeps the variance.",
        )
    unsupported = [key for key in ("use_dynamic_shifting", "invert_sigmas") if config.get(key)]
    if unsupported:
        raise ModelError(
            f"The model's {FLOW_SCHEDULER} has {unsupported[0]} = true.",
            "Time is shifted by `shift` alone, and runs from 1 at noise to 0.",
            "Use a checkpoint without it, or one whose config gives the shift as a number.",
        )
    return build_scheduler(target, config, options)


def _own_config(model: Denoiser) -> Mapping[str, Any]:
    """Return the flow matching config that a model brings along."""
    if model.flow_config is not None:
        return model.flow_config
    config = model.scheduler_config or {}
    return config if config.get("_class_name") == FLOW_SCHEDULER else {}
