"""What has to be known to read a row of an analysis: marks, and the notes that explain them."""

from collections.abc import Sequence
from typing import Any

import xarray as xr

from reprostore.execution import REPRODUCED
from reprostore_analyses.floor import ceiling_notes

DRIFT, UNCHECKED, CHANCE, REASON = "*", "†", "‡", "§"

_NAMES = ("run", "run_a", "run_b", "reference_run", "model_a", "model_b")
"""Where a row names the runs or models that it is made from."""

_SUBJECTS = ("run", "run_a", "architecture", "dataset")
"""What a row with a reason may be about."""

_SCORES = (("rp", "chance", "RP"), ("mae_score", "mae_chance", "MAE score"))


def uninformative_scores(row: dict[str, Any]) -> list[str]:
    """Name the scores of a row that chance explains.

    Parameters
    ----------
    row : dict
        Of an analysis: scores with ``_low`` and ``_high``, and their chance levels.

    Returns
    -------
    list of str
        "RP", "MAE score": the chance level is above one half, or not below the score's interval.
    """
    return [
        name
        for score, chance, name in _SCORES
        if score in row
        and chance in row
        and (row[chance] > 0.5 or row[f"{score}_low"] <= row[chance])
    ]


def marks(result: xr.Dataset, row: dict[str, Any]) -> str:
    """Return the signs of the footnotes that a whole row needs, or an empty text."""
    names = {row[key] for key in _NAMES if key in row}
    names |= set(row.get("runs", ()))

    def concerned(path: str) -> bool:
        return path in names or path.split("/")[0] in names

    drifted = any(concerned(path) for path in result.attrs.get("drift", {}))
    unchecked = any(
        all(concerned(path) for path in pair.split(" | "))
        for pair in result.attrs.get("unchecked", {})
    )
    found = {
        DRIFT: drifted,
        UNCHECKED: unchecked,
        REASON: bool(row.get("reason")),
    }
    return "".join(mark for mark, applies in found.items() if applies)


def footnotes(result: xr.Dataset, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Explain the marks of a result's rows, and what the result leaves out.

    Parameters
    ----------
    result : xarray.Dataset
        Of an analysis.
    rows : sequence of dict
        The rows that are shown.

    Returns
    -------
    list of str
        One line each.
    """
    notes = []
    for path, differences in result.attrs.get("drift", {}).items():
        parts = "; ".join(
            "some samples came out with other bits when computed again"
            if key == REPRODUCED
            else f"{key} {' and '.join(map(str, values))}"
            for key, values in differences.items()
        )
        notes.append(f"{DRIFT} {path} was computed in differing ways: {parts}.")
    for pair, reason in result.attrs.get("unchecked", {}).items():
        notes.append(f"{UNCHECKED} {pair}: the noise was not compared, for {reason}.")
    scores = dict.fromkeys(name for row in rows for name in uninformative_scores(row))
    if scores:
        notes.append(
            f"{CHANCE} The {' or the '.join(scores)} says nothing here: its interval includes the "
            "chance level, or samples of different seeds agree more than half of the time."
        )
    if any(row.get("no_more_than_real") for row in rows):
        notes.append(
            f"{CHANCE} No more copying than unseen real items show, as far as these numbers tell: "
            "the interval of the difference includes 0."
        )
    for reason in dict.fromkeys(row["reason"] for row in rows if row.get("reason")):
        own = [row for row in rows if row.get("reason") == reason]
        about = [next(row[key] for key in _SUBJECTS if key in row) for row in own]
        notes.append(f"{REASON} {', '.join(dict.fromkeys(about))}: {reason}")
    for pair, score in (result.attrs.get("ceiling") or {}).items():
        notes.append(f"Ceiling: {pair}, one recipe trained or computed twice, has RP {score:.2f}.")
    shown = {str(row[key]) for row in rows for key in _NAMES if key in row}
    notes += ceiling_notes(result, shown)
    for missing, reason in result.attrs.get("absent", {}).items():
        notes.append(f"There is no {missing}: {reason}")
    for path, reason in result.attrs.get("left_out", {}).items():
        notes.append(f"Left out: {path}. {reason}")
    if skipped := result.attrs.get("skipped"):
        runs = ", ".join(skipped)
        notes.append(f"Left out, for nothing says what their models were trained on: {runs}.")
    return notes
