"""Items of datasets, or vectors of them, as they are exported."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.embed import embed_dataset
from reprostore.errors import MissingDataError, SpecError
from reprostore.ingest import StoredDataset, subset_text
from reprostore.seeds import check_ranges, shorten
from reprostore.sharing.exporting.sources import (
    Selection,
    exported_encoder,
    gathered,
    vector_span,
)
from reprostore.specs import Subset, is_name
from reprostore.store import SampleStore


def dataset_selection(store: SampleStore, subset: Subset, encoder: str | None) -> Selection:
    """Select items of a dataset in the store, or their vectors.

    Raises
    ------
    MissingDataError
        The store has no such dataset, or no vectors of the encoder.
    DatasetError
        The index names items that are not there.
    """
    dataset = StoredDataset(store, subset.dataset)
    numbers = np.sort(dataset.index(subset.index))
    name = subset_text(subset)
    about = {**dataset.named(subset.index), "spec": dataset.spec.model_dump(mode="json")}
    if encoder is None:
        return Selection(
            kind="dataset",
            name=name,
            key="train_index",
            numbers=numbers,
            places=numbers,
            path=f"datasets/{name}",
            shape=dataset.item_shape,
            dtype=np.dtype(dataset.items.dtype),
            is_image=True,
            read=lambda positions: dataset.read(numbers[positions]),
            about=about,
        )
    handle = exported_encoder(store, encoder)
    try:
        vectors = embed_dataset(store, handle, dataset)
    except SpecError as error:  # some are missing, and nothing here can make them
        raise MissingDataError(
            f"The store {store.path} has no vectors of the encoder {encoder!r} for all items of "
            f"the dataset {dataset.name!r}.",
            "Vectors are exported as they lie in the store.",
            f"Make them with `repro analyze … --encoder {encoder}`, or name another dataset.",
        ) from error
    dimension = vectors.shape[1]

    def read_vectors(positions: NDArray[np.int64]) -> NDArray[Any]:
        return gathered(
            lambda part: vectors[int(part[0]) : int(part[-1]) + 1][part - part[0]],
            numbers[positions],
            vector_span(dimension),
        )

    return Selection(
        kind="dataset",
        name=name,
        key="train_index",
        numbers=numbers,
        places=numbers,
        path=f"datasets/{name}.{encoder}",
        shape=(dimension,),
        dtype=np.dtype(np.float32),
        is_image=False,
        read=read_vectors,
        about=about | {"encoder": handle.identity},
    )


def named_items(text: str) -> Subset:
    """Read ``NAME`` or ``NAME@INDEX``, such as ``digits@0-63+99``; + stands for a comma.

    Raises
    ------
    SpecError
        The name or the index is not valid.
    """
    name, at, index = text.rpartition("@")  # a name may hold an @ of its own
    if not (at and re.fullmatch(r"[0-9+, -]+|all", index)):
        name, index = text, "all"
    if not is_name(name):
        raise SpecError(
            f"{shorten(name)!r} is no name of a dataset.",
            "A dataset is named as in `repro status`, and items of it after an @.",
            "Write it as digits, or as digits@0-63.",
        )
    index = index.replace("+", ",")
    if index != "all":
        check_ranges(index, "index")
    return Subset(dataset=name, index=index)
