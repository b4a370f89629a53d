"""What samplers see of a model: a network under a noise schedule, or a denoiser of noise levels."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
        return network_output(self.network, x, timestep, self.dtype)


@dataclass(frozen=True, kw_only=True)
class Denoiser(Model):
    """A denoiser in EDM form, D(x, σ) → x̂_0 for x = x_0 + σ ε.

    Attributes
    ----------
    denoise : callable
        Takes x, (batch, *sample_shape) in `dtype`, and σ > 0, (batch,) in the solver's dtype
        (float64 if `dtype` is, else float32); returns x̂_0 of the shape of x.
    sigma_max : float, optional
        The highest σ at which D is defined. ∞ includes pure noise itself, from which flow matching
        starts: there `denoise` is given ε for x, and returns the limit, which for an ideal
        denoiser is the mean of the data. None: any finite σ.
    network : callable, optional
        What computes in it, where that is one network: its parameters are counted.
    conventions : mapping
        What determines D beside the weights; part of the identity of a run.
    flow_config : mapping, optional
        Config of the FlowMatchEulerDiscreteScheduler with which `network` was trained. Flow
        matching then calls ``network(x_t, timestep).sample``, the velocity, as it is.
    takes_state : bool
        Whether x is given to `denoise` in the solver's dtype, and rounded to `dtype` there: in
        half precision, x itself is part of what a preconditioned network returns.
    """

    denoise: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    sigma_max: float | None = None
    network: Callable[..., Any] | None = None
    conventions: Mapping[str, Any] = field(default_factory=dict)
    flow_config: Mapping[str, Any] | None = None
    takes_state: bool = False

    def __call__(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """Return x̂_0 at one noise level, in the dtype of `x`; at σ = ∞, `x` is ε."""
        state = state_dtype(self.dtype)
        levels = torch.full((len(x),), sigma, dtype=state, device=x.device)
        return self.denoise(x.to(state if self.takes_state else self.dtype), levels).to(x.dtype)

    def reaches(self, sigma: float) -> bool:
        """Return whether D is defined at a noise level."""
        return math.isfinite(sigma) if self.sigma_max is None else sigma <= self.sigma_max


def network_output(
    network: Callable[..., Any], x: torch.Tensor, timestep: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """Call a network of diffusers in its dtype; return the output in the dtype of `x`."""
    output: torch.Tensor = network(x.to(dtype), timestep).sample
    return output.to(x.dtype)


def state_dtype(compute: torch.dtype) -> torch.dtype:
    """Return in what a solver keeps its state: float32 even where the model computes in half."""
    return torch.float64 if compute == torch.float64 else torch.float32
