"""What is wrong in a study file, said in one paragraph with the line."""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from typing import Any

from pydantic_core import ErrorDetails

from reprostore.errors import SpecError
from reprostore.seeds import shorten
from reprostore.toml_lines import Location

MAX_DEPTH = 16
"""Tables and lists of a study are not nested deeper than this."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_TOML_WORDS = {
    "an object": "a table",
    "a valid dictionary": "a table",
    "a valid array": "a list",
    "a valid boolean": "true or false",
    "a valid": "a",
    "a integer": "an integer",
}


@dataclass(frozen=True)
class Problem:
    """One problem: where it is, and the three sentences of its error."""

    location: Location
    found: str
    expected: str
    action: str
    unknown_key: bool = False


@dataclass(frozen=True)
class Source:
    """Where a study was read: the name of its file and the lines of its keys.

    A study that was made from options has no name and no lines.
    """

    name: str = ""
    lines: Mapping[Location, int] = field(default_factory=dict, repr=False)

    def where(self, location: Location) -> str:
        """Name the file and the line of a key, or of the nearest table around it."""
        for length in range(len(location), 0, -1):
            if location[:length] in self.lines:
                return f"{self.name}, line {self.lines[location[:length]]}"
        return self.name

    def error(self, problems: Iterable[Problem]) -> SpecError:
        """Make one error of the first problem, which says how many more there are.

        Misspelt keys come first, for they are often the cause of the others.
        """
        in_order = sorted(
            problems,
            key=lambda item: (not item.unknown_key, self.lines.get(item.location, 0)),
        )
        first, more = in_order[0], len(in_order) - 1
        where = self.where(first.location)
        found = f"{where}: {first.found}" if where else first.found[0].upper() + first.found[1:]
        action = first.action
        if more:
            action += f" There {'is' if more == 1 else 'are'} {more} more problem{'s'[: more - 1]}."
        return SpecError(found, first.expected, action)


def table_name(location: Location) -> str:
    """Write a location as the header of a TOML table, e.g. ``[models."unet.v2"]``."""
    parts = (part if _BARE_KEY.fullmatch(part) else _show(part) for part in location)
    return f"[{'.'.join(parts)}]"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is spelt most like `word`, if any is."""
    return next(iter(difflib.get_close_matches(word, sorted(known), n=1)), None)


def unknown_key(table: Location, key: str, known: Iterable[str], hint: str = "") -> Problem:
    """Describe a key that a table does not have; `hint` is better advice than a near key."""
    known = sorted(known)
    guess = nearest(key, known)
    return Problem(
        (*table, key),
        f"unknown key `{shorten(key)}`{_within(table)}.",
        f"Known keys are {_listed(known)}.",
        hint or (f"Did you mean `{guess}`?" if guess else "Remove it, or correct its spelling."),
        unknown_key=True,
    )


def unknown_name(location: Location, name: str, section: str, known: Iterable[str]) -> Problem:
    """Describe a value that refers to a name which its section does not define."""
    known = sorted(known)
    guess = nearest(name, known)
    return Problem(
        location,
        f"`{location[-1]}`{_within(location[:-1])} names {_show(name)}, which is not defined.",
        f"[{section}] defines {_listed(known)}." if known else f"[{section}] is empty.",
        f"Did you mean `{guess}`?" if guess else f"Add {table_name((section, name))}.",
    )


def value_problems(data: Mapping[str, Any]) -> list[Problem]:
    """Find the TOML values that no key of a study takes and JSON cannot hold."""
    problems: list[Problem] = []
    stack: list[tuple[Location, Any, int]] = [((), data, 0)]
    while stack:
        location, value, depth = stack.pop()
        expected = ""
        if depth > MAX_DEPTH:
            expected = f"Tables and lists are nested at most {MAX_DEPTH} deep."
        elif isinstance(value, dict):
            stack.extend(((*location, key), item, depth + 1) for key, item in value.items())
        elif isinstance(value, list):
            stack.extend((location, item, depth + 1) for item in value)
        elif isinstance(value, date | time):
            expected = "Study files hold texts, numbers, true and false, not dates."
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            expected = "Whole numbers have 64 bits."
        elif isinstance(value, float) and not abs(value) < float("inf"):
            expected = "Numbers are finite."
        if expected:
            problems.append(_wrong_value(location, value, expected, "Correct the value."))
    return problems


