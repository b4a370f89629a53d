"""Sets of numbers that are written as ranges: how many they are, and how two of them lie.

Ranges of one set are disjoint, as `check_ranges` returns them. Lists of tens of thousands of items
are usual (random subsets), so both are gone through once, in order.
"""

from collections.abc import Sequence

from reprostore.seeds import check_ranges


def count(index: str) -> int:
    """Return how many items ranges such as ``"0-63,99"`` name."""
    return sum(part.stop - part.start for part in check_ranges(index, "index"))


def first_outside(inner: Sequence[range], outer: Sequence[range]) -> int | None:
    """Return the first number of `inner` that is not in `outer`."""
    others = iter(_in_order(outer))
    other = next(others, None)
    for part in _in_order(inner):
        number = part.start
        while other is not None and other.start <= number < part.stop:
            number = max(number, min(other.stop, part.stop))
            if other.stop > part.stop:
                break
            other = next(others, None)
        if number < part.stop:
            return number
    return None


def first_common(one: Sequence[range], other: Sequence[range]) -> int | None:
    """Return the first number that is in both."""
    ahead, behind = (list(reversed(_in_order(parts))) for parts in (one, other))
    while ahead and behind:
        start = max(ahead[-1].start, behind[-1].start)
        if start < min(ahead[-1].stop, behind[-1].stop):
            return start
        (ahead if ahead[-1].stop <= start else behind).pop()
    return None


def _in_order(parts: Sequence[range]) -> list[range]:
    return sorted(parts, key=lambda part: part.start)
