"""Writing one work unit: state by state into shards, then its metadata, its status last."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import DriftError, ModelError, SpecError
from reprostore.layout import PROBE_LENGTH
from reprostore.seeds import seeds_text
from reprostore.store.arrays import ReplacingStore, open_array
from reprostore.store.checked import CheckedArray
from reprostore.store.groups import storage_errors
from reprostore.store.run import WRITTEN, Run, Unit

Array = NDArray[Any]


def _feed(hasher: "hashlib.blake2b", state: Array) -> None:
    hasher.update(np.ascontiguousarray(state, dtype=state.dtype.newbyteorder("<")).data)


@dataclass
class _Block:
    """One shard in memory: its slots, its rows, and how many states it still waits for."""

    slots: slice
    rows: slice
    values: Array
    waiting: int


class UnitWriter:
    """Takes a unit's states in any order of batches, each batch's rows in order of steps.

    A shard is written as soon as its last state has arrived, so memory holds one shard of
    `sample` and one of `denoised`. Slots that are written already keep their bytes: what is put
    for them is only compared with their digest.

    Parameters
    ----------
    run : Run
        An existing run, open for writing; the caller holds the unit's lock.
    unit : Unit
        Which unit; seeds that were added to it meanwhile are part of it.
    session : int
        The session that writes.
    accept_drift : bool
        Do not refuse when a written sample, computed again, comes out with other bits.
    """

    def __init__(self, run: Run, unit: Unit, session: int, *, accept_drift: bool = False) -> None:
        run.require_writable()
        run.require_samples()
        unit = run.unit(unit.index)  # a shard that was cut short would take others' samples away
        self.run = run
        self.unit = unit
        self.session = session
        self.accept_drift = accept_drift
        self.seeds = run.seeds[unit.start : unit.stop]
        self.kept = run.status[unit.start : unit.stop] == WRITTEN
        self.drifted = False
        names = ["sample", "denoised"] if run.spec.sampler_spec.denoised else ["sample"]
        store = ReplacingStore(run.store_path)
        self._arrays = {name: open_array(store, f"{run.group}/{name}") for name in names}
        length = unit.stop - unit.start
        self._probe = np.full((length, PROBE_LENGTH), np.nan, dtype=np.float32)
        self._hashers = [hashlib.blake2b(digest_size=8) for _ in range(length)]
        self._rows_seen = np.zeros(length, dtype=np.int64)
        self._blocks: dict[tuple[str, int, int], _Block] = {}
        self._batches: list[range] = []
        sweep_unit(run, unit)

    def batches(self, batch_size: int) -> list[range]:
        """Return the batches of slots that hold a missing one; these must be put.

        Slots of a range beyond the unit's end stand for padding and are not part of it.
        """
        starts = range(self.unit.start, self.unit.stop, batch_size)
        ranges = [range(a, min(a + batch_size, self.unit.stop)) for a in starts]
        first = self.unit.start
        self._batches = [r for r in ranges if not self.kept[r.start - first : r.stop - first].all()]
        return self._batches

    def put_noise(self, slots: range, probe: NDArray[np.float32]) -> None:
        """Take the first values of a batch's noise, (len(slots), 8) float32."""
        self._probe[slots.start - self.unit.start : slots.stop - self.unit.start] = probe

    def put(self, slots: range, row: int, sample: Array, denoised: Array | None = None) -> None:
        """Take one recorded state of a batch.

        Parameters
        ----------
        slots : range
            The batch, one of those that `batches` returned.
        row : int
            Position among the recorded steps.
        sample, denoised : ndarray
            (len(slots), *sample_shape), in the stored dtype.

        Raises
        ------
        ModelError
            A sample is not finite.
        SpecError
            Shape or dtype are not those of the run, or rows arrive out of order.
        """
        states = (
            {"sample": sample} if denoised is None else {"sample": sample, "denoised": denoised}
        )
        if states.keys() != self._arrays.keys():
            raise SpecError(
                f"The arrays {', '.join(states)} were put into the run {self.run.path}.",
                f"It records {', '.join(self._arrays)}.",
                "Put all recorded arrays of a state together.",
            )
        for state in states.values():
            self._check_form(slots, state)
        self._check_row(slots, row)
        self._check_finite(slots, row, states)
        for position, slot in enumerate(slots):
            for state in states.values():
                _feed(self._hashers[slot - self.unit.start], state[position])
        for name, state in states.items():
            self._place(name, slots, row, state)

    def _check_form(self, slots: range, state: Array) -> None:
        spec = self.run.spec
        expected = (len(slots), *spec.sample_shape)
        if state.shape != expected or state.dtype != np.dtype(spec.stored_dtype):
            raise SpecError(
                f"A state of shape {state.shape} and dtype {state.dtype} was put into the run "
                f"{self.run.path}.",
                f"Its states have shape {expected} and dtype {spec.stored_dtype}.",
                "Convert the states before they are put.",
            )

    def _check_row(self, slots: range, row: int) -> None:
        first = slots.start - self.unit.start
        seen = self._rows_seen[first : first + len(slots)]
        if (seen != row).any():
            raise SpecError(
                f"Row {row} of the seeds {seeds_text(self.seeds[first : first + len(slots)])} was "
                f"put after {int(seen[0])} rows.",
                "The rows of a batch are put once each, in the order of their steps.",
                "Put every recorded step in order.",
            )
        seen += 1

    def _check_finite(self, slots: range, row: int, states: dict[str, Array]) -> None:
        spec, first = self.run.spec, slots.start - self.unit.start
        for name, state in states.items():
            if state.dtype.kind != "f":
                continue
            # `denoised` may be NaN (it is not defined in every row), but not overflow
            good = np.isfinite(state) if name == "sample" else ~np.isinf(state)
            fine = good.reshape(len(state), -1).all(axis=1)
            if not fine.all():
                bad = self.seeds[first : first + len(slots)][~fine]
                raise ModelError(
                    f"The model {spec.model} gave {name} states that are not finite for the "
                    f"seeds {seeds_text(bad)} after step {spec.steps[row]}.",
                    f"States are finite numbers that fit into {spec.stored_dtype}.",
                    "Check the checkpoint and the noise schedule, or choose float32 as dtype.",
                )

    def _place(self, name: str, slots: range, row: int, state: Array) -> None:
        array = self._arrays[name]
        shards = array.shards
        assert shards is not None  # every sample array of the store is sharded
        shard_seeds, shard_rows = shards[:2]
        row_block = row // shard_rows
        for seed_block in range(slots.start // shard_seeds, (slots.stop - 1) // shard_seeds + 1):
            key = (name, seed_block, row_block)
            block = self._blocks.get(key) or self._open_block(name, seed_block, row_block)
            start = max(slots.start, block.slots.start)
            stop = min(slots.stop, block.slots.stop)
            new = ~self.kept[start - self.unit.start : stop - self.unit.start]
            target = block.values[start - block.slots.start : stop - block.slots.start]
            target[new, row - block.rows.start] = state[start - slots.start : stop - slots.start][
                new
            ]
            block.waiting -= stop - start
            if block.waiting == 0:
                with storage_errors(self.run.store_path):
                    array[block.slots, block.rows] = block.values
                del self._blocks[key]

    def _open_block(self, name: str, seed_block: int, row_block: int) -> _Block:
        array = self._arrays[name]
        assert array.shards is not None
        shard_seeds, shard_rows = array.shards[:2]
        start = seed_block * shard_seeds
        slots = slice(start, min(start + shard_seeds, self.unit.stop))
        rows = slice(row_block * shard_rows, min((row_block + 1) * shard_rows, array.shape[1]))
        expected = [
            slot for batch in self._batches for slot in batch if slots.start <= slot < slots.stop
        ]
        kept = self.kept[slots.start - self.unit.start : slots.stop - self.unit.start]
        if kept.any():
            values = CheckedArray(self.run, name)[slots, rows]
        else:
            shape = (slots.stop - slots.start, rows.stop - rows.start, *array.shape[2:])
            values = np.empty(shape, dtype=array.dtype)
        block = _Block(slots, rows, values, len(expected) * (rows.stop - rows.start))
        self._blocks[name, seed_block, row_block] = block
        return block

    def finish(self) -> None:
        """Write digests, session and noise probes of the unit, then its status.

        Raises
        ------
        DriftError
            A sample that was written earlier came out with other bits.
        SpecError
            Some of the unit's states were not put.
        """
        put = self._rows_seen == len(self.run.spec.steps)
        if self._blocks or not (put | self.kept).all():
            raise SpecError(
                f"Unit {self.unit.index} of the run {self.run.path} is finished too early.",
                "A unit is finished when every recorded step of its missing seeds was put.",
                "Put the remaining states first.",
            )
        digests = np.asarray(
            [int.from_bytes(hasher.digest(), "little") for hasher in self._hashers], dtype=np.uint64
        )
        self._compare(digests, put & self.kept)
        region = slice(self.unit.start, self.unit.stop)
        values: dict[str, Array] = {
            "digest": digests,
            "session": np.full(len(digests), self.session, dtype=np.uint64),
            "noise_probe": self._probe,
        }
        with storage_errors(self.run.store_path):
            for name, new in values.items():
                array = self.run.array(name)
                if self.kept.any():
                    new[self.kept] = self.run.recorded(name, region)[self.kept]
                array[region] = new
            self.run.array("status")[region] = np.full(len(digests), WRITTEN, dtype=np.uint8)

    def _compare(self, digests: NDArray[np.uint64], again: NDArray[np.bool_]) -> None:
        if not again.any():
            return
        stored = self.run.recorded("digest", slice(self.unit.start, self.unit.stop))
        changed = again & (stored != digests)
        self.drifted = bool(changed.any())
        if self.drifted and not self.accept_drift:
            raise DriftError(
                f"The seeds {seeds_text(self.seeds[changed])} of the run {self.run.path}, computed "
                "again beside new ones, came out with other bits than those stored.",
                "A run is continued on the machine and with the versions that began it.",
                "Continue it there, or pass --accept-drift: the stored samples stay as they are, "
                "and every result made from the run says that it is mixed.",
            )


def sweep_unit(run: Run, unit: Unit) -> None:
    """Remove a unit's temporary files of a writer that was killed; the caller holds its lock."""
    folder = run.store_path / run.group
    for name in ("digest", "session", "noise_probe", "status"):
        _remove_partial((folder / name / "c").glob(f"{unit.index}.*.partial"))
        _remove_partial((folder / name / "c" / str(unit.index)).rglob("*.partial"))
    for name in ("sample", "denoised"):
        if not (folder / name).is_dir():
            continue
        array = run.array(name)
        assert array.shards is not None
        for block in range(unit.start // array.shards[0], (unit.stop - 1) // array.shards[0] + 1):
            _remove_partial((folder / name / "c" / str(block)).rglob("*.partial"))


def _remove_partial(files: Iterable[Path]) -> None:
    for file in list(files):
        file.unlink(missing_ok=True)
