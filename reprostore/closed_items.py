"""The items of closed-form models: a subset of a dataset, in the store or still in its source."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.canonical import fingerprint
from reprostore.datasets.sources import open_source
from reprostore.errors import DatasetError, SpecError
from reprostore.ingest import StoredDataset, ingest
from reprostore.models.items import Items
from reprostore.seeds import check_ranges, format_ranges, shorten
from reprostore.specs import CLOSED_FORMS, DatasetSpec, ModelSpec, Subset
from reprostore.store import SampleStore
from reprostore.store.labelled import read_attributes


def is_closed_form(spec: ModelSpec) -> bool:
    """Say whether a model is computed from its training items."""
    return spec.source in CLOSED_FORMS


def is_stored(store: SampleStore, spec: ModelSpec) -> bool:
    """Say whether a store has the dataset that a model was trained on."""
    if spec.trained_on is None:
        return False
    return read_attributes(store.path, f"datasets/{spec.trained_on.dataset}") is not None


def known_items(
    store: SampleStore | None, spec: ModelSpec, dataset: DatasetSpec | None, base: Path
) -> Items:
    """Return the items of a model as far as they are known without writing anything.

    See `stored_items` for the parameters and errors; the store may be open for reading only.

    Returns
    -------
    Items
        Those of the store, if it has their dataset: the source is not needed then. Else number
        and shape of what the source has, without a digest.
    """
    if store is not None and is_stored(store, spec):
        return stored_items(store, spec, dataset, base)
    return items_to_come(spec, dataset, base)


def stored_items(
    store: SampleStore, spec: ModelSpec, dataset: DatasetSpec | None, base: Path
) -> Items:
    """Return the items of a closed-form model, reading their dataset into the store if need be.

    Parameters
    ----------
    store : SampleStore
        The store; opened for writing unless it has the dataset.
    spec : ModelSpec
        The model.
    dataset : DatasetSpec, optional
        Where the dataset comes from, as the study says.
    base : Path
        Folder to which its source is relative.

    Raises
    ------
    SpecError
        The model has no `trained_on`.
    MissingDataError
        The dataset is neither in the store nor in the study.
    DatasetError
        The subset goes beyond the dataset.
    IdentityError
        The dataset in the store comes from another source.
    """
    subset = _subset(spec)
    name = subset.dataset
    stored = StoredDataset(store, name) if dataset is None else ingest(store, name, dataset, base)
    rows = np.sort(stored.index(subset.index))  # the same items give the same bits

    def read(start: int, stop: int) -> NDArray[Any]:
        return stored.read(rows[start:stop])

    which = {"dataset": stored.fingerprint, "index": format_ranges(rows.tolist())}
    return Items(len(rows), stored.item_shape, read, fingerprint(which), stored.dtype.itemsize)


def items_to_come(spec: ModelSpec, dataset: DatasetSpec | None, base: Path) -> Items:
    """Return number and shape of a closed-form model's items, as their source has them.

    Nothing is read or written; see `stored_items` for the parameters and errors.
    """
    subset = _subset(spec)
    if dataset is None:
        raise SpecError(
            f"The model {spec.source!r} is computed from the dataset {subset.dataset!r}, which is "
            "neither in the store nor in a study.",
            "Where items come from is said under [datasets].",
            "Write a study, and generate from it.",
        )
    source = open_source(subset.dataset, dataset, base)
    count = source.length
    if subset.index != "all":
        parts = check_ranges(subset.index, "index")
        last = max(part.stop for part in parts) - 1
        if last >= source.length:
            raise DatasetError(
                f"The index {shorten(subset.index)!r} of the dataset {subset.dataset!r} names "
                f"item {last}.",
                f"The dataset has {source.length} items, 0 to {source.length - 1}.",
                "Correct the index in the study.",
            )
        count = sum(len(part) for part in parts)

    def read(start: int, stop: int) -> NDArray[np.float32]:
        raise AssertionError("items are read from a store")

    return Items(count, tuple(source.item_shape), read)


def _subset(spec: ModelSpec) -> Subset:
    if spec.trained_on is None:
        raise SpecError(
            f"The model {spec.source!r} has no `trained_on`.",
            "A closed form is computed from the items that a network would be trained on.",
            'Write trained_on = { dataset = "…", index = "…" } for it in a study.',
        )
    return spec.trained_on
