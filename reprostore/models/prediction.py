"""What a network under a variance-preserving schedule predicts, and the adapters each way.

| variable   | symbol | meaning                                              |
|------------|--------|------------------------------------------------------|
| x          | x_t    | α x_0 + σ̃ ε, with α² + σ̃² = 1                         |
| alpha      | α      | √ᾱ_t                                                 |
| noise      | σ̃      | √(1 − ᾱ_t)                                           |
| sigma      | σ      | σ̃/α, the noise level of EDM: x_t = α (x_0 + σ ε)     |
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from reprostore.models.base import Denoiser, DiffusersModel, Model, state_dtype

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")


@dataclass(frozen=True)
class NoiseLevel:
    """The noise level at which a network is called.

    Attributes
    ----------
    sigma : float
        σ ≥ 0; infinite at pure noise.
    """

    sigma: float

    @property
    def alpha(self) -> float:
        """α, the signal's share."""
        return 1 / math.sqrt(1 + self.sigma**2)

    @property
    def noise(self) -> float:
        """σ̃, the noise's share."""
        return 1 / math.sqrt(1 + self.sigma**-2) if self.sigma > 0 else 0.0


def denoised_from_output(
    prediction_type: str, x: torch.Tensor, output: torch.Tensor, level: NoiseLevel
) -> torch.Tensor:
    """Return x̂_0 = (x − σ̃ e)/α, α x − σ̃ v, or the output itself.

    Parameters
    ----------
    prediction_type : str
        One of `PREDICTION_TYPES`.
    x, output : torch.Tensor
        (batch, *sample_shape): what went into the network (scaled), and what came out.
    level : NoiseLevel
        Of `x`.

    Returns
    -------
    torch.Tensor
        (batch, *sample_shape); nothing is clipped.

    References
    ----------
    Ho et al. 2020, eq. 15 (ε); Salimans & Ho 2022, section 4 and appendix D (v).
    """
    if prediction_type == "epsilon":
        return (x - level.noise * output) / level.alpha
    if prediction_type == "v_prediction":
        return level.alpha * x - level.noise * output
    return output


def output_from_denoised(
    prediction_type: str, x: torch.Tensor, denoised: torch.Tensor, level: NoiseLevel
) -> torch.Tensor:
    """Return what a network would have put out: the inverse of `denoised_from_output`.

    v is written through ε, v = α ε − σ̃ x̂_0, which stays accurate for small σ̃.
    """
    if prediction_type == "sample":
        return denoised
    epsilon = (x - level.alpha * denoised) / level.noise
    if prediction_type == "epsilon":
        return epsilon
    return level.alpha * epsilon - level.noise * denoised


Predictor = Callable[[torch.Tensor, torch.Tensor, NoiseLevel], torch.Tensor]
"""(scaled x, timestep, level of x) → network output, in the dtype of x."""


def as_network(model: Model, prediction_type: str) -> Predictor:
    """Let diffusers' solvers call a model of either family.

    Parameters
    ----------
    model : Model
        A `DiffusersModel` is called with the timestep; a `Denoiser` with the solver's exact σ,
        never with a rounded timestep.
    prediction_type : str
        What the solver takes the output for.

    Returns
    -------
    callable
        (x, timestep, level) → output.
    """
    if isinstance(model, DiffusersModel):
        network = model
        return lambda x, timestep, _level: network.output(x, timestep)
    assert isinstance(model, Denoiser)
    denoiser = model

    def predict(x: torch.Tensor, _timestep: torch.Tensor, level: NoiseLevel) -> torch.Tensor:
        denoised = denoiser(x / level.alpha, level.sigma)
        return output_from_denoised(prediction_type, x, denoised, level)

    return predict


def vp_sigmas(alphas_cumprod: torch.Tensor) -> np.ndarray:
    """Return σ_t = √((1 − ᾱ_t)/ᾱ_t) of every training timestep, float64; the last may be inf."""
    alpha_bar = alphas_cumprod.detach().cpu().numpy().astype(np.float64)
    with np.errstate(divide="ignore"):
        sigmas: np.ndarray = np.sqrt((1 - alpha_bar) / alpha_bar)
    return sigmas


def vp_timestep(sigma: float, sigmas: np.ndarray) -> float:
    """Return the continuous timestep of a noise level, by interpolation of log σ over t.

    Parameters
    ----------
    sigma : float
        The noise level. Below the schedule's lowest it counts as timestep 0.
    sigmas : numpy.ndarray
        (timesteps,) increasing, from `vp_sigmas`.

    Returns
    -------
    float
        From 0 to timesteps − 1.

    References
    ----------
    k-diffusion, ``external.py::DiscreteSchedule.sigma_to_t``.
    """
    return float(np.interp(math.log(sigma), np.log(sigmas), np.arange(len(sigmas))))


def as_denoiser(
    model: Model, prediction_type: str, sigmas: np.ndarray
) -> Callable[[torch.Tensor, float], torch.Tensor]:
    """Let EDM's solvers call a model of either family.

    A network is called at the continuous timestep of σ, its input scaled by the true σ. Below
    the lowest noise level that the network was trained on, only the timestep is clamped to 0.

    Parameters
    ----------
    model : Model
        A `Denoiser` is called as it is.
    prediction_type : str
        What the network predicts.
    sigmas : numpy.ndarray
        (timesteps,) noise levels of the network's training schedule.

    Returns
    -------
    callable
        (x, σ) → x̂_0 in the dtype of x.

    References
    ----------
    k-diffusion, ``external.py::DiscreteEpsDDPMDenoiser``.
    """
    if isinstance(model, Denoiser):
        return model
    assert isinstance(model, DiffusersModel)
    network = model

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        level = NoiseLevel(sigma)
        scaled = x * level.alpha
        timestep = torch.tensor(vp_timestep(sigma, sigmas), dtype=state_dtype(network.dtype))
        output = network.output(scaled, timestep)
        return denoised_from_output(prediction_type, scaled, output, level)

    return denoise
