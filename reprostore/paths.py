"""Paths that users give, also those that lead nowhere: who reads them says so in its own words."""

import errno
from pathlib import Path


def with_home(text: str | Path) -> Path:
    """Return a path with ``~`` replaced by a home folder; that of an unknown user stays."""
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def without_links(path: Path) -> Path:
    """Return an absolute path without symbolic links; a circle of links stays."""
    try:
        return path.resolve()
    except (RuntimeError, OSError):
        return path.absolute()


def exists(path: Path) -> bool:
    """Say whether something stands at a path; nothing does where its name is too long."""
    try:
        return path.exists()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False
