"""The noise contract `cpu-torch-normal-v1`: one CPU generator per sample, float32 normal noise.

It is the convention of diffusers' list of generators, so a sample in the store equals what a
diffusers pipeline returns for that seed.
"""

from collections.abc import Sequence

import numpy as np
import torch

from reprostore.errors import SpecError
from reprostore.seeds import SEED_LIMIT

PROBE_LENGTH = 8
"""How many of the first values of the noise are stored, to check that two samples are a pair."""


def sample_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """Return one CPU generator per seed.

    Parameters
    ----------
    seeds : sequence of int
        0 ≤ seed < 2**32: torch's CPU generator uses the low 32 bits only.

    Returns
    -------
    list of torch.Generator
        The initial noise is their first draw; stochastic samplers go on drawing from them.

    Raises
    ------
    SpecError
        A seed is negative or too large.
    """
    for seed in seeds:
        if not 0 <= seed < SEED_LIMIT:
            raise SpecError(
                f"The seed {seed} is out of range.",
                f"Seeds are whole numbers from 0 to {SEED_LIMIT - 1}.",
                "Choose a seed in that range.",
            )
    return [torch.Generator("cpu").manual_seed(int(seed)) for seed in seeds]


def initial_noise(
    generators: Sequence[torch.Generator], sample_shape: Sequence[int]
) -> torch.Tensor:
    """Draw the noise eps from which each sample starts.

    Parameters
    ----------
    generators : sequence of torch.Generator
        One fresh generator per sample, at least one.
    sample_shape : sequence of int
        Shape of one sample.

    Returns
    -------
    torch.Tensor
        (batch, *sample_shape) float32 on the CPU, standard normal.

    References
    ----------
    NVlabs/edm, ``generate.py::StackedRandomGenerator``; diffusers, ``randn_tensor``.
    """
    shape = tuple(sample_shape)
    return torch.stack(
        [torch.randn(shape, generator=each, dtype=torch.float32) for each in generators]
    )


def noise_probe(noise: torch.Tensor) -> np.ndarray:
    """Return the first values of each sample's noise.

    Parameters
    ----------
    noise : torch.Tensor
        (batch, *sample_shape), as `initial_noise` returns it.

    Returns
    -------
    numpy.ndarray
        (batch, PROBE_LENGTH) float32; NaN where a sample has fewer values.
    """
    first = noise.reshape(len(noise), -1)[:, :PROBE_LENGTH]
    probe = np.full((len(noise), PROBE_LENGTH), np.nan, dtype=np.float32)
    probe[:, : first.shape[1]] = first.cpu().numpy()
    return probe
