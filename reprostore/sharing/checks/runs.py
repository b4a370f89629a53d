"""A run against its own spec: attributes, forms of its arrays, and what every slot carries."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.seeds import SEED_LIMIT
from reprostore.sharing.checks.chunks import blocks_of, each_block
from reprostore.sharing.checks.findings import (
    MAKE_READABLE,
    UNREADABLE,
    Damage,
    Finding,
    Kind,
    numbers_text,
)
from reprostore.sharing.checks.forms import ArrayForm, group_attributes
from reprostore.sharing.checks.noise import wrong_probes
from reprostore.sharing.checks.run_forms import STEP_ARRAYS, UNIT_ARRAYS, state_arrays
from reprostore.sharing.checks.run_identity import RunIdentity
from reprostore.sharing.checks.states import States
from reprostore.sharing.checks.steps import wrong_steps
from reprostore.store.files import StoreFiles
from reprostore.store.run import WRITTEN


class RunCheck:
    """Reads all arrays of a run but its states.

    Parameters
    ----------
    files : StoreFiles
        Of the store.
    identity : RunIdentity
        The run's spec and the forms of its arrays, which were checked.
    keys : sequence of str
        Keys of all files of the run.

    Attributes
    ----------
    findings : list of Finding
        What is wrong so far.
    seeds : ndarray of int64 or None
        Of every slot; None where they are not known.
    chunks : int
        How many were read.
    """

    def __init__(self, files: StoreFiles, identity: RunIdentity, keys: Sequence[str]) -> None:
        self.files = files
        self.identity = identity
        self.group = identity.group
        self.keys = keys
        self.findings: list[Finding] = []
        self.chunks = 0
        self.seeds = self._seeds()
        self._steps()

    def states(self, spans: Sequence[range] | None = None) -> States | None:
        """Check what the slots carry, and return what is needed to read their states.

        Parameters
        ----------
        spans : sequence of range, optional
            Slots of the units that are looked at; all when left out.

        Returns
        -------
        States or None
            None where seeds or forms are not known.
        """
        forms = self.identity.forms
        if self.seeds is None or not {"status", *UNIT_ARRAYS} <= forms.keys():
            return None
        unit = forms["digest"].chunk[0]
        spans = [range(len(self.seeds))] if spans is None else spans
        units = {slot // unit for span in spans for slot in range(span.start, span.stop, unit)}
        written = self._written(units)
        digests, known = self._per_slot("digest", written)
        sessions, named = self._per_slot("session", written)
        self._sessions(sessions, written & named)
        self._probes(written)
        return States(
            self.group,
            {name: forms[name] for name in state_arrays(self.identity.spec) if name in forms},
            written,
            digests,
            known & written,
        )

    def damaged(
        self,
        kind: Kind,
        array: str,
        what: str,
        slots: NDArray[np.int64],
        steps: Iterable[int] | None = None,
    ) -> Finding:
        """Return the finding that seeds are damaged; they can be marked missing."""
        assert self.seeds is not None
        readable = UNREADABLE not in what
        return Finding(
            damage=True,
            kind=kind,
            place=f"{self.group}/{array}",
            what=what,
            action=self.identity.made_again if readable else MAKE_READABLE,
            group=self.group,
            seeds=numbers_text(self.seeds[slots]),
            steps=None if steps is None else numbers_text(steps),
            mending="seeds" if readable else None,
            slots=slots,
        )

    def lost(self, kind: Kind, array: str, what: str) -> None:
        """Add a finding about an array without which the run cannot be used."""
        action = "Restore the file from a copy of the store, or delete the run and make it again."
        place = f"{self.group}/{array}"
        self.findings.append(Finding(True, kind, place, what, action, self.group))

    def _seeds(self) -> NDArray[np.int64] | None:
        form = self.identity.forms.get("seed")
        if form is None:
            return None
        parts = []
        blocks = ((block,) for block in range(form.files[0]))
        for _, values in each_block(self.files, f"{self.group}/seed", form, blocks):
            if isinstance(values, Damage):  # without it the slots stand for nothing
                self.lost("checksum", "seed", f"The array seed {values}.")
                return None
            self.chunks += 1
            parts.append(values)
        seeds = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
        if (seeds < 0).any() or (seeds >= SEED_LIMIT).any() or len(np.unique(seeds)) < len(seeds):
            self.lost(
                "values", "seed", "The array seed holds numbers that are no seeds, or one twice."
            )
            return None
        return seeds

    def _steps(self) -> None:
        found: dict[str, NDArray[Any]] = {}
        for name in STEP_ARRAYS:
            form = self.identity.forms.get(name)
            if form is None:
                continue
            for _, values in each_block(self.files, f"{self.group}/{name}", form, [(0,)]):
                if isinstance(values, Damage):
                    self.lost("checksum", name, f"The array {name} {values}.")
                else:
                    self.chunks += 1
                    found[name] = values
        for name, what in wrong_steps(self.identity.spec, found):
            self.lost("values", name, what)

    def _written(self, units: set[int]) -> NDArray[np.bool_]:
        """Read which slots are written; those of an absent file are missing."""
        form = self.identity.forms["status"]
        assert self.seeds is not None
        written = np.zeros(len(self.seeds), dtype=np.bool_)
        here = [block for block in blocks_of(f"{self.group}/status", self.keys) if len(block) == 1]
        there = [block for block in here if block[0] in units and block[0] < form.files[0]]
        for (block,), values in each_block(self.files, f"{self.group}/status", form, there):
            slots = self._slots(form, block)
            if isinstance(values, Damage):
                self.findings.append(
                    self.damaged("checksum", "status", f"The array status {values}.", slots)
                )
                continue
            self.chunks += 1
            written[slots] = values == WRITTEN
            strange = slots[values > WRITTEN]
            if len(strange):
                what = "The array status holds values that are neither 0 nor 1."
                self.findings.append(self.damaged("values", "status", what, strange))
        return written

    def _slots(self, form: ArrayForm, block: int) -> NDArray[np.int64]:
        start = block * form.chunk[0]
        return np.arange(start, min(start + form.chunk[0], form.shape[0]), dtype=np.int64)

    def _blocks(
        self, name: str, written: NDArray[np.bool_]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """Read an array in the units that have written slots; tell of those that cannot be."""
        form = self.identity.forms[name]
        units = np.unique(np.flatnonzero(written) // form.chunk[0])
        blocks = ((int(unit), *(0,) * (len(form.shape) - 1)) for unit in units)
        for block, values in each_block(self.files, f"{self.group}/{name}", form, blocks):
            slots = self._slots(form, block[0])
            if isinstance(values, Damage):
                what = f"The array {name} {values}."
                self.findings.append(self.damaged("checksum", name, what, slots[written[slots]]))
            else:
                self.chunks += 1
                yield slots, values

    def _per_slot(
        self, name: str, written: NDArray[np.bool_]
    ) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
        """Return the values of an array, and where they are known."""
        found = np.zeros(len(written), dtype=np.uint64)
        known = np.zeros(len(written), dtype=np.bool_)
        for slots, values in self._blocks(name, written):
            found[slots], known[slots] = values, True
        return found, known

    def _sessions(self, sessions: NDArray[np.uint64], written: NDArray[np.bool_]) -> None:
        for number in np.unique(sessions[written]).tolist():
            place = f"sessions/{number:016x}"
            try:
                record = group_attributes(self.files, place).get("session")
                if isinstance(record, dict) and "started" in record:
                    continue
                reason = "does not say when and how it wrote"
            except Damage as damage:
                reason = str(damage)
            slots = np.flatnonzero(written & (sessions == number))
            assert self.seeds is not None
            self.findings.append(
                Finding(
                    damage=True,
                    kind="session",
                    place=place,
                    what=f"The session that wrote seeds of the run {reason}.",
                    action="Restore the file from a copy of the store. With --repair a record "
                    "takes its place that says that it was lost; the samples stay as they are.",
                    group=self.group,
                    seeds=numbers_text(self.seeds[slots]),
                    mending=None if UNREADABLE in reason else "session",
                )
            )

    def _probes(self, written: NDArray[np.bool_]) -> None:
        assert self.seeds is not None
        found: dict[str, list[NDArray[np.int64]]] = {}
        for slots, values in self._blocks("noise_probe", written):
            here = written[slots]
            wrong = wrong_probes(self.identity.spec, self.seeds[slots[here]], values[here])
            for what, which in wrong.items():
                found.setdefault(what, []).append(slots[here][which])
        for what, parts in found.items():
            if len(bad := np.concatenate(parts)):
                self.findings.append(self.damaged("values", "noise_probe", what, bad))
