"""One run of several stores: what it will be, and what a source adds to it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.layout import PROBE_LENGTH
from reprostore.specs import RunSpec
from reprostore.store import Run, StepTable

NOWHERE = -1


@dataclass
class MergedRun:
    """A run as it will be in the merged store.

    Attributes
    ----------
    spec : RunSpec
        With the names of the merged store.
    table : StepTable
        Noise levels of the recorded steps.
    runs : list of Run
        Those that it is made of; the first is the merged store's own where `on_disk`.
    on_disk : bool
        Whether the merged store has it already.
    withheld : bool
        Whether its samples are in none of the stores.
    seeds, digests, sessions, probes : ndarray, (seed, …)
        As they will be, in this order.
    holder, slots : ndarray of int64, (seed,)
        Which of `runs` has the states of a seed, and in which slot; -1 for a seed that is in none.
    kept : set of int
        Places in `seeds` of samples that stay and were found to agree with their digests.
    """

    spec: RunSpec
    table: StepTable
    runs: list[Run]
    on_disk: bool
    withheld: bool
    seeds: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    digests: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    sessions: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    probes: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, PROBE_LENGTH), "f4"))
    holder: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    slots: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    kept: set[int] = field(default_factory=set)

    @classmethod
    def of_target(cls, run: Run) -> "MergedRun":
        """Return what the merged store has of a run, with the seeds that are not written yet."""
        merged = cls(run.spec, run.step_table(), [run], on_disk=True, withheld=run.withheld)
        status = run.status
        seeds = run.seeds[: len(status)]
        written = status == 1
        merged.seeds = seeds
        merged.holder = np.where(written, 0, NOWHERE).astype(np.int64)
        merged.slots = np.arange(len(seeds), dtype=np.int64)
        merged.digests = _only(run.recorded("digest")[: len(seeds)], written)
        merged.sessions = _only(run.recorded("session")[: len(seeds)], written)
        merged.probes = _only(run.recorded("noise_probe")[: len(seeds)], written)
        return merged

    def positions(self, seeds: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where seeds are in `seeds`, -1 for those that are not."""
        if len(self.seeds) == 0:
            return np.full(len(seeds), NOWHERE, dtype=np.int64)
        order = np.argsort(self.seeds)
        near = np.minimum(np.searchsorted(self.seeds[order], seeds), len(order) - 1)
        return np.where(self.seeds[order[near]] == seeds, order[near], NOWHERE)


@dataclass(frozen=True)
class Addition:
    """What a source has of a run: its written seeds, (seed, …) each.

    Attributes
    ----------
    run : Run
        The source's run.
    spec : RunSpec
        With the names of the merged store.
    source : str
        Label of the source.
    """

    run: Run
    spec: RunSpec
    source: str
    slots: NDArray[np.int64]
    seeds: NDArray[np.int64]
    digests: NDArray[np.uint64]
    sessions: NDArray[np.uint64]
    probes: NDArray[np.float32]

    @classmethod
    def of(cls, run: Run, spec: RunSpec, source: str) -> "Addition":
        """Read what a run has now."""
        slots, seeds = run.written()
        digests, sessions, probes = (
            run.recorded(name)[slots] for name in ("digest", "session", "noise_probe")
        )
        return cls(run, spec, source, slots, seeds, digests, sessions, probes)


def _only(values: NDArray[Any], written: NDArray[np.bool_]) -> NDArray[Any]:
    kept = np.array(values)
    kept[~written] = 0
    return kept
