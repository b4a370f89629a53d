"""First values of the noise of `cpu-torch-normal-v1`, drawn without torch.

A store is checked where torch is not installed. NumPy has the generator of torch's CPU, and its
seeding; what torch makes of the numbers is done here in double precision, so that values agree to
the last bits of float32.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reprostore.layout import PROBE_LENGTH

_BLOCK = 16
"""torch draws tensors of at least so many values in blocks: the first half of a block's uniform
numbers gives radii, the second half angles."""


def seed_probes(
    seeds: Sequence[int] | NDArray[np.int64], sample_shape: Sequence[int]
) -> NDArray[np.float32]:
    """Return the first values of ``torch.randn(sample_shape)`` for each seed.

    Parameters
    ----------
    seeds : sequence of int
        0 ≤ seed < 2**32.
    sample_shape : sequence of int
        Shape of one sample; of fewer than 24 values all take part in the first ones.

    Returns
    -------
    ndarray of float32, (seed, PROBE_LENGTH)
        NaN where a sample has fewer values.

    References
    ----------
    PyTorch, ``aten/src/ATen/native/cpu/DistributionTemplates.h``, ``normal_fill``;
    ``aten/src/ATen/core/DistributionsHelper.h``, ``normal_distribution``; Box and Muller, "A note
    on the generation of random normal deviates", 1958.
    """
    count = math.prod(sample_shape)
    probes = np.full((len(seeds), PROBE_LENGTH), np.nan, dtype=np.float32)
    length = min(PROBE_LENGTH, count)
    if count < _BLOCK:
        probes[:, :length] = _one_by_one(_raw(seeds, 4 * -(-length // 2)))[:, :length]
        return probes
    probes[:, :length] = _block(_raw(seeds, _BLOCK))[:, :length]
    first = count - _BLOCK  # of the block that is drawn anew at the end of an uneven tensor
    if count % _BLOCK and first < length:
        anew = _block(_raw(seeds, count + _BLOCK)[:, count:])
        probes[:, first:length] = anew[:, : length - first]
    return probes


def _raw(seeds: Sequence[int] | NDArray[np.int64], count: int) -> NDArray[np.uint64]:
    """Return the first numbers of 32 bits of mt19937 for each seed, (seed, count)."""
    generator = np.random.MT19937(0)
    seeding = np.random.RandomState(generator)  # it seeds as torch does
    raw = np.empty((len(seeds), count), dtype=np.uint64)
    for row, seed in zip(raw, seeds, strict=True):
        seeding.seed(int(seed))
        row[:] = generator.random_raw(count)
    return raw


def _block(raw: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Turn 16 numbers of 32 bits a row into 16 normal values; their low 24 bits count."""
    uniform = (raw & np.uint64(2**24 - 1)).astype(np.float64) * 2.0**-24
    half = _BLOCK // 2
    radius = np.sqrt(-2 * np.log1p(-uniform[:, :half]))
    angle = 2 * np.pi * uniform[:, half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _one_by_one(raw: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Turn 4 numbers of 32 bits into 2 normal values, each; two numbers give 53 bits."""
    joined = (raw[:, 0::2] << np.uint64(32)) | raw[:, 1::2]
    uniform = (joined & np.uint64(2**53 - 1)).astype(np.float64) * 2.0**-53
    radius = np.sqrt(-2 * np.log1p(-uniform[:, 1::2]))
    angle = 2 * np.pi * uniform[:, 0::2]
    values = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    return values.reshape(len(raw), raw.shape[1] // 2)
