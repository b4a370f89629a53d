"""Calls that tests make in processes of their own."""

import os
import signal
import time
from pathlib import Path

from reprostore.errors import SpecError


def square(number, progress):
    progress(number, "half way")
    return number**2, os.getpid()


def fail(kind, progress):
    if kind == "mistake":
        raise SpecError("Found.", "Expected.", "Do.")
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "local":

        class LocalError(Exception):
            """Cannot be found by pickle."""

        raise LocalError("told")
    return 1 // 0


def wait_and_save(folder, name, progress):
    """Wait until interrupted; leave a file for every interruption."""
    deadline = time.monotonic() + 60
    try:
        progress(0)
        (Path(folder) / f"{name}.begun").touch()
        while time.monotonic() < deadline:
            time.sleep(0.02)
    except KeyboardInterrupt:
        time.sleep(0.3)  # another signal would end this
        with (Path(folder) / f"{name}.saved").open("a") as file:
            file.write("saved\n")
        raise


def report_for_ever(folder, name, progress):
    """Report progress until nobody listens, which is an interruption; leave a file for it."""
    deadline = time.monotonic() + 60
    try:
        (Path(folder) / f"{name}.begun").touch()
        while time.monotonic() < deadline:
            progress(0)
            time.sleep(0.02)
    except KeyboardInterrupt:
        (Path(folder) / f"{name}.saved").touch()
        raise
