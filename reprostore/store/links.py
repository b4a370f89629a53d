"""Links in the folder of a store that lead back or nowhere, and folders that are not listed."""

import itertools
import os
from pathlib import Path


def leads_back(root: Path, key: str) -> bool:
    """Say whether a link leads to a folder that it lies in.

    Parameters
    ----------
    root : Path
        Where the way to the link begins.
    key : str
        The link's path relative to it.
    """
    place = root / key
    above = itertools.takewhile(lambda parent: parent != root.parent, place.parents)
    try:
        return any(parent.samefile(place) for parent in above)
    except OSError:  # it was removed meanwhile
        return True


def dead_end(root: Path, key: str) -> str | None:
    """Say why nothing is read below a key although something has its name, if that is so.

    Parameters
    ----------
    root : Path
        Where the way begins.
    key : str
        Where it is to lead, relative to the root.

    Returns
    -------
    str or None
        A clause that names the link or the folder.
    """
    parts = key.split("/")
    for depth in range(1, len(parts) + 1):
        name = "/".join(parts[:depth])
        place = root / name
        try:
            if place.is_symlink() and not place.exists():
                return f"the link {name} leads nowhere"
            if not place.is_dir():
                continue
            if place.is_symlink() and leads_back(root, name):
                return f"the link {name} leads back to a folder that it lies in"
            with os.scandir(place):
                listed = os.access(place, os.X_OK)
        except OSError:
            listed = False
        if not listed:
            return f"the folder {name} cannot be listed"
    return None
