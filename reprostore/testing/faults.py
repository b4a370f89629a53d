"""A process that dies between two changes of the file system, without starting one."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_active: "Fault | None" = None
_installed = False


class Killed(BaseException):
    """Raised in place of a change that the killed process did not make any more."""


class Fault:
    """Counts the changes below a folder, and refuses all from one of them on.

    Attributes
    ----------
    changes : int
        How many were made: files opened for writing, renamed, removed, folders made.
    killed : bool
        Whether a change was refused.
    """

    def __init__(self, folder: Path, after: int) -> None:
        self._folder = os.fspath(folder)
        self._after = after
        self.changes = 0
        self.killed = False

    def see(self, event: str, args: tuple[Any, ...]) -> None:
        """Count a change, or refuse it."""
        if not self._is_change(event, args):
            return
        if self.killed or self.changes >= self._after:
            self.killed = True
            raise Killed(event)
        self.changes += 1

    def _is_change(self, event: str, args: tuple[Any, ...]) -> bool:
        if event == "open":
            path, _, flags = args
            if isinstance(path, int) or not flags & _WRITING:
                return False
        elif event in _CHANGES:
            path = args[0]
        else:
            return False
        name = os.fsdecode(path)
        inside = name.startswith(self._folder) or not os.path.isabs(name)  # noqa: PTH117
        return inside and not name.endswith(".lock")  # the system frees a dead process's locks


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _active is not None:
        _active.see(event, args)


@contextmanager
def killed_after(folder: Path, changes: int) -> Iterator[Fault]:
    """Let the block make so many changes below a folder, then stop it as a kill would.

    From the first refused change on, every further one is refused too, so that clean-up code of
    the block changes nothing either. `Killed` ends at the end of the block.

    Parameters
    ----------
    folder : Path
        Folder of the store, or one above it.
    changes : int
        How many changes are made before the process "dies".

    Yields
    ------
    Fault
        Says afterwards whether the block was killed.
    """
    global _active, _installed  # an audit hook cannot be removed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    fault = Fault(folder, changes)
    _active = fault
    try:
        yield fault
    except Killed:
        pass
    finally:
        _active = None
