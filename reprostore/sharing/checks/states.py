"""A run's states, each chunk read once: its checksum, and the digests of the seeds in it."""

import hashlib
import itertools
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reprostore.sharing.checks.chunks import Shard, file_key, open_shard, read_chunk
from reprostore.sharing.checks.findings import Damage
from reprostore.sharing.checks.forms import ArrayForm
from reprostore.store.files import StoreFiles

SMALL_STATE = 2**14
"""States of fewer bytes are put together before they are hashed: each call has a cost."""

GATHERED = 2**23
"""Bytes of small states that are put together at once."""

Opened = dict[tuple[str, int], Shard | Damage | None]


@dataclass(frozen=True)
class States:
    """What is known of a run before its states are read.

    Attributes
    ----------
    group : str
        Path of the run's group in the store.
    forms : dict
        Of `sample` and, where it is recorded, `denoised`, in this order.
    written : ndarray of bool, (slot,)
        Which slots are written.
    digests : ndarray of uint64, (slot,)
        As recorded.
    compared : ndarray of bool, (slot,)
        Whose digests are known.
    """

    group: str
    forms: dict[str, ArrayForm]
    written: NDArray[np.bool_]
    digests: NDArray[np.uint64]
    compared: NDArray[np.bool_]


@dataclass
class Column:
    """What was found in the chunks of a few seeds over all steps.

    Attributes
    ----------
    slots : range
        The slots.
    bad : dict
        Why a chunk cannot be read, by array and row.
    differing : list of int
        Written slots whose states have another digest.
    infinite : dict
        Written slots by row whose samples are not finite.
    chunks, nbytes : int
        How many were read.
    """

    slots: range
    bad: dict[tuple[str, int], str] = field(default_factory=dict)
    differing: list[int] = field(default_factory=list)
    infinite: dict[int, list[int]] = field(default_factory=dict)
    chunks: int = 0
    nbytes: int = 0

    @property
    def fine(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.bad or self.differing or self.infinite)


def workers() -> int:
    """Return how many threads read and hash at once."""
    return max(2, min(8, os.cpu_count() or 2))


