"""What the items of a dataset are, whatever they are called: one digest of all of them."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.canonical import fingerprint
from reprostore.datasets.sources import Source

_BLOCK_BYTES = 2**24


class Content:
    """A digest of items that are read block after block; the blocks do not change it."""

    def __init__(self) -> None:
        self._hasher = hashlib.blake2b(digest_size=16)

    def add(self, block: NDArray[Any]) -> None:
        """Take in the next items, (item, channel, y, x)."""
        self._hasher.update(np.ascontiguousarray(block, block.dtype.newbyteorder("<")).data)

    def fingerprint(self, source: Source) -> str:
        """Return the digest, once all items of the source are taken in: 32 hexadecimal digits."""
        shape = (source.length, *source.item_shape)
        return self.finished(shape, str(source.dtype), source.labels)

    def finished(self, shape: tuple[int, ...], dtype: str, labels: NDArray[np.int64] | None) -> str:
        """Return the digest, once all items are taken in: 32 hexadecimal digits.

        Parameters
        ----------
        shape : tuple of int
            (item, channel, y, x).
        dtype : str
            Of the items.
        labels : ndarray of int64, optional
            One per item.
        """
        if labels is not None:
            self._hasher.update(np.asarray(labels).astype("<i8").tobytes())
        return fingerprint({"shape": shape, "dtype": dtype, "content": self._hasher.hexdigest()})


def source_fingerprint(source: Source) -> str:
    """Return the fingerprint that a dataset would have in a store, without writing it there.

    Raises
    ------
    DatasetError
        An image file or a chunk is damaged.
    """
    content = Content()
    item_bytes = int(np.prod(source.item_shape)) * source.dtype.itemsize
    for block in source.blocks(max(1, _BLOCK_BYTES // item_bytes)):
        content.add(block)
    return content.fingerprint(source)
