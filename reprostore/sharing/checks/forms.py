"""What the metadata of groups and arrays says, read as plain JSON and never trusted."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from reprostore.seeds import shorten
from reprostore.sharing.checks.codecs import check_codecs
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
_KEY_ENCODING = {"name": "default", "configuration": {"separator": "/"}}
GROUP_KEYS = frozenset(["attributes", "node_type", "zarr_format"])


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
        reason = files.dead_end(key)
        raise Damage(
            "has no file zarr.json" if reason is None else f"{UNREADABLE} ({reason})"
        ) from error
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
        type(document.get("zarr_format")) is not int
        or document["zarr_format"] != 3
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
    if unknown:  # readers may take them for what is stored
        raise Damage(f"has the unknown entries {shorten(', '.join(unknown))} in its zarr.json")
    attributes = document.get("attributes", {})
    if not isinstance(attributes, dict):
        raise Damage("has attributes that are no object")
    try:
        return _form(document), attributes
    except Damage:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise Damage("has a zarr.json that does not describe an array") from error


def require_no_attributes(attributes: Mapping[str, Any], *but: str) -> None:
    """Refuse attributes of an array: xarray reads other numbers under some of them."""
    others = sorted(attributes.keys() - set(but))
    if others:
        raise Damage(f"has the attributes {shorten(', '.join(others))}, which it has no use for")


def _form(document: dict[str, Any]) -> ArrayForm:
    version, kind = document["zarr_format"], document["node_type"]
    if type(version) is not int or (version, kind) != (3, "array"):
        raise Damage("is no array of Zarr version 3")
    dtype = document["data_type"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise Damage(f"holds {str(dtype)[:40]!r}, which are no numbers of this format")
    shape = _lengths(document["shape"], 0)
    grid = _settings(document["chunk_grid"], "regular", ["chunk_shape"])
    if document["chunk_key_encoding"] != _KEY_ENCODING:
        raise Damage("has files that are not named as in this format")
    if document.get("storage_transformers", []) != []:
        raise Damage("has storage transformers")
    shard = _lengths(grid["chunk_shape"], 1)
    chunk, sharded = _chunk(document["codecs"], shard, np.dtype(dtype).itemsize)
    dims = document.get("dimension_names", [])  # without dimensions none are written
    if type(dims) is not list or [type(dim) for dim in dims] != [str] * len(shape):
        raise Damage("has not one name for each dimension")
    if len(shape) != len(shard):
        raise Damage("has chunks of another number of dimensions")
    fill = document["fill_value"]
    fills = {"f": ("NaN",), "i": (0, -1), "u": (0,)}[np.dtype(dtype).kind]
    if type(fill) not in (int, str) or fill not in fills:
        raise Damage("has another fill value than arrays of this format")
    form = ArrayForm(shape, tuple(dims), dtype, shard, chunk, fill, sharded)
    if form.chunk_bytes > CHUNK_LIMIT:
        raise Damage(f"has chunks of {form.chunk_bytes} bytes")
    return form


def _settings(part: Any, name: str, keys: Sequence[str]) -> dict[str, Any]:  # noqa: ANN401
    """Return the configuration of a part of the metadata, which has these keys and no others."""
    if part.keys() != {"name", "configuration"} or part["name"] != name:
        raise Damage(f"has files that are not cut as in this format ({name})")
    settings: dict[str, Any] = part["configuration"]
    if settings.keys() != set(keys):
        raise Damage(f"has other settings of {name} than {', '.join(keys)}")
    return settings


def _chunk(
    codecs: list[Any], shard: tuple[int, ...], itemsize: int
) -> tuple[tuple[int, ...], bool]:
    if [codec["name"] for codec in codecs] == ["sharding_indexed"]:
        keys = ["chunk_shape", "codecs", "index_codecs", "index_location"]
        inner = _settings(codecs[0], "sharding_indexed", keys)
        check_codecs(inner["index_codecs"], ["bytes", "crc32c"], "an index of shards with ", 8)
        if inner["index_location"] != "end":
            raise Damage("has shards whose index is not at their end")
        chunk = _lengths(inner["chunk_shape"], 1)
        check_codecs(inner["codecs"], ["bytes", "zstd", "crc32c"], "", itemsize)
        if len(chunk) != len(shard) or any(a % b for a, b in zip(shard, chunk, strict=True)):
            raise Damage("has shards that are not whole chunks")
        return chunk, True
    check_codecs(codecs, ["bytes", "zstd", "crc32c"], "", itemsize)
    return shard, False


def _lengths(values: Any, least: int) -> tuple[int, ...]:  # noqa: ANN401  # any JSON value
    if type(values) is not list or not all(
        type(n) is int and least <= n <= LENGTH_LIMIT for n in values
    ):
        raise Damage("has lengths that are no numbers in range")
    return tuple(values)
