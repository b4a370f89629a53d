"""A training between two steps, saved as a whole and read back."""

import json
import os
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from safetensors import SafetensorError

from reprostore.errors import CorruptionError, StorageError
from reprostore.training.devices import Devices
from reprostore.training.draws import Draws
from reprostore.training.identity import check_identity, check_items_digest
from reprostore.training.record import (
    PROGRESS,
    RECORD,
    STATE,
    file_sha256,
    read_record,
    replace_file,
    state_folder,
    write_json,
)
from reprostore.training.status import begun_step, file_digests


@dataclass
class Training:
    """What changes while a model is trained.

    Attributes
    ----------
    network : torch.nn.Module
        The network that learns.
    optimizer : torch.optim.Optimizer
        Adam.
    ema : EMAModel or None
        The average of the weights.
    draws : Draws
        Data order, noise and noise levels.
    devices : Devices
        With the random state that dropout draws from.
    step : int
        Finished steps.
    losses : list of float
        Of every finished step.
    seconds : float
        Time spent in earlier processes.
    sessions : list of dict
        The processes that trained.
    items : str
        sha256 of the items, float32 in C order.
    """

    network: torch.nn.Module
    optimizer: torch.optim.Optimizer
    ema: EMAModel | None
    draws: Draws
    devices: Devices
    step: int = 0
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    sessions: list[dict[str, Any]] = field(default_factory=list)
    items: str = ""


def save_training(training: Training, folder: Path, identity: Mapping[str, Any]) -> None:
    """Replace the saved state of a training; a kill leaves the one before.

    Raises
    ------
    StorageError
        It cannot be written.
    """
    state = {
        "identity": json.dumps(identity, sort_keys=True),
        "step": training.step,
        "network": training.network.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "ema": None if training.ema is None else training.ema.state_dict(),
        "draws": training.draws.state(),
        "random": training.devices.state(),
        "losses": torch.tensor(training.losses, dtype=torch.float64),
        "seconds": training.seconds,
        "sessions": json.dumps(training.sessions),
    }
    place, name = state_folder(folder), STATE.format(step=training.step)
    try:
        if saved_step(folder) == training.step:
            return
        place.mkdir(exist_ok=True)
        replace_file(place / name, lambda partial: torch.save(state, partial))
        # The state that this names is the one that counts: its file is whole by now.
        write_json(
            place / PROGRESS,
            {
                "identity": dict(identity),
                "step": training.step,
                "sha256": file_sha256(place / name),
                "items_sha256": training.items,
            },
        )
        for old in place.glob(STATE.format(step="*")):
            if old.name != name:
                old.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:  # torch's writer wraps what the system says
        raise StorageError(
            f"The state of the training cannot be written to {place} ({error}).",
            "A training saves its state, so that it can be stopped at any time.",
            "Make room, or give write permission, and run the same command again.",
        ) from error


def load_training(training: Training, folder: Path, identity: Mapping[str, Any]) -> bool:
    """Go on from the saved state of a training.

    No pickled code is executed: the file is read as plain tensors and values.

    Returns
    -------
    bool
        Whether there is one.

    Raises
    ------
    CorruptionError
        It cannot be read.
    IdentityError
        It is that of another training.
    """
    progress = state_folder(folder) / PROGRESS
    if not progress.exists():
        return False
    begun = read_record(progress)
    check_items_digest(begun, training.items, progress.parent)
    path = progress.with_name(STATE.format(step=begun_step(begun, progress)))
    if not path.is_file() or file_sha256(path) != begun.get("sha256"):
        raise CorruptionError(
            f"{path} {'is not the file that was written' if path.is_file() else 'is missing'}.",
            f"Its sha256 is recorded in {progress}.",
            f"Restore it from a copy, or delete {path.parent} to train the model anew.",
        )
    try:
        state = torch.load(path, map_location=training.devices.device, weights_only=True)
        identity_of_state = json.loads(state["identity"])
        training.network.load_state_dict(state["network"])
        training.optimizer.load_state_dict(state["optimizer"])
        if training.ema is not None:
            training.ema.load_state_dict(state["ema"])
            training.ema.to(training.devices.device)
        draws = {key: value.cpu() for key, value in state["draws"].items()}
        training.draws.restore(draws)
        random = {k: v.cpu() if torch.is_tensor(v) else v for k, v in state["random"].items()}
        training.devices.restore(random)
        training.step = int(state["step"])
        training.losses = state["losses"].tolist()
        training.seconds = float(state["seconds"])
        training.sessions = json.loads(state["sessions"])
    except (
        OSError,
        RuntimeError,
        ValueError,
        KeyError,
        TypeError,
        EOFError,
        pickle.UnpicklingError,
    ) as error:
        reason = [*str(error).splitlines(), type(error).__name__][0]
        raise CorruptionError(
            f"{path} cannot be continued from ({reason}).",
            "It is the state of a training that was stopped.",
            f"Restore it from a copy, or delete {path.parent} to train the model anew.",
        ) from error
    check_identity(identity_of_state, identity, path.parent)
    return True


def write_model(
    training: Training,
    folder: Path,
    place: Path,
    scheduler: Any,  # noqa: ANN401
    record: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the model as it is now, as an ordinary diffusers folder that appears as a whole.

    Parameters
    ----------
    training : Training
        The training; the average of its weights is the model, where there is one.
    folder : Path
        Where the training ends, whose state folder holds what is half written.
    place : Path
        Where the model goes.
    scheduler : diffusers scheduler
        Its config goes beside the weights.
    record : mapping
        Goes into ``training.json``, with the sha256 of the other files.

    Returns
    -------
    dict
        The record as it was written.

    Raises
    ------
    StorageError
        It cannot be written.
    """
    network, ema = training.network, training.ema
    partial = state_folder(folder) / "model"
    parameters: list[Any] = list(network.parameters())
    try:
        shutil.rmtree(partial, ignore_errors=True)
        if ema is not None:
            ema.store(parameters)
            ema.copy_to(parameters)
        try:
            # diffusers adds it to the module.
            network.save_pretrained(partial)  # type: ignore[operator]
        finally:
            if ema is not None:
                ema.restore(parameters)
        scheduler.save_pretrained(partial)
        written = {**record, "files": file_digests(partial)}
        write_json(partial / RECORD, written)
        for path in partial.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        partial.rename(place)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StorageError(
            f"The model cannot be written to {place} ({reason}).",
            "A trained model is a folder with weights, configuration and its training record.",
            "Make room, or give write permission, and run the same command again.",
        ) from error
    return written


def saved_step(folder: Path) -> int:
    """Return the step of the saved state; 0 without one."""
    path = state_folder(folder) / PROGRESS
    return begun_step(read_record(path), path) if path.exists() else 0
