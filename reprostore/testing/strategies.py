"""Hypothesis strategies for what users write, mistype and receive damaged.

They need Hypothesis, which the rest of the package does not.
"""

import copy
import json
from typing import Any

from hypothesis import strategies as st

Json = Any
"""Whatever `json.loads` returns."""

_ODD_TEXT = (
    "", " ", ".", "..", "/", "../../x", "zarr.json", "a\nb", "a\0b", "é中🙂", "\ufeff", "\x1b[2J",
    "-1", "NaN", "x" * 300, "~", "python:os:getcwd", "s3://a/b", "con", "'", '"', "\\",
)  # fmt: skip
_ODD_NUMBERS = (0, -1, 1, 2, 2**31, 2**32, 2**63 - 1, 2**63, -(2**63), 10**12, 10**18, 10**30)
_ODD_FLOATS = (0.0, -0.0, 0.5, 1e-300, 1e300, float("inf"), float("-inf"), float("nan"))


def odd_texts() -> st.SearchStrategy[str]:
    """Return texts that are no good names or paths, and some that are."""
    return st.sampled_from(_ODD_TEXT) | st.text(max_size=12)


def json_values(max_leaves: int = 6) -> st.SearchStrategy[Json]:
    """Return values that a JSON document can hold, odd ones more often than others."""
    leaves = (
        st.none()
        | st.booleans()
        | st.sampled_from(_ODD_NUMBERS)
        | st.integers(-10, 10)
        | st.sampled_from(_ODD_FLOATS)
        | odd_texts()
    )
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(odd_texts(), inner, max_size=3),
        max_leaves=max_leaves,
    )


def _places(document: Json, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return where in a document a value stands, each by its keys and positions."""
    if isinstance(document, dict):
        items: Any = document.items()
    elif isinstance(document, list):
        items = enumerate(document)
    else:
        return [at] if at else []
    below = [place for key, value in items for place in _places(value, (*at, key))]
    return [at, *below] if at else below


def _numbers_near(value: float) -> st.SearchStrategy[Json]:
    near = (value + 1, value - 1, value * 2, -value, value / 2, 10**12, 0)
    return st.sampled_from([type(value)(number) for number in near])


@st.composite
def edited_json(draw: st.DrawFn, document: Json) -> Json:
    """Return a JSON document with one value changed, removed, doubled or renamed.

    Parameters
    ----------
    draw : callable
        Of Hypothesis.
    document : dict or list
        Is left as it is.

    Returns
    -------
    dict or list
        A changed copy; now and then equal to `document`.
    """
    edited = copy.deepcopy(document)
    places = _places(document)
    if not places:
        return draw(json_values())
    # Top-level values are few among many: chosen as often as all others together.
    *above, last = draw(
        st.sampled_from([p for p in places if len(p) == 1]) | st.sampled_from(places)
    )
    owner = edited
    for key in above:
        owner = owner[key]
    value = owner[last]
    how = draw(st.sampled_from(["replace", "near", "remove", "rename", "double"]))
    if how == "remove":
        del owner[last]
    elif how == "rename" and isinstance(owner, dict):
        owner[draw(odd_texts())] = owner.pop(last)
    elif how == "double" and isinstance(owner, list):
        owner.insert(last, value)
    elif how == "near" and isinstance(value, int | float) and not isinstance(value, bool):
        owner[last] = draw(_numbers_near(value))
    else:
        owner[last] = draw(json_values())
    return edited


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Return the bytes of a file after a bad disk, a cut transfer or a careless editor.

    Parameters
    ----------
    draw : callable
        Of Hypothesis.
    content : bytes
        What the file held.
    """
    size = len(content)
    how = draw(
        st.sampled_from(["flip", "cut", "empty", "zeros", "junk", "overwrite", "insert", "append"])
    )
    if how == "empty" or not size:
        return b""
    at = draw(st.integers(0, size - 1))
    if how == "flip":
        changed = bytearray(content)
        changed[at] ^= 1 << draw(st.integers(0, 7))
        return bytes(changed)
    if how == "cut":
        return content[:at]
    if how == "zeros":
        return bytes(size)
    junk = draw(st.binary(min_size=1, max_size=40))
    if how == "junk":
        return junk
    if how == "overwrite":
        return content[:at] + junk + content[at + len(junk) :]
    return content + junk if how == "append" else content[:at] + junk + content[at:]


def json_files(content: bytes) -> st.SearchStrategy[bytes]:
    """Return the bytes of a JSON file with a changed value, or with changed bytes."""
    edited = edited_json(json.loads(content)).map(lambda value: json.dumps(value).encode())
    deep = st.sampled_from([b"[" * 100_000, b'{"a":' * 50_000, b"1" * 5000, b"null", b"\xff\xfe{}"])
    return st.one_of(edited, edited, edited, damaged_bytes(content), deep)


def seed_texts() -> st.SearchStrategy[str]:
    """Return texts of the seed grammar, and some that are nearly so."""
    number = (
        st.integers(0, 40).map(str)
        | st.sampled_from([0, 2**32 - 1, 2**32, 2**64, 10**19, 10**25]).map(str)
        | st.sampled_from(
            ["", "-1", "1.0", "1e3", "0x1", "+1", "1_0", "٣", "１", "007", " 5", "5 "]
        )
    )
    part = number | st.tuples(
        number, st.sampled_from(["-", "-", "-", " - ", "–", ":", "--"]), number
    ).map("".join)
    joined = st.lists(part, min_size=1, max_size=5).map(",".join)
    return joined | st.text(alphabet="0123456789-, \t\n", max_size=12) | odd_texts()
