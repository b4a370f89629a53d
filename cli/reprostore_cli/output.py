"""How commands print: JSON, tables, and the progress of long work."""

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol

from rich import box
from rich.console import Console, Group
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

PIPED_WIDTH = 240
"""Columns of what is no terminal: tables are not wrapped there."""


class _Output(Console):
    """A console that leaves a broken pipe to the caller."""

    def on_broken_pipe(self) -> NoReturn:
        """Raise what is being handled; rich would end the process with code 1."""
        raise  # rich calls this while it handles the error


def console() -> Console:
    """Return the console of the standard output."""
    return _Output(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)


def print_json(command: str, inputs: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the one object of ``--json``: strict JSON, NaN and infinity as null."""
    document = {"command": command, "inputs": _strict(inputs), "rows": _strict(rows)}
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _strict(value: Any) -> Any:  # noqa: ANN401  # any JSON value
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def table(
    title: str, heads: Sequence[str], rows: Iterable[Sequence[str]], *, total: bool = False
) -> Group:
    """Make a table; a head that begins with ">" belongs to a column of numbers.

    Parameters
    ----------
    title : str
        Above the table; never broken, since it may hold a path.
    heads : sequence of str
        Heads of the columns.
    rows : iterable of sequence of str
        Cells, as many in each row as there are heads.
    total : bool
        Whether the last row is set off as the sum of the others.
    """
    made = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for head in heads:
        made.add_column(
            head.removeprefix(">"),
            justify="right" if head.startswith(">") else "left",
            overflow="fold",
        )
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    if total:
        made.rows[-2].end_section = True
    heading = Text(title, style="bold", no_wrap=True, overflow="ignore")
    return Group(Text(), heading, made)


def size(nbytes: int | None) -> str:
    """Write a number of bytes with a binary unit."""
    if nbytes is None:
        return "–"
    value = float(nbytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


class _Rate(ProgressColumn):
    """Finished items per second, over the last half minute."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Show the rate, as soon as it is known."""
        return Text("" if task.speed is None else f"{task.speed:.4g} {self._unit}/s")


class Show(Protocol):
    """Draws one bar."""

    def __call__(self, name: str, done: int, total: int, note: str = "", /) -> None:
        """Draw the bar of `name`, with the finished items, all of them, and a note."""


@contextmanager
def progress(unit: str, *, keep: bool = True) -> Iterator[Show | None]:
    """Show on a terminal how far work is, with its rate and the remaining time.

    Parameters
    ----------
    unit : str
        What is counted, in the plural.
    keep : bool
        Whether the bars of what is finished stay.

    Yields
    ------
    callable or None
        To be called with what is worked on, the finished items and all of them. None where the
        standard error is no terminal.
    """
    errors = Console(stderr=True)
    if not errors.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(unit),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=errors, refresh_per_second=4) as bars:

        def show(name: str, done: int, total: int, note: str = "", /) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total, completed=done, note=note)
            visible = keep or done < total
            bars.update(tasks[name], completed=done, total=total, note=note, visible=visible)

        yield show
