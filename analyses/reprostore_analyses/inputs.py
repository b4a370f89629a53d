"""What analyses would be made from, checked before the first of them writes into the store."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reprostore.datasets.sources import open_source
from reprostore.errors import DatasetError, SpecError
from reprostore.seeds import check_ranges, parse_ranges
from reprostore.specs import Spec
from reprostore.store import Run
from reprostore.store.labelled import read_attributes
from reprostore_analyses.context import Context

Where = Callable[[tuple[str, ...]], str]
"""Names the file and line of a key of the study, to begin a message; empty without a file."""


class Asked(Protocol):
    """What an analysis says of itself."""

    @property
    def measures_copies(self) -> bool:
        """Whether it compares samples with their model's training items."""
        ...


@dataclass(frozen=True)
class _Items:
    """A dataset in the store, or its source while it is not read in yet."""

    name: str
    length: int
    shape: tuple[int, ...]
    held_out: str | None


def check_inputs(
    context: Context, asked: Sequence[tuple[Asked, Spec]], where: Where = lambda location: ""
) -> None:
    """Find what would make an analysis fail after it has begun to write.

    Parameters
    ----------
    context : Context
        The store, and what the study says.
    asked : sequence of (Analysis, Spec)
        The analyses and their options.
    where : callable
        Names the line of a key in the study.

    Raises
    ------
    SpecError
        An encoder is not defined, or held-out items are not named where they are needed.
    NotFoundError
        The file of an encoder or a dataset does not exist.
    MissingDataError
        There are no samples.
    DatasetError
        A dataset cannot be read or does not fit the samples, an index is out of range, or an item
        is both held out and trained on.
    """
    datasets: dict[str, _Items] = {}
    chosen: dict[object, list[Run]] = {}
    for analysis, options in asked:
        encoder = getattr(options, "encoder", None)
        if isinstance(encoder, str):
            context.encoder(encoder).identity  # noqa: B018  # looks for the file
        names = _names(options)
        if names not in chosen:
            chosen[names] = context.runs(*names)
        for run in chosen[names]:
            trained_on = context.model_spec(run).trained_on
            if trained_on is None:
                continue
            name = trained_on.dataset
            stored = read_attributes(context.store.path, f"datasets/{name}") is not None
            if not (stored or name in context.datasets or analysis.measures_copies):
                continue
            if name not in datasets:
                datasets[name] = _items(context, name, stored=stored)
            control = analysis.measures_copies and getattr(options, "control", True)
            _check_run(context, run, datasets[name], where, control=control)
            if analysis.measures_copies and datasets[name].shape != run.spec.sample_shape:
                raise DatasetError(
                    f"{_begin(where, ('datasets', name))}items of the dataset {name!r} have the "
                    f"shape {datasets[name].shape}, samples of the run {run.path} "
                    f"{run.spec.sample_shape}.",
                    "Samples are compared with items of the same shape (channel, y, x).",
                    "Name the dataset that this model was trained on, in the size and with the "
                    "channels it was trained on.",
                )


def _names(options: Spec) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Return the models and samplers that options restrict an analysis to."""
    compare, sampler = getattr(options, "compare", None), getattr(options, "sampler", None)
    models = getattr(options, "models", None)
    if not hasattr(options, "models") and compare is not None:
        models = tuple(dict.fromkeys(name for pair in compare for name in pair))
    samplers = getattr(options, "samplers", None if sampler is None else (sampler,))
    return models, samplers


def _items(context: Context, name: str, *, stored: bool) -> _Items:
    spec = context.datasets.get(name)
    held_out = None if spec is None else spec.held_out
    if stored or spec is None:
        dataset = context.dataset(name)  # compares it with the study, or says that there is none
        if spec is None:
            held_out = dataset.spec.held_out
        return _Items(name, len(dataset), dataset.item_shape, held_out)
    source = open_source(name, spec, context.base)
    return _Items(name, source.length, source.item_shape, held_out)


def _check_run(context: Context, run: Run, items: _Items, where: Where, *, control: bool) -> None:
    spec = context.model_spec(run)
    model, trained_on = run.spec.model, spec.trained_on
    assert trained_on is not None  # the caller has looked
    here = ("models", model, "trained_on", "index")
    seen = _numbers(items, trained_on.index, _begin(where, here), "trained_on", model)
    if not control:
        return
    held_out = spec.held_out
    location = ("models", model, "held_out")
    if held_out is None:
        held_out = items.held_out
        location = ("datasets", items.name, "held_out")
    if held_out is None:
        raise SpecError(
            f"{_begin(where, ('models', model))}the model {model} has no held-out items.",
            "A copy rate means little without that of real items which no model saw.",
            f'Write held_out = "…" under [datasets.{items.name}] or [models.{model}], or set '
            "control = false in the analysis.",
        )
    unseen = _numbers(items, held_out, _begin(where, location), "held_out", model)
    both = np.intersect1d(seen, unseen)
    if len(both):
        raise DatasetError(
            f"{_begin(where, location)}{len(both)} items of the dataset {items.name!r} are both "
            f"held out ({held_out}) and trained on ({trained_on.index}) by the model {model}, the "
            f"first of them {both[0]}.",
            "Held-out items are items that the model never saw.",
            "Correct `held_out` or `trained_on` in the study.",
        )


def _numbers(items: _Items, ranges: str, begin: str, key: str, model: str) -> NDArray[np.int64]:
    """Return the items that ranges name, refusing those that the dataset does not have."""
    if ranges == "all":
        return np.arange(items.length, dtype=np.int64)
    last = max(part.stop for part in check_ranges(ranges, "index")) - 1
    if last >= items.length:
        raise DatasetError(
            f"{begin}{key} of the model {model} names item {last} of the dataset {items.name!r}.",
            f"The dataset has {items.length} items, 0 to {items.length - 1}.",
            "Correct the index in the study.",
        )
    return np.asarray(parse_ranges(ranges, "index"), dtype=np.int64)


def _begin(where: Where, location: tuple[str, ...]) -> str:
    place = where(location)
    return f"{place}: " if place else ""
