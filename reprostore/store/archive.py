"""What zarr reads of a store: its folder, or the archive that it was packed into."""

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Never

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import LocalStore

from reprostore.store.files import ArchiveFiles, store_files


class ArchiveStore(Store):
    """A packed store for zarr, read-only.

    zarr's own ZipStore reads the same archives; it reads all of a shard that lies before the part
    that is asked for, which costs a multiple of the time.

    Parameters
    ----------
    files : ArchiveFiles
        The archive.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, files: ArchiveFiles) -> None:
        super().__init__(read_only=True)
        self.files = files

    def __eq__(self, other: object) -> bool:
        """Say whether both read the same archive."""
        return isinstance(other, ArchiveStore) and self.files.path == other.files.path

    def __hash__(self) -> int:
        """Hash the path."""
        return hash(self.files.path)

    def __str__(self) -> str:
        """Return the path as a URL, as zarr's stores do."""
        return f"zip://{self.files.path}"

    def __repr__(self) -> str:
        """Show the path."""
        return f"ArchiveStore({str(self.files.path)!r})"

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return the bytes of a key or of a part of it, None where there is none."""
        size = self.files.size(key)
        if size is None:
            return None
        start, stop = _extent(byte_range, size)
        made = (prototype or default_buffer_prototype()).buffer
        return made.from_bytes(self.files.read(key, start, stop))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of keys."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        """Say whether there is a file of this key."""
        return self.files.size(key) is not None

    async def set(self, key: str, value: Buffer) -> Never:
        """Refuse: an archive is read only."""
        raise ValueError("store was opened in read-only mode and does not support writing")

    async def delete(self, key: str) -> Never:
        """Refuse: an archive is read only."""
        raise ValueError("store was opened in read-only mode and does not support deleting")

    async def list(self) -> AsyncIterator[str]:
        """Yield all keys."""
        for key in self.files.walk():
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys that begin with a prefix."""
        for key in self.files.walk():
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names of files and folders directly below a prefix."""
        start = f"{prefix.strip('/')}/".removeprefix("/")
        for name in dict.fromkeys(
            key.removeprefix(start).partition("/")[0]
            for key in self.files.walk()
            if key.startswith(start)
        ):
            yield name


def _extent(byte_range: ByteRequest | None, size: int) -> tuple[int, int]:
    match byte_range:
        case None:
            return 0, size
        case RangeByteRequest(start, end):
            return start, end
        case OffsetByteRequest(offset):
            return offset, size
        case SuffixByteRequest(suffix):
            return max(0, size - suffix), size
    raise ValueError(f"no byte range: {byte_range!r}")


def zarr_store(path: Path, *, read_only: bool = True) -> Store:
    """Return the store at a path for zarr.

    Parameters
    ----------
    path : Path
        A folder, or an archive, which is read only.
    read_only : bool
        Whether writing is refused.
    """
    files = store_files(path)
    if isinstance(files, ArchiveFiles):
        return ArchiveStore(files)
    return LocalStore(path, read_only=read_only)
