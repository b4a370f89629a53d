"""A run from its attributes to the digests of its seeds, and what of it is damaged."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import sleep

import numpy as np
from numpy.typing import NDArray

from reprostore.sharing.checks.findings import Damage, Finding, Kind
from reprostore.sharing.checks.imported import check_imported
from reprostore.sharing.checks.run_facts import RunFacts
from reprostore.sharing.checks.run_identity import RunIdentity, run_identity
from reprostore.sharing.checks.runs import RunCheck
from reprostore.sharing.checks.states import Column, States, check_states
from reprostore.store.files import StoreFiles

PAUSE = 0.1
"""Seconds; a run grows in less."""


@dataclass
class CheckedRun:
    """What is known of a run after it was checked.

    Attributes
    ----------
    findings : list of Finding
        What is wrong with it.
    identity : RunIdentity or None
        None where its attributes are damaged.
    seeds : ndarray of int64, (slot,)
        Of every slot; empty where they are not known.
    written : ndarray of bool, (slot,)
        Which slots are written.
    digests : ndarray of uint64, (slot,)
        As recorded.
    chunks, compared : int
        Chunks whose checksums were compared, and seeds whose digests were.
    """

    findings: list[Finding] = field(default_factory=list)
    identity: RunIdentity | None = None
    seeds: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    written: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    digests: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    chunks: int = 0
    compared: int = 0

    def facts(self) -> RunFacts | None:
        """Return what caches are compared with; None where it is not known."""
        identity = self.identity
        if identity is None or not len(self.seeds):
            return None
        return RunFacts(
            identity.spec.fingerprint, identity.withheld, self.seeds, self.digests, self.written
        )


def check_run(
    files: StoreFiles,
    path: str,
    keys: Sequence[str],
    spans: Sequence[range] | None = None,
    step: Callable[[float], None] = lambda share: None,
) -> CheckedRun:
    """Check a run.

    Parameters
    ----------
    files : StoreFiles
        Of the store.
    path : str
        model/sampler/condition.
    keys : sequence of str
        Keys of all files of the run.
    spans : sequence of range, optional
        Slots of the units that are looked at; all when left out.
    step : callable
        Called with the share of the slots whose states were read.
    """
    checked = CheckedRun()
    try:
        identity = _settled(files, path)
    except Damage as damage:
        checked.findings.append(
            Finding(
                damage=True,
                kind="attributes",
                place=f"runs/{path}",
                what=f"The run {damage}.",
                action="Restore its zarr.json from a copy of the store, or delete the run's "
                "folder and make the run again.",
                group=f"runs/{path}",
            )
        )
        return checked
    checked.identity = identity
    run = RunCheck(files, identity, keys)
    states = run.states(spans)
    checked.findings = [*identity.findings, *run.findings]
    checked.chunks = run.chunks
    if run.seeds is None or states is None:
        return checked
    checked.seeds, checked.written, checked.digests = run.seeds, states.written, states.digests
    told, compared = check_imported(files, run, states)
    checked.findings += told
    checked.compared += compared
    recorded = {"sample"} | ({"denoised"} if identity.spec.sampler_spec.denoised else set())
    if recorded != states.forms.keys():  # withheld, or told of already
        return checked
    columns = _counted(check_states(files, states, spans), checked, states, step)
    checked.findings += _damage(run, states, columns)
    return checked


def _settled(files: StoreFiles, path: str) -> RunIdentity:
    """Read what a run is; once more after a moment where a writer may be making it longer."""
    identity = run_identity(files, path)
    for _ in range(3):
        if not any(finding.kind == "length" for finding in identity.findings):
            break
        sleep(PAUSE)
        identity = run_identity(files, path)
    return identity


def _counted(
    columns: Iterator[Column], checked: CheckedRun, states: States, step: Callable[[float], None]
) -> Iterator[Column]:
    for column in columns:
        checked.chunks += column.chunks
        if not column.bad:
            checked.compared += int(states.compared[column.slots.start : column.slots.stop].sum())
        step(column.slots.stop / len(states.written))
        if not column.fine:
            yield column


def _damage(run: RunCheck, states: States, columns: Iterator[Column]) -> Iterator[Finding]:
    """Put together the chunks that are damaged in the same way at the same steps."""
    bad: dict[tuple[str, str, tuple[int, ...], bool], list[int]] = defaultdict(list)
    infinite: dict[int, list[int]] = defaultdict(list)
    differing: list[int] = []
    for column in columns:
        slots = [slot for slot in column.slots if states.written[slot]]
        rows: dict[tuple[str, str], list[int]] = defaultdict(list)
        for (name, row), reason in column.bad.items():
            rows[name, reason].append(row)
        for (name, reason), damaged in rows.items():
            bad[name, reason, tuple(damaged), bool(slots)] += slots or list(column.slots)
        for row, at_row in column.infinite.items():
            infinite[row] += at_row
        differing += column.differing
    steps = run.identity.spec.steps

    def finding(
        kind: Kind, array: str, what: str, slots: Sequence[int], rows: Sequence[int] | None = None
    ) -> Finding:
        at = None if rows is None else [steps[row] for row in rows]
        return run.damaged(kind, array, what, np.asarray(slots, dtype=np.int64), at)

    for (name, reason, at, written), slots in bad.items():
        kind: Kind = "file" if reason == "does not exist" else "checksum"
        rest = "" if written else " These seeds are not written: nothing is lost."
        what = f"What is stored of {name} {reason}.{rest}"
        yield finding(kind, name, what, slots, at)
    for row, at_row in infinite.items():
        yield finding("values", "sample", "Samples are not finite.", at_row, [row])
    if differing:
        what = "The stored states have another digest than the one that is recorded."
        yield finding("digest", "digest", what, differing)
