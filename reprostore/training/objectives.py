"""What a network is trained to predict: its input, its time, and the target of its output.

| variable   | symbol                                            |
|------------|---------------------------------------------------|
| clean      | x_0, training items                               |
| noise      | ε, standard normal                                |
| sigma      | σ of EDM                                          |
| c_skip …   | c_skip, c_out, c_in, c_noise of Karras et al.     |
| t          | time of a rectified flow, 0 is data and 1 noise   |

References
----------
Ho et al. 2020 (ε), Salimans & Ho 2022 (v), Karras et al. 2022, table 1 and equation 8 (EDM),
Liu et al. 2023 (rectified flow).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler

from reprostore.errors import SpecError
from reprostore.recipe import VP_OBJECTIVES, RecipeSpec

FLOW_TIMESTEPS = 1000
"""The time that a flow network is called with is this times t."""


@dataclass(frozen=True)
class Example:
    """One batch as a network sees it; the loss is the mean squared error of its output.

    Attributes
    ----------
    inputs : torch.Tensor
        (batch, *sample_shape).
    timestep : torch.Tensor
        (batch,).
    target : torch.Tensor
        (batch, *sample_shape).
    """

    inputs: torch.Tensor
    timestep: torch.Tensor
    target: torch.Tensor


@dataclass(frozen=True)
class Objective:
    """An objective bound to its noise levels.

    Attributes
    ----------
    scheduler : diffusers scheduler
        What the trained model is sampled with; its config goes beside the weights.
    levels : callable
        (batch, generator) → (batch,) random noise levels.
    example : callable
        (clean, noise, levels) → `Example`.
    """

    scheduler: Any
    levels: Callable[[int, torch.Generator], torch.Tensor]
    example: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], Example]


def objective_of(recipe: RecipeSpec) -> Objective:
    """Return the objective of a recipe."""
    scheduler = scheduler_of(recipe)
    if recipe.objective in VP_OBJECTIVES:
        count = scheduler.config["num_train_timesteps"]

        def timesteps(batch: int, generator: torch.Generator) -> torch.Tensor:
            return torch.randint(count, (batch,), generator=generator)

        return Objective(
            scheduler,
            timesteps,
            lambda clean, noise, levels: vp_example(scheduler, clean, noise, levels),
        )
    if recipe.objective == "edm":

        def sigmas(batch: int, generator: torch.Generator) -> torch.Tensor:
            normal = torch.randn(batch, generator=generator)
            return torch.exp(recipe.p_mean + recipe.p_std * normal)

        return Objective(
            scheduler,
            sigmas,
            lambda clean, noise, levels: edm_example(recipe.sigma_data, clean, noise, levels),
        )
    return Objective(
        scheduler,
        lambda batch, generator: torch.rand(batch, generator=generator),
        flow_example,
    )


def scheduler_of(recipe: RecipeSpec) -> Any:  # noqa: ANN401
    """Return the diffusers scheduler that stands for a recipe's noise levels.

    Raises
    ------
    SpecError
        `noise_schedule` has values that diffusers does not take, betas outside (0, 1], or not
        one for every timestep.
    """
    if recipe.objective == "edm":
        return EDMEulerScheduler(sigma_data=recipe.sigma_data)
    if recipe.objective == "flow":
        return FlowMatchEulerDiscreteScheduler(num_train_timesteps=FLOW_TIMESTEPS)
    config = {"beta_start": 1e-4, "beta_end": 0.02, "clip_sample": False, **recipe.noise_schedule}
    try:
        scheduler = DDPMScheduler(**config, prediction_type=recipe.objective)
        betas = scheduler.betas
        reason = "" if len(betas) and bool(((betas > 0) & (betas <= 1)).all()) else "betas"
        if len(betas) != scheduler.config["num_train_timesteps"]:
            reason = f"{len(betas)} betas"
    except Exception as error:  # of whatever kind diffusers and torch choose
        reason = [*str(error).splitlines(), type(error).__name__][0]
    if reason:
        raise SpecError(
            f"`noise_schedule` is {recipe.noise_schedule} ({reason}).",
            "One beta for each of `num_train_timesteps`, above 0 and at most 1, follows from it.",
            "Correct its values.",
        )
    return scheduler


def vp_example(
    scheduler: DDPMScheduler, clean: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
) -> Example:
    """Return x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε, t, and ε, v = √ᾱ_t ε − √(1−ᾱ_t) x_0 or x_0."""
    prediction_type = scheduler.config["prediction_type"]
    if prediction_type == "epsilon":
        target = noise
    elif prediction_type == "v_prediction":
        target = scheduler.get_velocity(clean, noise, timesteps)
    else:
        target = clean
    return Example(scheduler.add_noise(clean, noise, timesteps), timesteps, target)


def edm_example(
    sigma_data: float, clean: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor
) -> Example:
    """Return c_in (x_0 + σε), c_noise = ln(σ)/4, and what makes D = c_skip x + c_out F equal x_0.

    EDM's weight λ(σ) = (σ² + σ_d²)/(σ σ_d)² is 1/c_out², so that λ‖D − x_0‖² is the plain squared
    error of F.
    """
    level = _spread(sigma, clean)
    total = level**2 + sigma_data**2
    noisy = clean + level * noise
    c_skip, c_out, c_in = sigma_data**2 / total, level * sigma_data / total.sqrt(), total.rsqrt()
    return Example(c_in * noisy, sigma.log() / 4, (clean - c_skip * noisy) / c_out)


def flow_example(clean: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> Example:
    """Return (1 − t) x_0 + t ε, 1000 t, and the velocity ε − x_0."""
    level = _spread(t, clean)
    return Example((1 - level) * clean + level * noise, FLOW_TIMESTEPS * t, noise - clean)


def _spread(levels: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return levels.view(-1, *[1] * (like.ndim - 1))
