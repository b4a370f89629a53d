"""From a study file to what its TOML says."""

import os
import re
import select
import time
import tomllib
from pathlib import Path
from typing import Any

from reprostore.errors import NotFoundError, SpecError
from reprostore.paths import require_file

LONGEST_FILE = 2**24
"""Bytes of a study file: lists of hundreds of thousands of training items fit into it."""

PATIENCE = 1.0
"""Seconds in which somebody is to write into a pipe that is read as a study."""

MOST_DOTS = 1000
"""Dots in a line: `tomllib` takes a time that grows with the square of the parts of a key."""

_AT = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)


def read_text(path: Path) -> str:
    """Return the text of a study file.

    Raises
    ------
    NotFoundError
        There is no such file.
    SpecError
        It cannot be read, is too large for a study, or is not UTF-8; or it is a device, or a pipe
        that nobody writes to.
    """
    try:
        content = _content(path)
        if len(content) > LONGEST_FILE:
            raise SpecError(
                f"{path} has more than {LONGEST_FILE} bytes.",
                "A study is a TOML file.",
                "Check the path.",
            )
        return content.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise NotFoundError(
            f"There is no file {path}.",
            "A study is a TOML file.",
            "Check the path, or name the store and the models as options.",
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SpecError(
            f"{path.name}, line {line}: a character is not UTF-8.",
            "A study file is written in TOML, which is UTF-8.",
            "Save the file as UTF-8.",
        ) from error
    except OSError as error:
        raise SpecError(
            f"{path} cannot be read: {error.strerror}.",
            "A study is a TOML file.",
            "Check the path and its permissions.",
        ) from error


def _content(path: Path) -> bytes:
    """Return the bytes of a file, or of a pipe, but no more than one byte too many."""
    if path.is_fifo():
        return _from_pipe(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise SpecError(
            f"{path} is a device.",
            "A study is a TOML file.",
            "Save the study as a file.",
        )
    with require_file(path).open("rb") as file:
        return file.read(LONGEST_FILE + 1)


def _from_pipe(path: Path) -> bytes:
    """Read a pipe to its end; one that nobody opens for writing has none, and is refused."""
    content, late = b"", time.monotonic() + PATIENCE
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as pipe:
        while len(content) <= LONGEST_FILE:
            block = pipe.read(LONGEST_FILE + 1 - len(content))
            if block is None:  # who writes has not ended
                select.select([pipe], [], [])
            elif block:
                content += block
            elif content:
                break
            elif time.monotonic() > late:
                raise SpecError(
                    f"{path} is a pipe that nobody writes to.",
                    "A study is a TOML file.",
                    "Save the study as a file.",
                )
            else:
                time.sleep(0.01)
    return content


def parse_toml(text: str, name: str) -> dict[str, Any]:
    """Read a TOML text; what `tomllib` raises becomes a `SpecError` with line and column."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > MOST_DOTS:
            raise SpecError(
                f"{name}, line {number}: the line has more than {MOST_DOTS} dots.",
                "The keys of a study have a few parts.",
                "Correct the line, or break it where it is a list.",
            )
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _syntax_error(name, error) from error


def _syntax_error(name: str, error: Exception) -> SpecError:
    """Say where a text stops being TOML, from what `tomllib` raised."""
    match = _AT.fullmatch(str(error))
    where, text = name, str(error)
    if match is not None:
        text = match[1]
        where += f", line {match[2]}, column {match[3]}" if match[2] else ", at its end"
    if isinstance(error, RecursionError):
        text = "lists are nested too deeply"
    return SpecError(
        f"{where}: {text}.",
        "A study file is written in TOML.",
        'Correct it: texts stand in quotes, and every key is followed by "=" and a value.',
    )
