"""Items as they lie in a source, before they are ordered, laid out and scaled."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import DatasetError

Rows = slice | NDArray[np.int64]

SCAN_BYTES = 16 * 2**20
"""How much is read at a time to find the range of the values."""


@dataclass(frozen=True)
class Items:
    """Items of a source in its own order, axes and values.

    Attributes
    ----------
    what : str
        How messages name the source.
    shape : tuple of int
        Shape of all items together; the first axis counts them.
    dtype : numpy.dtype
        Data type as stored in the source.
    read : callable
        Reads a slice of items, or the items of an ascending integer array.
    labels : ndarray of int64, optional
        One per item, in the source's order.
    provenance : dict
        What is worth keeping about the source, in JSON types.
    value_range : tuple of float, optional
        The values of black and white, where the source is known to have them.
    gather_bytes : int
        How much is best read in one go when the items are wanted in another order than the
        source's own: for chunked sources every such read touches all chunks.
    """

    what: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[Rows], NDArray[Any]]
    labels: NDArray[np.int64] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    value_range: tuple[float, float] | None = None
    gather_bytes: int = 0

    @property
    def item_bytes(self) -> int:
        """Bytes of one item in the source."""
        return max(1, int(np.prod(self.shape[1:])) * self.dtype.itemsize)

    def scan(self) -> tuple[float, float]:
        """Read everything once and return the lowest and the highest value.

        Raises
        ------
        DatasetError
            A value is NaN or infinite; the first such item is named.
        """
        low, high = np.inf, -np.inf
        for first, block in self._blocks():
            if block.dtype.kind == "f" and not np.isfinite(block).all():
                bad = np.flatnonzero(~np.isfinite(block.reshape(len(block), -1)).all(axis=1))
                raise DatasetError(
                    f"Item {first + int(bad[0])} of {self.what} contains NaN or infinite values.",
                    "All values of a dataset are finite.",
                    "Mend or remove this item (items are counted from 0 in the source's order).",
                )
            low, high = min(low, float(block.min())), max(high, float(block.max()))
        return low, high

    def _blocks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        rows = max(1, SCAN_BYTES // self.item_bytes)
        for first in range(0, self.shape[0], rows):
            yield first, self.read(slice(first, min(first + rows, self.shape[0])))


def unreadable(what: str, reason: object) -> DatasetError:
    """Return the error for a source that is damaged or not of its kind."""
    return DatasetError(
        f"{what[0].upper()}{what[1:]} cannot be read: {str(reason).rstrip('.') or 'it is empty'}.",
        "The file is complete and of the kind that its name says; pickled objects are never read.",
        "Copy or write the file again.",
    )
