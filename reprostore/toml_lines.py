"""On which line of a TOML text a key stands, which `tomllib` does not tell."""

import bisect
import contextlib
import re
import tomllib

Location = tuple[str, ...]
"""The keys that lead to a value: ``("models", "unet-a", "source")``."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""(?:"(?:\\.|[^"\\\n])*"|'[^'\n]*'|[A-Za-z0-9_-]|[ \t.])+""")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?!")'  # a string may end in one or two quotes of its own
    r"|'''.*?'''(?!')"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE = re.compile(r"[^,\]}\n#]+")


def key_lines(text: str) -> dict[Location, int]:
    """Find the line of every key and table of a valid TOML text.

    Tables are found at their header or, without one, at the first key that names them. What
    lies in an array (of tables, too) has no line of its own and is left out.

    Parameters
    ----------
    text : str
        A text that `tomllib.loads` accepts.

    Returns
    -------
    dict
        Line numbers, counted from 1. Of a text that is not understood, the lines before that
        place; it is never an error.
    """
    scanner = _Scanner(text)
    with contextlib.suppress(_NotUnderstoodError, RecursionError):
        scanner.scan()
    return scanner.lines


class _NotUnderstoodError(Exception):
    """The text is not what the scanner expects here."""


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.lines: dict[Location, int] = {}
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def scan(self) -> None:
        arrays: set[Location] = set()
        table: Location | None = ()
        self._take(_BLANK)
        while self.position < len(self.text):
            line = self._line()
            array = self._skip("[[")
            if array or self._skip("["):
                header = self._key()
                self._expect("]]" if array else "]")
                inside = any(header[:length] in arrays for length in range(1, len(header) + 1))
                if not inside:
                    self._note(header, line)
                    self.lines[header] = line  # a table above may have named it before
                if array:
                    arrays.add(header)
                table = None if array or inside else header
            else:
                self._pair(table)
            self._take(_BLANK)

    def _pair(self, table: Location | None) -> None:
        line = self._line()
        key = self._key()
        location = None if table is None else table + key
        if location is not None:
            self._note(location, line)
        self._expect("=")
        self._value(location)

    def _value(self, location: Location | None) -> None:
        self._take(_BLANK)
        if self._skip("["):
            while not self._closes("]"):
                self._value(None)
        elif self._skip("{"):
            while not self._closes("}"):
                self._pair(location)
        elif _STRING.match(self.text, self.position):
            self._take(_STRING)
        elif not self._take(_BARE):
            raise _NotUnderstoodError

    def _closes(self, bracket: str) -> bool:
        self._take(_BLANK)
        if self._skip(","):
            self._take(_BLANK)
        return self._skip(bracket)

    def _key(self) -> Location:
        written = self._take(_KEY)
        try:
            value = tomllib.loads(f"{written} = 0")
        except tomllib.TOMLDecodeError as error:
            raise _NotUnderstoodError from error
        parts: list[str] = []
        while isinstance(value, dict):
            part, value = next(iter(value.items()))
            parts.append(part)
        return tuple(parts)

    def _note(self, location: Location, line: int) -> None:
        """Record the line of a location, and of the tables above it that have none yet."""
        for length in range(1, len(location) + 1):
            self.lines.setdefault(location[:length], line)

    def _line(self) -> int:
        return bisect.bisect_right(self._starts, self.position)

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.position)
        if match is None:
            return ""
        self.position = match.end()
        return match[0]

    def _skip(self, expected: str) -> bool:
        found = self.text.startswith(expected, self.position)
        self.position += len(expected) if found else 0
        return found

    def _expect(self, expected: str) -> None:
        if not self._skip(expected):
            raise _NotUnderstoodError
