"""Samples of a source, opened and checked, in the order of their seeds."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import SpecError
from reprostore.seeds import checked_seeds, parse_ranges, seeds_text
from reprostore.specs import StoredDtype


@dataclass(frozen=True)
class Samples:
    """Samples (or vectors of samples) that are to be imported.

    Attributes
    ----------
    what : str
        How messages name the source.
    seeds : list of int
        The seed of each.
    shape : tuple of int
        Of one: (channel, y, x), or (embedding,) of vectors.
    dtype : str
        In which they are stored.
    digest : str
        sha256 of seeds and content, however the files are called.
    read : callable
        Ascending row numbers → (row, *shape) in `dtype`; images are uint8, or in [-1, 1].
    files : int
        How many files they come from.
    notes : tuple of str
        What was done to them or left out, as full sentences.
    labels : list of int, optional
        The class of each, where the source says it.
    """

    what: str
    seeds: list[int]
    shape: tuple[int, ...]
    dtype: StoredDtype
    digest: str
    read: Callable[[NDArray[np.int64]], NDArray[Any]]
    files: int
    notes: tuple[str, ...] = ()
    labels: list[int] | None = None


def named_seeds(ranges: str, count: int, what: str, unit: str) -> list[int]:
    """Return the seeds that were given for files or rows, one each.

    Parameters
    ----------
    ranges : str
        Inclusive ranges and lists.
    count : int
        How many files or rows there are.
    what, unit : str
        How messages name the source, and what it holds, in the plural.

    Raises
    ------
    SpecError
        The ranges are no seeds, or not as many.
    """
    seeds = parse_ranges(ranges)
    if len(seeds) != count:
        raise SpecError(
            f"{len(seeds)} seeds were given for the {count} {unit} of {what}.",
            f"Each of the {unit} has one seed.",
            f"Give {count} seeds, in the order of the {unit}.",
        )
    return seeds


def distinct_seeds(seeds: Iterable[int], names: Sequence[str], what: str) -> list[int]:
    """Return seeds that names or a file gave, refusing repetitions.

    Parameters
    ----------
    seeds : iterable of int
        The seeds.
    names : sequence of str
        What each of them belongs to.
    what : str
        How messages name the source.

    Raises
    ------
    SpecError
        A seed occurs twice, or is no seed.
    """
    first: dict[int, str] = {}
    for seed, name in zip(seeds, names, strict=True):
        if seed in first:
            raise SpecError(
                f"{first[seed]} and {name} of {what} both stand for the seed {seed}.",
                "Every seed has one sample.",
                "Remove one of them.",
            )
        first[seed] = name
    return checked_seeds(list(first))


def require_same_seeds(expected: Sequence[int], found: Sequence[int], what: str) -> None:
    """Refuse samples without a seed that is needed."""
    missing = set(expected) - set(found)
    if missing:
        raise SpecError(
            f"{what[0].upper()}{what[1:]} has no samples of the seeds {seeds_text(missing)}.",
            "They share a work unit of the run with seeds that it has, and are not written yet.",
            "First finish the import that brought these seeds, then run this one again.",
        )
