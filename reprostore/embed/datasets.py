"""Vectors of a dataset's items, kept in the store and made where they are missing."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reprostore.embed.handle import EncoderHandle, Progress, checked_vectors, damaged, is_named
from reprostore.embed.pairwise import refuse_too_large
from reprostore.encoders import Encoder
from reprostore.errors import CorruptionError
from reprostore.images import to_uint8
from reprostore.ingest import StoredDataset
from reprostore.store import SampleStore
from reprostore.store.arrays import create_array, open_array, read_whole
from reprostore.store.forms import check_rows
from reprostore.store.groups import staged_group, storage_errors, sweep_partial
from reprostore.store.labelled import read_attributes
from reprostore.store.locks import locked

if TYPE_CHECKING:
    import zarr

BLOCK_ROWS = 1024
"""Items that are encoded between two writes."""


def embed_dataset(
    store: SampleStore,
    encoder: EncoderHandle,
    dataset: StoredDataset,
    progress: Progress | None = None,
) -> "DatasetVectors":
    """Encode all items of a dataset, unless the store has their vectors.

    Parameters
    ----------
    store : SampleStore
        The store; opened for writing where vectors are missing.
    encoder : EncoderHandle
        The encoder.
    dataset : StoredDataset
        The dataset.
    progress : callable, optional
        Called after every block with a name, the finished and all items.

    Returns
    -------
    DatasetVectors
        (train_index, embedding) float32, read by slices.
    """
    group = f"embeddings/{encoder.name}/datasets/{dataset.name}"
    origin = {"encoder": encoder.fingerprint, "dataset": dataset.fingerprint}
    finished = _finished_blocks(store, encoder, group, origin)
    if finished is None or not finished.all():
        what = f"items of the dataset {dataset.name!r}"
        dataset.require_items()  # vectors of items that are not here are never replaced
        loaded = encoder.load(dataset.item_shape, store, what)
        refuse_too_large(encoder, len(dataset), loaded.dimension, what)
        with locked(store.path, group), storage_errors(store.path):
            _encode_dataset(store, (encoder, loaded), dataset, group, origin, progress)
    return DatasetVectors(store, encoder, dataset, group)


def _finished_blocks(
    store: SampleStore, encoder: EncoderHandle, group: str, origin: dict[str, str]
) -> NDArray[np.uint8] | None:
    """Return which blocks are encoded, or None where nothing that stands there can be used."""
    attributes = read_attributes(store.path, group)
    if attributes is None or attributes.get("made_from") != origin:
        return None
    if not is_named(attributes, encoder.name):
        return None
    try:
        vector = open_array(store.zarr_store, f"{group}/vector", _check_vectors)
        done = open_array(store.zarr_store, f"{group}/block_done", lambda a: check_rows(a, "uint8"))
        blocks = -(-vector.shape[0] // vector.chunks[0])
        return read_whole(done) if done.shape == (blocks,) else None
    except CorruptionError:  # it is not known which vectors are whole
        return None


def _encode_dataset(
    store: SampleStore,
    encoders: tuple[EncoderHandle, Encoder],
    dataset: StoredDataset,
    group: str,
    origin: dict[str, str],
    progress: Progress | None,
) -> None:
    encoder, loaded = encoders
    blocks = -(-len(dataset) // BLOCK_ROWS)
    sweep_partial(store.path, group)
    finished = _finished_blocks(store, encoder, group, origin)
    if finished is None:
        finished = np.zeros(blocks, dtype=np.uint8)
        with staged_group(store.path, group) as staging:
            create_array(
                staging.store,
                "vector",
                shape=(len(dataset), loaded.dimension),
                dims=("train_index", "embedding"),
                dtype="float32",
                chunks=(BLOCK_ROWS, loaded.dimension),
            )
            create_array(
                staging.store,
                "block_done",
                shape=(blocks,),
                dims=("block",),
                dtype="uint8",
                chunks=(blocks,),
            )
            staging.attributes["made_from"] = origin
            staging.attributes["encoder"] = encoder.identity
            staging.attributes["name"] = encoder.name
    vector = open_array(store.zarr_store, f"{group}/vector")
    done = open_array(store.zarr_store, f"{group}/block_done")
    for block in np.flatnonzero(finished == 0).tolist():
        rows = slice(block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, len(dataset)))
        items = to_uint8(dataset.read(rows))
        vectors = np.concatenate(
            [
                loaded.encode(items[start : start + loaded.batch_size])
                for start in range(0, len(items), loaded.batch_size)
            ]
        )
        what = f"items {rows.start} to {rows.stop - 1} of the dataset {dataset.name!r}"
        vector[rows] = checked_vectors(vectors, encoder.name, what)
        done[block : block + 1] = np.ones(1, dtype=np.uint8)
        if progress is not None:
            progress(f"{encoder.name}: {dataset.name}", rows.stop, len(dataset))


def _check_vectors(array: "zarr.Array[Any]") -> None:
    check_rows(array, "float32")


class DatasetVectors:
    """The vectors of a dataset in the store, read by slices, (train_index, embedding) float32."""

    def __init__(
        self, store: SampleStore, encoder: EncoderHandle, dataset: StoredDataset, group: str
    ) -> None:
        self._store = store
        self._encoder = encoder
        self._dataset = dataset
        self._group = group
        try:
            self._array = open_array(store.zarr_store, f"{group}/vector", _check_vectors)
        except CorruptionError as error:
            raise damaged(store, group, str(error), withheld=dataset.withheld) from error

    @property
    def shape(self) -> tuple[int, ...]:
        """(train_index, embedding)."""
        return self._array.shape

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        """Read rows.

        Damaged ones are made again where the store can be written and the encoder is known.

        Raises
        ------
        CorruptionError
            A vector is damaged or absent.
        """
        try:
            return self._read(rows)
        except CorruptionError:
            known = self._encoder.spec is not None and not self._dataset.withheld
            if self._store.read_only or not known:
                raise
        self._forget(rows)
        return embed_dataset(self._store, self._encoder, self._dataset)._read(rows)

    def _forget(self, rows: slice) -> None:
        """Mark the blocks whose vectors cannot be read as missing."""
        start, stop, _ = rows.indices(self.shape[0])
        size = self._array.chunks[0]
        with locked(self._store.path, self._group), storage_errors(self._store.path):
            done = open_array(self._store.zarr_store, f"{self._group}/block_done")
            for block in range(start // size, -(-stop // size)):
                try:
                    self._read(slice(block * size, (block + 1) * size))
                except CorruptionError:
                    done[block : block + 1] = np.zeros(1, dtype=np.uint8)

    def _read(self, rows: slice) -> NDArray[np.float32]:
        try:
            vectors: NDArray[np.float32] = np.asarray(self._array[rows])
        except Exception as error:
            raise damaged(
                self._store, self._group, str(error), withheld=self._dataset.withheld
            ) from error
        if np.isnan(vectors).any():
            raise damaged(
                self._store, self._group, "vectors are absent", withheld=self._dataset.withheld
            )
        return vectors
