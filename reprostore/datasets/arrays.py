"""Arrays on disk as sources: .npy files, members of .npz files, Zarr arrays."""

import re
import zipfile
import zlib
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from reprostore.datasets.items import Items, Rows, unreadable
from reprostore.errors import NotFoundError, ReprostoreError, SpecError
from reprostore.paths import require_file

GATHER_BYTES = 256 * 2**20
"""Shuffled reads of a Zarr array decompress all of it once per this many bytes."""

_WITH_KEY = re.compile(r"(.+\.(?:npz|zarr)):(.+)")
_ZARR_METADATA = ("zarr.json", ".zarray", ".zgroup")


def split_key(source: str) -> tuple[str, str | None]:
    """Split ``"file.npz:key"`` or ``"store.zarr:path"`` into the path and what follows it."""
    match = _WITH_KEY.fullmatch(source)
    return (match[1], match[2]) if match else (source, None)


def is_array_path(path: Path) -> bool:
    """Say whether an existing path is an array source by its suffix or its Zarr metadata."""
    if path.is_dir():
        return any((path / name).exists() for name in _ZARR_METADATA)
    return path.suffix in {".npy", ".npz"}


def open_array(path: Path, key: str | None, what: str) -> Items:
    """Open an array without reading it (a member of a .npz file is read whole).

    Parameters
    ----------
    path : Path
        A .npy or .npz file, or a Zarr array or group.
    key : str, optional
        The array in the .npz file or in the Zarr group; may be left out when there is only one.
    what : str
        How messages name the source.

    Returns
    -------
    Items
        .npy files are memory-mapped, Zarr arrays are read by blocks.

    Raises
    ------
    NotFoundError
        There is no array of that key.
    SpecError
        There are several arrays and no key.
    DatasetError
        The file is damaged, of another kind, or holds pickled objects.
    """
    if path.is_dir():
        return _open_zarr(path, key, what)
    return _open_npz(path, key, what) if path.suffix == ".npz" else _open_npy(path, what)


def _open_npy(path: Path, what: str) -> Items:
    try:
        array = np.lib.format.open_memmap(require_file(path), mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise unreadable(what, error) from error
    return _in_memory(array, what, {"kind": "npy"})


def _open_npz(path: Path, key: str | None, what: str) -> Items:
    try:
        with zipfile.ZipFile(require_file(path)) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            chosen = _choose(key, names, what)
            with archive.open(f"{chosen}.npy") as member:
                array = np.lib.format.read_array(member, allow_pickle=False)
    except ReprostoreError:
        raise
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise unreadable(what, error) from error
    return _in_memory(array, what, {"kind": "npz", "key": chosen})


def _open_zarr(path: Path, key: str | None, what: str) -> Items:
    try:
        node = zarr.open(path, mode="r")
        if isinstance(node, zarr.Group) and key is not None and key in node:
            node, key = node[key], None
        if isinstance(node, zarr.Group):
            node = node[_choose(key, sorted(node.array_keys()), what)]
    except ReprostoreError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise unreadable(what, error) from error
    if key is not None and not node.path:
        raise NotFoundError(
            f"{what[0].upper()}{what[1:]} does not hold the array {key!r}.",
            f"{path.name} is itself one array.",
            "Leave out the colon and what follows it.",
        )
    array = cast("zarr.Array[Any]", node)

    def read(rows: Rows) -> NDArray[Any]:
        try:
            block = array[rows] if isinstance(rows, slice) else array.oindex[rows]
        except (OSError, ValueError, RuntimeError) as error:
            raise unreadable(what, error) from error
        return np.asarray(block)

    return Items(
        what,
        array.shape,
        np.dtype(array.dtype),
        read,
        provenance=_provenance("zarr", array.shape, array.dtype) | {"path": array.path},
        gather_bytes=GATHER_BYTES,
    )


def _in_memory(array: NDArray[Any], what: str, extra: dict[str, Any]) -> Items:
    provenance = _provenance(extra["kind"], array.shape, array.dtype) | extra
    return Items(what, array.shape, array.dtype, array.__getitem__, provenance=provenance)


def _provenance(kind: str, shape: tuple[int, ...], dtype: object) -> dict[str, Any]:
    return {"kind": kind, "shape": list(shape), "dtype": str(dtype)}


def _choose(key: str | None, names: list[str], what: str) -> str:
    held = ", ".join(names[:20]) or "no array"
    if key is None and len(names) == 1:
        return names[0]
    if key is None and names:
        raise SpecError(
            f"{what[0].upper()}{what[1:]} holds several arrays: {held}.",
            'One array is named after a colon, as in "file.npz:key".',
            "Add a colon and the name of the array to the source.",
        )
    if key not in names:
        wanted = "an array" if key is None else f"the array {key!r}"
        raise NotFoundError(
            f"{what[0].upper()}{what[1:]} does not hold {wanted}.",
            f"It holds {held}.",
            "Name one of its arrays after the colon.",
        )
    return key
