"""Sets of numbers that are written as ranges: how many they are, and how two of them lie."""

from collections.abc import Sequence

from reprostore.seeds import check_ranges


def count(index: str) -> int:
    """Return how many items ranges such as ``"0-63,99"`` name."""
    return sum(part.stop - part.start for part in check_ranges(index, "index"))


def first_outside(inner: Sequence[range], outer: Sequence[range]) -> int | None:
    """Return the first number of `inner` that is not in `outer`."""
    ordered = sorted(outer, key=lambda part: part.start)
    for part in sorted(inner, key=lambda part: part.start):
        number = part.start
        for other in ordered:
            if number in other:
                number = other.stop
        if number < part.stop:
            return number
    return None


def first_common(one: Sequence[range], other: Sequence[range]) -> int | None:
    """Return the first number that is in both."""
    starts = (
        max(a.start, b.start)
        for a in one
        for b in other
        if max(a.start, b.start) < min(a.stop, b.stop)
    )
    return min(starts, default=None)
