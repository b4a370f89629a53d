"""What checking a store finds: damage by run, seeds and steps, and notes that are no damage."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reprostore.seeds import format_ranges

Progress = Callable[[str, int, int], None]
"""Called with the store's name, the bytes that were checked and all of them."""

Kind = Literal[
    "store", "group", "attributes", "array", "file", "checksum", "digest", "values", "session",
    "length", "fingerprint", "stale", "unchecked", "leftover", "stray",
]  # fmt: skip

Mending = Literal["seeds", "array", "group", "session", "length", "remove", "entries"]
"""What `--repair` does: mark seeds missing, write metadata anew, remove what is made again, or take
entries that are none of the format out of a zarr.json."""


UNREADABLE = "is in a file that cannot be read"
"""Part of what is told where the system does not give a file: nothing is known of what it holds,
so that a repair removes and replaces none of it."""

MAKE_READABLE = (
    "Find out why the system does not give the file: permissions, a disk or a network. Nothing is "
    "repaired that could not be read. If it is lost, delete it or restore it from a copy."
)


class Damage(ValueError):
    """Why something that is stored cannot be used: the predicate of a sentence about it."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a store, or worth knowing about it.

    Attributes
    ----------
    damage : bool
        Whether something that was written is lost or cannot be trusted. Else it is a note.
    kind : str
        Which check it comes from.
    place : str
        Path in the store of the group, array or file.
    what : str
        What was found, as a full sentence.
    action : str
        What to do about it, as a full sentence.
    group : str
        The run, dataset or cache that it belongs to; empty for the store as a whole.
    seeds, steps : str, optional
        Seeds and steps of a run that are damaged, as ranges.
    mending : str, optional
        How it is repaired; None where that takes a copy or the source.
    slots : ndarray of int64
        Slots of these seeds in the run.
    """

    damage: bool
    kind: Kind
    place: str
    what: str
    action: str
    group: str = ""
    seeds: str | None = None
    steps: str | None = None
    mending: Mending | None = None
    slots: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(0, dtype=np.int64), compare=False, repr=False
    )

    def row(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        names = ("damage", "kind", "place", "group", "seeds", "steps", "what", "action")
        return {name: getattr(self, name) for name in names} | {
            "repairable": self.mending is not None
        }


@dataclass
class Report:
    """What was checked, and what was found.

    Attributes
    ----------
    findings : list of Finding
        Damage first, each by its place.
    files, nbytes, chunks : int
        Files and bytes of the store, and chunks whose checksums were compared.
    runs, seeds, datasets, caches : int
        Runs, written seeds whose digests were compared, datasets, and groups that were made from
        these.
    """

    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    nbytes: int = 0
    chunks: int = 0
    runs: int = 0
    seeds: int = 0
    datasets: int = 0
    caches: int = 0

    @property
    def damage(self) -> list[Finding]:
        """The findings that are damage."""
        return [finding for finding in self.findings if finding.damage]

    def add(self, findings: Iterable[Finding]) -> None:
        """Take in findings, keeping damage first."""
        self.findings = sorted(
            [*self.findings, *findings], key=lambda finding: (not finding.damage, finding.place)
        )

    def counts(self) -> dict[str, int]:
        """Return how much was checked, by name."""
        names = ("files", "nbytes", "chunks", "runs", "seeds", "datasets", "caches")
        return {name: getattr(self, name) for name in names}


def numbers_text(numbers: Iterable[int]) -> str:
    """Write seeds or steps as ranges, ascending and complete."""
    return format_ranges(sorted(int(number) for number in numbers))
