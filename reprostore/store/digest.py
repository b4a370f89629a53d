"""The digest of a seed's recorded states, which is stored beside them."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


class SeedDigests:
    """Digests of the states of several seeds, as they arrive step by step.

    blake2b with 8 bytes, read as a little-endian number, over the little-endian bytes in C order:
    for each recorded step the sample, then its `denoised` where it is recorded.

    Parameters
    ----------
    count : int
        Number of seeds.
    """

    def __init__(self, count: int) -> None:
        self._hashers = [hashlib.blake2b(digest_size=8) for _ in range(count)]

    def add(self, *states: NDArray[Any]) -> None:
        """Take the arrays of one recorded step, each (seed, *sample_shape) in the stored dtype."""
        for state in states:
            little = np.ascontiguousarray(state, dtype=state.dtype.newbyteorder("<"))
            for hasher, values in zip(self._hashers, little, strict=True):
                hasher.update(values.data)

    def values(self) -> NDArray[np.uint64]:
        """Return the digests, (seed,)."""
        found = [int.from_bytes(hasher.digest(), "little") for hasher in self._hashers]
        return np.asarray(found, dtype=np.uint64)
