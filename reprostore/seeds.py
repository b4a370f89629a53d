"""The seed grammar: inclusive ranges and lists, as in EDM's `generate.py --seeds`."""

import itertools
import re
from collections.abc import Iterable, Sequence

from reprostore.errors import SpecError

SEED_LIMIT = 2**32
"""Seeds are below this: torch's CPU generator uses the low 32 bits of a seed only."""

COUNT_LIMIT = 10**8
"""More numbers than this are not listed: "0-4294967295" would fill the memory."""

_RANGE = re.compile(r"([0-9]{1,20})(?:-([0-9]{1,20}))?")


def check_ranges(text: str, what: str = "seeds", limit: int = SEED_LIMIT) -> list[range]:
    """Read inclusive ranges and lists, such as ``"0-63,99"``, without listing the numbers.

    Parameters
    ----------
    text : str
        Comma-separated numbers and inclusive ranges ``first-last``.
    what : str
        What the numbers are, for the message.
    limit : int
        Every number must be below this.

    Returns
    -------
    list of range
        Disjoint ranges in the order they are written.

    Raises
    ------
    SpecError
        The text is empty or does not follow the grammar, a range runs backwards, a number is
        given twice, or a number is not below `limit`.
    """
    action = f'Write {what} as inclusive ranges and lists, for example "0-63,99".'
    ranges: list[range] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise SpecError(
                f"{shorten(part.strip())!r} in the {what} {shorten(text)!r} is no number or range.",
                f"Expected are whole numbers from 0 to {limit - 1}.",
                action,
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last >= limit:
            raise SpecError(
                f"{last} in the {what} {shorten(text)!r} is too large.",
                f"Expected are whole numbers from 0 to {limit - 1}.",
                action,
            )
        if last < first:
            raise SpecError(
                f"The range {part.strip()!r} in the {what} runs backwards.",
                "The first number of a range is not larger than the last.",
                f'Write "{last}-{first}".',
            )
        ranges.append(range(first, last + 1))
    in_order = sorted(ranges, key=lambda item: item.start)
    for before, after in itertools.pairwise(in_order):
        if after.start < before.stop:
            raise SpecError(
                f"{after.start} stands twice in the {what} {shorten(text)!r}.",
                "Every number is given once.",
                f"Remove it from one of the ranges of the {what}.",
            )
    return ranges


def parse_ranges(text: str, what: str = "seeds", limit: int = SEED_LIMIT) -> list[int]:
    """Read inclusive ranges and lists, such as ``"0-63,99"``, in the order they are written.

    Parameters
    ----------
    text : str
        Comma-separated numbers and inclusive ranges ``first-last``.
    what : str
        What the numbers are, for the message.
    limit : int
        Every number must be below this.

    Returns
    -------
    list of int
        The numbers, without repetition.

    Raises
    ------
    SpecError
        As `check_ranges`, or these are more than `COUNT_LIMIT` numbers.

    References
    ----------
    NVlabs/edm, ``generate.py::parse_int_list``.
    """
    ranges = check_ranges(text, what, limit)
    count = sum(map(len, ranges))
    if count > COUNT_LIMIT:
        raise SpecError(
            f"The {what} {shorten(text)!r} are {count} numbers.",
            f"At most {COUNT_LIMIT} are read at once.",
            f"Give fewer {what}.",
        )
    return list(itertools.chain.from_iterable(ranges))


def format_ranges(numbers: list[int]) -> str:
    """Write numbers as ranges, the inverse of `parse_ranges` (order is kept).

    Parameters
    ----------
    numbers : list of int
        The numbers in order.

    Returns
    -------
    str
        For example ``"0-63,99"``.
    """
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def shorten(text: str, length: int = 60) -> str:
    """Cut a text that a message quotes to `length` characters."""
    return text if len(text) <= length else text[: length - 1] + "…"


def checked_seeds(seeds: Sequence[int]) -> list[int]:
    """Return the seeds as a list, refusing what is not a distinct whole number below 2**32.

    Raises
    ------
    SpecError
        A seed is negative, too large, or given twice.
    """
    numbers = [int(seed) for seed in seeds]
    for number in numbers:
        if not 0 <= number < SEED_LIMIT:
            raise SpecError(
                f"{number} was given as a seed.",
                f"Seeds are whole numbers from 0 to {SEED_LIMIT - 1}: torch's CPU generator uses "
                "the low 32 bits only.",
                "Choose seeds in this range.",
            )
    if len(set(numbers)) != len(numbers):
        raise SpecError(
            "A seed was given twice.", "Every seed is given once.", "Remove the repetition."
        )
    return numbers


def seeds_text(seeds: Iterable[int]) -> str:
    """Write seeds for a message, shortened."""
    return shorten(format_ranges(sorted(int(seed) for seed in seeds)), 80)
