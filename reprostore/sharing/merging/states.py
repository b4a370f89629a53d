"""States of scattered slots, read step by step and never more than a few at once."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.layout import MIB
from reprostore.store import Run
from reprostore.store.checked import CheckedArray

_BLOCK_BYTES = 32 * MIB


def recorded_names(run: Run) -> list[str]:
    """Return which arrays of states a run has, in the order in which they are digested."""
    if run.withheld:
        return []
    return ["sample", "denoised"] if run.spec.sampler_spec.denoised else ["sample"]


class States:
    """Reads states of some of a run's slots.

    Parameters
    ----------
    run : Run
        The run; its samples are here.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._arrays = {name: CheckedArray(run, name) for name in recorded_names(run)}

    def read(self, name: str, slots: NDArray[np.int64], row: int) -> NDArray[Any]:
        """Read one recorded step, (slot, *sample_shape) in the order of `slots`.

        Slots that lie near each other are read together: whole chunks are decoded at any rate.

        Raises
        ------
        CorruptionError
            A state is damaged.
        """
        array = self._arrays[name]
        states = np.empty((len(slots), *array.shape[2:]), dtype=array.dtype)
        order = np.argsort(slots)
        apart = np.flatnonzero(np.diff(slots[order]) > array.chunks[0]) + 1
        for part in np.split(order, apart):
            if len(part):
                first, last = int(slots[part[0]]), int(slots[part[-1]]) + 1
                states[part] = array[first:last, row][slots[part] - first]
        return states


def largest_difference(
    runs: Sequence[Run],
    other: Run,
    pairs: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
) -> float:
    """Return the largest absolute difference of recorded states of equal seeds.

    Parameters
    ----------
    runs : sequence of Run
        Among which the first states are spread.
    other : Run
        Whose the second states are.
    pairs : tuple of ndarray of int64, (pair,) each
        Position in `runs`, slot there, and slot in `other`.

    Returns
    -------
    float
        Of all recorded steps, of `denoised` too, in the units of the states, in which images span
        [-1, 1]; bytes 0 to 255 are taken to that range. Infinite where only one of two is NaN.
    """
    second, largest = States(other), 0.0
    for holder in np.unique(pairs[0]).tolist():
        mine = pairs[0] == holder
        first = States(runs[holder])
        for block in state_blocks(other, int(mine.sum())):
            slots, others = pairs[1][mine][block], pairs[2][mine][block]
            for row in range(len(other.spec.steps)):
                for name in recorded_names(other):
                    difference = _difference(
                        first.read(name, slots, row), second.read(name, others, row)
                    )
                    largest = max(largest, difference)
    return largest


def state_blocks(run: Run, count: int) -> Iterator[slice]:
    """Yield parts of so many seeds whose states of one step are read together."""
    state = int(np.prod(run.spec.sample_shape)) * np.dtype(np.float64).itemsize
    length = max(1, _BLOCK_BYTES // state)
    for start in range(0, count, length):
        yield slice(start, min(start + length, count))


def _difference(one: NDArray[Any], two: NDArray[Any]) -> float:
    unit = 127.5 if one.dtype.kind == "u" else 1.0
    absent = np.isnan(one) & np.isnan(two)
    distance = np.abs(one.astype(np.float64) - two.astype(np.float64)) / unit
    distance[absent] = 0.0
    return float(np.nan_to_num(distance, nan=np.inf).max(initial=0.0))
