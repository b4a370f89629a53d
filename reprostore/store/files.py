"""The files of a store: in a folder, or in one archive that is read in place."""

import errno
import os
import stat
import struct
import zipfile
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Protocol

from reprostore.errors import FormatError
from reprostore.store.links import dead_end, leads_back

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""What the system says of a path that leads to no file."""

_LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Of a member: signature, and the lengths of the name and of the extra field behind it."""


class StoreFiles(Protocol):
    """Reads the files of a store by their keys, paths relative to the store with slashes."""

    @property
    def path(self) -> Path:
        """Where the store is."""

    def exists(self, key: str) -> bool:
        """Say whether there is a file or a folder of this key."""

    def size(self, key: str) -> int | None:
        """Return the bytes of a file, or None where there is none."""

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes of a file, or of a part of it.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        """

    def folders(self, key: str = "") -> list[str]:
        """Return the names of the folders directly below a key, sorted."""

    def walk(self, key: str = "") -> Iterator[str]:
        """Yield the keys of all files below a key, sorted.

        Links are followed, as by all who read. One that leads nowhere, or back to a folder above
        it, counts as a file, and so does a folder that the system does not list.
        """

    def dead_end(self, key: str) -> str | None:
        """Say why nothing is read below a key although something has its name, if that is so."""


class FolderFiles:
    """The files of a store that is a folder.

    Parameters
    ----------
    path : Path
        Folder of the store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self, key: str) -> bool:
        """Say whether there is a file or a folder of this key."""
        return (self.path / key).exists()

    def size(self, key: str) -> int | None:
        """Return the bytes of a file, or None where there is none."""
        try:
            found = (self.path / key).stat()
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno not in _ABSENT:
                raise
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes of a file, or of a part of it."""
        if self.size(key) is None:  # a device or a pipe might never end
            raise FileNotFoundError(errno.ENOENT, "no such file", str(self.path / key))
        with (self.path / key).open("rb") as file:
            file.seek(start)
            return file.read(-1 if stop is None else stop - start)

    def folders(self, key: str = "") -> list[str]:
        """Return the names of the folders directly below a key, sorted."""
        try:
            with os.scandir(self.path / key) as entries:
                return sorted(entry.name for entry in entries if Path(entry).is_dir())
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            return []

    def walk(self, key: str = "") -> Iterator[str]:
        """Yield the keys of all files below a key, sorted."""
        found, folders = list[str](), [key.strip("/")]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(self.path / folder) as entries:
                    for entry in entries:
                        name = f"{folder}/{entry.name}".lstrip("/")
                        goes_on = (
                            Path(entry).is_dir() and not leads_back(self.path, name)
                            if entry.is_symlink()
                            else entry.is_dir()
                        )
                        (folders if goes_on else found).append(name)
            except OSError as error:
                if error.errno not in _ABSENT:  # what was removed meanwhile
                    found.append(folder)
        yield from sorted(found)

    def dead_end(self, key: str) -> str | None:
        """Say why nothing is read below a key although something has its name, if that is so."""
        return dead_end(self.path, key)


class ArchiveFiles:
    """The files of a store that was packed into one zip archive, whose members are as they were.

    Members are not compressed, so that a part of one is read without what lies before it. The
    store may lie in a folder of the archive, beside files that say what it is.

    Parameters
    ----------
    path : Path
        The archive.

    Raises
    ------
    FormatError
        It is no zip archive, or its members are compressed or encrypted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
            raise FormatError(
                f"{path} is no sample store: it cannot be read as a zip archive ({error}).",
                "A store is a folder, or a zip archive that `repro pack` made.",
                "Check the path, or receive the file again.",
            ) from error
        self._members: dict[str, zipfile.ZipInfo] = {}
        top = _top_folder([member.filename for member in members])
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 0x1:
                raise FormatError(
                    f"The member {member.filename!r} of the archive {path} is compressed or "
                    "encrypted.",
                    "A store is read in place from an archive whose members are as they were.",
                    "Make the archive with `repro pack`, or unzip it into a folder first.",
                )
            if not member.filename.endswith("/") and member.filename.startswith(top):
                self._members[member.filename.removeprefix(top)] = member
        self._offsets: dict[str, int] = {}

    @cached_property
    def _folders(self) -> dict[str, set[str]]:
        """The names of the folders below each folder."""
        found: dict[str, set[str]] = {"": set()}
        for key in self._members:
            parts = key.split("/")
            for depth in range(1, len(parts)):
                found.setdefault("/".join(parts[: depth - 1]), set()).add(parts[depth - 1])
                found.setdefault("/".join(parts[:depth]), set())
        return found

    def exists(self, key: str) -> bool:
        """Say whether there is a file or a folder of this key."""
        return key in self._members or key in self._folders

    def size(self, key: str) -> int | None:
        """Return the bytes of a file, or None where there is none."""
        member = self._members.get(key)
        return None if member is None else member.file_size

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes of a file, or of a part of it."""
        member = self._members.get(key)
        if member is None:
            raise FileNotFoundError(f"{self.path} has no member {key}")
        first = min(max(0, start), member.file_size)
        last = member.file_size if stop is None else min(max(first, stop), member.file_size)
        with self.path.open("rb") as file:
            file.seek(self._offset(file.fileno(), key, member) + first)
            return file.read(last - first)

    def _offset(self, descriptor: int, key: str, member: zipfile.ZipInfo) -> int:
        """Return where the bytes of a member begin, which its local header says."""
        if key not in self._offsets:
            at = member.header_offset  # negative where the archive lost its beginning
            header = os.pread(descriptor, _LOCAL_HEADER.size, at) if at >= 0 else b""
            if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
                raise FormatError(
                    f"The archive {self.path} is damaged where its member {key!r} begins.",
                    "Every member begins with a header.",
                    "Receive the file again.",
                )
            _, name, extra = _LOCAL_HEADER.unpack(header)
            self._offsets[key] = member.header_offset + _LOCAL_HEADER.size + name + extra
        return self._offsets[key]

    def folders(self, key: str = "") -> list[str]:
        """Return the names of the folders directly below a key, sorted."""
        return sorted(self._folders.get(key, ()))

    def walk(self, key: str = "") -> Iterator[str]:
        """Yield the keys of all files below a key, sorted."""
        prefix = f"{key}/" if key else ""
        yield from sorted(name for name in self._members if name.startswith(prefix))

    def dead_end(self, key: str) -> str | None:
        """Return None: an archive has no links."""


def _top_folder(names: list[str]) -> str:
    """Return the folder of an archive that holds the store, with a slash; empty for its root."""
    found = [name for name in names if name.endswith("/zarr.json") and name.count("/") == 1]
    return "" if "zarr.json" in names or len(found) != 1 else found[0].removesuffix("zarr.json")


def run_folders(files: StoreFiles, key: str) -> list[str]:
    """Return the paths model/sampler/condition of the folders three levels below a key, sorted."""
    return sorted(
        f"{model}/{sampler}/{condition}"
        for model in files.folders(key)
        for sampler in files.folders(f"{key}/{model}")
        for condition in files.folders(f"{key}/{model}/{sampler}")
    )


def store_files(path: Path) -> StoreFiles:
    """Return the files of the store at a path, a folder or an archive."""
    if not path.is_file():
        return FolderFiles(path)
    found = path.stat()
    return _archive(path, (found.st_size, found.st_mtime_ns, found.st_ino))


@lru_cache(maxsize=16)
def _archive(path: Path, _state: tuple[int, ...]) -> ArchiveFiles:
    return ArchiveFiles(path)
