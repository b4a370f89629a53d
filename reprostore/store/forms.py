"""The form of the store's arrays: another one is refused before a value of it is read.

Chunks carry checksums and metadata do not: under another byte order, dtype or shape, intact chunks
would read as other numbers.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec
from zarr.core.chunk_key_encodings import DefaultChunkKeyEncoding

from reprostore.layout import PROBE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    import zarr

    from reprostore.specs import RunSpec

LONGEST = 2**48
"""No axis is longer: zarr multiplies lengths to 64 bits."""

LARGEST_FILE = 2**31
"""Bytes before compression; the largest files of the format are single states, and results."""

_STEP_ARRAYS = {"step": "int32", "sigma": "float64", "alpha": "float64", "timestep": "float64"}
_SLOT_ARRAYS = {
    "seed": "int64",
    "digest": "uint64",
    "session": "uint64",
    "status": "uint8",
    "noise_probe": "float32",
}


def check_form(array: "zarr.Array[Any]") -> None:
    """Refuse an array that is not one of this format.

    Raises
    ------
    ValueError
        It holds no numbers, its chunks are encoded or named in another way, or a length is
        impossible.
    """
    metadata: Any = array.metadata
    codecs, dtype = tuple(metadata.codecs), np.dtype(array.dtype)
    whole: tuple[int, ...] = tuple(array.shards or array.chunks)
    if dtype.kind not in "fiu":
        raise ValueError(f"it holds {dtype}, which are no numbers")
    if len(codecs) == 1 and isinstance(codecs[0], ShardingCodec):
        sharding = codecs[0]
        codecs = tuple(sharding.codecs)
        _check_codecs(tuple(sharding.index_codecs), (BytesCodec, Crc32cCodec))
        if sharding.index_location.value != "end":
            raise ValueError("the index of its shards is not at their end")
    _check_codecs(codecs, (BytesCodec, ZstdCodec, Crc32cCodec))
    encoding = metadata.chunk_key_encoding
    if not isinstance(encoding, DefaultChunkKeyEncoding) or encoding.separator != "/":
        raise ValueError("its files have other names than those of this format")
    if metadata.storage_transformers:
        raise ValueError("it has storage transformers")
    if any(not 0 <= length <= LONGEST for length in array.shape):
        raise ValueError(f"its shape {array.shape} is impossible")
    if any(not 1 <= length <= LONGEST for length in (*whole, *array.chunks)):
        raise ValueError(f"its chunks {array.chunks} are impossible")
    if math.prod(whole) * dtype.itemsize > LARGEST_FILE:
        raise ValueError(f"its files hold {whole}, which is too much")
    fill = np.asarray(metadata.fill_value)
    if not (np.isnan(fill) if dtype.kind == "f" else fill in (0, -1)):
        raise ValueError(f"its fill value is {fill}")


def _check_codecs(codecs: "Sequence[Any]", expected: tuple[type, ...]) -> None:
    names = ", ".join(type(codec).__name__ for codec in codecs)
    if tuple(map(type, codecs)) != expected:
        raise ValueError(f"its chunks are encoded by {names}")
    endian = codecs[0].endian
    if endian is not None and endian.value != "little":
        raise ValueError("its numbers are not little-endian")


def check_run_array(array: "zarr.Array[Any]", name: str, spec: "RunSpec") -> None:
    """Refuse an array of a run that has another dtype or shape than the run's spec says.

    The length along the seeds is not looked at.

    Raises
    ------
    ValueError
        It has.
    """
    steps = len(spec.steps)
    if name in _STEP_ARRAYS:
        _check(array, _STEP_ARRAYS[name], (steps,), (steps,), from_axis=0)
    elif name in _SLOT_ARRAYS:
        rest: tuple[int, ...] = (PROBE_LENGTH,) if name == "noise_probe" else ()
        _check(array, _SLOT_ARRAYS[name], rest, rest)
    elif array.shards is None:
        raise ValueError("its files are no shards")
    else:
        rest = (steps, *spec.sample_shape)
        _check(array, spec.stored_dtype, rest, (1, *spec.sample_shape))
        if array.shards[2:] != spec.sample_shape:
            raise ValueError(f"its files hold {array.shards}")


def check_run_vectors(array: "zarr.Array[Any]", name: str, steps: int) -> None:
    """Refuse an array beside a run's samples that has another dtype or shape than it was given.

    Raises
    ------
    ValueError
        It has. The dimension of `vector` is the length of its chunks.
    """
    dimension = array.shape[2:]
    if len(dimension) != (1 if name == "vector" else 0):
        raise ValueError(f"its shape is {array.shape}")
    dtype = "float32" if name == "vector" else "uint64"
    _check(array, dtype, (steps, *dimension), (1, *dimension))


def check_rows(array: "zarr.Array[Any]", *dtypes: str) -> None:
    """Refuse an array of items, vectors or labels that has another dtype, or not whole rows.

    Raises
    ------
    ValueError
        It has. The shape of a row is that of the chunks.
    """
    if str(array.dtype) not in dtypes:
        raise ValueError(f"it holds {array.dtype}, not {' or '.join(dtypes)}")
    _check(array, str(array.dtype), array.shape[1:], array.shape[1:])


def _check(
    array: "zarr.Array[Any]",
    dtype: str,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    from_axis: int = 1,
) -> None:
    if str(array.dtype) != dtype:
        raise ValueError(f"it holds {array.dtype}, not {dtype}")
    found = (array.shape[from_axis:], array.chunks[from_axis:])
    if found != (shape, chunks):
        raise ValueError(f"its shape is {array.shape}, and its chunks {array.chunks}")
