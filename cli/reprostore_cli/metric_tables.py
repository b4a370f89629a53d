"""Cells of the tables of `memorization`, `fidelity` and `distances`."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from reprostore_analyses.footnotes import CHANCE

Row = dict[str, Any]
Cells = tuple[list[str], list[list[str]]]
Names = Callable[[Sequence[str]], dict[str, str]]


def memorization(rows: Sequence[Row], names: Names) -> Cells:
    """Return heads and cells: one line for each metric and run."""
    controls = [("held_out_train", ">unseen"), ("train_train", ">train items")]
    return _scores(rows, names, [("generated_train", ">samples"), *controls])


def fidelity(rows: Sequence[Row], names: Names) -> Cells:
    """Return heads and cells: one line for each metric and run."""
    columns = [
        ("generated_train", ">samples to train"),
        ("generated_held_out", ">samples to unseen"),
        ("held_out_train", ">unseen to train"),
    ]
    return _scores(rows, names, columns)


def variety(rows: Sequence[Row], names: Names) -> Cells:
    """Return heads and cells of the metrics of one set: one line for each metric and run."""
    columns = [
        ("generated_generated", ">samples"),
        ("held_out_held_out", ">unseen"),
        ("train_train", ">train items"),
    ]
    return _scores(rows, names, columns)


def capacity(rows: Sequence[Row]) -> Cells:
    """Return heads and cells: one line for each group of models."""
    heads = ["architecture", ">models", ">EMM", ">no longer at N"]
    return heads, [
        [
            row["architecture"],
            str(row["models"]),
            "–" if row["emm"] is None else str(row["emm"]),
            "–" if row["next_size"] is None else str(row["next_size"]),
        ]
        for row in rows
    ]


def duplicates(rows: Sequence[Row], names: Names) -> Cells:
    """Return heads and cells: one line for each run."""
    shown = names([row["run"] for row in rows])
    heads = ["run", ">N", ">equal", ">near", ">groups", ">copied", ">further: copied", ">others",
             ">z", ">p"]  # fmt: skip
    return heads, [
        [
            shown[row["run"]],
            *(str(row[name]) for name in ("train_size", "exact", "near", "groups", "copied")),
            *(number(row[name]) for name in ("copied_mean", "other_mean", "z")),
            "–" if math.isnan(row["p"]) else f"{row['p']:.1g}",
        ]
        for row in rows
    ]


def distances(rows: Sequence[Row], names: Names) -> Cells:
    """Return heads and cells: one line for each metric and pair."""
    shown = names([row[key] for row in rows for key in ("run_a", "run_b")])
    heads = ["metric", "A", "B", ">value", ">chance", "higher is"]
    return heads, [
        [
            title,
            shown[row["run_a"]],
            shown[row["run_b"]],
            bounded(row, "value"),
            number(row["chance"]),
            row["higher"],
        ]
        for title, row in zip(_once(rows), rows, strict=True)
    ]


def number(value: float, size: float | None = None) -> str:
    """Write a number without the zero before the point; NaN as a dash.

    Parameters
    ----------
    value : float
        What is written.
    size : float, optional
        As many decimals as make two or three digits of this; of the value when left out.
    """
    if math.isnan(value):
        return "–"
    size = abs(value) if size is None else size
    steps = ((0, 100), (1, 10), (2, 0.095), (3, 0.0095), (4, 0.00095))
    digits = next((decimals for decimals, least in steps if size >= least), 2 if size == 0 else 5)
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def bounded(row: Row, name: str) -> str:
    """Write a value with its interval, where it has one, all with the same decimals."""
    values = [row.get(f"{name}{end}", math.nan) for end in ("", "_low", "_high")]
    size = max((abs(each) for each in values if not math.isnan(each)), default=0.0)
    value, low, high = (number(each, size) for each in values)
    return value if low == high == "–" else f"{value} [{low}, {high}]"


def _scores(rows: Sequence[Row], names: Names, columns: list[tuple[str, str]]) -> Cells:
    shown = names([row["run"] for row in rows])
    # A control that no row has was not asked for.
    columns = [
        (name, head)
        for name, head in columns
        if any(not math.isnan(row.get(name, math.nan)) for row in rows)
    ]
    heads = ["metric", "run", ">N", *(head for _, head in columns), "higher is"]
    cells = []
    for title, row in zip(_once(rows), rows, strict=True):
        values = [bounded(row, name) for name, _ in columns]
        if row["no_more_than_real"] and values:
            values[0] = CHANCE + values[0]
        cells.append([title, shown[row["run"]], str(row["train_size"]), *values, row["higher"]])
    return heads, cells


def _once(rows: Sequence[Row]) -> list[str]:
    """Return the title of each row's metric where it is not that of the row before."""
    titles = [str(row["title"]) for row in rows]
    return [
        "" if place and titles[place - 1] == title else title for place, title in enumerate(titles)
    ]
