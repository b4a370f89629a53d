"""The items that a closed-form denoiser is made of, wherever they lie."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.images import from_uint8

IN_MEMORY = 256 * 2**20
"""Items of at most so many bytes are read once; more are read again for every call."""

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
        (start, stop) → items at these positions, (item, *shape), float32 in [-1, 1] or uint8.
    digest : str
        Says which items they are; empty where nobody has read them yet.
    itemsize : int
        Bytes of one value as it is read.
    """

    count: int
    shape: tuple[int, ...]
    read: Callable[[int, int], NDArray[Any]]
    digest: str = ""
    itemsize: int = 4

    @property
    def size(self) -> int:
        """Values of one item."""
        return int(np.prod(self.shape))

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Read block after block, (row, size) float32, always the same blocks."""
        rows = max(1, BLOCK_VALUES // self.size)
        for start in range(0, self.count, rows):
            stop = min(start + rows, self.count)
            yield _floats(self.read(start, stop)).reshape(stop - start, self.size)

    def cached(self) -> "Items":
        """Return the same items, from memory if they are few enough.

        They are kept in float32 if that fits, else as they are read, which takes less for 8-bit
        images and some time to convert for every call.
        """
        values = self.count * self.size
        if values * self.itemsize > IN_MEMORY:
            return self
        kept = self.read(0, self.count)
        if values * 4 <= IN_MEMORY:
            kept = _floats(kept)
        return replace(self, read=lambda start, stop: kept[start:stop], itemsize=kept.itemsize)


def _floats(items: NDArray[Any]) -> NDArray[np.float32]:
    """Return items in [-1, 1]."""
    return from_uint8(items) if items.dtype == np.uint8 else items.astype(np.float32, copy=False)
