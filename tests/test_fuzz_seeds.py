"""The seed grammar against a parser that spells out every number."""

import itertools
import time

import pytest
from fuzzing import examples, outcome, watched
from hypothesis import given
from hypothesis import strategies as st

from reprostore.errors import ReprostoreError, SpecError
from reprostore.seeds import SEED_LIMIT, check_ranges, format_ranges, parse_ranges
from reprostore.testing.strategies import seed_texts

LIMIT = 64


def spelled_out(text, limit):
    """Return the numbers of a text, or None where it is not valid, one character after another."""
    numbers = []
    for part in text.split(","):
        ends = part.strip().split("-")
        if len(ends) > 2 or not all(end and set(end) <= set("0123456789") for end in ends):
            return None
        # int() takes more digits than the grammar; those numbers are too large in any case
        first, last = int(ends[0]), int(ends[-1])
        if max(first, last) >= limit or max(map(len, ends)) > 20:
            return None
        here = [number for number in range(limit) if first <= number <= last]
        if not here or set(here) & set(numbers):
            return None
        numbers += here
    return numbers


@examples(150)
@given(text=seed_texts())
def test_a_text_means_what_it_spells_out(text):
    expected = spelled_out(text, LIMIT)
    if expected is None:
        with pytest.raises(SpecError):
            parse_ranges(text, limit=LIMIT)
        return
    assert parse_ranges(text, limit=LIMIT) == expected
    ranges = check_ranges(text, limit=LIMIT)
    assert [number for part in ranges for number in part] == expected
    assert parse_ranges(format_ranges(expected)) == expected


@examples(100)
@given(text=seed_texts())
def test_any_text_is_read_or_told_and_lists_nothing(text):
    with watched(seconds=5, room=2**28):
        found = outcome(check_ranges, text)
        if isinstance(found, ReprostoreError):
            assert outcome(parse_ranges, text).parts == found.parts
        else:
            assert all(0 <= part.start < part.stop <= SEED_LIMIT for part in found)
            assert sum(map(len, found)) <= SEED_LIMIT


@examples(100)
@given(numbers=st.lists(st.integers(0, LIMIT - 1), unique=True, max_size=LIMIT))
def test_written_ranges_are_the_shortest_in_this_order(numbers):
    text = format_ranges(numbers)
    if numbers:
        assert parse_ranges(text) == numbers
    breaks = sum(after != before + 1 for before, after in itertools.pairwise(numbers))
    assert len(text.split(",")) == breaks + 1


@pytest.mark.parametrize("text", ["0-4294967295", "0-99999999,100000000-300000000", "1," * 10**5])
def test_many_numbers_are_refused_at_once(text):
    start = time.perf_counter()
    with watched(seconds=5, room=2**28), pytest.raises(SpecError):
        parse_ranges(text)
    assert time.perf_counter() - start < 2
