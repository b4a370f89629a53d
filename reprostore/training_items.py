"""What models are trained on: items of the datasets in a study's store."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reprostore.datasets.sources import open_source
from reprostore.errors import DatasetError, ReprostoreError
from reprostore.images import from_uint8
from reprostore.ingest import StoredDataset, ingest
from reprostore.seeds import check_ranges, shorten
from reprostore.store import open_store
from reprostore.store.labelled import read_attributes
from reprostore.studies import study_store
from reprostore.study import LoadedStudy
from reprostore.subsets import count
from reprostore.trainings import Training


def check_items(loaded: LoadedStudy, trainings: Sequence[Training]) -> None:
    """Check that the datasets have the items of all trainings, in shapes that their networks take.

    Nothing is written: a dataset that is not in the store yet is looked at in its source.

    Raises
    ------
    DatasetError
        A subset is larger than its dataset, or the source has no items.
    SpecError
        A network does not fit the shape of the items.
    NotFoundError
        The source of a dataset does not exist.
    """
    found: dict[str, tuple[int, tuple[int, ...]]] = {}
    for training in trainings:
        name = training.trained_on.dataset
        if name not in found:
            found[name] = _length_and_shape(loaded, name)
        length, shape = found[name]
        _check_subset(loaded, training, length)
        try:
            training.recipe.check_shape(shape)
        except ReprostoreError as error:
            said, expected, action = error.parts
            where = loaded.where(("models", training.model))
            raise type(error)(
                f"{where}: the model {training.model} cannot be trained on {name}. {said}",
                expected,
                action,
            ) from error


def training_datasets(
    loaded: LoadedStudy, trainings: Sequence[Training]
) -> dict[str, StoredDataset]:
    """Return the datasets of trainings by name, reading into the store those that it lacks.

    Raises
    ------
    IdentityError
        A dataset of this name is in the store and comes from another source.
    DatasetError, NotFoundError
        The source cannot be read.
    """
    names = dict.fromkeys(training.trained_on.dataset for training in trainings)
    complete = all(_is_stored(loaded, name) for name in names)
    store = open_store(loaded.store_path) if complete else study_store(loaded)
    specs = loaded.study.datasets
    return {name: ingest(store, name, specs[name], loaded.base) for name in names}


def read_items(store_path: Path, dataset: str, index: str) -> NDArray[np.float32]:
    """Read a subset of a dataset in a store.

    Returns
    -------
    ndarray of float32, shape (item, channel, y, x)
        In [-1, 1], in the order in which `index` names them.
    """
    stored = StoredDataset(open_store(store_path), dataset)
    items = stored.read(stored.index(index))
    return from_uint8(items) if items.dtype == np.uint8 else items.astype(np.float32, copy=False)


def _is_stored(loaded: LoadedStudy, name: str) -> bool:
    path = loaded.store_path
    return path.exists() and read_attributes(path, f"datasets/{name}") is not None


def _length_and_shape(loaded: LoadedStudy, name: str) -> tuple[int, tuple[int, ...]]:
    if _is_stored(loaded, name):
        stored = StoredDataset(open_store(loaded.store_path), name)
        return len(stored), stored.item_shape
    source = open_source(name, loaded.study.datasets[name], loaded.base)
    return source.length, source.item_shape


def _check_subset(loaded: LoadedStudy, training: Training, length: int) -> None:
    dataset, index = training.trained_on.dataset, training.trained_on.index
    if index == "all":
        return
    last = max(part.stop for part in check_ranges(index, "index")) - 1
    if last < length:
        return
    where = loaded.where(("models", training.model, "trained_on", "index"))
    owner = "" if training.sweep is None else f" of the sweep {training.sweep}"
    raise DatasetError(
        f"{where}: a subset{owner} has {count(index)} items, the last of them item {last} "
        f"({training.model}, {shorten(index)!r}).",
        f"The dataset {dataset} has {length} items, 0 to {length - 1}.",
        "Make the subset smaller.",
    )
