"""Numbers in the cells of tables."""

import math
from typing import Any

from reprostore_analyses.footnotes import CHANCE, uninformative_scores

Row = dict[str, Any]

MANY_SEEDS = 2000
"""From here on the third digit of a share says something."""


def number(value: float, digits: int) -> str:
    """Write a share without the zero before the point, as papers do; an absent one as a dash."""
    if math.isnan(value):
        return "–"
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def share(row: Row, name: str) -> str:
    """Write a share, with as many digits as its seeds bear."""
    return number(row[name], _digits(row))


def chance(row: Row, name: str, score: str) -> str:
    """Write a chance level, marked where it makes its score uninformative."""
    return (CHANCE if score in uninformative_scores(row) else "") + share(row, name)


def interval(row: Row, name: str, *, suffix: str = "", digits: int | None = None) -> str:
    """Write a score with its interval, ".84 [.81, .87]"."""
    digits = _digits(row) if digits is None else digits
    value, low, high = (
        number(row[f"{name}{bound}{suffix}"], digits) for bound in ("", "_low", "_high")
    )
    return value if low == high == "–" else f"{value} [{low}, {high}]"


def _digits(row: Row) -> int:
    return 2 if row["seeds"] < MANY_SEEDS else 3
