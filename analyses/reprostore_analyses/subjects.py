"""Runs with the items that their models were trained on, and those that they never saw."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import xarray as xr

from reprostore.errors import DatasetError, MissingDataError, SpecError
from reprostore.ingest import StoredDataset
from reprostore.neighbors import Written
from reprostore.store import Run
from reprostore_analyses.context import Context
from reprostore_analyses.results import cached_result, run_inputs


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
    DatasetError
        Items and samples differ in shape, or a held-out item is a training item.
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


def subjects_result(
    context: Context,
    analysis: tuple[str, int],
    options: Any,  # noqa: ANN401  # of any analysis that chooses runs
    chosen: tuple[list[Subject], list[str]],
    compute: Callable[[], xr.Dataset],
    **inputs: Any,  # noqa: ANN401  # what else the result is made from, as JSON
) -> xr.Dataset:
    """Return the stored result of an analysis of subjects, or compute and store it.

    Parameters
    ----------
    context : Context
        The store, and what the study says.
    analysis : (str, int)
        Name and version.
    options : Spec
        Of the analysis.
    chosen : tuple
        Of `subjects_of`.
    compute : callable
        Makes the result.
    **inputs
        Fingerprints of what it is made from beside the subjects and the encoder.
    """
    subjects, skipped = chosen
    question = {
        "analysis": analysis[0],
        "version": analysis[1],
        # However they were chosen, the runs are those below.
        "options": options.model_dump(mode="json", exclude={"models", "samplers"}),
        "runs": [subject.run.path for subject in subjects],
    }
    inputs |= {
        "encoder": context.encoder(options.encoder).fingerprint,
        "skipped": skipped,
        "runs": {subject.run.path: subject.inputs() for subject in subjects},
    }
    return cached_result(context.store, analysis[0], question, inputs, compute)


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
    if dataset.item_shape != run.spec.sample_shape:
        raise DatasetError(
            f"Items of the dataset {dataset.name!r} have the shape {dataset.item_shape}, samples "
            f"of the run {run.path} {run.spec.sample_shape}.",
            "Samples are compared with items of the same shape (channel, y, x).",
            "Name the dataset that this model was trained on, in the size it was trained on.",
        )
    if held_out is not None:
        both = np.intersect1d(dataset.index(trained_on.index), dataset.index(held_out))
        if len(both):
            raise DatasetError(
                f"{len(both)} items of the dataset {dataset.name!r} are both held out ({held_out}) "
                f"and trained on ({trained_on.index}) by the model {run.spec.model}, the first of "
                f"them {both[0]}.",
                "Held-out items are items that the model never saw.",
                "Correct `held_out` or `trained_on` in the study.",
            )
    return Subject(run, Written.of(run), dataset, trained_on.index, held_out)
