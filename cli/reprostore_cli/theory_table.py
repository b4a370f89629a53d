"""Cells of the table of `theory`: networks against the oracle and the Gaussian of their items."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from reprostore_cli.cells import chance, interval, number, share

Row = dict[str, Any]


def theory_cells(
    rows: Sequence[Row], names: Callable[[Sequence[str]], dict[str, str]]
) -> tuple[list[str], list[list[str]]]:
    """Return heads and cells: one line for each run and closed form.

    Parameters
    ----------
    rows : sequence of dict
        Of `theory_rows`.
    names : callable
        Shortens paths of runs.
    """
    shown = names([row["run"] for row in rows])
    heads = [
        "run",
        "against",
        ">RP",
        ">chance",
        ">RMS",
        ">chance",
        ">leave/stay/far",
        ">leave at σ",
    ]
    return heads, [
        [
            shown[row["run"]],
            row["reference"],
            interval(row, "rp"),
            chance(row, "chance", "RP"),
            interval(row, "rms", digits=1),
            number(row["chance_rms"], 1),
            "/".join(share(row, name) for name in ("left", "stayed", "never_near")),
            _sigma(row),
        ]
        for row in rows
    ]


def _sigma(row: Row) -> str:
    """Write σ with three digits, whatever its size."""
    values = [row[f"departure_sigma{bound}"] for bound in ("", "_low", "_high")]
    value, low, high = ("–" if math.isnan(each) else f"{each:.3g}" for each in values)
    return value if low == high == "–" else f"{value} [{low}, {high}]"
