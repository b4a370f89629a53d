"""Runs with the items that their models were trained on, and those that they never saw."""

from dataclasses import dataclass
from typing import Any, Protocol

from reprostore.errors import MissingDataError, SpecError
from reprostore.ingest import StoredDataset
from reprostore.neighbors import Written
from reprostore.store import Run
from reprostore_analyses.context import Context
from reprostore_analyses.results import run_inputs


@dataclass(frozen=True)
class Subject:
    """A run with the items that its model saw, and those it did not see."""

    run: Run
    written: Written
    dataset: StoredDataset
    index: str
    held_out: str | None

    @property
    def real(self) -> tuple[str, str, str | None]:
        """What the real items are, training items and held-out ones."""
        return self.dataset.fingerprint, self.index, self.held_out

    def inputs(self) -> dict[str, Any]:
        """Return the fingerprints of all that its scores are made from."""
        return {
            **run_inputs(self.run, self.written),
            "dataset": self.dataset.fingerprint,
            "index": self.index,
            "held_out": self.held_out,
        }


class Choice(Protocol):
    """Options that choose runs."""

    @property
    def models(self) -> tuple[str, ...] | None:
        """Names of the models; all when left out."""

    @property
    def samplers(self) -> tuple[str, ...] | None:
        """Names of the samplers; all when left out."""

    @property
    def control(self) -> bool:
        """Whether held-out items are needed."""


def subjects_of(
    context: Context, options: Choice, *, analysis: str, because: str
) -> tuple[list[Subject], list[str]]:
    """Return the runs whose training items are known, and the paths of the others.

    Parameters
    ----------
    context : Context
        The store, and what the study says.
    options : Choice
        Which runs, and whether held-out items have to be named.
    analysis, because : str
        Name of the analysis, and why it needs training items; for messages.

    Raises
    ------
    MissingDataError
        No run says what its model was trained on.
    SpecError
        Held-out items are not named.
    """
    runs = context.runs(options.models, options.samplers)
    subjects = [
        subject
        for run in runs
        if (subject := _subject(context, run, analysis, control=options.control))
    ]
    if not subjects:
        raise MissingDataError(
            f"None of the runs {', '.join(run.path for run in runs)} says what its model was "
            "trained on.",
            because,
            'Write trained_on = { dataset = "…", index = "…" } under [models.…] in the study.',
        )
    skipped = sorted({run.path for run in runs} - {subject.run.path for subject in subjects})
    return subjects, skipped


def _subject(context: Context, run: Run, analysis: str, *, control: bool) -> Subject | None:
    trained_on = context.model_spec(run).trained_on
    if trained_on is None:
        return None
    held_out = context.held_out(run, trained_on) if control else None
    if control and held_out is None:
        raise SpecError(
            f"The model {run.spec.model} has no held-out items.",
            "A copy rate means little without that of real items which no model saw.",
            f'Write held_out = "…" under [datasets.{trained_on.dataset}] or '
            f"[models.{run.spec.model}], or set control = false under [analyses.{analysis}].",
        )
    dataset = context.dataset(trained_on.dataset)
    return Subject(run, Written.of(run), dataset, trained_on.index, held_out)
