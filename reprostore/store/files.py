"""The files of a store: in a folder, or in one archive that is read in place."""

import errno
import os
import stat
import struct
import zipfile
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Protocol

from reprostore.errors import FormatError
from reprostore.specs import is_name
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
        """Return the names of the folders directly below a key, sorted.

        Those of operating systems and editors, such as ``@eaDir`` or ``.snapshot``, are left out:
        they have no name of the format and hold no zarr.json.
        """

    def walk(self, key: str = "") -> Iterator[str]:
        """Yield the keys of all files below a key, sorted.

        Links are followed, as by all who read. One that leads nowhere, or back to a folder above
        it, counts as a file, and so does a folder that the system does not list. So does a link
        behind a link to what one of those leads to already: else n of them make 2^n paths.
        """

    def dead_end(self, key: str) -> str | None:
        """Say why nothing is read below a key although something has its name, if that is so."""


class FolderFiles:
    """The files of a store that is a folder.

    Parameters
    ----------
    path : Path
        Folder of the store.
    lenient : bool
        Folders that the system does not list count as empty, for those who tell of all that
        `walk` finds. Else they are errors, so that nothing is silently left out.
    """

    def __init__(self, path: Path, *, lenient: bool = False) -> None:
        self.path = path
        self._lenient = lenient
        self._led_to_again = set[str]()

    def exists(self, key: str) -> bool:
        """Say whether there is a file or a folder of this key."""
        try:
            return (self.path / key).exists()
        except OSError:
            if not self._lenient:
                raise
            return True  # whoever reads it is told why it cannot be read

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
                return sorted(entry.name for entry in entries if self._is_own(Path(entry)))
        except OSError as error:
            if error.errno not in _ABSENT and not self._lenient:
                raise
            return []

    def _is_own(self, folder: Path) -> bool:
        """Say whether something is a folder, and none of an operating system or editor."""
        try:
            return folder.is_dir() and (is_name(folder.name) or (folder / "zarr.json").exists())
        except OSError:
            if is_name(folder.name) and not self._lenient:
                raise
            return False

    def walk(self, key: str = "") -> Iterator[str]:
        """Yield the keys of all files below a key, sorted."""
        found, folders = list[str](), [(key.strip("/"), False)]
        seen = set[tuple[int, int]]()
        while folders:
            folder, behind_link = folders.pop()
            try:
                with os.scandir(self.path / folder) as listed:
                    entries = sorted(
                        (entry.name, entry.is_symlink(), entry.is_dir(follow_symlinks=False))
                        for entry in listed
                    )
            except OSError as error:
                if error.errno not in _ABSENT:  # what was removed meanwhile
                    found.append(folder)
                continue
            for entry, is_link, is_folder in entries:
                name = f"{folder}/{entry}".lstrip("/")
                if is_folder or (is_link and self._goes_on(name, seen, behind_link=behind_link)):
                    folders.append((name, behind_link or is_link))
                else:
                    found.append(name)
        yield from sorted(found)

    def _goes_on(self, name: str, seen: set[tuple[int, int]], *, behind_link: bool) -> bool:
        """Say whether `walk` follows a link, and note where it leads to."""
        try:
            there = (self.path / name).stat()
        except OSError:
            return False
        if not stat.S_ISDIR(there.st_mode) or leads_back(self.path, name):
            return False
        again = behind_link and (there.st_dev, there.st_ino) in seen
        seen.add((there.st_dev, there.st_ino))
        if again:
            self._led_to_again.add(name)
        return not again

    def dead_end(self, key: str) -> str | None:
        """Say why nothing is read below a key although something has its name, if that is so."""
        for name in (key, *map(str, PurePosixPath(key).parents)):
            if name in self._led_to_again:
                return f"the link {name} leads to a folder that a link before it leads to"
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
        return sorted(
            name
            for name in self._folders.get(key, ())
            if is_name(name) or f"{key}/{name}/zarr.json".lstrip("/") in self._members
        )

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


def checked_files(path: Path) -> StoreFiles:
    """Return the files of a store for those who check all of it, whatever cannot be listed."""
    return store_files(path) if path.is_file() else FolderFiles(path, lenient=True)


@lru_cache(maxsize=16)
def _archive(path: Path, _state: tuple[int, ...]) -> ArchiveFiles:
    return ArchiveFiles(path)
