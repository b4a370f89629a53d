"""Results of analyses as tables: one row per run or pair, scores with their intervals."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import xarray as xr
from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from reprostore_analyses.computing import Computed
from reprostore_analyses.footnotes import footnotes, marks
from reprostore_analyses.results import percent
from reprostore_cli import metric_tables
from reprostore_cli.cells import chance, interval, number, share
from reprostore_cli.output import table
from reprostore_cli.theory_table import theory_cells
from reprostore_cli.transition_tables import TABLES, TITLES

Row = dict[str, Any]

_COUNTS = {"seeds": ">seeds", "held_out_size": ">unseen items"}
"""Counts that stand above the table when they are the same in all rows."""


def analysis_tables(computed: Computed) -> Iterator[Group | Padding]:
    """Show a result: a table for each kind of its rows, then the notes that they need.

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
    title = f"{analysis.name}: {analysis.summary}\n{_scale(result, rows)}\n"
    for name in dict.fromkeys(row.get("table", "") for row in rows):
        part = [row for row in rows if row.get("table", "") == name]
        kind = f"{analysis.name}:{name}" if name else analysis.name
        heads, cells = _COLUMNS[kind](part)
        marked = [marks(result, row) for row in part]
        for key, head in _COUNTS.items():
            if len({row[key] for row in part if key in row}) > 1:
                heads = [*heads, head]
                cells = [[*line, str(row[key])] for line, row in zip(cells, part, strict=True)]
        if any(marked):
            heads = [*heads, ""]
            cells = [[*line, mark] for line, mark in zip(cells, marked, strict=True)]
        yield table((title + _TITLES.get(kind, "")).rstrip(), heads, cells)
        title = ""
    for note in footnotes(result, rows):
        yield Padding(Text(note), (0, 0, 0, 2))


def _scale(result: xr.Dataset, rows: Sequence[Row]) -> str:
    """Say in whose space and beyond which thresholds, and for how many seeds."""
    attributes = result.attrs
    parts = [f"encoder {attributes['encoder']}"]
    if "threshold" in attributes:
        parts.append(f"θ {attributes['threshold']:g}")
    if "copy_threshold" in attributes:
        parts.append(f"copy θ {attributes['copy_threshold']:g}")
    if "oracle_threshold" in attributes:
        parts.append(f"oracle θ {attributes['oracle_threshold']:g}")
    if "mae_threshold" in attributes:
        parts.append(f"MAE below {attributes['mae_threshold']:g} of 255")
    if "tolerance" in attributes:
        parts.append(f"δ {attributes['tolerance']:g} of 255")
    if "q" in attributes:
        kind = "chance" if "shifts" in attributes else "calibrated"
        parts.append(f"{kind} q {attributes['q']:g}")
    if "confidence" in attributes:
        parts.append(f"{percent(attributes['confidence'])} intervals")
    for key, head in _COUNTS.items():
        counts = {row[key] for row in rows if key in row}
        if len(counts) == 1:
            parts.append(f"{head.removeprefix('>')} {counts.pop()}")
    return " · ".join(parts)


def _reproducibility(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    names = _short([row[key] for row in rows for key in ("run_a", "run_b")])
    heads = ["A", "B", ">RP", ">chance", ">corr.", ">chance θ", ">RP at it", ">MAE score",
             ">chance", "items"]  # fmt: skip
    # Most stores have no sample that was generated anew.
    measured = any(row.get("numerical_ceiling_seeds", 0) for row in rows)
    if measured:
        heads.insert(3, ">ceiling")
    return heads, [
        [
            names[row["run_a"]],
            names[row["run_b"]],
            interval(row, "rp"),
            *([interval(row, "numerical_ceiling")] if measured else []),
            chance(row, "chance", "RP"),
            share(row, "corrected"),
            number(row["chance_threshold"], 3),
            interval(row, "rp_beyond_chance"),
            interval(row, "mae_score"),
            chance(row, "mae_chance", "MAE score"),
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
            share(row, "gl"),  # 1 − copies, and so is its interval
            interval(row, "memorized"),
            interval(row, "held_out_memorized"),
            interval(row, "calibrated_threshold", digits=3),
            interval(row, "calibrated_memorized"),
        ]
        for row in rows
    ]


def _agreement(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    heads = ["pair", ">RP", ">chance", ">N", ">copies", ">unseen", "items"]

    def both(row: Row, name: str) -> str:
        return "\n".join(interval(row, name, suffix=f"_{side}") for side in "ab")

    return heads, [
        [
            f"{row['model_a']}\n{row['model_b']}",
            interval(row, "rp"),
            chance(row, "chance", "RP"),
            "\n".join(str(int(row[f"train_size_{side}"])) for side in "ab"),
            both(row, "memorized"),
            both(row, "held_out_memorized"),
            _related(row),
        ]
        for row in rows
    ]


_TITLES = TITLES | {
    "memorization:capacity": "EMM, the largest N that is memorized, by the d₁/d₂ rule",
    "fidelity:variety": "Of one set",
}

_COLUMNS: dict[str, Callable[[Sequence[Row]], tuple[list[str], list[list[str]]]]] = {
    "reproducibility": _reproducibility,
    "generalization": _generalization,
    "agreement": _agreement,
    **TABLES,
    "theory": lambda rows: theory_cells(rows, _short),
    "distances": lambda rows: metric_tables.distances(rows, _short),
    "memorization": lambda rows: metric_tables.memorization(rows, _short),
    "memorization:capacity": metric_tables.capacity,
    "duplicates": lambda rows: metric_tables.duplicates(rows, _short),
    "fidelity": lambda rows: metric_tables.fidelity(rows, _short),
    "fidelity:variety": lambda rows: metric_tables.variety(rows, _short),
}


def _short(paths: Sequence[str]) -> dict[str, str]:
    """Leave out the sampler and the condition where all runs have the same."""
    common = len({path.split("/", 1)[1] for path in paths}) == 1
    return {path: path.split("/")[0] if common else path for path in paths}


def _related(row: Row) -> str:
    """Shorten a relation to what fits under the head "items"."""
    relation = str(row["relation"]).removesuffix(" training items")
    return relation.removeprefix("same recipe, ").replace("overlapping", "overlap")
