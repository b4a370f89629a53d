"""diffusers' schedulers as samplers: their solvers are used, not rewritten."""

import copy
import inspect
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from reprostore.errors import ModelError, SpecError
from reprostore.models.base import Denoiser, Model, state_dtype
from reprostore.models.checkpoint import quiet_diffusers
from reprostore.models.prediction import (
    NoiseLevel,
    as_network,
    denoised_from_output,
    vp_sigmas,
)
from reprostore.samplers.base import State
from reprostore.samplers.schedule import resolved_config, solver_scheduler
from reprostore.samplers.table import TESTED, canonical_scheduler
from reprostore.specs import SamplerSpec


@dataclass(frozen=True)
class _Path:
    """Where a scheduler leads.

    Attributes
    ----------
    calls : list of NoiseLevel
        Of each call of the model, in order.
    rows : list of int
        Which call is the first on x_k, for k below the number of steps.
    final : NoiseLevel
        Of the sample.
    """

    calls: list[NoiseLevel]
    rows: list[int]
    final: NoiseLevel


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
        Of either family, with a `scheduler_config`.

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
        self._scheduler = solver_scheduler(name, spec.options, model)
        config = resolved_config(self._scheduler)
        self._prediction_type: str = config["prediction_type"]
        self._path = self._find_path()
        self.noise_scale = float(self._scheduler.init_noise_sigma)
        self.stochastic = (
            self._solver.stochastic
            or spec.eta > 0
            or str(config.get("algorithm_type", "")).startswith("sde-")
        )
        self.identity: dict[str, Any] = {
            "class": name,
            "library": "diffusers",
            "eta": spec.eta,
            "config": config,
        }
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
            scaled = scheduler.scale_model_input(x, timestep)
            output = network(scaled, timestep, level)
            if self._path.rows[step : step + 1] == [call]:
                if step in self.steps:
                    yield State(step, x, self._denoised(scaled, output, level))
                step += 1
            x = scheduler.step(output, timestep, x, return_dict=False, **arguments)[0]
        yield State(step, x, self._last_denoised(x))

    def _denoised(
        self, scaled: torch.Tensor, output: torch.Tensor, level: NoiseLevel
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

    def _find_path(self) -> _Path:
        """Set the timesteps and read off every noise level; refuse what cannot be followed."""
        steps, scheduler = self._spec.steps, self._scheduler
        with quiet_diffusers():
            try:
                scheduler.set_timesteps(steps)
            except (ValueError, IndexError, ZeroDivisionError) as error:
                raise self._steps_error(str(error)) from error
        if hasattr(scheduler, "set_begin_index"):
            # Else a first timestep that occurs twice would start at the second.
            scheduler.set_begin_index(0)
        timesteps = scheduler.timesteps
        training = vp_sigmas(scheduler.alphas_cumprod)
        if not 0 <= float(timesteps.min()) <= float(timesteps.max()) <= len(training) - 1:
            raise self._steps_error(
                f"its timesteps reach from {float(timesteps.min()):g} to {float(timesteps.max()):g}"
            )
        if hasattr(scheduler, "sigmas"):
            sigmas = scheduler.sigmas.double().tolist()
        else:
            sigmas = [*training[timesteps.numpy()].tolist(), self._final_sigma(training)]
        rows = list(range(0, len(timesteps), self._solver.evaluations))
        levels = [sigmas[row] for row in rows]
        if len(rows) != steps or len(sigmas) != len(timesteps) + 1:
            raise self._steps_error(f"it makes {len(rows)} steps")
        if not all(a > b for a, b in itertools.pairwise(levels)):
            raise self._steps_error("it visits a noise level twice")
        calls = [NoiseLevel(sigma) for sigma in sigmas[: len(timesteps)]]
        by_division = self._prediction_type == "epsilon" or isinstance(self._model, Denoiser)
        if by_division and any(level.alpha == 0 for level in calls):
            raise ModelError(
                "The sampler starts at pure noise (ᾱ = 0), where x̂_0 does not follow from the "
                "predicted noise.",
                "With rescale_betas_zero_snr a network predicts v or x_0.",
                'Set timestep_spacing = "leading" in the sampler\'s options, or choose another '
                "checkpoint.",
            )
        return _Path(calls, rows, NoiseLevel(sigmas[-1]))

    def _final_sigma(self, training: np.ndarray) -> float:
        """Return the noise level to which the last step of DDIM or DDPM leads."""
        if not hasattr(self._scheduler, "final_alpha_cumprod"):
            return 0.0
        ratio = self._scheduler.config.num_train_timesteps // self._spec.steps
        previous = int(self._scheduler.timesteps[-1]) - ratio
        if previous >= 0:
            return float(training[previous])
        return float(vp_sigmas(self._scheduler.final_alpha_cumprod))

    def _steps_error(self, reason: str) -> SpecError:
        """Return the error of a number of steps that a scheduler cannot take."""
        config = self._scheduler.config
        return SpecError(
            f"{type(self._scheduler).__name__} cannot take {self._spec.steps} steps: "
            f"{reason.rstrip('.')}.",
            f"The model was trained with {config.num_train_timesteps} timesteps, and every step "
            "begins at another of them.",
            "Take fewer steps, or change timestep_spacing or steps_offset in the sampler's "
            "options.",
        )