def check_states(
    files: StoreFiles, states: States, spans: Sequence[range] | None = None
) -> Iterator[Column]:
    """Read the states of a run and compare their checksums and digests.

    What is wrong is read once more before it is believed, since a writer may have replaced the
    file in between. Memory: a few chunks a thread.

    Parameters
    ----------
    files : StoreFiles
        Of the store.
    states : States
        What is known of the run.
    spans : sequence of range, optional
        Slots of the units that are read; all when left out.

    Yields
    ------
    Column
        In order of the slots; of all chunks that are there, also those of missing seeds.
    """
    pending: deque[Future[Column]] = deque()
    threads = workers()
    with ThreadPoolExecutor(threads) as pool:
        for slots, opened in _columns(files, states, spans):
            pending.append(pool.submit(_checked_twice, files, states, slots, opened))
            if len(pending) > 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _columns(
    files: StoreFiles, states: States, spans: Sequence[range] | None
) -> Iterator[tuple[range, Opened]]:
    length = len(states.written)
    form = states.forms["sample"]
    per_shard, per_chunk = form.shard[0], form.chunk[0]
    for span in [range(length)] if spans is None else spans:
        for block in range(span.start // per_shard, -(-span.stop // per_shard)):
            opened = _opened(files, states, block)
            first, last = block * per_shard, min((block + 1) * per_shard, length)
            there = any(shard is not None for shard in opened.values())
            if not there and not states.written[first:last].any():
                continue
            for start in range(first, last, per_chunk):
                yield range(start, min(start + per_chunk, last)), opened


def _opened(files: StoreFiles, states: States, block: int) -> Opened:
    opened: Opened = {}
    for name, form in states.forms.items():
        for rows in range(form.files[1]):
            key = file_key(f"{states.group}/{name}", (block, rows, *(0,) * (len(form.shape) - 2)))
            try:
                opened[name, rows] = open_shard(files, key, form)
            except Damage as damage:
                opened[name, rows] = damage
    return opened


def _checked_twice(files: StoreFiles, states: States, slots: range, opened: Opened) -> Column:
    column = _check_column(files, states, slots, opened)
    if not column.fine:
        block = slots.start // states.forms["sample"].shard[0]
        column = _check_column(files, states, slots, _opened(files, states, block))
    return column


def _check_column(files: StoreFiles, states: States, slots: range, opened: Opened) -> Column:
    column = Column(slots)
    written = np.flatnonzero(states.written[slots.start : slots.stop])
    hashing = _Hashing(written)
    rows = states.forms["sample"].shape[1]
    for row, (name, form) in itertools.product(range(rows), states.forms.items()):
        try:
            chunk = _chunk(files, form, opened[name, row // form.shard[1]], slots, row)
        except Damage as damage:
            column.bad[name, row] = str(damage)
            continue
        if chunk is None:
            if len(written):
                column.bad[name, row] = "does not exist"
            continue
        column.chunks += 1
        column.nbytes += chunk.nbytes
        if name == "sample" and form.dtype.startswith("float") and len(written):
            infinite = _infinite(chunk, form, written)
            if len(infinite):
                column.infinite[row] = (slots.start + infinite).tolist()
        if not column.bad:
            hashing.add(chunk.reshape(form.chunk[0], -1))
    if len(written) and not column.bad:
        at = slots.start + written
        differ = states.compared[at] & (states.digests[at] != hashing.digests())
        column.differing = at[differ].tolist()
    return column


def _chunk(
    files: StoreFiles, form: ArrayForm, shard: Shard | Damage | None, slots: range, row: int
) -> NDArray[np.uint8] | None:
    if isinstance(shard, Damage):
        raise shard
    if shard is None:
        return None
    place = (
        slots.start % form.shard[0] // form.chunk[0],
        row % form.shard[1],
        *(0,) * (len(form.shape) - 2),
    )
    return read_chunk(files, shard, place, form) if shard.has(place) else None


def _infinite(
    chunk: NDArray[np.uint8], form: ArrayForm, written: NDArray[np.int64]
) -> NDArray[np.int64]:
    values = chunk.view(np.dtype(form.dtype)).reshape(form.chunk[0], -1)
    if np.isfinite(values.min()) and np.isfinite(values.max()):
        return written[:0]
    infinite: NDArray[np.bool_] = ~np.isfinite(values[written]).all(axis=1)
    return written[infinite]


class _Hashing:
    """Digests of the written seeds of a column, fed state after state."""

    def __init__(self, written: NDArray[np.int64]) -> None:
        self._written = written
        self._hashers = [hashlib.blake2b(digest_size=8) for _ in written]
        self._gathered: list[NDArray[np.uint8]] = []
        self._nbytes = 0

    def add(self, states: NDArray[np.uint8]) -> None:
        """Take the next state of all seeds, (seed, byte)."""
        if states.shape[1] >= SMALL_STATE:
            for hasher, position in zip(self._hashers, self._written, strict=True):
                hasher.update(states[position].data)
            return
        self._gathered.append(states)
        self._nbytes += states.nbytes
        if self._nbytes >= GATHERED:
            self._flush()

    def _flush(self) -> None:
        if not self._gathered:
            return
        joined = (
            np.concatenate(self._gathered, axis=1) if len(self._gathered) > 1 else self._gathered[0]
        )
        for hasher, position in zip(self._hashers, self._written, strict=True):
            hasher.update(joined[position].data)
        self._gathered, self._nbytes = [], 0

    def digests(self) -> NDArray[np.uint64]:
        """Return the digests of the written seeds."""
        self._flush()
        numbers = [int.from_bytes(hasher.digest(), "little") for hasher in self._hashers]
        return np.asarray(numbers, dtype=np.uint64)
