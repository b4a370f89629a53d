"""Files of arrays, read without zarr: each chunk once, compared with its checksum, by itself.

So a damaged chunk is known exactly without reading anything twice, files are read as they lie in
a folder or an archive, and nothing in a store chooses what code reads it.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numcodecs.zstd
import numpy as np
from numpy.typing import NDArray

from reprostore.sharing.checks.findings import UNREADABLE, Damage
from reprostore.sharing.checks.forms import ArrayForm
from reprostore.store.files import StoreFiles

ABSENT = 2**64 - 1
"""Offset and length of a chunk that a shard does not have."""

_MAGIC = b"\x28\xb5\x2f\xfd"


def unpacked(packed: bytes, nbytes: int) -> NDArray[np.uint8]:
    """Return the bytes of a chunk, after comparing its checksum.

    Parameters
    ----------
    packed : bytes
        A zstd frame, then the crc32c of it.
    nbytes : int
        How many bytes the chunk has.

    Raises
    ------
    Damage
        The checksum is another, or it is no frame of so many bytes.
    """
    body = _checked(packed)
    size = frame_size(bytes(body[:18]))
    if size not in (nbytes, None):
        raise Damage(f"holds {size} bytes instead of {nbytes}")
    try:
        chunk = np.empty(nbytes, dtype=np.uint8)
        numcodecs.zstd.decompress(body, chunk)
    except (ValueError, RuntimeError, MemoryError) as error:
        raise Damage("cannot be decompressed") from error
    return chunk


def _checked(packed: bytes) -> NDArray[np.uint8]:
    values = np.frombuffer(packed, dtype=np.uint8)
    body = values[:-4]
    if len(values) < 4 or google_crc32c.value(body) != int.from_bytes(packed[-4:], "little"):
        raise Damage("does not agree with its checksum")
    return body


def frame_size(head: bytes) -> int | None:
    """Return the number of bytes that a zstd frame says it holds, or None where it does not.

    Raises
    ------
    Damage
        It is no zstd frame.

    References
    ----------
    RFC 8878, section 3.1.1.1.
    """
    if len(head) < 6 or head[:4] != _MAGIC:
        raise Damage("is not compressed with zstd")
    descriptor = head[4]
    single = bool(descriptor & 0x20)
    width = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    start = 5 + (0 if single else 1) + (0, 1, 2, 4)[descriptor & 3]
    if width == 0:
        return None
    return int.from_bytes(head[start : start + width], "little") + (256 if width == 2 else 0)


@dataclass(frozen=True)
class Shard:
    """Where the chunks of one file are.

    Attributes
    ----------
    key : str
        Of the file.
    spans : ndarray of uint64
        (chunks along each axis, 2): offset and length.
    nbytes : int
        Length of the file.
    """

    key: str
    spans: NDArray[np.uint64]
    nbytes: int

    def has(self, place: tuple[int, ...]) -> bool:
        """Say whether a chunk is in the shard."""
        return bool((self.spans[place] != ABSENT).all())


def open_shard(files: StoreFiles, key: str, form: ArrayForm) -> Shard | None:
    """Read the index of a shard, or find the one chunk of a file without shards.

    Returns
    -------
    Shard or None
        None where there is no such file.

    Raises
    ------
    Damage
        The index is damaged, or points outside the file.
    """
    try:
        size = files.size(key)
        if size is None:
            reason = files.dead_end(key)
            if reason is not None:
                raise Damage(f"{UNREADABLE} ({reason})")
            return None
        if not form.sharded:
            spans = np.asarray([0, size], dtype=np.uint64).reshape((1,) * len(form.shape) + (2,))
            return Shard(key, spans, size)
        length = 16 * math.prod(form.in_shard) + 4
        if size < length:
            raise Damage(f"is in a file of only {size} bytes")
        packed = files.read(key, size - length, size)
    except OSError as error:
        raise Damage(f"{UNREADABLE} ({error.strerror})") from error
    try:
        body = _checked(packed)
    except Damage as error:
        raise Damage("is in a shard whose index does not agree with its checksum") from error
    spans = body.view("<u8").reshape(*form.in_shard, 2).astype(np.uint64)
    there = spans[(spans != ABSENT).any(axis=-1)]
    ends = there[:, 0] + there[:, 1]
    if (ends > size).any() or (ends < there[:, 0]).any():
        raise Damage("is in a shard whose index points outside the file")
    return Shard(key, spans, size)


def read_chunk(
    files: StoreFiles, shard: Shard, place: tuple[int, ...], form: ArrayForm
) -> NDArray[np.uint8]:
    """Read one chunk of a file, as bytes.

    Raises
    ------
    Damage
        It is absent or damaged.
    """
    offset, length = (int(number) for number in shard.spans[place])
    if not shard.has(place):
        raise Damage("is not in its shard")
    try:
        packed = files.read(shard.key, offset, offset + length)
    except OSError as error:
        raise Damage(f"{UNREADABLE} ({error.strerror})") from error
    return unpacked(packed, form.chunk_bytes)


def file_key(array: str, block: tuple[int, ...]) -> str:
    """Return the key of one file of an array."""
    return "/".join([array, "c", *map(str, block)])


def blocks_of(array: str, keys: Iterable[str]) -> Iterator[tuple[int, ...]]:
    """Yield the places of those keys that are named like files of an array."""
    for key in keys:
        parts = key.removeprefix(f"{array}/").split("/")
        if parts[0] == "c" and all(part.isdecimal() and part.isascii() for part in parts[1:]):
            yield tuple(int(part) for part in parts[1:])


def file_chunks(
    files: StoreFiles, array: str, block: tuple[int, ...], form: ArrayForm
) -> Iterator[tuple[tuple[int, ...], NDArray[Any]]]:
    """Read the chunks of one file that are there.

    Yields
    ------
    place : tuple of int
        Place of the chunk's first value in the array.
    values : ndarray
        The chunk; at the end of the array it is longer than that.

    Raises
    ------
    Damage
        A chunk is damaged, or the file is absent.
    """
    shard = open_shard(files, file_key(array, block), form)
    if shard is None:
        raise Damage("has no file")
    for place in np.ndindex(*form.in_shard):
        if shard.has(place):
            start = tuple(
                b * s + p * c
                for b, s, p, c in zip(block, form.shard, place, form.chunk, strict=True)
            )
            values = read_chunk(files, shard, place, form).view(np.dtype(form.dtype))
            yield start, values.reshape(form.chunk)


def each_block(
    files: StoreFiles, array: str, form: ArrayForm, blocks: Iterable[tuple[int, ...]]
) -> Iterator[tuple[tuple[int, ...], NDArray[Any] | Damage]]:
    """Read files of an array without shards; what is damaged is read once more.

    Yields
    ------
    block : tuple of int
        Which file.
    values : ndarray or Damage
        Its values inside the array, or why it cannot be read.
    """
    for block in blocks:
        yield block, _block(files, array, form, block)


def _block(
    files: StoreFiles, array: str, form: ArrayForm, block: tuple[int, ...]
) -> NDArray[Any] | Damage:
    found: NDArray[Any] | Damage = Damage("")
    for _ in range(2):  # a writer may have replaced the file in between
        try:
            ((start, values),) = file_chunks(files, array, block, form)
        except Damage as damage:
            found = damage
        else:
            inside = zip(start, form.shape, strict=True)
            return values[tuple(slice(0, max(0, end - first)) for first, end in inside)]
    return found
