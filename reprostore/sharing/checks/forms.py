"""What the metadata of groups and arrays says, read as plain JSON and never trusted."""

import json
import math
from collections.abc import Container
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from reprostore.sharing.checks.findings import UNREADABLE, Damage
from reprostore.store.files import StoreFiles

LENGTH_LIMIT = 2**48
CHUNK_LIMIT = 2**31
"""Bytes of a chunk; the largest of the format is one state, or a unit's seeds of a vector."""

METADATA_LIMIT = 2**28
"""Bytes of a zarr.json: results name all their runs, but no attribute is as large as samples."""

_DTYPES = frozenset(
    ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64",
     "float16", "float32", "float64"]
)  # fmt: skip
_ARRAY_KEYS = frozenset(
    ["attributes", "chunk_grid", "chunk_key_encoding", "codecs", "data_type", "dimension_names",
     "fill_value", "node_type", "shape", "storage_transformers", "zarr_format"]
)  # fmt: skip
_SETTINGS: dict[tuple[str, str], Container[object]] = {
    ("bytes", "endian"): ("little",),
    ("zstd", "level"): range(-(2**17), 23),
    ("zstd", "checksum"): (True, False),
}
"""What settings of codecs may be."""


@dataclass(frozen=True)
class ArrayForm:
    """How an array of numbers is laid out.

    Attributes
    ----------
    shape, dims, dtype
        Of the array.
    shard : tuple of int
        What one file holds.
    chunk : tuple of int
        What is compressed at a time; `shard` where there are no shards.
    fill : float, int or str
        Value of absent chunks, as in JSON.
    sharded : bool
        Whether files are shards.
    """

    shape: tuple[int, ...]
    dims: tuple[str, ...]
    dtype: str
    shard: tuple[int, ...]
    chunk: tuple[int, ...]
    fill: float | int | str
    sharded: bool

    @property
    def itemsize(self) -> int:
        """Bytes of one value."""
        return np.dtype(self.dtype).itemsize

    @property
    def chunk_bytes(self) -> int:
        """Bytes of one chunk before compression."""
        return math.prod(self.chunk) * self.itemsize

    @property
    def files(self) -> tuple[int, ...]:
        """Number of files along each axis."""
        return tuple(-(-n // length) for n, length in zip(self.shape, self.shard, strict=True))

    @property
    def in_shard(self) -> tuple[int, ...]:
        """Number of chunks in a shard along each axis."""
        return tuple(a // b for a, b in zip(self.shard, self.chunk, strict=True))

    def differences(self, other: "ArrayForm") -> list[str]:
        """Return the names of the fields in which two forms differ."""
        return [
            item.name
            for item in fields(self)
            if getattr(self, item.name) != getattr(other, item.name)
        ]


def read_json(files: StoreFiles, key: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    Damage
        The file is absent, or holds something else.
    """
    try:
        size = files.size(key) or 0
        document = json.loads(files.read(key)) if size <= METADATA_LIMIT else None
    except FileNotFoundError as error:
        raise Damage("has no file zarr.json") from error
    except OSError as error:
        raise Damage(f"{UNREADABLE} (zarr.json: {error.strerror})") from error
    except Exception as error:  # no JSON, other encodings, nested too deeply, unreadable
        raise Damage(f"has a zarr.json that cannot be read ({type(error).__name__})") from error
    if not isinstance(document, dict):
        raise Damage("has a zarr.json that is no object")
    return document


def group_attributes(files: StoreFiles, group: str) -> dict[str, Any]:
    """Return the attributes of a group of Zarr version 3.

    Raises
    ------
    Damage
        Its zarr.json is absent, damaged, or not that of a group.
    """
    document = read_json(files, f"{group}/zarr.json" if group else "zarr.json")
    attributes = document.get("attributes", {})
    if (
        document.get("zarr_format") != 3
        or document.get("node_type") != "group"
        or not isinstance(attributes, dict)
    ):
        raise Damage("has a zarr.json that is not that of a group of Zarr version 3")
    return attributes


def array_form(files: StoreFiles, array: str) -> tuple[ArrayForm, dict[str, Any]]:
    """Return the form of an array, and its attributes.

    Raises
    ------
    Damage
        Its zarr.json is absent or damaged, or the array is not one of this format: numbers, zstd
        and crc32c and nothing else.
    """
    document = read_json(files, f"{array}/zarr.json")
    unknown = sorted(document.keys() - _ARRAY_KEYS)
    if unknown:
        raise Damage(f"has the unknown entries {', '.join(unknown)} in its zarr.json")
    attributes = document.get("attributes", {})
    if not isinstance(attributes, dict):
        raise Damage("has attributes that are no object")
    try:
        return _form(document), attributes
    except Damage:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise Damage("has a zarr.json that does not describe an array") from error


def _form(document: dict[str, Any]) -> ArrayForm:
    if document["zarr_format"] != 3 or document["node_type"] != "array":
        raise Damage("is no array of Zarr version 3")
    dtype = document["data_type"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise Damage(f"holds {str(dtype)[:40]!r}, which are no numbers of this format")
    shape = _lengths(document["shape"], 0)
    grid = document["chunk_grid"]
    encoding = document["chunk_key_encoding"]
    separator = encoding.get("configuration", {}).get("separator", "/")
    if grid["name"] != "regular" or encoding["name"] != "default" or separator != "/":
        raise Damage("has files that are not named and cut as in this format")
    if document.get("storage_transformers"):
        raise Damage("has storage transformers")
    shard = _lengths(grid["configuration"]["chunk_shape"], 1)
    chunk, sharded = _chunk(document["codecs"], shard)
    dims = document.get("dimension_names") or []
    if not all(isinstance(dim, str) for dim in dims) or len(dims) != len(shape):
        raise Damage("has not one name for each dimension")
    fill = document["fill_value"]
    if len(shape) != len(shard):
        raise Damage("has chunks of another number of dimensions")
    if type(fill) not in (int, float, str) or fill not in (
        ("NaN",) if dtype.startswith("float") else (0, -1)
    ):
        raise Damage("has another fill value than arrays of this format")
    form = ArrayForm(shape, tuple(dims), dtype, shard, chunk, fill, sharded)
    if form.chunk_bytes > CHUNK_LIMIT:
        raise Damage(f"has chunks of {form.chunk_bytes} bytes")
    return form


def _chunk(codecs: list[Any], shard: tuple[int, ...]) -> tuple[tuple[int, ...], bool]:
    names = [codec["name"] for codec in codecs]
    if names == ["sharding_indexed"]:
        inner = codecs[0]["configuration"]
        _check_codecs(inner["index_codecs"], ["bytes", "crc32c"], "an index of shards with ")
        if inner.get("index_location", "end") != "end":
            raise Damage("has shards whose index is not at their end")
        chunk = _lengths(inner["chunk_shape"], 1)
        _chunk(inner["codecs"], chunk)
        if len(chunk) != len(shard) or any(a % b for a, b in zip(shard, chunk, strict=True)):
            raise Damage("has shards that are not whole chunks")
        return chunk, True
    _check_codecs(codecs, ["bytes", "zstd", "crc32c"], "")
    return shard, False


def _check_codecs(codecs: list[Any], expected: list[str], of: str) -> None:
    """Refuse other codecs, and settings of these under which zarr reads other numbers or none."""
    names = [codec["name"] for codec in codecs]
    if names != expected:
        found = ", ".join(map(str, names))[:60]
        raise Damage(f"has {of}the codecs {found}, not {', '.join(expected)}")
    for codec in codecs:
        settings = codec.get("configuration", {})
        for name, value in settings.items():
            known = _SETTINGS.get((codec["name"], name))
            if known is None or type(value) not in (int, bool, str) or value not in known:
                raise Damage(f"has {of}the codec {codec['name']} with another setting of {name}")


def _lengths(values: Any, least: int) -> tuple[int, ...]:  # noqa: ANN401  # any JSON value
    lengths = tuple(values)
    if not all(type(n) is int and least <= n <= LENGTH_LIMIT for n in lengths):
        raise Damage("has lengths that are no numbers in range")
    return lengths
