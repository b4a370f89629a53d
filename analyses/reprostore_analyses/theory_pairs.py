"""Which closed-form run stands beside a network's: same training items, same solver, same noise."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import MissingDataError, SpecError
from reprostore.neighbors import Written
from reprostore.seeds import shorten
from reprostore.specs import Subset
from reprostore.store import Run
from reprostore_analyses.context import Context
from reprostore_analyses.relations import relation
from reprostore_analyses.solvers import solver_mismatch

REFERENCES = ("oracle", "gaussian")
"""The `source` of closed-form models, in the order of results."""

_SAME_ITEMS = ("same training items", "same recipe, other trainer seed")


@dataclass(frozen=True)
class Comparison:
    """A run of a network with the closed-form runs beside it.

    Attributes
    ----------
    run : Run
        The network's.
    written : Written
        Its samples.
    trained_on : Subset
        What its model saw.
    references : dict
        "oracle" and "gaussian" → the run and its samples, where there is one.
    reasons : dict
        Why there is none, where there is not.
    """

    run: Run
    written: Written
    trained_on: Subset
    references: dict[str, tuple[Run, Written]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def seeds(self) -> NDArray[np.int64]:
        """The seeds of the network's samples, sorted."""
        return np.sort(self.written.seeds)


@dataclass(frozen=True)
class Found:
    """What is compared, and what is not.

    Attributes
    ----------
    comparisons : list of Comparison
        Each with at least one closed-form run.
    left_out : dict
        Runs without any, and why.
    skipped : list of str
        Runs of whose models nothing says what they were trained on.
    """

    comparisons: list[Comparison]
    left_out: dict[str, str]
    skipped: list[str]


def find_comparisons(
    context: Context, models: Sequence[str] | None, samplers: Sequence[str] | None
) -> Found:
    """Find the closed-form runs of the training items of each network.

    Parameters
    ----------
    context : Context
        The store, and what the study says.
    models, samplers : sequence of str, optional
        Names of the networks' runs; all when left out. Closed-form runs need not be named.

    Returns
    -------
    Found
        Where several closed-form runs would do, the first by path is taken.

    Raises
    ------
    MissingDataError
        No network has a closed-form run beside it, or one that was asked for by name has not.
    SpecError
        A closed-form model was asked for, or samples are not images.
    """
    runs = context.runs(models, samplers)
    for run in runs:
        if models is not None and _kind(context, run):
            raise SpecError(
                f"The model {run.spec.model!r} is itself of the kind {_kind(context, run)!r}.",
                "The analysis theory compares networks with closed-form models.",
                "Name networks in `models`; the oracle and the Gaussian of their training items "
                "are found without being named.",
            )
    networks = [run for run in runs if not _kind(context, run)]
    _require_images(networks)
    closed = _closed_form_runs(context)
    comparisons, left_out, skipped = [], {}, []
    for run in networks:
        trained_on = context.model_spec(run).trained_on
        if trained_on is None:
            skipped.append(run.path)
            continue
        found = _comparison(context, run, trained_on, closed)
        if found.references:
            comparisons.append(found)
        else:
            left_out[run.path] = " ".join(dict.fromkeys(found.reasons.values()))
    if left_out and (models is not None or not comparisons):
        path, reason = next(iter(left_out.items()))
        raise MissingDataError(
            f"Beside the run {path} stands no closed-form run. {reason}",
            "A network is compared with the oracle or the Gaussian of its own training items, "
            "under the same sampler and from the same noise.",
            _how_to_add(context, next(run for run in networks if run.path == path)),
        )
    if not comparisons:
        raise MissingDataError(
            f"None of the runs {', '.join(run.path for run in runs)} is of a network of which it "
            "is known what it was trained on.",
            "A network is compared with the oracle or the Gaussian of its own training items.",
            'Write trained_on = { dataset = "…", index = "…" } under [models.…] in the study.',
        )
    return Found(comparisons, left_out, skipped)


def _require_images(runs: Sequence[Run]) -> None:
    for run in runs:
        if run.spec.kind != "image":
            raise SpecError(
                f"The samples of {run.path} are {run.spec.kind} data.",
                "The analysis theory measures distances on the 0–255 scale of images.",
                "Leave the run out: name the models to compare in `models`.",
            )


def aligned_slots(written: Written, seeds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the slot of each seed, (seed,); -1 where a run does not have it."""
    order = np.argsort(written.seeds)
    at = np.searchsorted(written.seeds[order], seeds)
    slots = np.append(written.slots[order], -1)[at]
    there = np.append(written.seeds[order], -1)[at] == seeds
    return np.where(there, slots, -1)


def _kind(context: Context, run: Run) -> str:
    """Return "oracle" or "gaussian", or an empty text for everything else."""
    source = context.model_spec(run).source
    return source if source in REFERENCES else ""


def _closed_form_runs(context: Context) -> list[Run]:
    """Return those of the study's runs, or of the store's, that have samples."""
    stored = context.store.run_paths()
    paths = stored if context.run_paths is None else sorted({*context.run_paths} & {*stored})
    runs = [context.store.run(path) for path in paths]
    return [run for run in runs if _kind(context, run) and len(run.written()[0])]


def _comparison(
    context: Context, run: Run, trained_on: Subset, closed: Sequence[Run]
) -> Comparison:
    comparison = Comparison(run, Written.of(run), trained_on)
    for kind in REFERENCES:
        own = [other for other in closed if _kind(context, other) == kind]
        own = [other for other in own if relation(context, run, other) in _SAME_ITEMS]
        # Those of the same name last: if none will do, the reason is that of the nearest.
        own.sort(key=lambda other: other.path.split("/")[1:] == run.path.split("/")[1:])
        items = f"{trained_on.dataset}, index {shorten(trained_on.index)}"
        reason = f"There are no samples of a model with source = {kind!r} trained on {items}."
        for other in own:
            reason = solver_mismatch(run, other, kind)
            if reason:
                continue
            written = Written.of(other)
            if len(np.intersect1d(written.seeds, comparison.written.seeds)):
                comparison.references[kind] = (other, written)
                break
            reason = f"{run.path} and {other.path} have no written seed in common."
        if kind not in comparison.references:
            comparison.reasons[kind] = reason
    return comparison


def _how_to_add(context: Context, run: Run) -> str:
    trained_on = context.model_spec(run).trained_on
    assert trained_on is not None  # the caller has looked
    return (
        f'Add [models.oracle] with source = "oracle" and trained_on = {{ dataset = '
        f'"{trained_on.dataset}", index = "{trained_on.index}" }} to the study (or source = '
        f'"gaussian"), generate the same seeds with the sampler {run.spec.sampler}, and analyze '
        "again."
    )
