"""What a command says, and with which code it ends, when something goes wrong."""

import errno
import functools
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import ParamSpec

import typer

P = ParamSpec("P")

BUG, MISTAKE, DAMAGED, INTERRUPTED = 1, 2, 3, 130

_REFUSALS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
)
"""What the operating system refuses although the program is right."""

_NOWHERE = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR)
"""What it says of a path at which nothing can be, also where that path was looked at before."""


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Make a command end with an exit code and a message instead of an exception.

    Warnings of libraries are kept from the output, unless Python was asked for them.

    Parameters
    ----------
    command : callable
        The function of a command; its signature is kept, for typer reads it.

    Returns
    -------
    callable
        Raises `typer.Exit` with 1 after an error of ours, which is printed with its traceback, 2
        after one of the user's, which is printed as one paragraph, 130 when interrupted, and with
        the code with which the command itself ends.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")
            code = _code_of(functools.partial(command, *args, **kwargs))
        if code == INTERRUPTED:  # what was waited for is told of when Python ends
            warnings.simplefilter("ignore", RuntimeWarning)
        if code:
            raise typer.Exit(code)

    return run


def _code_of(command: Callable[[], None]) -> int:
    try:
        command()
        sys.stdout.flush()
    except KeyboardInterrupt:
        # Else asyncio and Python list what zarr was waiting for, now and when they end.
        logging.getLogger("asyncio").disabled = True
        sys.unraisablehook = lambda _: None
        _say("Interrupted.", "What was finished is kept: run the same command again to go on.")
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except typer.Exit as end:  # the command has said what it found
        return end.exit_code
    except Exception as error:  # everything else is told and has a code
        return _told(error)
    return 0


def _told(error: Exception) -> int:
    """Print what a failure means to the user, and return its exit code."""
    from reprostore import ReprostoreError, __version__
    from reprostore.memory import is_out_of_memory
    from reprostore.seeds import shorten

    if isinstance(error, ReprostoreError):
        _say("Error:", str(error))
    elif isinstance(error, OSError) and error.errno in _REFUSALS:
        _say(
            "Error:",
            f"{error.filename or 'A file'} cannot be written or read: {error.strerror}. Files are "
            "written where there is space and permission. Make room or give permission, and run "
            "the same command again: what was finished is kept.",
        )
    elif isinstance(error, OSError) and error.errno in _NOWHERE:
        _say(
            "Error:",
            f"The path {shorten(str(error.filename))} leads nowhere: {error.strerror}. Files and "
            "folders lie in folders, have names of at most 255 bytes, and links end. Check the "
            "paths.",
        )
    elif is_out_of_memory(error):
        reason = [*str(error).splitlines(), type(error).__name__][0]  # torch adds its stack
        _say(
            "Error:",
            f"The memory is used up ({reason}). A batch of samples, the model and one work unit "
            "fit into it together. Choose a smaller batch size, or another device.",
        )
    else:
        traceback.print_exception(error)
        _say(
            "Error:",
            "This is a bug in reprostore. Please report it, with the lines above and these: "
            f"reprostore {__version__}, Python {sys.version.split()[0]}, {sys.platform}.",
        )
        return BUG
    return MISTAKE


def _say(heading: str, text: str) -> None:
    typer.secho(heading, fg="red", bold=True, nl=False, err=True)
    typer.echo(f" {' '.join(text.split())}", err=True)
