"""Train the models of a study that are not trained yet."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reprostore.errors import NotFoundError, ReprostoreError, SpecError
from reprostore.jobs import Job, Outcomes, run_jobs
from reprostore.studies import require_torch
from reprostore.study import LoadedStudy
from reprostore.subsets import count
from reprostore.training import train_model, training_status
from reprostore.training.leftovers import clear_leftovers
from reprostore.training_items import check_items, read_items, training_datasets
from reprostore.training_progress import Progress, reporter
from reprostore.trainings import Training, require_starts, trainings_of


@dataclass(frozen=True)
class _Task:
    """A training, the items it is on, the step it has reached, and its record when finished."""

    training: Training
    trained_on: Mapping[str, Any]
    begun: int
    record: Mapping[str, Any] | None


def train_study(
    loaded: LoadedStudy,
    models: Sequence[str] = (),
    *,
    jobs: int = 1,
    threads: int | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Train what a study asks for and does not have, each model into its folder.

    Parameters
    ----------
    loaded : LoadedStudy
        The study.
    models : sequence of str
        Models or sweeps; all models with a recipe by default.
    jobs : int
        How many are trained side by side, in processes of their own.
    threads : int, optional
        Threads of each on the CPU; by default the cores are shared out among `jobs`, and a
        single job has torch's own number.
    device : str
        Where to compute: "auto", "cpu", "cuda", "cuda:1".
    progress : callable, optional
        Called while models are trained.

    Returns
    -------
    list of dict
        Per training: `model`, `items` (N), `width`, `steps`, `parameters`, `loss`, `seconds`,
        and `trained`, the steps of this call. Nothing heavy is imported when all is trained.

    Raises
    ------
    SpecError
        A name is not defined, a model has no recipe, or the recipe does not fit the items.
    DatasetError
        A subset is larger than its dataset.
    NotFoundError
        A fine-tuning is named without the model that it starts from, which is not trained.
    IdentityError
        A folder holds a model that was trained in another way, or was begun to be.
    TrainingError
        A training failed; the others were finished.
    """
    for name, number in (("jobs", jobs), ("threads", threads)):
        if number is not None and number < 1:
            raise SpecError(
                f"--{name} is {number}.",
                "It is a whole number of at least 1.",
                f"Give a larger number, or leave out --{name}.",
            )
    trainings = trainings_of(loaded, models)
    require_starts(loaded, trainings)
    check_items(loaded, trainings)
    work = _work(loaded, trainings)
    for each in work:
        if each.record is not None:
            clear_leftovers(each.training.folder, each.record)
    pending = [each for each in work if each.record is None]
    records = {each.training.model: each.record for each in work if each.record is not None}
    trained: dict[str, int] = {}
    if pending:
        if threads is None and jobs > 1:
            threads = max(1, _cores() // jobs)
        report = None
        if progress is not None:
            begun = {each.training.model: each.begun for each in pending}
            report = reporter(begun, sum(t.training.recipe.total_steps for t in pending), progress)
        calls = [_job(loaded, each, pending, device, threads) for each in pending]
        outcomes = run_jobs(calls, jobs, report)
        _raise_errors(outcomes, [each.training for each in pending])
        for model, (record, steps) in outcomes.results.items():
            records[model], trained[model] = record, steps
    return [
        _row(each, records[each.training.model], trained.get(each.training.model, 0))
        for each in work
    ]


def _work(loaded: LoadedStudy, trainings: Sequence[Training]) -> list[_Task]:
    """Find out how far every training is."""
    if not all(training.folder.exists() for training in trainings):
        require_torch()  # before anything is written
    datasets = training_datasets(loaded, trainings)
    unfinished: set[Path] = set()
    work = []
    for training in trainings:
        subset = training.trained_on
        dataset = datasets[subset.dataset]
        trained_on = dataset.named(subset.index)
        begun, record = 0, None
        if training.after not in unfinished:  # else what it starts from is not there to compare
            begun, record = _status(training, trained_on, loaded.base)
        if record is None:
            unfinished.add(training.folder)
        else:
            _check_kept(training)
        work.append(_Task(training, trained_on, begun, record))
    return work


def _cores() -> int:
    """Return how many cores this process may use, which the system may restrict."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _status(
    training: Training, trained_on: Mapping[str, Any], base: Path
) -> tuple[int, Mapping[str, Any] | None]:
    """Return the finished steps of a training, and its record if it is finished."""
    status = training_status(
        training.folder, training.recipe, trained_on, training.trainer_seed, base
    )
    return status.step, status.record


def _check_kept(training: Training) -> None:
    """Refuse a finished training of which a kept checkpoint was removed."""
    for folder in training.kept:
        if not folder.exists():
            raise NotFoundError(
                f"The training of {training.model} is finished, and its checkpoint {folder} does "
                "not exist.",
                "Checkpoints are kept while a model is trained.",
                f"Restore it from a copy, or delete {training.folder} to train the model again.",
            )


def _job(
    loaded: LoadedStudy, task: _Task, pending: Sequence[_Task], device: str, threads: int | None
) -> Job:
    training = task.training
    before = {each.training.folder: each.training.model for each in pending}
    return Job(
        name=training.model,
        call=_train,
        arguments={
            "store_path": loaded.store_path,
            "training": training,
            "trained_on": dict(task.trained_on),
            "base": loaded.base,
            "device": device,
            "threads": threads,
        },
        after=None if training.after is None else before.get(training.after),
    )


def _train(
    *,
    store_path: Path,
    training: Training,
    trained_on: dict[str, Any],
    base: Path,
    device: str,
    threads: int | None,
    progress: Callable[[int, int, float], None],
) -> tuple[dict[str, Any], int]:
    """Train one model, maybe in a process of its own; return its record and the steps made here."""
    here = False

    def tell(step: int, steps: int, loss: float) -> None:
        nonlocal here
        here = True
        progress(step, steps, loss)

    items = read_items(store_path, trained_on["dataset"], trained_on["index"])
    record = train_model(
        training.recipe,
        items,
        training.folder,
        trained_on=trained_on,
        trainer_seed=training.trainer_seed,
        base=base,
        device=device,
        threads=threads,
        progress=tell,
    )
    if not here:  # another process finished it, and nothing was told
        return record, 0
    return record, training.recipe.total_steps - record["sessions"][-1]["first_step"]


def _raise_errors(outcomes: Outcomes, trainings: Sequence[Training]) -> None:
    """Raise one error for all trainings that failed."""
    errors = outcomes.errors
    if not errors:
        return
    ours = {model: error for model, error in errors.items() if isinstance(error, ReprostoreError)}
    for model, error in errors.items():
        if model not in ours:
            raise error
    first = next(iter(ours.values()))
    found = [f"{model}: {error.parts[0]}" for model, error in ours.items()]
    left = [t.model for t in trainings if t.model not in {*errors, *outcomes.results}]
    if left:
        found.append(f"{', '.join(left)}: starts from one of these.")
    number = len(errors) + len(left)
    heading = f"{number} models were not trained." if number > 1 else "A model was not trained."
    raise type(first)(" ".join([heading, *found]), first.parts[1], first.parts[2]) from first


def _row(task: _Task, record: Mapping[str, Any], trained: int) -> dict[str, Any]:
    training = task.training
    steps = training.recipe.total_steps
    return {
        "model": training.model,
        "items": count(str(task.trained_on["index"])),
        "width": None if training.recipe.start_from is not None else training.recipe.width,
        "steps": steps,
        "parameters": record["parameters"],
        "loss": record["final_loss"],
        "seconds": record["seconds"],
        "trained": trained,
    }
