"""How far a run is: which of the seeds that were asked for are written or on their way."""

from collections.abc import Callable, Sequence

import numpy as np

from reprostore.parts import Share
from reprostore.store import Run, Unit
from reprostore.store.run import WRITTEN

Progress = Callable[[str, int, int], None]
"""Called after every batch with the run's path, and how many of its samples that were asked for
are finished, and how many there are."""


class Tally:
    """Which of a run's seeds that were asked for are written, or on their way to the writer.

    Parameters
    ----------
    run : Run
        The run; it has all `seeds`.
    seeds : sequence of int
        The seeds that were asked for.
    share : Share
        Which of them are this process's own; it knows nothing of the others.
    progress : callable
        Told of every change.
    """

    def __init__(self, run: Run, seeds: Sequence[int], share: Share, progress: Progress) -> None:
        self._run = run
        self._progress = progress
        stored = run.seeds
        self._asked = share.slots(stored, seeds, run.unit_length)
        self._done = np.zeros(len(stored), dtype=np.bool_)
        self._reported: int | None = None

    def missing_units(self) -> list[Unit]:
        """Return the units in which a seed that was asked for is not written."""
        status = self._run.status[: len(self._done)]  # another process may have added seeds
        self._done |= status == WRITTEN
        if self._reported is not None:
            self._report()
        slots = np.flatnonzero(self._asked & (status != WRITTEN))
        missing = set((slots // self._run.unit_length).tolist())
        return [unit for unit in self._run.units() if unit.index in missing]

    def add(self, slots: range) -> None:
        """Count a batch that was computed."""
        self._done[slots.start : slots.stop] = True
        self._report()

    def _report(self) -> None:
        done = int((self._done & self._asked).sum())
        if done != self._reported:
            self._reported = done
            self._progress(self._run.path, done, int(self._asked.sum()))
