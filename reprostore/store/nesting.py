"""Nothing is put into a store from outside: readers and checks would take it for a part of it."""

import json
from pathlib import Path

from reprostore.errors import SpecError
from reprostore.paths import without_links


def require_outside(place: Path, what: str) -> None:
    """Refuse to write to a place that is a store, or lies in one.

    Parameters
    ----------
    place : Path
        Where something is to be written; it need not exist.
    what : str
        What is to be written, as the subject of a sentence.

    Raises
    ------
    SpecError
        There is a store at the place, or above it.
    """
    resolved = without_links(place)
    for folder in (resolved, *resolved.parents):
        if _is_store(folder):
            raise SpecError(
                f"{what} would lie in the store {folder}, at {place}.",
                "A store holds nothing but what reprostore writes.",
                "Name a place outside of the store.",
            )


def _is_store(folder: Path) -> bool:
    try:
        json.loads((folder / "zarr.json").read_bytes())["attributes"]["reprostore"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False
    return True
