"""What samplers see of a model: a network under a noise schedule, or a denoiser of noise levels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, kw_only=True)
class Model:
    """What both families of models have in common.

    Attributes
    ----------
    sample_shape : tuple of int
        Shape of one sample.
    device : torch.device
        Where it computes.
    dtype : torch.dtype
        In what it computes.
    scheduler_config : mapping, optional
        Config of a diffusers scheduler. Its noise schedule is the one that the model was trained
        with; diffusers' solvers need it.
    sample_dims : tuple of str
        Names of the dimensions of one sample.
    kind : str
        What a sample is.
    """

    sample_shape: tuple[int, ...]
    device: torch.device
    dtype: torch.dtype
    scheduler_config: Mapping[str, Any] | None = None
    sample_dims: tuple[str, ...] = ("channel", "y", "x")
    kind: str = "image"


@dataclass(frozen=True, kw_only=True)
class DiffusersModel(Model):
    """A network called as ``network(sample, timestep).sample``.

    The sample is x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε, the output is what the scheduler config's
    `prediction_type` says.

    Attributes
    ----------
    network : callable
        Usually a diffusers ModelMixin in evaluation mode.
    """

    network: Callable[..., Any]

    def output(self, x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """Return the network's output.

        Parameters
        ----------
        x : torch.Tensor
            (batch, *sample_shape), the scaled input of any floating dtype.
        timestep : torch.Tensor
            One for all samples, (), or one each, (batch,).

        Returns
        -------
        torch.Tensor
            (batch, *sample_shape) in the dtype of `x`.
        """
        output: torch.Tensor = self.network(x.to(self.dtype), timestep).sample
        return output.to(x.dtype)


@dataclass(frozen=True, kw_only=True)
class Denoiser(Model):
    """A denoiser in EDM form, D(x, σ) → x̂_0 for x = x_0 + σ ε.

    Attributes
    ----------
    denoise : callable
        Takes x, (batch, *sample_shape) in `dtype`, and σ > 0, (batch,) in the solver's dtype
        (float64 if `dtype` is, else float32); returns x̂_0 of the shape of x.
    """

    denoise: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

    def __call__(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """Return x̂_0 at one noise level, in the dtype of `x`."""
        levels = torch.full((len(x),), sigma, dtype=state_dtype(self.dtype), device=x.device)
        return self.denoise(x.to(self.dtype), levels).to(x.dtype)


def state_dtype(compute: torch.dtype) -> torch.dtype:
    """Return in what a solver keeps its state: float32 even where the model computes in half."""
    return torch.float64 if compute == torch.float64 else torch.float32
