"""Where something may be written: below folders, and never into a store from outside."""

import json
from pathlib import Path

from reprostore.errors import IdentityError, SpecError
from reprostore.paths import exists, require_file, without_links


def require_target(place: Path, what: str) -> None:
    """Refuse to write to a place below what is no folder, to a store, or into one.

    Parameters
    ----------
    place : Path
        Where something is to be written; absolute, and it need not exist.
    what : str
        What is to be written, as the subject of a sentence.

    Raises
    ------
    IdentityError
        A file stands above the place, a link that leads nowhere above it or there, or a pipe or
        device there.
    SpecError
        There is a store at the place, or above it: readers and checks would take what is put into
        it for a part of it.
    """
    for folder in (place, *place.parents):
        dangling = folder.is_symlink() and not folder.exists()
        if dangling or (folder != place and folder.exists() and not folder.is_dir()):
            found = "link that leads nowhere" if dangling else "file, and no folder"
            raise IdentityError(
                f"{folder} is a {found}.",
                f"{what} goes to {place}: above it are folders alone, and no link leads nowhere.",
                "Choose another place, or move away what is there.",
            )
    resolved = without_links(place)
    if _is_of_the_system(resolved):
        raise IdentityError(
            f"{place} is a pipe or a device, or lies among what is open.",
            f"{what} is built beside its place, and moved there when it is whole.",
            "Choose a place in a folder of files.",
        )
    for folder in (resolved, *resolved.parents):
        if is_store(folder):
            raise SpecError(
                f"{what} would lie in the store {folder}, at {place}.",
                "A store holds nothing but what reprostore writes.",
                "Name a place outside of the store.",
            )


def _is_of_the_system(place: Path) -> bool:
    """Say whether a place is a pipe, a device or one of ``/dev/fd``: no lock is held there."""
    there = exists(place) and not place.is_dir() and not place.is_file()
    return there or Path("/proc") in place.parents


def is_store(folder: Path) -> bool:
    """Say whether a folder says of itself that it is a store."""
    try:
        json.loads(require_file(folder / "zarr.json").read_bytes())["attributes"]["reprostore"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False
    return True
