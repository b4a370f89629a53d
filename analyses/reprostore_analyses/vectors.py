"""Vectors and images of runs at common seeds, in memory or in a temporary file when large."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.embed import EncoderHandle, embed_run
from reprostore.embed.handle import Progress
from reprostore.images import to_uint8
from reprostore.store import Run, SampleStore
from reprostore.store.checked import CheckedArray

MEMORY_BYTES = 512 * 2**20
"""What all arrays of one collection may take before they go to a temporary file."""

BLOCK_SEEDS = 256

BLOCK_BYTES = 4 * 2**20
"""What is read at a time of samples so small that more than `BLOCK_SEEDS` fit into it."""


class Collection:
    """One array (seed, …) per run, made on first use; use it as a context manager.

    Parameters
    ----------
    seeds : int
        Number of seeds.
    runs : int
        Number of runs, for the memory that may be used.
    """

    def __init__(self, seeds: int, runs: int) -> None:
        self._seeds = seeds
        self._runs = runs
        self._arrays: dict[str, NDArray[Any]] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> "Collection":
        """Return the empty collection."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Forget the arrays and remove the temporary files."""
        self._arrays.clear()
        if self._folder is not None:
            self._folder.cleanup()

    def vectors(
        self,
        store: SampleStore,
        encoder: EncoderHandle,
        run: Run,
        slots: NDArray[np.int64],
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """Return the vectors of a run's last states, (seed, embedding)."""
        if run.path not in self._arrays:
            stored = embed_run(store, encoder, run, progress=progress)
            self._fill(run.path, slots, stored.read)
        return self._arrays[run.path]

    def images(self, run: Run, slots: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the last states of a run as 8-bit images, (seed, channel, y, x)."""
        if run.path not in self._arrays:
            checked = CheckedArray(run, "sample")

            def read(part: NDArray[np.int64]) -> NDArray[np.uint8]:
                states = checked[int(part[0]) : int(part[-1]) + 1, -1]
                return to_uint8(states[part - part[0]])

            self._fill(run.path, slots, read)
        return self._arrays[run.path]

    def _fill(
        self, key: str, slots: NDArray[np.int64], read: Callable[[NDArray[np.int64]], NDArray[Any]]
    ) -> None:
        target: NDArray[Any] | None = None
        # In the order of the slots, whatever that of the seeds: what is read lies side by side.
        ascending = np.argsort(slots)
        start, length = 0, BLOCK_SEEDS
        while start < len(slots):
            part = ascending[start : start + length]
            block = read(slots[part])
            if target is None:
                target = self._allocate(key, (len(slots), *block.shape[1:]), block.dtype)
                length = max(length, BLOCK_BYTES // max(1, block[0].nbytes))
            target[part] = block
            start += len(part)
        assert target is not None  # there is at least one seed
        self._arrays[key] = target

    def _allocate(self, key: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        nbytes = int(np.prod(shape)) * dtype.itemsize
        if nbytes * self._runs <= MEMORY_BYTES:
            return np.empty(shape, dtype=dtype)
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="reprostore-")
        path = Path(self._folder.name) / key.replace("/", "--")
        return np.memmap(path, mode="w+", dtype=dtype, shape=shape)
