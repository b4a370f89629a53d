"""The record beside what was exported: where it comes from, so that files alone can be traced."""

import json
from pathlib import Path
from typing import Any

from reprostore.canonical import to_jsonable
from reprostore.errors import IdentityError
from reprostore.paths import require_file
from reprostore.sharing.exporting.sources import Selection
from reprostore.store import SampleStore

RECORD_FORMAT = 1


def record_path(place: Path) -> Path:
    """Return where the record of an exported folder or file is: beside it.

    Not in a folder of images: dgm-eval takes every name in a folder of sub-folders for a number.
    """
    return place.with_name(f"{place.name}.json")


def record_of(store: SampleStore, selection: Selection, values: str) -> dict[str, Any]:
    """Return what is recorded of an export.

    Parameters
    ----------
    store : SampleStore
        Where it comes from.
    selection : Selection
        What is exported.
    values : str
        In words, what the numbers in the files are.
    """
    about = store.attributes
    recorded = {
        "reprostore_export": RECORD_FORMAT,
        "values": values,
        "count": len(selection.numbers),
        **selection.about,
        "store": {key: about.get(key) for key in ("title", "license", "creators", "created")},
    }
    return dict(to_jsonable(recorded))


def in_the_way(found: str) -> IdentityError:
    """Say that something else stands where an export is to be written."""
    return IdentityError(
        found,
        "An export goes into a new folder, or goes on with what the same export has left.",
        "Export to another folder, or move away what is there.",
    )


def read_record(place: Path) -> dict[str, Any] | None:
    """Return the record beside an export, or None where nothing is there.

    Raises
    ------
    IdentityError
        A file of this name is there and is none of our records.
    """
    path = record_path(place)
    if not path.exists():
        return None
    try:
        recorded = json.loads(require_file(path).read_bytes())
        known = isinstance(recorded, dict) and "reprostore_export" in recorded
    except (OSError, ValueError):
        known = False
    if not known:
        raise in_the_way(f"{path} is there already, and is no record of an export.")
    return dict(recorded)


def write_record(place: Path, recorded: dict[str, Any]) -> None:
    """Write the record beside an export, whole or not at all."""
    path = record_path(place)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(recorded, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
                       encoding="utf-8")  # fmt: skip
    partial.replace(path)
