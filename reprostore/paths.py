"""Paths that users give, also those that lead nowhere: who reads them says so in its own words."""

import errno
import os
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


def require_file(path: Path) -> Path:
    """Return a path where a file stands: reading a pipe or a device might never end.

    Raises
    ------
    IsADirectoryError
        A folder stands there.
    FileNotFoundError
        Nothing does, or something else.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not path.is_file():
        what = "it is a pipe or a device" if path.exists() else "no file is there"
        raise FileNotFoundError(errno.ENOENT, what, str(path))
    return path


def exists(path: Path) -> bool:
    """Say whether something stands at a path; nothing does where its name is too long."""
    try:
        return path.exists()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False
