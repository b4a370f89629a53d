"""Writing a pack: one zip archive or one folder, whole or not at all."""

import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from filelock import FileLock

from reprostore.errors import IdentityError
from reprostore.store.files import FolderFiles, StoreFiles
from reprostore.store.groups import storage_errors

BLOCK = 2**24
"""Bytes that are read at a time."""

_DATE = (1980, 1, 1, 0, 0, 0)
"""Of every member, the earliest that a zip archive knows: equal content gives equal archives."""

_MODE = 0o100644 << 16
"""A regular file."""


class PackWriter(Protocol):
    """Takes the files of a pack, and the digest of each."""

    files: dict[str, dict[str, int | str]]

    def add(self, name: str, size: int, blocks: Iterable[bytes]) -> None:
        """Write a file."""

    def close(self) -> None:
        """Finish."""


class ZipWriter:
    """Writes members that are not compressed, so that they can be read in place.

    Parameters
    ----------
    path : Path
        The archive, which does not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.files: dict[str, dict[str, int | str]] = {}
        self._archive = zipfile.ZipFile(path, "x", zipfile.ZIP_STORED)

    def add(self, name: str, size: int, blocks: Iterable[bytes]) -> None:
        """Write a member."""
        member = zipfile.ZipInfo(name, _DATE)
        member.create_system, member.external_attr, member.file_size = 3, _MODE, size
        with self._archive.open(member, "w") as file:
            self.files[name] = _copied(file.write, blocks)

    def close(self) -> None:
        """Write the directory of the archive."""
        self._archive.close()


class FolderWriter:
    """Writes the same files into a folder.

    Parameters
    ----------
    path : Path
        The folder, which does not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.files: dict[str, dict[str, int | str]] = {}
        self._path = path
        path.mkdir()

    def add(self, name: str, size: int, blocks: Iterable[bytes]) -> None:
        """Write a file."""
        place = self._path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as file:
            self.files[name] = _copied(file.write, blocks)

    def close(self) -> None:
        """Do nothing: every file is written."""


def _copied(write: Callable[[bytes], object], blocks: Iterable[bytes]) -> dict[str, int | str]:
    digest, total = hashlib.sha256(), 0
    for block in blocks:
        write(block)
        digest.update(block)
        total += len(block)
    return {"bytes": total, "sha256": digest.hexdigest()}


def stored_blocks(files: StoreFiles, key: str) -> tuple[int, Iterator[bytes]]:
    """Return the size of a stored file, and its bytes block by block.

    A file that is replaced meanwhile is read to its end as it was.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    """
    if isinstance(files, FolderFiles):
        file = (files.path / key).open("rb")
        return os.fstat(file.fileno()).st_size, _until_end(file)
    size = files.size(key)
    if size is None:
        raise FileNotFoundError(key)
    starts = range(0, size, BLOCK)
    return size, (files.read(key, start, min(start + BLOCK, size)) for start in starts)


def _until_end(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while block := file.read(BLOCK):
            yield block


@contextmanager
def whole(target: Path, what: str) -> Iterator[Path]:
    """Give a place beside a target, which becomes the target when the block ends.

    Nothing is left of it where the block fails; what a killed process left is removed.

    Parameters
    ----------
    target : Path
        A file or folder that does not exist yet.
    what : str
        What it becomes, for the message.

    Raises
    ------
    IdentityError
        Something stands there.
    StorageError
        It cannot be written.
    """
    partial = target.with_name(f".{target.name}.partial")
    with storage_errors(target, "The archive" if target.suffix == ".zip" else "The folder"):
        target.parent.mkdir(parents=True, exist_ok=True)
        # A store NAME has a folder NAME.lock beside it.
        lock = FileLock(target.with_name(f".{target.name}.lock"), thread_local=False)
        with lock:
            try:
                _require_free(target, what)
                _remove(partial)
                yield partial
                _require_free(target, what)
                partial.rename(target)
            finally:
                _remove(partial)
                Path(lock.lock_file).unlink(missing_ok=True)


def _require_free(target: Path, what: str) -> None:
    if target.is_symlink() or (
        target.exists() and not (target.is_dir() and not any(target.iterdir()))
    ):
        raise IdentityError(
            f"{target} is there already.",
            f"{what} goes to a new place: nothing is ever replaced.",
            "Choose another place, or move away what is there.",
        )


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)
