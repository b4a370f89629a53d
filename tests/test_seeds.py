"""The seed grammar against a set of numbers that is counted out by hand or by brute force."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprostore.errors import ReprostoreError, SpecError
from reprostore.seeds import (
    COUNT_LIMIT,
    SEED_LIMIT,
    check_ranges,
    format_ranges,
    parse_ranges,
    shorten,
)

numbers = st.integers(0, SEED_LIMIT - 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", [7]),
        ("0-3", [0, 1, 2, 3]),
        ("0-2,99", [0, 1, 2, 99]),
        ("99,0-2", [99, 0, 1, 2]),
        (" 5 , 1-2 ", [5, 1, 2]),
        ("4-4", [4]),
        ("007", [7]),
        ("4294967295", [2**32 - 1]),
    ],
)
def test_grammar_of_edm(text, expected):
    assert parse_ranges(text) == expected


@given(st.lists(numbers, min_size=1, unique=True))
def test_any_distinct_seeds_survive_being_written(seeds):
    assert parse_ranges(format_ranges(seeds)) == seeds


@given(st.integers(0, 1000), st.integers(1, 300))
def test_consecutive_seeds_are_written_as_one_range(first, count):
    text = format_ranges(list(range(first, first + count)))
    assert text == (str(first) if count == 1 else f"{first}-{first + count - 1}")


def test_no_numbers_are_written_as_nothing():
    assert format_ranges([]) == ""


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8)), min_size=1, max_size=6))
def test_overlap_is_refused_exactly_when_a_number_is_repeated(spans):
    text = ",".join(f"{first}-{first + length}" for first, length in spans)
    listed = [n for first, length in spans for n in range(first, first + length + 1)]
    if len(set(listed)) == len(listed):
        assert parse_ranges(text) == listed
    else:
        with pytest.raises(SpecError, match="stands twice in the seeds") as caught:
            parse_ranges(text)
        assert listed.count(int(str(caught.value).split()[0])) > 1


@given(st.text(alphabet="0123456789-, .+e٣\n", max_size=30) | st.text(max_size=20))
def test_no_text_makes_it_fail_otherwise(text):
    try:
        ranges = check_ranges(text)
    except ReprostoreError:
        return
    assert all(0 <= r.start < r.stop <= SEED_LIMIT for r in ranges)
    assert set(text) <= set("0123456789-,") | {c for c in text if c.isspace()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' in the seeds '' is no number or range. Expected are whole numbers from 0"),
        ("-1", "'-1' in the seeds '-1' is no number or range."),
        ("1-2-3", "'1-2-3' in the seeds '1-2-3' is no number"),
        ("1,,2", "'' in the seeds '1,,2' is no number"),
        ("1.5", "'1.5' in the seeds '1.5' is no number"),
        ("٣", "is no number or range"),
        ("0-4294967296", "4294967296 in the seeds '0-4294967296' is too large."),
        ("9-3", "The range '9-3' in the seeds runs backwards."),
        ("0-5,3", "3 stands twice in the seeds '0-5,3'. Every number is given once."),
    ],
)
def test_messages(text, message):
    with pytest.raises(SpecError) as caught:
        parse_ranges(text)
    assert message in str(caught.value)


def test_backward_range_is_offered_forward():
    with pytest.raises(SpecError, match='Write "3-9"'):
        parse_ranges("9-3")


def test_numbers_below_a_limit_of_their_own():
    assert parse_ranges("0-9", "index", limit=10) == list(range(10))
    with pytest.raises(SpecError, match=r"10 in the index '0-10' is too large\. .* from 0 to 9"):
        parse_ranges("0-10", "index", limit=10)


def test_all_seeds_are_checked_but_not_listed():
    assert sum(map(len, check_ranges("0-4294967295"))) == SEED_LIMIT
    with pytest.raises(SpecError, match=f"are {SEED_LIMIT} numbers. At most {COUNT_LIMIT}"):
        parse_ranges("0-4294967295")


@given(st.text(max_size=100), st.integers(1, 80))
def test_shortened_text_fits(text, length):
    short = shorten(text, length)
    assert len(short) <= length
    assert short == text or (short[-1] == "…" and text.startswith(short[:-1]))
