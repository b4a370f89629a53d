"""What a training is, and how far it is: found out without importing torch."""

import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reprostore.canonical import to_jsonable
from reprostore.errors import CorruptionError, IdentityError, NotFoundError
from reprostore.models import weight_digests
from reprostore.recipe import RecipeSpec
from reprostore.specs import ModelSpec
from reprostore.store.identity import first_difference

RECORD = "training.json"
PROGRESS = "progress.json"
STATE = "state.pt"
INTERVALS = 200
"""Points of a loss curve."""

Progress = Callable[[int, int, float], None]
"""(finished steps, all steps, latest loss) → None."""


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


def state_folder(folder: Path) -> Path:
    """Return where the state of a training is while it is not finished."""
    return folder.with_name(f"{folder.name}.training")


def kept_folder(folder: Path, step: int) -> Path:
    """Return where the checkpoint of one step is kept."""
    return folder.with_name(f"{folder.name}@{step}")


def training_identity(
    recipe: RecipeSpec, trained_on: Mapping[str, Any], trainer_seed: int, base: Path
) -> dict[str, Any]:
    """Return all that determines a trained model, as JSON.

    Of the checkpoint that a fine-tuning starts from this is the sha256 of its files, so that it
    may be moved.
    """
    start = recipe.start_from
    identity: dict[str, Any] = to_jsonable(
        {
            "recipe": recipe.model_dump(mode="json", exclude={"start_from"}),
            "start_from": start and weight_digests(ModelSpec(source=start), base),
            "trained_on": dict(trained_on),
            "trainer_seed": trainer_seed,
        }
    )
    return identity


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
        The folder holds another model, or the state is that of another training.
    CorruptionError
        A record cannot be read.
    """
    try:
        identity = training_identity(recipe, trained_on, trainer_seed, base)
    except NotFoundError:
        if not (folder / RECORD).is_file():
            raise
        # A finished model may be handed on without the checkpoint that it started from.
        alone = training_identity(
            recipe.model_copy(update={"start_from": None}), trained_on, trainer_seed, base
        )
        stored = read_record(folder / RECORD).get("identity")
        start = stored.get("start_from") if isinstance(stored, dict) else None
        if start is None:
            raise
        identity = {**alone, "start_from": start}
    for step in recipe.checkpoints:
        kept = kept_folder(folder, step)
        if kept.exists():
            _compared(kept, identity, step)
    if folder.exists():
        record = _compared(folder, identity, recipe.total_steps)
        return TrainingStatus(recipe.total_steps, record)
    progress = state_folder(folder) / PROGRESS
    if not progress.exists():
        return TrainingStatus()
    begun = read_record(progress)
    check_identity(begun.get("identity"), identity, state_folder(folder))
    return TrainingStatus(int(begun["step"]))


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
    return record


def check_identity(stored: Any, identity: Mapping[str, Any], folder: Path) -> None:  # noqa: ANN401
    """Compare the identity that a folder records with that of the training asked for.

    Raises
    ------
    IdentityError
        They differ; both values of the first difference are shown.
    """
    if isinstance(stored, dict) and isinstance(stored.get("recipe"), dict):
        # A key that recipes did not have at that time had the effect of its default.
        stored = {**stored, "recipe": {**_default_recipe(), **stored["recipe"]}}
    if stored != identity:
        difference = first_difference(stored, dict(identity)).replace("in the store", "there")
        raise IdentityError(
            f"{folder} holds another training than the one asked for: {difference}.",
            "A training is continued, and a trained model used, by the recipe, the items and the "
            "seed that it was begun with.",
            "Restore these, give the model another source, or move that folder away to train anew.",
        )


def _default_recipe() -> dict[str, Any]:
    recipe = RecipeSpec(steps=1).model_dump(mode="json", exclude={"start_from", "steps"})
    defaults: dict[str, Any] = to_jsonable(recipe)
    return defaults


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
        raise CorruptionError(
            f"{path} cannot be read as JSON.",
            "It records a training.",
            "Restore it from a copy, or move its folder away to train the model anew.",
        ) from error
    return record


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
