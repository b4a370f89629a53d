"""diffusers' schedulers as samplers: their solvers are used, not rewritten."""

import copy
import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from reprostore.errors import ModelError
from reprostore.models.base import Denoiser, Model, state_dtype
from reprostore.models.prediction import (
    FLOW_PREDICTION,
    Level,
    as_network,
    denoised_from_output,
)
from reprostore.samplers.base import State
from reprostore.samplers.flow import flow_scheduler
from reprostore.samplers.paths import flow_path, vp_path
from reprostore.samplers.schedule import resolved_config, solver_scheduler
from reprostore.samplers.table import TESTED, canonical_scheduler
from reprostore.specs import SamplerSpec


class ScheduledSampler:
    """A diffusers scheduler bound to a model.

    The model computes in its dtype; the state of the solver is float32 (float64 if the model
    computes in float64, though schedulers that say so round to float32 within a step). Later
    noise is drawn by the scheduler, in the dtype of the state, on the CPU.

    Parameters
    ----------
    spec : SamplerSpec
        With a scheduler of diffusers.
    model : Model
        Of either family; with a `scheduler_config`, unless the solver is that of flow matching.

    Raises
    ------
    SpecError
        The options are not valid, or the scheduler cannot take this many steps.
    ModelError
        The scheduler cannot be used with this model.
    """

    def __init__(self, spec: SamplerSpec, model: Model) -> None:
        name = canonical_scheduler(spec.scheduler)
        self._spec, self._model, self._solver = spec, model, TESTED[name]
        if self._solver.flow:
            self._scheduler = flow_scheduler(spec.options, model)
            self._path = flow_path(self._scheduler, spec.steps)
            self._prediction_type, self.noise_scale = FLOW_PREDICTION, 1.0
        else:
            self._scheduler = solver_scheduler(name, spec.options, model)
            self._path = vp_path(self._scheduler, spec.steps, self._solver.evaluations)
            self._prediction_type = self._scheduler.config["prediction_type"]
            self.noise_scale = float(self._scheduler.init_noise_sigma)
        self._check_reach()
        config = resolved_config(self._scheduler)
        self.stochastic = (
            self._solver.stochastic
            or spec.eta > 0
            or str(config.get("algorithm_type", "")).startswith("sde-")
            or bool(config.get("stochastic_sampling"))
        )
        self.identity: dict[str, Any] = {
            "class": name,
            "library": "diffusers",
            "eta": spec.eta,
            "config": config,
        }
        if isinstance(model, Denoiser) and model.conventions:
            self.identity["model"] = dict(model.conventions)
        self.steps = spec.recorded_steps()
        levels = [self._path.calls[call] for call in self._path.rows] + [self._path.final]
        moments = [float(self._scheduler.timesteps[call]) for call in self._path.rows] + [np.nan]
        rows = list(self.steps)
        self.sigma = np.array([level.sigma for level in levels])[rows]
        self.alpha = np.array([1.0 if self._solver.scaled else each.alpha for each in levels])[rows]
        self.timestep = np.array(moments)[rows]

    @torch.inference_mode()
    def sample(self, noise: torch.Tensor, generators: list[torch.Generator]) -> Iterator[State]:
        """Solve from noise to samples; see `reprostore.samplers.base.Sampler`."""
        scheduler = copy.deepcopy(self._scheduler)  # it counts its steps and keeps old outputs
        network = as_network(self._model, self._prediction_type)
        arguments = self._step_arguments(generators)
        x = noise.to(self._model.device, state_dtype(self._model.dtype)) * self.noise_scale
        step = 0
        for call, level in enumerate(self._path.calls):
            timestep = scheduler.timesteps[call]
            scaled = x if self._solver.flow else scheduler.scale_model_input(x, timestep)
            output = network(scaled, timestep, level)
            if self._path.rows[step : step + 1] == [call]:
                if step in self.steps:
                    yield State(step, x, self._denoised(scaled, output, level))
                step += 1
            x = scheduler.step(output, timestep, x, return_dict=False, **arguments)[0]
        yield State(step, x, self._last_denoised(x))

    def _denoised(
        self, scaled: torch.Tensor, output: torch.Tensor, level: Level
    ) -> torch.Tensor | None:
        """Return x̂_0 from the captured output, before any clipping, if it is recorded."""
        if not self._spec.denoised:
            return None
        return denoised_from_output(self._prediction_type, scaled, output, level)

    def _last_denoised(self, x: torch.Tensor) -> torch.Tensor | None:
        """Return what stands for x̂_0 in the last row, where the model is not called."""
        if not self._spec.denoised:
            return None
        return x if self._path.final.sigma == 0 else torch.full_like(x, torch.nan)

    def _step_arguments(self, generators: list[torch.Generator]) -> dict[str, Any]:
        """Return what this scheduler's `step` takes beyond output, timestep and sample."""
        accepted = inspect.signature(self._scheduler.step).parameters
        given = {"generator": generators, "eta": self._spec.eta}
        return {key: value for key, value in given.items() if key in accepted}

    def _check_reach(self) -> None:
        """Refuse a path that starts where the model's x̂_0 is not defined."""
        model, start = self._model, self._path.calls[0]
        by_division = self._prediction_type == "epsilon" or (
            isinstance(model, Denoiser) and not self._solver.flow
        )
        if by_division and any(level.alpha == 0 for level in self._path.calls):
            raise ModelError(
                "The sampler starts at pure noise (ᾱ = 0), where x̂_0 does not follow from the "
                "predicted noise.",
                "With rescale_betas_zero_snr a network predicts v or x_0.",
                'Set timestep_spacing = "leading" in the sampler\'s options, or choose another '
                "checkpoint.",
            )
        if isinstance(model, Denoiser) and not model.reaches(start.sigma):
            limit = "any finite noise level" if model.sigma_max is None else f"{model.sigma_max:g}"
            raise ModelError(
                f"The sampler starts at the noise level σ = {start.sigma:g}; the denoiser is "
                f"defined up to {limit}.",
                "A model is only asked about noise that it was made for.",
                "Choose edm-euler or edm-heun"
                + (
                    "; a denoiser of your own that returns the mean of its data at σ = ∞ says so "
                    "with sigma_max=math.inf."
                    if self._solver.flow
                    else ", or a noise_schedule for the model that does not reach as far."
                ),
            )
