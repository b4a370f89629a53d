"""What is exported: numbered samples, items or vectors, read in any order and block by block."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reprostore.embed import EncoderHandle, stored_encoder
from reprostore.errors import MissingDataError
from reprostore.store import SampleStore

READ_BYTES = 32 * 2**20
"""What is read at a time, and so what an export takes of the memory."""


@dataclass(frozen=True)
class Selection:
    """Numbered things of one shape, read in any order.

    Attributes
    ----------
    kind : str
        "run" or "dataset".
    name : str
        How the store names them: model/sampler/condition, or items such as ``digits@0-63``.
    path : str
        Where they are exported to, below the folder of the export and without a suffix.
    key : str
        What the numbers are, "seeds" or "train_index".
    numbers : ndarray of int64, (number,)
        In increasing order.
    places : ndarray of int64, (number,)
        Where each lies in the store.
    shape : tuple of int
        Of one sample, item or vector.
    dtype : numpy.dtype
        In which they are stored.
    is_image : bool
        Whether the shape is (channel, y, x), of values in [-1, 1] or uint8.
    read : callable
        Reads those at an integer array of positions in `numbers`, (position, *shape).
    about : dict
        Where they come from, in JSON types.
    """

    kind: Literal["run", "dataset"]
    name: str
    path: str
    key: Literal["seeds", "train_index"]
    numbers: NDArray[np.int64]
    places: NDArray[np.int64]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_image: bool
    read: Callable[[NDArray[np.int64]], NDArray[Any]]
    about: dict[str, Any]

    @property
    def item_bytes(self) -> int:
        """Bytes of one sample, item or vector as it is stored."""
        return max(1, int(np.prod(self.shape)) * self.dtype.itemsize)

    def blocks(
        self, positions: NDArray[np.int64] | None = None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """Yield positions and what is there, about `READ_BYTES` at a time.

        Given positions come in the order of the store, so that nothing is read twice; all of them
        in their own.
        """
        if positions is None:
            positions = np.arange(len(self.numbers))
        else:
            positions = positions[np.argsort(self.places[positions])]
        rows = max(1, READ_BYTES // self.item_bytes)
        for start in range(0, len(positions), rows):
            part = positions[start : start + rows]
            yield part, self.read(part)


def exported_encoder(store: SampleStore, name: str) -> EncoderHandle:
    """Return an encoder of which the store holds vectors.

    Raises
    ------
    MissingDataError
        It holds none of this name.
    SpecError
        Vectors of this name come from different encoders.
    """
    handle = stored_encoder(store, name)
    if handle is None:
        known = ", ".join(store.files.folders("embeddings")) or "none yet"
        raise MissingDataError(
            f"The store {store.path} holds no vectors of the encoder {name!r}.",
            f"It holds vectors of these encoders: {known}.",
            f"Name one of these, or make vectors with `repro analyze … --encoder {name}`.",
        )
    return handle


def vector_span(dimension: int) -> int:
    """Return how many vectors are read together."""
    return max(1, READ_BYTES // (4 * dimension))


def gathered(
    read: Callable[[NDArray[np.int64]], NDArray[Any]], places: NDArray[np.int64], span: int
) -> NDArray[Any]:
    """Read what is at places in any order; those in one span are read together, ascending."""
    order = np.argsort(places)
    spans = places[order] // span
    parts = np.split(order, np.flatnonzero(np.diff(spans)) + 1)
    if len(parts) == 1 and (np.diff(order) == 1).all():
        return read(places)
    block: NDArray[Any] | None = None
    for part in parts:
        values = read(places[part])
        if block is None:
            block = np.empty((len(places), *values.shape[1:]), dtype=values.dtype)
        block[part] = values
    assert block is not None  # there is at least one place
    return block