def validation_problems(
    data: Mapping[str, Any],
    errors: Iterable[ErrorDetails],
    known_keys: Callable[[Location], Iterable[str]],
) -> list[Problem]:
    """Turn what pydantic found into problems, one for each key."""
    grouped: dict[Location, list[ErrorDetails]] = {}
    for error in errors:
        grouped.setdefault(_existing(data, error["loc"]), []).append(error)
    problems: list[Problem] = []
    missing: list[tuple[Location, str]] = []
    guesses: set[tuple[Location, str | None]] = set()
    for location, group in grouped.items():
        error, table = group[0], location[:-1]
        if error["type"] == "extra_forbidden":
            known = list(known_keys(table))
            hint = "It belongs at the top of the file, above the first table."
            at_top = table and location[-1] in known_keys(())
            problems.append(unknown_key(table, location[-1], known, hint if at_top else ""))
            guesses.add((table, nearest(location[-1], known)))
        elif error["type"] == "missing":
            missing.extend((location, str(item["loc"][-1])) for item in group)
        else:
            problems.append(_from_group(location, group, _value_at(data, location)))
    for table, key in missing:
        if (table, key) not in guesses:  # else the misspelt key is the one that is missing
            owner = f"{table_name(table)} has" if table else "there is"
            expected = f"`{key}` has no default."
            problems.append(Problem(table, f"{owner} no `{key}`.", expected, f"Add `{key}`."))
    return problems


def _from_group(location: Location, group: list[ErrorDetails], value: object) -> Problem:
    error = group[0]
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, SpecError):
        at = "" if isinstance(value, dict) and "[key]" not in error["loc"] else location[-1:]
        owner = f"`{location[-1]}`{_within(location[:-1])}" if at else table_name(location)
        found, expected, action = cause.parts
        return Problem(location, f"{owner}: {found}", expected, action)
    if len(location) == 2 and error["type"] in {"model_type", "model_attributes_type", "dict_type"}:
        expected = f"[{location[0]}] holds tables that have a name each."
        action = f"Write [{location[0]}.NAME] above the keys."
    else:
        first, *others = dict.fromkeys(_phrase(location, item) for item in group)
        others = [phrase.removeprefix("it should be ") for phrase in others]
        expected, action = f"{', or '.join([first, *others])}.", "Correct the value."
    return _wrong_value(location, value, expected[0].upper() + expected[1:], action)


def _phrase(location: Location, error: ErrorDetails) -> str:
    message = error["msg"]
    for theirs, ours in _TOML_WORDS.items():
        message = message.replace(theirs, ours)
    rest = error["loc"][len(location) :]
    item = next((f"item {part + 1}" for part in rest if isinstance(part, int)), "it")
    subject, should, what = message.partition(" should ")
    return f"{item}{should}{what}" if should else subject


def _wrong_value(location: Location, value: object, expected: str, action: str) -> Problem:
    if not location:
        return Problem(location, "the study cannot be read.", expected, action)
    shown = "a table" if isinstance(value, dict) else _show(value)
    found = f"`{shorten(location[-1])}`{_within(location[:-1])} is {shown}."
    return Problem(location, found, expected, action)


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _within(table: Location) -> str:
    return f" in {table_name(table)}" if table else ""


def _existing(data: Mapping[str, Any], loc: tuple[int | str, ...]) -> Location:
    """Cut pydantic's location, which also names union members, to keys that the data have."""
    keys: list[str] = []
    value: object = data
    for part in loc:
        if not (isinstance(value, dict) and isinstance(part, str) and part in value):
            break
        keys.append(part)
        value = value[part]
    return tuple(keys)


def _value_at(data: Mapping[str, Any], location: Location) -> object:
    value: Any = data
    for key in location:
        value = value[key]
    return value


def _show(value: object) -> str:
    try:
        return shorten(json.dumps(value, ensure_ascii=False, default=str))
    except (ValueError, RecursionError):  # thousands of digits, or of brackets
        return "too large to print"
