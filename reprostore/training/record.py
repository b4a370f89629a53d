"""What a training is, and how far it is: found out without importing torch."""

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reprostore.errors import CorruptionError

RECORD = "training.json"
PROGRESS = "progress.json"
STATE = "state-{step}.pt"
INTERVALS = 200
"""Points of a loss curve."""

Progress = Callable[[int, int, float], None]
"""(finished steps, all steps, latest loss) → None."""


def state_folder(folder: Path) -> Path:
    """Return where the state of a training is while it is not finished."""
    return folder.with_name(f"{folder.name}.training")


def lock_file(folder: Path) -> Path:
    """Return what is locked while a model is trained, beside the folder of the state."""
    return folder.with_name(f"{folder.name}.training.lock")


def kept_folder(folder: Path, step: int) -> Path:
    """Return where the checkpoint of one step is kept."""
    return folder.with_name(f"{folder.name}@{step}")


def unreadable(path: Path, why: str) -> CorruptionError:
    """Say that a record cannot be used, and what to do about it."""
    return CorruptionError(
        f"{path} is not the record of a training: {why}.",
        "It is a JSON object that the training wrote.",
        "Restore it from a copy, or move its folder away to train the model anew.",
    )


def read_record(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    CorruptionError
        It is none.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(record, dict)
    except (ValueError, AssertionError) as error:
        raise unreadable(path, "it cannot be read as JSON") from error
    return record


def said_of(folder: Path) -> dict[str, Any]:
    """Return the record in the folder of a model; empty where there is none that can be read."""
    path = folder / RECORD
    try:
        return read_record(path) if path.is_file() else {}
    except CorruptionError:
        return {}


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a JSON file as a whole; each key of the object has a line of its own."""
    lines = [f"  {json.dumps(key)}: {json.dumps(item)}" for key, item in value.items()]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    replace_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside another and put it in its place: a reader finds one of the two."""
    partial = path.with_name(f"{path.name}.partial")
    write(partial)
    with partial.open("rb") as written:
        os.fsync(written.fileno())
    partial.replace(path)


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file that was just written, or may have been damaged since."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def session(first_step: int, device: str, threads: int) -> dict[str, Any]:
    """Describe one process that trained, as it is recorded."""
    packages = ("torch", "diffusers", "numpy", "reprostore")
    return {
        "first_step": first_step,
        "device": device,
        "threads": threads,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def loss_curve(losses: Sequence[float]) -> dict[str, Any]:
    """Return the mean loss over at most `INTERVALS` equal parts of a training.

    Returns
    -------
    dict
        `step`, with which each part ends, and `loss`.
    """
    count = min(INTERVALS, len(losses))
    ends = [len(losses) * (part + 1) // count for part in range(count)]
    starts = [0, *ends[:-1]]
    means = [round(sum(losses[a:b]) / (b - a), 8) for a, b in zip(starts, ends, strict=True)]
    return {"step": ends, "loss": means}
