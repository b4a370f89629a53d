"""Single files of arrays, written block after block: npz of images or vectors, and npy."""

import hashlib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reprostore.digests import file_digest
from reprostore.images import from_uint8, to_uint8
from reprostore.sharing.exporting.images import PIXELS, require_pixels
from reprostore.sharing.exporting.record import in_the_way
from reprostore.sharing.exporting.sources import Selection

_Blocks = Iterator[NDArray[Any]]


class ArrayFile(Protocol):
    """A file that holds one array of a selection, in the order of its numbers."""

    suffix: str
    values: str

    def fill(self, file: IO[bytes], selection: Selection, blocks: _Blocks) -> None:
        """Write the file from the stored values."""


class ImagesNpz:
    """``arr_0`` (N, y, x, channel) uint8 beside the numbers, as guided-diffusion reads it.

    References
    ----------
    openai/guided-diffusion, ``scripts/image_sample.py`` and
    ``evaluations/evaluator.py::Evaluator.read_activations``, which reads ``arr_0`` alone, by
    blocks and only where there is no ``mu``.
    """

    suffix = ".npz"
    values = PIXELS

    def fill(self, file: IO[bytes], selection: Selection, blocks: _Blocks) -> None:
        """Write the file."""
        channel, y, x = selection.shape
        shape = (len(selection.numbers), y, x, channel)
        images = (to_uint8(block).transpose(0, 2, 3, 1) for block in blocks)
        _write_npz(file, selection, "arr_0", shape, np.dtype(np.uint8), images)


class VectorsNpz:
    """``features`` (N, D) float32 beside the numbers."""

    suffix = ".npz"
    values = "float32, vectors of the encoder"

    def fill(self, file: IO[bytes], selection: Selection, blocks: _Blocks) -> None:
        """Write the file."""
        shape = (len(selection.numbers), *selection.shape)
        _write_npz(file, selection, "features", shape, np.dtype(np.float32), blocks)


class ValuesNpy:
    """(N, *shape) float32: the stored values, of uint8 those in [-1, 1] that they stand for."""

    suffix = ".npy"
    values = "float32, as stored; uint8 as x / 127.5 - 1"

    def fill(self, file: IO[bytes], selection: Selection, blocks: _Blocks) -> None:
        """Write the file."""
        shape = (len(selection.numbers), *selection.shape)
        scaled = (from_uint8(b) if b.dtype == np.uint8 else b for b in blocks)
        _write_npy(file, shape, np.dtype(np.float32), scaled)


class ExportedFile:
    """One file of arrays.

    Parameters
    ----------
    place : Path
        The file.
    selection : Selection
        What it holds.
    kind : ArrayFile
        How.
    """

    def __init__(self, place: Path, selection: Selection, kind: ArrayFile) -> None:
        if isinstance(kind, ImagesNpz):
            require_pixels(selection, "npz")
        self.place = place
        self.selection = selection
        self.values = kind.values
        self._kind = kind
        self._there = False

    def check(self, recorded: dict[str, Any], before: dict[str, Any] | None) -> None:
        """Refuse to write over anything but the same export.

        Raises
        ------
        IdentityError
            Something else is there.
        """
        self._there = False
        if self.place.exists():  # a record without its file is what a killed process left
            found = file_digest(self.place) if self.place.is_file() else None
            if before != recorded | {"sha256": {self.place.name: found}}:
                raise in_the_way(f"{self.place} is there already, and is not this export.")
            self._there = True

    def write(
        self, progress: Callable[[int], None], record: Callable[[dict[str, str]], None]
    ) -> int:
        """Write the file, unless it is there, and return how many are new.

        Parameters
        ----------
        progress : callable
            Called with how many are done.
        record : callable
            Called with the file's name and its sha256, before the file appears.
        """
        count = len(self.selection.numbers)
        if self._there:
            progress(count)
            return 0
        partial = self.place.with_name(f"{self.place.name}.partial")
        try:
            with partial.open("wb") as file:
                self._kind.fill(file, self.selection, self._blocks(progress))
            with partial.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            record({self.place.name: digest})
            partial.replace(self.place)
        finally:
            partial.unlink(missing_ok=True)
        return count

    def _blocks(self, progress: Callable[[int], None]) -> _Blocks:
        for positions, block in self.selection.blocks():
            yield block
            progress(int(positions[-1]) + 1)


def _write_npz(
    file: IO[bytes],
    selection: Selection,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    blocks: _Blocks,
) -> None:
    # Members have the date 1980-01-01, zipfile's own for names: equal content is equal bytes.
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            _write_npy(member, shape, dtype, blocks)
        with archive.open(f"{selection.key}.npy", "w") as member:
            numbers = selection.numbers
            _write_npy(member, numbers.shape, np.dtype(np.int64), iter([numbers]))


def _write_npy(
    file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], blocks: _Blocks
) -> None:
    little = dtype.newbyteorder("<") if dtype.itemsize > 1 else dtype
    np.lib.format.write_array_header_1_0(
        file,
        {"descr": np.lib.format.dtype_to_descr(little), "fortran_order": False, "shape": shape},
    )
    for block in blocks:
        file.write(np.ascontiguousarray(block, dtype=little).data)
