"""Reading a run's states so that damage is an error that names run, seeds and steps."""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import CorruptionError
from reprostore.seeds import seeds_text
from reprostore.store.digest import SeedDigests
from reprostore.store.files import store_files
from reprostore.store.run import WRITTEN, Run


class CheckedArray:
    """Array-like view of `sample` or `denoised`, for NumPy and dask.

    Reading a written state whose file is absent, shortened or has flipped bits raises
    CorruptionError; states that are not written read as NaN, or 0 for integers. Where all that the
    digest of a seed is about is read at once, as in a run that records one state, the digest is
    compared too. Every error is read once more before it is believed, since a growing run replaces
    its last unit.

    Parameters
    ----------
    run : Run
        The run.
    name : str
        "sample" or "denoised".
    """

    def __init__(self, run: Run, name: str) -> None:
        run.require_samples()
        self.run = run
        self.name = name
        self._array = run.array(name)
        self._status = run.status  # what is written later is not checked by this view
        self._length = len(self._status)
        # The digest of a seed is over its denoised states too, which this view does not read.
        self._alone = name == "sample" and not run.spec.sampler_spec.denoised
        self._known = slice(0, 0), np.zeros(0, dtype=np.uint64)

    @property
    def shape(self) -> tuple[int, ...]:
        """(slots, steps, *sample_shape)."""
        return (self._length, *self._array.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored dtype."""
        return np.dtype(self._array.dtype)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self._array.ndim

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of the inner chunks, the smallest part that is read."""
        return self._array.chunks

    def __getitem__(self, key: Any) -> NDArray[Any]:  # noqa: ANN401  # slices and integers
        """Read a part by slices and integers.

        Raises
        ------
        CorruptionError
            Written states in it are damaged.
        """
        keys = key if isinstance(key, tuple) else (key,)
        slots, rows = (
            _as_slice(keys[axis] if axis < len(keys) else slice(None), self.shape[axis])
            for axis in (0, 1)
        )
        try:
            block = self._read(slots, rows)
        except Exception:  # whatever a decoder raises; the second read decides
            try:
                self._array = self.run.array(self.name)
                self._known = slice(0, 0), self._known[1][:0]
                block = self._read(slots, rows)
            except CorruptionError:  # of the digests; it names their seeds
                raise
            except Exception as error:
                raise self._damage(slots, rows, error) from error
        rest = tuple(
            0 if isinstance(keys[axis], int | np.integer) else slice(None)
            for axis in range(min(2, len(keys)))
        )
        return np.asarray(block[(*rest, *keys[2:])])

    def _read(self, slots: slice, rows: slice) -> NDArray[Any]:
        # What the status called written has been in its place since before it was read.
        written = np.flatnonzero(self._status[slots] == WRITTEN)
        block = np.asarray(self._array[slots, rows])
        if len(block) != slots.stop - slots.start:
            raise ValueError(f"the array has {self._array.shape[0]} slots of {self._length}")
        if len(written) == 0 or block.size == 0:
            return block
        absent = self._absent_shards(slots.start + written, rows)
        if absent:
            raise FileNotFoundError(f"the file {absent[0]} does not exist or is empty")
        if self.name == "sample" and block.dtype.kind == "f":
            first = block.reshape(*block.shape[:2], -1)[written, :, 0]
            if np.isnan(first).any():
                raise ValueError("written samples read as absent")
        if self._alone and rows == slice(0, self.shape[1]):
            found = SeedDigests(len(written))
            for row in range(self.shape[1]):
                found.add(block[:, row] if len(written) == len(block) else block[written, row])
            others = written[found.values() != self._digests(slots)[written]]
            if len(others):
                raise _OtherStatesError((slots.start + others).tolist())
        return block

    def _digests(self, slots: slice) -> NDArray[np.uint64]:
        """Return what is recorded of slots; that of their units is kept for the next ones."""
        known, digests = self._known
        if not known.start <= slots.start <= slots.stop <= known.stop:
            unit = self.run.unit_length
            stop = min(-(-slots.stop // unit) * unit, self._length)
            known = slice(slots.start // unit * unit, stop)
            digests = self.run.recorded("digest", known)
            self._known = known, digests
        return digests[slots.start - known.start : slots.stop - known.start]

    def _absent_shards(self, written: NDArray[np.int64], rows: slice) -> list[str]:
        shards = self._array.shards
        assert shards is not None
        seed_blocks = np.unique(written // shards[0]).tolist()
        row_blocks = range(rows.start // shards[1], (rows.stop - 1) // shards[1] + 1)
        rest = (0,) * (self.ndim - 2)
        keys = (
            f"{self._array.path}/"
            + self._array.metadata.encode_chunk_key((seed_block, row_block, *rest))
            for seed_block, row_block in itertools.product(seed_blocks, row_blocks)
        )
        files = store_files(self.run.store_path)
        return [key for key in keys if not files.size(key)]

    def _damage(self, slots: slice, rows: slice, error: Exception) -> CorruptionError:
        """Read chunk by chunk to find which seeds and steps are damaged."""
        bad_slots: set[int] = set()
        bad_rows: set[int] = set()
        length = self.chunks[0]
        for start in range(slots.start // length * length, slots.stop, length):
            part = slice(max(start, slots.start), min(start + length, slots.stop))
            bad = {
                row: self._bad_slots(part, slice(row, row + 1))
                for row in range(rows.start, rows.stop)
            }
            if not any(bad.values()):  # each row is whole: only their digest can be another
                bad = dict.fromkeys(bad, self._bad_slots(part, rows))
            for row, found in bad.items():
                if found:
                    bad_slots.update(found)
                    bad_rows.add(row)
        seeds = self.run.seeds[sorted(bad_slots)] if bad_slots else self.run.seeds[slots]
        steps = [
            self.run.spec.steps[row] for row in sorted(bad_rows) or range(rows.start, rows.stop)
        ]
        action = (
            f"Restore the file from a copy, or run `repro verify {self.run.store_path} --repair`, "
            "which marks these seeds missing, and make them again."
        )
        if self.run.store_path.is_file():  # nothing is written into an archive
            action = "Receive the archive again; `repro verify` says all that is damaged in it."
        return CorruptionError(
            f"The {self.name} array of the run {self.run.path} is damaged at the seeds "
            f"{seeds_text(seeds)}, steps {seeds_text(steps)} ({error}).",
            "Every written state agrees with its checksum.",
            action,
        )

    def _bad_slots(self, slots: slice, rows: slice) -> list[int]:
        try:
            self._read(slots, rows)
        except _OtherStatesError as error:
            return error.slots
        except Exception:  # any decoding error marks the chunk
            return [*range(slots.start, slots.stop)]
        return []


class _OtherStatesError(ValueError):
    """The states of some slots are whole, and not those of the recorded digests."""

    def __init__(self, slots: list[int]) -> None:
        super().__init__("the digests that are recorded are those of other states")
        self.slots = slots


def _as_slice(key: Any, length: int) -> slice:  # noqa: ANN401  # a slice or an integer
    if isinstance(key, int | np.integer):
        start = int(key) + length if key < 0 else int(key)
        if not 0 <= start < length:
            raise IndexError(f"index {key} is out of bounds for an axis of length {length}")
        return slice(start, start + 1)
    start, stop, step = key.indices(length)
    if step != 1:
        raise IndexError("only slices with step 1 are read")
    return slice(start, max(start, stop))
