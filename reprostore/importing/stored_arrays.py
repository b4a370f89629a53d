"""Arrays in .npy and .npz files, read row by row: what is larger than the memory passes through."""

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from reprostore.datasets.items import unreadable
from reprostore.errors import DatasetError, NotFoundError, ReprostoreError, SpecError

BLOCK_BYTES = 16 * 2**20
"""How much is read at a time of a whole array."""

_ERRORS = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged file raises; pickled objects are refused with a ValueError."""

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def array_names(path: Path) -> list[str]:
    """Return the names of the arrays in an .npz file; none of another file or a damaged one."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except _ERRORS:
        return []
    return [name.removesuffix(".npy") for name in names if name.endswith(".npy")]


class StoredArray:
    """An array in a file; a context manager that closes it.

    A .npy file is memory-mapped. A member of an .npz file is unpacked as it is read, so rows are
    best read in ascending order. No pickled object is ever loaded.

    Parameters
    ----------
    path : Path
        The file.
    key : str, optional
        The array in an .npz file.
    default : str
        The array that is taken where no key is given.
    what : str
        How messages name the file.

    Raises
    ------
    NotFoundError, SpecError
        The .npz file has no such array, or several and none was named.
    DatasetError
        The file is damaged, or holds what is no array of numbers.
    """

    def __init__(self, path: Path, key: str | None, default: str, what: str) -> None:
        self.what = what
        self.names: list[str] = []
        self._path = path
        self._state = _state(path)
        self._archive: zipfile.ZipFile | None = None
        self._stream: IO[bytes] | None = None
        self._offset = 0
        try:
            if path.suffix == ".npz":
                self._open_member(key, default)
            else:
                self._refuse_key(key)
                self._mapped = npy.open_memmap(path, mode="r")
                self.shape, self.dtype = self._mapped.shape, self._mapped.dtype
        except _ERRORS as error:
            self.close()
            if isinstance(error, ReprostoreError):
                raise
            raise unreadable(what, error) from error
        if not self.shape or 0 in self.shape:
            self.close()
            raise DatasetError(
                f"{what[0].upper()}{what[1:]} holds an array of shape {self.shape}.",
                "Its first axis counts the samples, and there is at least one.",
                "Check the file.",
            )

    def __enter__(self) -> Self:
        """Return the open array."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()
        if self._archive is not None:
            self._archive.close()

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.shape[0])

    def read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Read ascending rows, (row, …), in the byte order of this machine.

        Raises
        ------
        DatasetError
            The file is damaged, or changed since it was opened.
        """
        block = np.empty((len(rows), *self.shape[1:]), dtype=self.dtype.newbyteorder("="))
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        try:
            for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
                block[start:stop] = self._rows(int(rows[start]), int(stop - start))
        except _ERRORS as error:
            raise unreadable(self.what, error) from error
        if _state(self._path) != self._state:
            raise DatasetError(
                f"{self.what[0].upper()}{self.what[1:]} changed while it was imported.",
                "The file stays as it is until all of it is read.",
                "Import it when nothing writes into it any more.",
            )
        return block

    def blocks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Read everything once in order, with the number of each block's first row."""
        row_bytes = max(1, int(np.prod(self.shape[1:])) * self.dtype.itemsize)
        length = max(1, BLOCK_BYTES // row_bytes)
        for start in range(0, len(self), length):
            yield start, self.read(np.arange(start, min(start + length, len(self))))
        if self._stream is not None and self._stream.read(1):
            raise unreadable(self.what, "the array is longer than its header says")

    def content(self) -> "hashlib._Hash":
        """Return a sha256 of dtype and shape, into which the values are to be fed."""
        return hashlib.sha256(f"{self.dtype.newbyteorder('<').str} {self.shape}".encode())

    def beside(self, name: str) -> NDArray[Any]:
        """Return another, small array of the .npz file."""
        assert self._archive is not None
        try:
            with self._archive.open(f"{name}.npy") as member:
                return npy.read_array(member, allow_pickle=False)
        except _ERRORS as error:
            raise unreadable(f"the array {name} in {self.what}", error) from error

    def _open_member(self, key: str | None, default: str) -> None:
        self._archive = zipfile.ZipFile(self._path)
        members = [name for name in self._archive.namelist() if name.endswith(".npy")]
        self.names = [name.removesuffix(".npy") for name in members]
        name = default if key is None else key
        if name not in self.names:
            raise (SpecError if key is None else NotFoundError)(
                f"{self.what[0].upper()}{self.what[1:]} does not hold the array {name!r}.",
                f"It holds {', '.join(self.names[:20]) or 'no array'}.",
                "Name one of its arrays as the key.",
            )
        self._stream = self._archive.open(f"{name}.npy")
        version = npy.read_magic(self._stream)
        if version not in _HEADERS:
            raise ValueError(f"the array {name} has the unknown version {version}")
        shape, in_columns, dtype = _HEADERS[version](self._stream)
        if dtype.hasobject:
            raise ValueError("it holds pickled objects")
        if in_columns and len(shape) > 1:
            raise DatasetError(
                f"The array {name} in {self.what} is stored in Fortran's order.",
                "Samples are read row by row, from arrays in the order of C.",
                "Save np.ascontiguousarray(array).",
            )
        self.shape, self.dtype, self._offset = shape, dtype, self._stream.tell()

    def _refuse_key(self, key: str | None) -> None:
        if key is not None:
            raise SpecError(
                f"The key {key!r} was given for {self.what}.",
                "A .npy file holds one array, without a name.",
                "Leave the key out.",
            )

    def _rows(self, start: int, count: int) -> NDArray[Any]:
        if self._stream is None:
            return self._mapped[start : start + count]
        row_bytes = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        self._stream.seek(self._offset + start * row_bytes)
        content = self._stream.read(count * row_bytes)
        if len(content) != count * row_bytes:
            raise EOFError("the array is shorter than its header says")
        return np.frombuffer(content, dtype=self.dtype).reshape(count, *self.shape[1:])


def _state(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise NotFoundError(
            f"There is no file {path}.", "An array is read from a file.", "Check the path."
        ) from error
    return stat.st_size, stat.st_mtime_ns
