"""How far trainings are, and whether finished models are what was asked for; without torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reprostore.digests import file_digest
from reprostore.errors import IdentityError
from reprostore.recipe import RecipeSpec
from reprostore.training.identity import check_identity, identity_there
from reprostore.training.record import (
    PROGRESS,
    RECORD,
    file_sha256,
    kept_folder,
    read_record,
    said_of,
    state_folder,
    unreadable,
)


@dataclass(frozen=True)
class TrainingStatus:
    """How far a training is.

    Attributes
    ----------
    step : int
        Finished steps that a training would go on from.
    record : dict, optional
        The record of the finished training.
    """

    step: int = 0
    record: dict[str, Any] | None = None


def training_status(
    folder: Path,
    recipe: RecipeSpec,
    trained_on: Mapping[str, Any],
    trainer_seed: int,
    base: Path,
) -> TrainingStatus:
    """Say how far a training is, having compared what is there with what is asked for.

    Raises
    ------
    IdentityError
        The folder holds another model, the state is that of another training, or files of the
        model that it starts from were changed since that was trained.
    CorruptionError
        A record cannot be read.
    """
    identity = identity_there(folder, recipe, trained_on, trainer_seed, base)
    for step in recipe.checkpoints:
        kept = kept_folder(folder, step)
        if kept.exists():
            _compared(kept, identity, step)
    if folder.exists():
        record = _compared(folder, identity, recipe.total_steps)
        return TrainingStatus(recipe.total_steps, record)
    if recipe.start_from is not None:
        start = base / Path(recipe.start_from).expanduser()
        check_files(start, said_of(start))
    progress = state_folder(folder) / PROGRESS
    if not progress.exists():
        return TrainingStatus()
    begun = read_record(progress)
    check_identity(begun.get("identity"), identity, state_folder(folder))
    return TrainingStatus(begun_step(begun, progress))


def check_finished(
    folder: Path,
    step: int,
    recipe: RecipeSpec,
    trained_on: Mapping[str, Any],
    trainer_seed: int,
    base: Path,
) -> None:
    """Compare a model, or a kept checkpoint, with the training that should have made it.

    Parameters
    ----------
    folder : Path
        Of the model, or of the checkpoint.
    step : int
        After which step of the training it was written.
    recipe, trained_on, trainer_seed, base
        As in `training_status`.

    Raises
    ------
    IdentityError
        It is another model, or its files are not those that the training wrote.
    CorruptionError
        Its record cannot be read.
    """
    _compared(folder, identity_there(folder, recipe, trained_on, trainer_seed, base), step)


def begun_step(begun: Mapping[str, Any], path: Path) -> int:
    """Return how many steps a state holds, from the record beside it.

    Raises
    ------
    CorruptionError
        It does not say.
    """
    step = begun.get("step")
    if not isinstance(step, int) or step < 0:
        raise unreadable(path, f"its `step` is {json.dumps(step)}")
    return step


def _compared(folder: Path, identity: Mapping[str, Any], step: int) -> dict[str, Any]:
    path = folder / RECORD
    if not path.is_file():
        raise IdentityError(
            f"{folder} exists and has no {RECORD}: it was not made by this training.",
            "A model is trained into a folder of its own.",
            "Give the model another source in the study, or move that folder away.",
        )
    record = read_record(path)
    check_identity(record.get("identity"), identity, folder)
    if record.get("step") != step:
        raise IdentityError(
            f"{folder} holds the model after step {record.get('step')} of its training.",
            f"That after step {step} belongs there.",
            "Move that folder away, or give it the name that it had.",
        )
    for key, kind in _SHOWN.items():
        if not isinstance(record.get(key), kind) or isinstance(record.get(key), bool):
            raise unreadable(path, f"its `{key}` is {json.dumps(record.get(key))}")
    check_files(folder, record)
    return record


_SHOWN: dict[str, Any] = {"parameters": int, "final_loss": (int, float), "seconds": (int, float)}
"""Keys of a record that tables show."""


def check_files(folder: Path, record: Mapping[str, Any]) -> None:
    """Compare a model's files with those that its training wrote; older records have no digests.

    Raises
    ------
    IdentityError
        A file was changed or removed.
    """
    files = record.get("files")
    if not isinstance(files, dict):
        return
    for name, digest in files.items():
        path = folder / str(name)
        if not path.is_file() or file_digest(path) != digest:
            raise IdentityError(
                f"{path} {'is not what its training wrote' if path.is_file() else 'is missing'}.",
                f"Its sha256 is recorded in {folder / RECORD}, and a model is used as it was "
                "trained.",
                f"Restore the file from a copy, or move {folder} away to train the model anew.",
            )


def file_digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file of a model that is being written, by name."""
    return {
        path.name: file_sha256(path) for path in sorted(folder.iterdir()) if path.name != RECORD
    }
