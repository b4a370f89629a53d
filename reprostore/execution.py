"""How a run was computed: recorded per session, compared before a run is continued."""

import importlib.metadata
import platform
import socket
from collections.abc import Mapping
from typing import Any

import numpy as np

from reprostore.errors import DriftError
from reprostore.store import Run, SampleStore
from reprostore.store.run import WRITTEN

COMPARED = ("batch_size", "device", "threads", "tf32", "versions")
"""The parts of an execution that can change the last bits of a sample."""

REPRODUCED = "reproduced"
"""False in a session that computed written samples again, beside new ones, and got other bits."""

_PACKAGES = ("torch", "diffusers", "numpy")


def current_execution(device: str, threads: int, batch_size: int, *, tf32: bool) -> dict[str, Any]:
    """Describe this process as it is recorded in a session.

    Parameters
    ----------
    device : str
        "cpu" or "cuda".
    threads : int
        Threads of one operation on the CPU.
    batch_size : int
        Samples per forward pass.
    tf32 : bool
        Whether matrix products may use TF32.
    """
    return {
        "device": device,
        "threads": threads,
        "batch_size": batch_size,
        "tf32": tf32,
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "host": socket.gethostname(),
    }


def run_sessions(store: SampleStore, run: Run) -> list[dict[str, Any]]:
    """Return what the sessions that wrote a run recorded, oldest first.

    Sessions that were started in the same second come in the order of their first slots.
    """
    status = run.status  # first: what is written later has no place in these sessions
    numbers = run.recorded("session")[: len(status)]
    numbers, first = np.unique(numbers[status == WRITTEN], return_index=True)
    sessions = [store.session(int(number)) for number in numbers[np.argsort(first)]]
    return sorted(sessions, key=lambda session: str(session["started"]))


def drift(store: SampleStore, run: Run) -> dict[str, list[Any]]:
    """Return the parts of the execution in which a run's sessions differ, with their values.

    Results made from a run whose parts were computed differently say so; an empty dictionary
    means that all sessions agree. ``reproduced`` is among the keys where samples came out with
    other bits although nothing that is recorded differs, as on another processor.
    """
    values: dict[str, list[Any]] = {key: [] for key in (*COMPARED, REPRODUCED)}
    for session in run_sessions(store, run):
        for key, seen in values.items():
            value = session.get(key, True if key == REPRODUCED else None)
            if value not in seen:
                seen.append(value)
    marked = False in values[REPRODUCED]  # also where those beside which they differed are gone
    return {k: seen for k, seen in values.items() if len(seen) > 1 or (k == REPRODUCED and marked)}


def check_execution(store: SampleStore, run: Run, execution: Mapping[str, Any]) -> None:
    """Compare this process with the sessions that wrote a run, and with its batch size.

    Raises
    ------
    DriftError
        A part that can change bits differs; both values are shown.
    """
    # A run that was begun, and killed before its first unit, has a batch size but no session.
    begun = {key: execution[key] for key in COMPARED} | {"batch_size": run.spec.batch_size}
    for session in [*run_sessions(store, run), begun]:
        for key in COMPARED:
            if session.get(key) != execution[key]:
                raise DriftError(
                    f"The run {run.path} was written with {key} = {session.get(key)!r}, and would "
                    f"be continued with {key} = {execution[key]!r}.",
                    "A run is continued as it was begun, since another execution changes the last "
                    "bits of its samples.",
                    "Continue it as before, or pass --accept-drift: it is recorded, and every "
                    "result made from the run shows it.",
                )
