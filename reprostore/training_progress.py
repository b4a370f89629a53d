"""How far trainings are that run side by side."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Advance:
    """How far the training of one model is, and all of them together.

    Attributes
    ----------
    model : str
        The model.
    step, steps : int
        Its finished optimizer steps, and all.
    loss : float, optional
        Its loss, once there is one.
    all_step, all_steps : int
        The same sums over all trainings that had to go on.
    models : int
        How many these are.
    """

    model: str
    step: int
    steps: int
    loss: float | None
    all_step: int
    all_steps: int
    models: int


Progress = Callable[[Advance], None]


def reporter(
    begun: Mapping[str, int], total: int, progress: Progress
) -> Callable[[str, tuple[Any, ...]], None]:
    """Return what turns the reports of single trainings into progress.

    Parameters
    ----------
    begun : mapping
        The step from which each model goes on.
    total : int
        Steps of all trainings together, with those that were finished before.
    progress : callable
        Gets an `Advance` for each report.

    Returns
    -------
    callable
        Takes the name of a model and its (step, steps, loss).
    """
    finished = dict(begun)

    def report(model: str, values: tuple[Any, ...]) -> None:
        step, steps, loss = values
        finished[model] = step
        progress(Advance(model, step, steps, loss, sum(finished.values()), total, len(finished)))

    return report
