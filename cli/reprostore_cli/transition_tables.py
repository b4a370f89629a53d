"""Cells of the tables of `transition`: over sizes, over pairs, the fits, and the dimension."""

from collections.abc import Callable, Sequence
from typing import Any

from reprostore_cli.cells import chance, interval, number, share

Row = dict[str, Any]
Cells = tuple[list[str], list[list[str]]]


def sizes(rows: Sequence[Row]) -> Cells:
    """Return heads and cells of the table over architectures and N."""
    heads = [
        "architecture",
        ">N",
        ">models",
        ">GL",
        ">unseen",
        ">RP",
        "regime",
        ">N/√P",
        ">N/d",
    ]
    return heads, [
        [
            row["architecture"],
            str(row["train_size"]),
            str(row["models"]),
            interval(row, "gl"),
            interval(row, "held_out_gl"),
            share(row, "regime_rp"),
            row["regime"],
            _axis(row["size_per_root_parameters"]),
            _axis(row["size_per_dimension"]),
        ]
        for row in rows
    ]


def pairs(rows: Sequence[Row]) -> Cells:
    """Return heads and cells of the table over pairs of architectures and N."""
    heads = ["pair", ">N", ">pairs", ">RP", ">chance", ">corr.", ">PFD", ">chance"]
    return heads, [
        [
            row["pair"],
            str(row["train_size"]),
            str(row["pairs"]),
            interval(row, "rp"),
            chance(row, "chance", "RP"),
            share(row, "corrected"),
            interval(row, "pfd_pixel"),
            share(row, "pfd_pixel_chance"),
        ]
        for row in rows
    ]


def fit(rows: Sequence[Row]) -> Cells:
    """Return heads and cells of the table of N_50."""
    heads = ["architecture", ">N at GL ½", ">between sizes", ">slope", ">dispersion"]
    return heads, [
        [
            row["architecture"],
            interval(row, "n50", digits=0),
            f"{number(row['bracket_low'], 0)} … {number(row['bracket_high'], 0)}",
            number(row["slope"], 2),
            number(row["dispersion"], 1),
        ]
        for row in rows
    ]


def dimension(rows: Sequence[Row]) -> Cells:
    """Return heads and cells of the table of intrinsic dimensions."""
    neighbors = [key.removeprefix("dimension_") for key in rows[0] if key.startswith("dimension_")]
    counts = [count for count in neighbors if count in ("2", "10", "20")]
    heads = ["dataset", ">items", ">duplicates"]
    heads += [f">{'TwoNN' if count == '2' else f'k = {count}'}" for count in counts]
    return heads, [
        [
            row["dataset"],
            str(row["items"]),
            str(row["duplicates"]),
            *(interval(row, f"dimension_{count}", digits=1) for count in counts),
        ]
        for row in rows
    ]


TABLES: dict[str, Callable[[Sequence[Row]], Cells]] = {
    "transition:sizes": sizes,
    "transition:pairs": pairs,
    "transition:fit": fit,
    "transition:dimension": dimension,
}

TITLES = {
    "transition:sizes": "GL by N, beside that of real items which no model saw",
    "transition:pairs": "RP and PFD (L2 of pixels in [-1, 1]) of models of equal N",
    "transition:fit": "Where GL passes one half",
    "transition:dimension": "Intrinsic dimension d of the largest set of training items, in pixels",
}
"""What stands above each table."""


def _axis(value: float) -> str:
    return number(value, 2 if value < 10 else 1)
