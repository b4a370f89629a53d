"""Parts of a study: what each job of a job array generates, agreed on without a word."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import SpecError
from reprostore.seeds import shorten

_PART = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")


@dataclass(frozen=True)
class Part:
    """One of `count` parts of a study's work; parts are numbered from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Read a part, such as ``"3/8"``.

        Raises
        ------
        SpecError
            The text is no part, or its number is not from 1 to the number of parts.
        """
        match = _PART.fullmatch(text.strip())
        if match is None:
            raise SpecError(
                f"The part {shorten(text)!r} is not written as a number and a number of parts.",
                "A job of a job array generates one part of the work: --part 3/8 is the third of "
                "eight.",
                "Write the number of the job, a slash and the number of all jobs.",
            )
        number, count = int(match[1]), int(match[2])
        if not 1 <= number <= count:
            raise SpecError(
                f"There is no part {number} of {count}.",
                "Parts are numbered from 1 to their number: 1/8 to 8/8.",
                "Start the jobs of the array with these numbers; one that begins with 0 needs 1 "
                "more.",
            )
        return cls(number, count)

    def __str__(self) -> str:
        """Write the part as it is read."""
        return f"{self.number}/{self.count}"


@dataclass(frozen=True)
class Share:
    """What a part of a study has of one of its runs.

    The work of all runs lies on one line, run after run, and the part is a stretch of it. A unit
    belongs to the part in which it begins, whether it is written or not: so parts neither overlap
    nor leave anything out, whenever each of them begins.

    Attributes
    ----------
    part : Part
        The part.
    before, work, total : int
        The work of the runs before this one, of this one, and of all; the unit does not matter.
    """

    part: Part
    before: int
    work: int
    total: int

    @property
    def is_empty(self) -> bool:
        """Whether the part has none of the run, into however many units it is cut."""
        number, count = self.part.number, self.part.count
        return not (
            (number - 1) * self.total < count * (self.before + self.work)
            and count * self.before < number * self.total
        )

    def units(self, count: int) -> range:
        """Return which of the run's `count` units, in their order, are the part's."""
        return range(self._first(self.part.number - 1, count), self._first(self.part.number, count))

    def _first(self, parts: int, count: int) -> int:
        """Return the first unit that begins at the end of so many parts, or later."""
        ahead = parts * self.total - self.part.count * self.before
        return min(max(0, -(-ahead * count // (self.part.count * self.work))), count)

    def slots(
        self, stored: NDArray[np.int64], seeds: Sequence[int], unit_length: int
    ) -> NDArray[np.bool_]:
        """Return which slots of the run hold a seed that the part generates.

        Parameters
        ----------
        stored : ndarray
            The seed of every slot, (slot,); all of `seeds` are among them.
        seeds : sequence of int
            The seeds that the study asks for.
        unit_length : int
            Slots of one work unit.

        Returns
        -------
        ndarray
            (slot,).
        """
        asked = np.isin(stored, np.asarray(seeds, dtype=np.int64))
        owner = np.arange(len(stored)) // unit_length
        units = np.unique(owner[asked])
        own = self.units(len(units))
        return asked & np.isin(owner, units[own.start : own.stop])


WHOLE = Share(Part(1, 1), before=0, work=1, total=1)
"""All of a run."""


def shares(part: Part, work: Sequence[int]) -> list[Share]:
    """Return what a part has of each run.

    Parameters
    ----------
    part : Part
        The part.
    work : sequence of int
        How much there is to do in each run, at least 1; runs of one model stand together, so
        that a part loads few models.
    """
    total = sum(work)
    before = [sum(work[:position]) for position in range(len(work))]
    return [Share(part, done, own, total) for done, own in zip(before, work, strict=True)]
