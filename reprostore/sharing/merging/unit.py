"""One work unit of a merged run: states from several runs, then what is recorded beside them."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import CorruptionError, IdentityError
from reprostore.seeds import seeds_text
from reprostore.sharing.merging.runs import MergedRun
from reprostore.sharing.merging.states import States, recorded_names
from reprostore.store import Run, Unit
from reprostore.store.arrays import ReplacingStore, fill_value, open_array, read_whole
from reprostore.store.checked import CheckedArray
from reprostore.store.digest import SeedDigests
from reprostore.store.groups import storage_errors
from reprostore.store.run import WRITTEN
from reprostore.store.units import sweep_unit

if TYPE_CHECKING:
    import zarr


class UnitCopier:
    """Copies the samples of a merged run into the units of a stored one.

    What is written stays. The order is that of every writer: states, then digests, sessions and
    noise probes, then the status; so a unit that was interrupted is missing as before.

    Parameters
    ----------
    merged : MergedRun
        Where the states of each seed are, and what is recorded of it.
    """

    def __init__(self, merged: MergedRun) -> None:
        self._merged = merged
        self._states: dict[int, States] = {}

    def found(self, run: Run, seeds: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where a stored run's seeds are in the merged run.

        Parameters
        ----------
        run : Run
            The stored run.
        seeds : ndarray of int64, (slot,)
            Its seeds.

        Returns
        -------
        ndarray of int64, (slot,)
            -1 for those that nobody has, or only `run` itself.
        """
        at = self._merged.positions(seeds)
        others = [
            (part.store_path, part.path) != (run.store_path, run.path) for part in self._merged.runs
        ]
        # The last entry is that of seeds that are in none of the runs, whose holder is -1.
        has = np.asarray([*others, False])[self._merged.holder]
        at[at >= 0] = np.where(has[at[at >= 0]], at[at >= 0], -1)
        return at

    def copy(self, run: Run, unit: Unit, at: NDArray[np.int64]) -> None:
        """Write those of a unit's seeds that are not written and can be copied.

        Parameters
        ----------
        run : Run
            The stored run, open for writing; the caller holds the unit's lock.
        unit : Unit
            Which unit.
        at : ndarray of int64, (slot,)
            Where the unit's seeds are in the merged run, -1 for those that stay as they are.

        Raises
        ------
        CorruptionError
            A state is damaged, or is not the one whose digest is recorded.
        IdentityError
            A seed was written meanwhile with other bits.
        """
        sweep_unit(run, unit)
        region = slice(unit.start, unit.stop)
        status = read_whole(run.array("status"), region)
        mine, written = at >= 0, status == WRITTEN
        self._compare(run, region, at, mine & written)
        fill = mine & ~written
        if not fill.any():
            return
        with storage_errors(run.store_path):
            self._write_states(run, unit, at, fill, written)
            values: dict[str, NDArray[Any]] = {
                "digest": self._merged.digests,
                "session": self._merged.sessions,
                "noise_probe": self._merged.probes,
            }
            for name, new in values.items():
                whole = np.array(run.recorded(name, region))
                whole[fill] = new[at[fill]]
                run.array(name)[region] = whole
            run.array("status")[region] = np.where(fill, WRITTEN, status).astype(np.uint8)

    def _compare(
        self,
        run: Run,
        region: slice,
        at: NDArray[np.int64],
        meanwhile: NDArray[np.bool_],
    ) -> None:
        if not meanwhile.any():
            return
        digests = run.recorded("digest", region)
        other = meanwhile & (digests != self._merged.digests[at])
        if other.any():
            seeds = seeds_text(self._merged.seeds[at[other]])
            raise IdentityError(
                f"The seeds {seeds} of the run {run.path} were written with other bits while the "
                "stores were merged.",
                "Equal seeds of one run have equal samples.",
                "Merge again when no other process writes: the difference is then told.",
            )

    def _write_states(
        self,
        run: Run,
        unit: Unit,
        at: NDArray[np.int64],
        fill: NDArray[np.bool_],
        written: NDArray[np.bool_],
    ) -> None:
        """Write the shards that gain states, one block of seeds after the other."""
        store = ReplacingStore(run.store_path)
        arrays = {n: open_array(store, f"{run.group}/{n}") for n in recorded_names(run)}
        if not arrays:
            return
        shards = arrays["sample"].shards
        assert shards is not None  # every array of states is sharded
        for start in range(unit.start, unit.stop, shards[0]):
            slots = slice(start, min(start + shards[0], unit.stop))
            part = slice(slots.start - unit.start, slots.stop - unit.start)
            if fill[part].any():
                self._write_block(run, arrays, slots, at[part], (fill[part], written[part]))

    def _write_block(
        self,
        run: Run,
        arrays: "dict[str, zarr.Array[Any]]",
        slots: slice,
        at: NDArray[np.int64],
        masks: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    ) -> None:
        fill, written = masks
        count = len(run.spec.steps)
        digests = SeedDigests(int(fill.sum()))
        values: dict[str, NDArray[Any]] = {}
        for row in range(count):
            for name, array in arrays.items():
                assert array.shards is not None
                depth = array.shards[1]
                first = row // depth * depth
                rows = slice(first, min(first + depth, count))
                if row == first:
                    values[name] = _block(run, name, slots, rows, written)
                state = self._read(name, at[fill], row)
                digests.add(state)
                values[name][fill, row - first] = state
                if row + 1 == rows.stop:
                    array[slots, rows] = values.pop(name)
        expected = self._merged.digests[at[fill]]
        wrong = digests.values() != expected
        if wrong.any():
            raise CorruptionError(
                f"The samples of the run {run.path} to be copied, of the seeds "
                f"{seeds_text(self._merged.seeds[at[fill]][wrong])}, do not have the digests that "
                "are recorded beside them.",
                "Every sample agrees with its digest.",
                "Restore the store that they come from, or verify and repair it first.",
            )

    def _read(self, name: str, at: NDArray[np.int64], row: int) -> NDArray[Any]:
        """Read the states of merged seeds at one recorded step, wherever they are."""
        holders, slots = self._merged.holder[at], self._merged.slots[at]
        found: NDArray[Any] | None = None
        for holder in np.unique(holders).tolist():
            if holder not in self._states:
                self._states[holder] = States(self._merged.runs[holder])
            mine = holders == holder
            part = self._states[holder].read(name, slots[mine], row)
            if found is None:
                found = np.empty((len(at), *part.shape[1:]), dtype=part.dtype)
            found[mine] = part
        assert found is not None  # there are seeds to be copied
        return found


def _block(
    run: Run, name: str, slots: slice, rows: slice, written: NDArray[np.bool_]
) -> NDArray[Any]:
    """Return what a shard holds, or an empty one where none of its seeds is written."""
    if written.any():
        return np.array(CheckedArray(run, name)[slots, rows])
    shape = (slots.stop - slots.start, rows.stop - rows.start, *run.spec.sample_shape)
    dtype = np.dtype(run.spec.stored_dtype)
    return np.full(shape, fill_value(dtype), dtype=dtype)
