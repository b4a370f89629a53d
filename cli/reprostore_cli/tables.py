"""Results of analyses as tables: one row per run or pair, scores with their intervals."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import xarray as xr
from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from reprostore_analyses.computing import Computed
from reprostore_analyses.footnotes import CHANCE, footnotes, marks, uninformative_scores
from reprostore_analyses.results import percent
from reprostore_cli.output import table

Row = dict[str, Any]

_COUNTS = {"seeds": ">seeds", "held_out_size": ">unseen items"}
"""Counts that stand above the table when they are the same in all rows."""

MANY_SEEDS = 2000
"""From here on the third digit of a share says something."""


def analysis_tables(computed: Computed) -> Iterator[Group | Padding]:
    """Show a result: a table of its rows, then the notes that they need.

    Parameters
    ----------
    computed : Computed
        The analysis and its result.

    Yields
    ------
    Group, Padding
        For a rich console.
    """
    analysis, result, rows = computed.analysis, computed.result, computed.rows()
    title = f"{analysis.name}: {analysis.summary}\n{_scale(result, rows)}"
    heads, cells = _COLUMNS[analysis.name](rows)
    marked = [marks(result, row) for row in rows]
    for key, head in _COUNTS.items():
        if len({row[key] for row in rows if key in row}) > 1:
            heads = [*heads, head]
            cells = [[*line, str(row[key])] for line, row in zip(cells, rows, strict=True)]
    if any(marked):
        heads = [*heads, ""]
        cells = [[*line, mark] for line, mark in zip(cells, marked, strict=True)]
    yield table(title, heads, cells)
    for note in footnotes(result, rows):
        yield Padding(Text(note), (0, 0, 0, 2))


def _scale(result: xr.Dataset, rows: Sequence[Row]) -> str:
    """Say in whose space and beyond which thresholds, and for how many seeds."""
    attributes = result.attrs
    parts = [f"encoder {attributes['encoder']}", f"θ {attributes['threshold']:g}"]
    if "copy_threshold" in attributes:
        parts.append(f"copy θ {attributes['copy_threshold']:g}")
    if "mae_threshold" in attributes:
        parts.append(f"MAE below {attributes['mae_threshold']:g} of 255")
    if "q" in attributes:
        parts.append(f"calibrated q {attributes['q']:g}")
    parts.append(f"{percent(attributes['confidence'])} intervals")
    for key, head in _COUNTS.items():
        counts = {row[key] for row in rows if key in row}
        if len(counts) == 1:
            parts.append(f"{head.removeprefix('>')} {counts.pop()}")
    return " · ".join(parts)


def _reproducibility(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    names = _short([row[key] for row in rows for key in ("run_a", "run_b")])
    heads = ["A", "B", ">RP", ">chance", ">corr.", ">MAE score", ">chance", "items"]
    return heads, [
        [
            names[row["run_a"]],
            names[row["run_b"]],
            _interval(row, "rp"),
            _chance(row, "chance", "RP"),
            _share(row, "corrected"),
            _interval(row, "mae_score"),
            _chance(row, "mae_chance", "MAE score"),
            _related(row),
        ]
        for row in rows
    ]


def _generalization(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    names = _short([row["run"] for row in rows])
    heads = [
        "run",
        ">N",
        ">GL",
        ">copies",
        ">unseen",
        ">calibrated θ",
        ">copies at it",
    ]
    return heads, [
        [
            names[row["run"]],
            str(row["train_size"]),
            _share(row, "gl"),  # 1 − copies, and so is its interval
            _interval(row, "memorized"),
            _interval(row, "held_out_memorized"),
            _interval(row, "calibrated_threshold", digits=3),
            _interval(row, "calibrated_memorized"),
        ]
        for row in rows
    ]


def _agreement(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    heads = ["pair", ">RP", ">chance", ">N", ">copies", ">unseen", "items"]

    def both(row: Row, name: str) -> str:
        return "\n".join(_interval(row, name, suffix=f"_{side}") for side in "ab")

    return heads, [
        [
            f"{row['model_a']}\n{row['model_b']}",
            _interval(row, "rp"),
            _chance(row, "chance", "RP"),
            "\n".join(str(int(row[f"train_size_{side}"])) for side in "ab"),
            both(row, "memorized"),
            both(row, "held_out_memorized"),
            _related(row),
        ]
        for row in rows
    ]


_COLUMNS: dict[str, Callable[[Sequence[Row]], tuple[list[str], list[list[str]]]]] = {
    "reproducibility": _reproducibility,
    "generalization": _generalization,
    "agreement": _agreement,
}


def _short(paths: Sequence[str]) -> dict[str, str]:
    """Leave out the sampler and the condition where all runs have the same."""
    common = len({path.split("/", 1)[1] for path in paths}) == 1
    return {path: path.split("/")[0] if common else path for path in paths}


def _related(row: Row) -> str:
    """Shorten a relation to what fits under the head "items"."""
    relation = str(row["relation"]).removesuffix(" training items")
    return relation.removeprefix("same recipe, ").replace("overlapping", "overlap")


def _number(value: float, digits: int) -> str:
    """Write a share without the zero before the point, as papers do; an absent one as a dash."""
    if math.isnan(value):
        return "–"
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def _share(row: Row, name: str) -> str:
    return _number(row[name], _digits(row))


def _chance(row: Row, name: str, score: str) -> str:
    """Write a chance level, marked where it makes its score uninformative."""
    return (CHANCE if score in uninformative_scores(row) else "") + _share(row, name)


def _interval(row: Row, name: str, *, suffix: str = "", digits: int | None = None) -> str:
    digits = _digits(row) if digits is None else digits
    value, low, high = (
        _number(row[f"{name}{bound}{suffix}"], digits) for bound in ("", "_low", "_high")
    )
    return value if low == high == "–" else f"{value} [{low}, {high}]"


def _digits(row: Row) -> int:
    return 2 if row["seeds"] < MANY_SEEDS else 3
