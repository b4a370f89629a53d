"""How a run is cut into work units, shards and chunks, and what it takes on disk."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from reprostore.specs import RunSpec

MIB = 2**20
UNIT_BYTES = 64 * MIB
UNIT_SEEDS = 512
SHARD_BYTES = 256 * MIB
CHUNK_BYTES = MIB
PROBE_LENGTH = 8
PROBE_TOLERANCE = 1e-3
"""Probes of equal noise differ in the last bits between processors, and by about 1 otherwise."""
HALF_PRECISION = 2.0**-10
"""Of its value, a probe may differ by this as well: twice the rounding of float16."""


def probes_agree(one: NDArray[np.floating], two: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Say which values of noise probes are of equal noise; NaN agrees with nothing.

    Parameters
    ----------
    one, two : ndarray, (…, probe)
        Probes of the same seeds.
    """
    larger = np.maximum(np.abs(one), np.abs(two))
    allowed = np.maximum(PROBE_TOLERANCE, HALF_PRECISION * larger)
    return np.asarray(np.abs(one - two) <= allowed, dtype=np.bool_)


def unit_length(batch_size: int, steps: int, sample_bytes: int) -> int:
    """Return how many consecutive slots of the seed axis one writer owns.

    U = B · max(1, min(⌊64 MiB / (B·K·b)⌋, ⌈512 / B⌉)): whole batches, so that seeds that are
    added later take the batch positions that they would have had from the start.

    Parameters
    ----------
    batch_size : int
        B, samples per forward pass.
    steps : int
        K, recorded steps.
    sample_bytes : int
        b, bytes of one stored state.
    """
    fitting = UNIT_BYTES // (batch_size * steps * sample_bytes)
    return batch_size * max(1, min(fitting, math.ceil(UNIT_SEEDS / batch_size)))


def nearest_divisor(number: int, target: float) -> int:
    """Return the divisor of `number` nearest to `target`, the smaller of two equally near."""
    divisors = [d for d in range(1, number + 1) if number % d == 0]
    return min(divisors, key=lambda divisor: (abs(divisor - target), divisor))


@dataclass(frozen=True)
class RunLayout:
    """Shapes of a run's arrays, from its batch size, recorded steps and sample shape.

    Attributes
    ----------
    batch_size, steps : int
        B and K.
    sample_shape : tuple of int
        Shape of one sample.
    dtype : str
        Stored dtype.
    denoised : bool
        Whether `denoised` is stored beside `sample`.
    """

    batch_size: int
    steps: int
    sample_shape: tuple[int, ...]
    dtype: str
    denoised: bool = False

    @classmethod
    def of(cls, spec: RunSpec) -> "RunLayout":
        """Return the layout of a run."""
        return cls(
            batch_size=spec.batch_size,
            steps=len(spec.steps),
            sample_shape=spec.sample_shape,
            dtype=spec.stored_dtype,
            denoised=spec.sampler_spec.denoised,
        )

    @property
    def sample_bytes(self) -> int:
        """Bytes of one stored state."""
        return math.prod(self.sample_shape) * np.dtype(self.dtype).itemsize

    @cached_property
    def unit(self) -> int:
        """Slots of one work unit."""
        return unit_length(self.batch_size, self.steps, self.sample_bytes)

    @cached_property
    def shard(self) -> tuple[int, int]:
        """Seeds and steps in one shard file of `sample`."""
        if self.unit * self.steps * self.sample_bytes <= SHARD_BYTES:
            return self.unit, self.steps
        fitting = SHARD_BYTES // (self.batch_size * self.sample_bytes)
        if fitting >= 1:
            return self.batch_size, min(fitting, self.steps)
        limit = max(1, SHARD_BYTES // self.sample_bytes)
        divisors = [d for d in range(1, self.batch_size + 1) if self.batch_size % d == 0]
        return max(d for d in divisors if d <= limit), 1

    @property
    def denoised_shard(self) -> tuple[int, int]:
        """Seeds and steps in one shard file of `denoised`: half as many steps as in `sample`.

        While one array's shard is compressed, the writer holds what it has of the other one's:
        with equal shards both would be full at once, and take more than four shards of memory.
        """
        return self.shard[0], math.ceil(self.shard[1] / 2)

    @cached_property
    def chunk(self) -> int:
        """Seeds in one chunk, which holds one step of them: near 1 MiB, a divisor of the shard."""
        return nearest_divisor(self.shard[0], CHUNK_BYTES / self.sample_bytes)

    def units(self, seeds: int) -> int:
        """Return the number of work units for a number of seeds."""
        return math.ceil(seeds / self.unit)

    def files(self, seeds: int) -> int:
        """Return the number of files that a complete run of so many seeds has."""
        data_arrays = [self.shard, self.denoised_shard] if self.denoised else [self.shard]
        shards = sum(
            math.ceil(seeds / shard[0]) * math.ceil(self.steps / shard[1]) for shard in data_arrays
        )
        per_unit_arrays = 4  # digest, session, noise_probe, status
        whole_arrays = 5  # seed, step, sigma, alpha, timestep: one chunk each
        metadata = len(data_arrays) + per_unit_arrays + whole_arrays + 1  # and the group's own
        return (
            shards
            + per_unit_arrays * self.units(seeds)
            + math.ceil(seeds / SEED_CHUNK)
            + whole_arrays
            - 1
            + metadata
        )

    def nbytes(self, seeds: int) -> int:
        """Return the uncompressed bytes of `sample` and `denoised` for so many seeds."""
        return seeds * self.steps * self.sample_bytes * (2 if self.denoised else 1)


SEED_CHUNK = 2**17
"""Length of the chunks of `seed`: one file up to 131,072 seeds, so that it is written whole."""
