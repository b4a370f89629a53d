"""What a sampler is to the generator."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class State:
    """One recorded state of a batch.

    Attributes
    ----------
    step : int
        Number of full solver steps taken.
    sample : torch.Tensor
        (batch, *sample_shape) on the model's device, float32 (float64 if the model computes in
        float64), not clipped.
    denoised : torch.Tensor or None
        The model's x̂_0 at `sample`, of the same shape, where the sampler records it. In the last
        state it is `sample` if no noise is left, else NaN.
    """

    step: int
    sample: "torch.Tensor"
    denoised: "torch.Tensor | None"


class Sampler(Protocol):
    """A solver with its number of steps, bound to a model.

    Attributes
    ----------
    identity : dict
        All resolved values that determine the samples.
    noise_scale : float
        The first state is this times the noise.
    stochastic : bool
        Whether noise is drawn after the first state.
    steps : tuple of int
        The recorded steps.
    alpha, sigma, timestep : numpy.ndarray
        (len(steps),) float64: x_k ≈ alpha (x_0 + sigma ε), and with what the model is next called
        on x_k (the noise level itself for a denoiser under EDM's solvers; NaN in the last row).
    """

    @property
    def identity(self) -> dict[str, Any]: ...  # noqa: D102
    @property
    def noise_scale(self) -> float: ...  # noqa: D102
    @property
    def stochastic(self) -> bool: ...  # noqa: D102
    @property
    def steps(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def alpha(self) -> np.ndarray: ...  # noqa: D102
    @property
    def sigma(self) -> np.ndarray: ...  # noqa: D102
    @property
    def timestep(self) -> np.ndarray: ...  # noqa: D102

    def sample(self, noise: "torch.Tensor", generators: "list[torch.Generator]") -> Iterator[State]:
        """Solve from noise to samples.

        Parameters
        ----------
        noise : torch.Tensor
            (batch, *sample_shape) from `reprostore.noise.initial_noise`, on any device.
        generators : list of torch.Generator
            Those that drew the noise; stochastic solvers go on drawing from them.

        Yields
        ------
        State
            The recorded states, in the order of `steps`.
        """
        ...
