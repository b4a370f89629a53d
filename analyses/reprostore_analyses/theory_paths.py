"""Distances between the estimates x̂_0 of runs along σ, streamed from the store."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reprostore.embed.handle import Progress
from reprostore.seeds import format_ranges
from reprostore.store import Run
from reprostore.store.checked import CheckedArray
from reprostore_analyses.kernels import root_mean_square

GREY_LEVELS = 127.5
"""One unit of samples in [-1, 1], in levels of the 0–255 scale."""

BLOCK_BYTES = 32 * 2**20
"""Of the states of one run that are held at a time."""

NEEDED = 'Sample all of them with record = "all" and denoised = true.'


@dataclass(frozen=True)
class Member:
    """A run and where it keeps the seeds of a comparison.

    Attributes
    ----------
    run : Run
        The run.
    slots : ndarray of int64, (seed,)
        -1 where it does not have the seed.
    """

    run: Run
    slots: NDArray[np.int64]


@dataclass(frozen=True)
class Paths:
    """Distances between the x̂_0 of pairs of runs at the recorded steps.

    Attributes
    ----------
    distance : ndarray of float64, (pair, seed, row)
        Root mean square over pixels on the 0–255 scale; NaN where a run of the pair does not have
        the seed, and in rows that are not `usable`.
    usable : ndarray of bool, (row,)
        Rows in which the x̂_0 of all seeds of all runs are finite numbers.
    reason : str
        Why no row is usable, or which rows are not although the model was called there; empty
        otherwise.
    """

    distance: NDArray[np.float64]
    usable: NDArray[np.bool_]
    reason: str = ""


def denoised_paths(
    members: Sequence[Member],
    pairs: Sequence[tuple[int, int]],
    progress: Progress | None = None,
) -> Paths:
    """Compute how far the x̂_0 of runs lie apart, each along its own trajectory.

    Parameters
    ----------
    members : sequence of Member
        Runs of one sampler that record the same steps, at the same seeds.
    pairs : sequence of (int, int)
        Positions of the runs that are compared.
    progress : callable, optional
        Called after every step with a name, the finished and all steps.

    Returns
    -------
    Paths
        Every state is read once, in blocks; a distance depends on no other seed or block.

    Raises
    ------
    CorruptionError
        An estimate is damaged.

    Notes
    -----
    The last row is used where its σ is 0, and x̂_0 the sample itself; else the model was not
    called on it. Values are not clipped to [-1, 1]: the estimate is compared, not its picture.
    """
    first = members[0].run
    rows, count = len(first.spec.steps), len(members[0].slots)
    distance = np.full((len(pairs), count, rows), np.nan)
    usable = np.zeros(rows, dtype=bool)
    if not all(member.run.spec.sampler_spec.denoised for member in members):
        return Paths(distance, usable, f"The estimates x̂_0 were not recorded. {NEEDED}")
    wanted = np.arange(rows) if first.step_table().sigma[-1] == 0 else np.arange(rows - 1)
    if len(wanted) < 2:
        return Paths(
            distance, usable, f"x̂_0 is known at {len(wanted)} of the recorded steps. {NEEDED}"
        )
    states = [CheckedArray(member.run, "denoised") for member in members]
    size = max(1, BLOCK_BYTES // (4 * int(np.prod(first.spec.sample_shape))))
    for done, row in enumerate(wanted.tolist(), 1):
        finite = True
        for start in range(0, count, size):
            part = slice(start, start + size)
            slots = [member.slots[part] for member in members]
            blocks = [_read(each, own, row) for each, own in zip(states, slots, strict=True)]
            for pair, (a, b) in enumerate(pairs):
                both = (slots[a] >= 0) & (slots[b] >= 0)
                found = GREY_LEVELS * root_mean_square(blocks[a], blocks[b])
                distance[pair, part, row] = np.where(both, found, np.nan)
                finite = finite and bool(np.isfinite(found[both]).all())
        usable[row] = finite
        if not finite:
            distance[:, :, row] = np.nan
        if progress is not None:
            progress(f"x̂_0 of {first.path}", done, len(wanted))
    if usable.sum() < 2:
        return Paths(
            np.full_like(distance, np.nan),
            np.zeros_like(usable),
            "The recorded x̂_0 are finite numbers at one step at most.",
        )
    dropped = [first.spec.steps[row] for row in wanted.tolist() if not usable[row]]
    reason = f"x̂_0 has values that are not finite at the steps {format_ranges(dropped)}."
    return Paths(distance, usable, reason if dropped else "")


def _read(states: CheckedArray, slots: NDArray[np.int64], row: int) -> NDArray[np.float32]:
    """Read one row of slots in any order, (slot, *sample_shape); NaN where the slot is -1."""
    values = np.full((len(slots), *states.shape[2:]), np.nan, dtype=np.float32)
    order = np.argsort(slots, kind="stable")
    order = order[slots[order] >= 0]
    if len(order) == 0:
        return values
    ascending = slots[order]
    together = ascending[-1] - ascending[0] + 1 == len(ascending)
    # Scattered slots are read by chunks, so that never more is held than these.
    chunk = np.zeros_like(ascending) if together else ascending // states.chunks[0]
    for part in np.split(order, np.flatnonzero(np.diff(chunk)) + 1):
        begin, end = int(slots[part[0]]), int(slots[part[-1]]) + 1
        values[part] = states[begin:end, row][slots[part] - begin]
    return values
