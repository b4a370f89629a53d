"""What a training that was killed leaves beside the model that it had finished."""

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reprostore.errors import CorruptionError
from reprostore.training.record import PROGRESS, lock_file, read_record, state_folder


def clear_leftovers(folder: Path, record: Mapping[str, Any]) -> None:
    """Remove the state and the lock of a finished training.

    A state that holds another training, or does not say which, is somebody's work, and stays.
    What cannot be removed stays as well: nothing depends on it.

    Parameters
    ----------
    folder : Path
        Of the finished model.
    record : mapping
        What its ``training.json`` says.
    """
    state = state_folder(folder)
    try:
        if state.is_dir() and _is_of(state, record):
            shutil.rmtree(state, ignore_errors=True)
    except (CorruptionError, OSError):
        return
    with contextlib.suppress(OSError):
        lock_file(folder).unlink()  # whoever waits for it finds the model, whatever it locks then


def _is_of(state: Path, record: Mapping[str, Any]) -> bool:
    """Say whether a state folder is of the training of a record; one without progress is nobody's.

    Raises
    ------
    CorruptionError
        Its progress cannot be read.
    """
    progress = state / PROGRESS
    if not progress.exists():
        return True
    return bool(read_record(progress).get("identity") == record.get("identity"))
