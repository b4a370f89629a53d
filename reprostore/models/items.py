"""The items that a closed-form denoiser is made of, wherever they lie."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IN_MEMORY = 256 * 2**20
"""Items of at most so many bytes in float32 are read once; more are read again for every call."""

BLOCK_VALUES = 2**22
"""Values of one block, 32 MiB in float64."""


@dataclass(frozen=True)
class Items:
    """A set of items; their order does not matter.

    Attributes
    ----------
    count : int
        How many there are, N.
    shape : tuple of int
        Of one item.
    read : callable
        (start, stop) → items at these positions, (item, *shape) float32 in [-1, 1].
    digest : str
        Says which items they are; empty where nobody has read them yet.
    """

    count: int
    shape: tuple[int, ...]
    read: Callable[[int, int], NDArray[np.float32]]
    digest: str = ""

    @property
    def size(self) -> int:
        """Values of one item."""
        return int(np.prod(self.shape))

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Read block after block, (row, size) float32, always the same blocks."""
        rows = max(1, BLOCK_VALUES // self.size)
        for start in range(0, self.count, rows):
            stop = min(start + rows, self.count)
            yield self.read(start, stop).reshape(stop - start, self.size)

    def cached(self) -> "Items":
        """Return the same items, from memory if they are few enough."""
        if self.count * self.size * 4 > IN_MEMORY:
            return self
        kept = self.read(0, self.count)
        return Items(self.count, self.shape, lambda start, stop: kept[start:stop], self.digest)
