"""Arrays of the store: the only place where they are created and opened."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import zarr
from zarr.abc.store import ByteRequest, Store
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.array_spec import ArrayConfig
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from reprostore.errors import CorruptionError
from reprostore.store.forms import check_form

_CONFIG = {"write_empty_chunks": True}  # does not persist, so every handle is given it


class ReplacingStore(LocalStore):
    """Says of every chunk that it is absent, so that whole shards are replaced unread.

    zarr reads the shard that it replaces, also when all of it is given anew: that costs memory
    for one shard more, and a damaged shard could never be replaced.
    """

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return the bytes of metadata, and None for chunks."""
        if not key.endswith("zarr.json"):
            return None
        return await super().get(key, prototype, byte_range)


def fill_value(dtype: np.dtype[Any]) -> float | int:
    """Return what absent chunks read as: NaN, or 0 for integers."""
    return float("nan") if dtype.kind == "f" else 0


def create_array(
    store: Store,
    path: str,
    *,
    shape: tuple[int, ...],
    dims: tuple[str, ...],
    dtype: str,
    chunks: tuple[int, ...] | None = None,
    shards: tuple[int, ...] | None = None,
    attributes: Mapping[str, Any] | None = None,
    fill: float | None = None,
    overwrite: bool = False,
) -> "zarr.Array[Any]":
    """Create an array with checksums on every chunk and named dimensions.

    Parameters
    ----------
    store : zarr.abc.store.Store
        The Zarr store.
    path : str
        Path of the array in it.
    shape, dims, dtype
        Of the array; `dims` are the names that xarray shows.
    chunks, shards : tuple of int, optional
        Chunk shape (the whole array when left out) and shard shape.
    attributes : mapping, optional
        Attributes, written at creation and never changed.
    fill : float, optional
        Value of absent chunks, when not that of `fill_value`.
    overwrite : bool
        Replace an array that stands there.
    """
    return zarr.create_array(
        store,
        name=path,
        shape=shape,
        dtype=dtype,
        chunks=tuple(max(1, length) for length in (chunks or shape)),
        shards=shards,
        compressors=[ZstdCodec(level=1), Crc32cCodec()],
        fill_value=fill_value(np.dtype(dtype)) if fill is None else fill,
        dimension_names=dims,
        attributes=dict(attributes or {}),
        overwrite=overwrite,
        config=_CONFIG,  # type: ignore[arg-type]  # zarr types it as a total mapping
    )


def write_array(
    store: Store,
    path: str,
    values: np.ndarray[Any, Any],
    dims: tuple[str, ...],
    **options: Any,  # noqa: ANN401  # those of create_array
) -> None:
    """Create an array and write all of its values."""
    array = create_array(
        store, path, shape=values.shape, dims=dims, dtype=str(values.dtype), **options
    )
    array[...] = values


def open_array(
    store: Store, path: str, check: Callable[["zarr.Array[Any]"], None] | None = None
) -> "zarr.Array[Any]":
    """Open an array that must exist.

    Parameters
    ----------
    store : zarr.abc.store.Store
        The Zarr store.
    path : str
        Path of the array in it.
    check : callable, optional
        Raises ValueError where the array is not what it has to be.

    Raises
    ------
    CorruptionError
        There is no readable array of this format.
    """
    try:
        array: zarr.Array[Any] = zarr.open_array(
            store, path=path, mode="r" if store.read_only else "r+", zarr_format=3
        )
        check_form(array)
        if check is not None:
            check(array)
    except CorruptionError:  # of the run that the array belongs to
        raise
    except Exception as error:  # damaged metadata raises errors of every kind
        raise CorruptionError(
            f"The array {path} of the store cannot be opened ({error}).",
            "Every run and dataset has all of its arrays.",
            "Restore its files from a copy, or run `repro verify --repair` on the store: it says "
            "what can be made again.",
        ) from error
    return cast(
        "zarr.Array[Any]", array.with_config(ArrayConfig(order="C", write_empty_chunks=True))
    )


def read_whole(array: "zarr.Array[Any]", region: slice = slice(None)) -> np.ndarray[Any, Any]:
    """Read a small array; one retry, since a writer may be replacing its last chunk.

    Parameters
    ----------
    array : zarr.Array
        The array.
    region : slice
        Part of the first axis; all of it when left out.

    Raises
    ------
    CorruptionError
        A chunk fails its checksum twice.
    """
    with contextlib.suppress(Exception):  # any decoding error; the second attempt decides
        return np.asarray(array[region])
    try:
        return np.asarray(array[region])
    except Exception as error:
        raise CorruptionError(
            f"The array {array.path} of the store is damaged ({error}).",
            "Every chunk agrees with its checksum.",
            "Restore its files from a copy, or run `repro verify --repair` on the store: it says "
            "what can be made again.",
        ) from error
