"""Models of Gaussian data, for which everything is known, and a small random checkpoint.

For pixels x_0 ~ N(m, v), independent of each other, and x = x_0 + σ ε:

- the denoiser is D(x, σ) = m + v/(v + σ²) (x − m);
- the probability flow takes x at σ_a to m + √((v + σ_b²)/(v + σ_a²)) (x − m) at σ_b.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import torch

from reprostore.models.base import Denoiser, DiffusersModel
from reprostore.models.prediction import vp_sigmas

DDPM_CONFIG: Mapping[str, Any] = {
    "_class_name": "DDPMScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "clip_sample": False,
    "prediction_type": "epsilon",
}
"""Scheduler config of the schedule of Ho et al. 2020, without clipping."""


def gaussian_denoised(
    x: torch.Tensor, sigma: torch.Tensor | float, mean: torch.Tensor, variance: torch.Tensor
) -> torch.Tensor:
    """Return E[x_0 | x] for x = x_0 + σ ε and Gaussian x_0.

    Parameters
    ----------
    x : torch.Tensor
        (batch, *sample_shape).
    sigma : torch.Tensor or float
        σ, broadcasting against `x`.
    mean, variance : torch.Tensor
        (*sample_shape), of the data.

    Returns
    -------
    torch.Tensor
        (batch, *sample_shape).
    """
    return mean + variance / (variance + sigma**2) * (x - mean)


def gaussian_flow(
    x: torch.Tensor, start: float, end: float, mean: torch.Tensor, variance: torch.Tensor
) -> torch.Tensor:
    """Carry x from the noise level `start` to `end` along the exact probability flow."""
    return mean + torch.sqrt((variance + end**2) / (variance + start**2)) * (x - mean)


class GaussianNetwork(torch.nn.Module):
    """A network in diffusers' form whose output is exact for Gaussian data.

    Parameters
    ----------
    mean, variance : torch.Tensor
        (*sample_shape), of the data.
    noise_level : callable
        Timestep → σ = √((1 − ᾱ)/ᾱ); see `timestep_noise_level`.
    prediction_type : str
        "epsilon", "v_prediction" or "sample".
    """

    def __init__(
        self,
        mean: torch.Tensor,
        variance: torch.Tensor,
        noise_level: Callable[[float], float],
        prediction_type: str = "epsilon",
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("variance", variance)
        self.noise_level = noise_level
        self.prediction_type = prediction_type
        self.timesteps: list[float] = []

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor) -> SimpleNamespace:
        """Return an object whose `sample` is the exact prediction; remember the timestep."""
        moment = float(timestep.reshape(-1)[0])
        self.timesteps.append(moment)
        sigma = self.noise_level(moment)
        alpha = (1 + sigma**2) ** -0.5
        noise = sigma * alpha
        # A tensor stands where the closed form is typed for arrays.
        denoised = gaussian_denoised(sample / alpha, sigma, self.mean, self.variance)  # type: ignore[arg-type]
        epsilon = (sample - alpha * denoised) / noise
        prediction = {
            "epsilon": epsilon,
            "v_prediction": alpha * epsilon - noise * denoised,
            "sample": denoised,
        }[self.prediction_type]
        return SimpleNamespace(sample=prediction)


def timestep_noise_level(scheduler_config: Mapping[str, Any]) -> Callable[[float], float]:
    """Return σ as a function of the timestep, linear between whole timesteps.

    Parameters
    ----------
    scheduler_config : mapping
        Config of a DDPMScheduler.

    Returns
    -------
    callable
        Timestep → σ.
    """
    sigmas = vp_sigmas(diffusers.DDPMScheduler.from_config(dict(scheduler_config)).alphas_cumprod)

    def level(timestep: float) -> float:
        low = min(int(timestep), len(sigmas) - 2)
        return float(sigmas[low] + (timestep - low) * (sigmas[low + 1] - sigmas[low]))

    return level


def gaussian_network(
    mean: torch.Tensor,
    variance: torch.Tensor,
    noise_level: Callable[[float], float],
    prediction_type: str = "epsilon",
    **config: Any,  # noqa: ANN401
) -> DiffusersModel:
    """Return the exact network of Gaussian data as a model.

    Parameters
    ----------
    mean, variance : torch.Tensor
        (*sample_shape), of the data; their device and dtype are those of the model.
    noise_level : callable
        Timestep → σ.
    prediction_type : str
        What the network predicts.
    **config
        Values of the scheduler config other than those of `DDPM_CONFIG`.

    Returns
    -------
    DiffusersModel
        Its `network` is a `GaussianNetwork`.
    """
    return DiffusersModel(
        network=GaussianNetwork(mean, variance, noise_level, prediction_type),
        sample_shape=tuple(mean.shape),
        device=mean.device,
        dtype=mean.dtype,
        scheduler_config={**DDPM_CONFIG, "prediction_type": prediction_type, **config},
    )


def gaussian_denoiser(
    mean: torch.Tensor,
    variance: torch.Tensor,
    scheduler_config: Mapping[str, Any] | None = None,
) -> Denoiser:
    """Return the exact denoiser of Gaussian data as a model.

    Parameters
    ----------
    mean, variance : torch.Tensor
        (*sample_shape), of the data; their device and dtype are those of the model.
    scheduler_config : mapping, optional
        A noise schedule, for use with diffusers' solvers.

    Returns
    -------
    Denoiser
        The model.
    """

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return gaussian_denoised(x, sigma.reshape(-1, *[1] * mean.ndim), mean, variance)

    return Denoiser(
        denoise=denoise,
        sigma_max=math.inf,
        sample_shape=tuple(mean.shape),
        device=mean.device,
        dtype=mean.dtype,
        scheduler_config=scheduler_config,
    )


def tiny_checkpoint(
    folder: Path,
    *,
    seed: int = 0,
    sample_size: int = 8,
    channels: int = 1,
    scheduler: Mapping[str, Any] | None = DDPM_CONFIG,
    **config: Any,  # noqa: ANN401
) -> Path:
    """Write a small random UNet2DModel as a diffusers folder.

    Parameters
    ----------
    folder : Path
        Where; it is made.
    seed : int
        Seed of the random weights.
    sample_size, channels : int
        Shape of a sample.
    scheduler : mapping, optional
        Content of scheduler_config.json; None writes none.
    **config
        Further values of the UNet2DModel's config.

    Returns
    -------
    Path
        The folder.
    """
    values: dict[str, Any] = {
        "sample_size": sample_size,
        "in_channels": channels,
        "out_channels": channels,
        "block_out_channels": (8, 8),
        "down_block_types": ("DownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "UpBlock2D"),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 4,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        diffusers.UNet2DModel(**(values | config)).save_pretrained(folder)
    if scheduler is not None:
        path = folder / "scheduler_config.json"
        path.write_text(json.dumps(dict(scheduler), indent=2) + "\n", encoding="utf-8")
    return folder
