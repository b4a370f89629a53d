"""Reading a pack that may have been made to do harm: nothing but plain files of safe names."""

import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from reprostore.errors import CorruptionError, FormatError, NotFoundError
from reprostore.seeds import shorten
from reprostore.sharing.archives.writing import BLOCK

MANIFEST = "manifest-sha256.json"
"""Name of the manifest in a pack."""

_DEPTH = 32
"""Folders below each other; a store has fewer."""


class PackReader(Protocol):
    """Gives the files of a pack.

    Attributes
    ----------
    path : Path
        The archive or folder.
    members : dict of int
        Bytes of every file, by its name.
    """

    path: Path
    members: dict[str, int]

    def blocks(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a file, not more than `members` says.

        Raises
        ------
        CorruptionError
            It cannot be read.
        """


def open_pack(path: Path) -> PackReader:
    """Open a pack, a zip archive or a folder, and look at the names of all of its files.

    Raises
    ------
    NotFoundError
        Nothing stands at this path.
    FormatError
        It is no archive or folder, or has a member that a pack never has: a link or a device, a
        name that leads out of its folder or stands twice, or one that is compressed or encrypted.
    """
    if path.is_file():
        return ZipReader(path)
    if path.is_dir():
        return FolderReader(path)
    raise NotFoundError(
        f"There is no pack at {path}.",
        "A pack is a zip archive or a folder that `repro pack` made.",
        "Check the path.",
    )


def _refused(path: Path, name: str, what: str) -> FormatError:
    return FormatError(
        f"The member {shorten(repr(name))} of {path} {what}.",
        "A pack holds plain files with names inside of it, neither compressed nor encrypted.",
        "Nothing was written. Do not unpack it by other means; ask who made it.",
    )


def _unsafe(name: str) -> bool:
    """Say whether a name could lead out of a folder, on any system."""
    parts = name.split("/")
    return (
        not name.isprintable()
        or not name.isascii()
        or any(character in name for character in '\\:*?"<>|')
        or any(part in ("", ".", "..") or part.endswith((".", " ")) for part in parts)
    )


class ZipReader:
    """Reads a zip archive.

    Parameters
    ----------
    path : Path
        The archive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
            listed = self._archive.infolist()
        except Exception as error:  # zipfile raises what damaged bytes lead to
            raise FormatError(
                f"{path} cannot be read as a zip archive ({shorten(str(error))}).",
                "A pack in one file is a zip archive.",
                "Check the path, or receive the file again.",
            ) from error
        self._listed: dict[str, zipfile.ZipInfo] = {}
        for member in listed:
            self._take(member)
        self.members = {name: member.file_size for name, member in self._listed.items()}
        if sum(self.members.values()) > path.stat().st_size:
            raise FormatError(
                f"The members of {path} claim {sum(self.members.values()):,} bytes, and the "
                f"archive has {path.stat().st_size:,}.",
                "Members that are not compressed are no larger than their archive.",
                "Nothing was written. Ask who made it.",
            )

    def _take(self, member: zipfile.ZipInfo) -> None:
        name, kind = member.orig_filename, stat.S_IFMT(member.external_attr >> 16)
        is_folder = (
            member.filename.endswith("/") and not member.file_size and kind in (0, stat.S_IFDIR)
        )
        if is_folder and not _unsafe(name.rstrip("/")):
            return  # other programs list folders too; nothing is made of them
        if _unsafe(name) or name != member.filename:
            raise _refused(self.path, name, "has a name that could lead out of its folder")
        if kind not in (0, stat.S_IFREG):
            raise _refused(self.path, name, "is a link or a device")
        if member.flag_bits & 0x1:
            raise _refused(self.path, name, "is encrypted")
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise _refused(self.path, name, "is compressed")
        if name in self._listed:
            raise _refused(self.path, name, "is there twice")
        self._listed[name] = member

    def blocks(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a member."""
        try:
            with self._archive.open(self._listed[name]) as file:
                while block := file.read(BLOCK):
                    yield block
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
            raise _damaged(self.path, name, error) from error


class FolderReader:
    """Reads a folder, and follows no link in it.

    Parameters
    ----------
    path : Path
        The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.members: dict[str, int] = {}
        self._list(path, "", _DEPTH)

    def _list(self, folder: Path, prefix: str, depth: int) -> None:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = f"{prefix}{entry.name}"
                if _unsafe(name) or depth == 0:
                    raise _refused(self.path, name, "has a name that no file of a pack has")
                if entry.is_dir(follow_symlinks=False):
                    self._list(folder / entry.name, f"{name}/", depth - 1)
                elif entry.is_file(follow_symlinks=False):
                    self.members[name] = entry.stat(follow_symlinks=False).st_size
                else:
                    raise _refused(self.path, name, "is a link or a device")

    def blocks(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a file, up to the size that it was listed with."""
        left = self.members[name]
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)
        try:
            descriptor = os.open(self.path / name, flags)
            with os.fdopen(descriptor, "rb") as file:
                while left > 0 and (block := file.read(min(BLOCK, left))):
                    left -= len(block)
                    yield block
        except OSError as error:
            raise _damaged(self.path, name, error) from error


def _damaged(path: Path, name: str, error: Exception) -> CorruptionError:
    return CorruptionError(
        f"The file {shorten(repr(name))} of {path} cannot be read ({shorten(str(error))}).",
        "Every file of a pack is as it was packed.",
        "Receive the pack again.",
    )
