"""The deterministic solvers of EDM: Euler and Heun in the noise level σ.

| variable  | symbol in the paper |
|-----------|---------------------|
| sigmas[i] | t_i = σ(t_i)        |
| x         | x_i                 |
| slope     | d_i                 |
| slope_to  | d'_i                |

References
----------
Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models",
algorithms 1 and 2 (with S_churn = 0) and equation 5; NVlabs/edm, ``generate.py::edm_sampler``.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from reprostore.errors import SpecError
from reprostore.models.base import Denoiser, DiffusersModel, Model, state_dtype
from reprostore.models.prediction import as_denoiser, vp_sigmas, vp_timestep
from reprostore.samplers.base import State
from reprostore.samplers.schedule import reference_scheduler, schedule_config
from reprostore.samplers.table import canonical_scheduler, check_options
from reprostore.specs import SamplerSpec

_DEFAULTS = {"sigma_min": 0.002, "sigma_max": 80.0, "rho": 7.0}


def edm_sigmas(steps: int, sigma_min: float, sigma_max: float, rho: float) -> np.ndarray:
    """Return the noise levels of EDM.

    Parameters
    ----------
    steps : int
        Number of solver steps N.
    sigma_min, sigma_max, rho : float
        σ_min, σ_max and ρ.

    Returns
    -------
    numpy.ndarray
        (steps + 1,) float64, from σ_max to σ_min and, in the last step, to 0.

    References
    ----------
    Karras et al. 2022, equation 5.
    """
    ramp = np.linspace(0, 1, steps) if steps > 1 else np.zeros(1)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    sigmas = np.append((high + ramp * (low - high)) ** rho, 0.0)
    sigmas[0] = sigma_max  # not its rounded power
    return sigmas


class EdmSampler:
    """EDM's Euler or Heun bound to a model.

    The state is float64, as in the published code; the model computes in its own dtype. A
    diffusers network is called at continuous timesteps; see
    `reprostore.models.prediction.as_denoiser`.

    Parameters
    ----------
    spec : SamplerSpec
        With "edm-euler" or "edm-heun"; options `sigma_min`, `sigma_max`, `rho`.
    model : Model
        A denoiser, or a network with a `scheduler_config`.

    Raises
    ------
    SpecError
        The options are not valid, or go beyond the noise that a network was trained with.
    ModelError
        A network has no noise schedule.
    """

    def __init__(self, spec: SamplerSpec, model: Model) -> None:
        name = canonical_scheduler(spec.scheduler)
        self._spec, self._model, self._heun = spec, model, name == "edm-heun"
        options = _checked(name, spec.options)
        self._sigmas = edm_sigmas(spec.steps, **options)
        self.identity: dict[str, Any] = {"class": name, "library": "reprostore", "config": options}
        moments = self._sigmas[:-1]
        prediction_type, training = "", np.empty(0)
        if isinstance(model, DiffusersModel):
            reference = reference_scheduler(model)
            prediction_type = reference.config["prediction_type"]
            training = vp_sigmas(reference.alphas_cumprod)
            _check_reach(options["sigma_max"], float(training[-1]))
            moments = np.array([vp_timestep(float(sigma), training) for sigma in moments])
            self.identity["noise_schedule"] = schedule_config(reference)
        elif isinstance(model, Denoiser):
            if model.sigma_max is not None:
                _check_reach(options["sigma_max"], model.sigma_max)
            if model.conventions:
                self.identity["model"] = dict(model.conventions)
        self._denoise = as_denoiser(model, prediction_type, training)
        self.noise_scale = float(self._sigmas[0])
        self.stochastic = False
        self.steps = spec.recorded_steps()
        rows = list(self.steps)
        self.sigma = self._sigmas[rows]
        self.alpha = np.ones(len(rows))
        self.timestep = np.append(moments, np.nan)[rows]

    @torch.inference_mode()
    def sample(self, noise: torch.Tensor, generators: list[torch.Generator]) -> Iterator[State]:
        """Solve from noise to samples; see `reprostore.samplers.base.Sampler`."""
        del generators  # these solvers draw nothing
        x = noise.to(self._model.device, torch.float64) * self.noise_scale
        sigmas = self._sigmas.tolist()
        for step, (sigma, sigma_to) in enumerate(itertools.pairwise(sigmas)):
            denoised = self._denoise(x, sigma)
            if step in self.steps:
                yield self._state(step, x, denoised)
            slope = (x - denoised) / sigma
            x_to = x + (sigma_to - sigma) * slope
            if self._heun and sigma_to > 0:
                slope_to = (x_to - self._denoise(x_to, sigma_to)) / sigma_to
                x_to = x + (sigma_to - sigma) * (slope + slope_to) / 2
            x = x_to
        yield self._state(self._spec.steps, x, x)

    def _state(self, step: int, x: torch.Tensor, denoised: torch.Tensor) -> State:
        """Round a state to what is recorded."""
        dtype = state_dtype(self._model.dtype)
        return State(step, x.to(dtype), denoised.to(dtype) if self._spec.denoised else None)


def _checked(name: str, options: Mapping[str, Any]) -> dict[str, float]:
    """Return all options as floats."""
    check_options(name, options, _DEFAULTS)
    for key, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise SpecError(
                f"{name} has {key} = {value!r}.",
                f"{key} is a number above 0.",
                f"Correct or remove it; the default is {_DEFAULTS[key]}.",
            )
    resolved = {key: float(options.get(key, default)) for key, default in _DEFAULTS.items()}
    if resolved["sigma_min"] >= resolved["sigma_max"]:
        raise SpecError(
            f"{name} has sigma_min = {resolved['sigma_min']} and sigma_max = "
            f"{resolved['sigma_max']}.",
            "sigma_min is below sigma_max.",
            "Correct the sampler's options.",
        )
    return resolved


def _check_reach(sigma_max: float, trained: float) -> None:
    """Refuse more noise than a network was trained with, where its output means nothing."""
    if sigma_max > trained:
        raise SpecError(
            f"The sampler starts at sigma_max = {sigma_max:g}; the network was trained up to "
            f"{trained:g}.",
            "sigma_max is not above the highest noise level of the model's noise schedule.",
            f"Set sigma_max = {math.floor(trained * 100) / 100:g} in the sampler's options.",
        )
