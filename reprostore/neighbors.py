"""Nearest training items of samples and of held-out items, searched once and kept in the store."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from reprostore.canonical import fingerprint
from reprostore.embed import EncoderHandle, embed_dataset, embed_run
from reprostore.embed.handle import Progress
from reprostore.errors import DatasetError, MissingDataError
from reprostore.ingest import StoredDataset, subset_text
from reprostore.search import knn
from reprostore.specs import Subset
from reprostore.store import Run, SampleStore
from reprostore.store.labelled import read_cached, write_labelled


@dataclass(frozen=True)
class Written:
    """The written samples of a run at one moment: a run may gain others while it is read.

    Attributes
    ----------
    slots, seeds : ndarray of int64, (sample,)
        Where they are in the run, and their seeds.
    digests : ndarray of uint64, (sample,)
        Of their states.
    """

    slots: NDArray[np.int64]
    seeds: NDArray[np.int64]
    digests: NDArray[np.uint64]

    @classmethod
    def of(cls, run: Run) -> "Written":
        """Read what a run has now."""
        slots, seeds = run.written()
        return cls(slots, seeds, run.recorded("digest")[slots])

    @property
    def fingerprint(self) -> str:
        """blake2b-128 of seeds and digests."""
        return fingerprint([self.seeds.tolist(), self.digests.tolist()])


@dataclass(frozen=True)
class SearchOptions:
    """How neighbors are searched.

    Attributes
    ----------
    k : int
        Number of neighbors.
    engine : str
        Search engine; all of them give the same neighbors.
    progress : callable, optional
        Progress of the encoding that a search needs first.
    """

    k: int = 2
    engine: str = "auto"
    progress: Progress | None = None


def run_neighbors(
    store: SampleStore,
    encoder: EncoderHandle,
    run: Run,
    dataset: StoredDataset,
    index: str = "all",
    options: SearchOptions | None = None,
    written: Written | None = None,
) -> xr.Dataset:
    """Return the nearest items of a dataset's subset for every written sample of a run.

    Parameters
    ----------
    store : SampleStore
        The store; opened for writing where something is missing.
    encoder : EncoderHandle
        In whose space.
    run : Run
        The run; its last state is searched for.
    dataset : StoredDataset
        The dataset.
    index : str
        Which of its items, such as "0-63", or "all".
    options : SearchOptions, optional
        Number of neighbors, engine, progress.
    written : Written, optional
        The samples that are searched for; those that the run has now when left out.

    Returns
    -------
    xarray.Dataset
        `similarity` (or `distance`) float64 and `train_index` int64, (seed, neighbor), nearest
        first. Fewer neighbors than asked for where the subset is smaller.

    Raises
    ------
    DatasetError
        Items and samples differ in shape, or the index is out of range.
    """
    options = options or SearchOptions()
    if dataset.item_shape != run.spec.sample_shape:
        raise DatasetError(
            f"Items of the dataset {dataset.name!r} have shape {dataset.item_shape}, samples of "
            f"the run {run.path} {run.spec.sample_shape}.",
            "Samples are compared with items of the same shape (channel, y, x).",
            "Name the dataset that this model was trained on, in the size it was trained on.",
        )
    written = written or Written.of(run)
    slots = written.slots
    subset = Subset(dataset=dataset.name, index=index)
    corpus = subset_text(subset)
    target = f"neighbors/{encoder.name}/{corpus}/runs/{run.path}"
    origin = {
        "run": run.spec.fingerprint,
        "samples": written.fingerprint,
    }

    def vectors() -> NDArray[np.float32]:
        return embed_run(store, encoder, run, progress=options.progress).read(slots)

    coords = {"seed": ("seed", written.seeds)}
    return _cached(store, encoder, dataset, index, target, origin, vectors, coords, options)


def item_neighbors(
    store: SampleStore,
    encoder: EncoderHandle,
    dataset: StoredDataset,
    queries: str,
    index: str = "all",
    options: SearchOptions | None = None,
) -> xr.Dataset:
    """Return the nearest items of a subset for other items of the same dataset.

    Parameters
    ----------
    store, encoder, dataset, index, options
        As in `run_neighbors`.
    queries : str
        Which items are searched for, such as "898-1796".

    Returns
    -------
    xarray.Dataset
        As in `run_neighbors`, over (seed, neighbor) with the items' `train_index` numbers in
        the coordinate `item`, (seed,).

    Raises
    ------
    DatasetError
        An item is in both subsets: it would find itself.
    """
    options = options or SearchOptions()
    rows = dataset.index(queries)
    both = np.intersect1d(rows, dataset.index(index))
    if len(both):
        raise DatasetError(
            f"{len(both)} items of the dataset {dataset.name!r} are both held out ({queries}) and "
            f"trained on ({index}), the first of them {both[0]}.",
            "Held-out items are items that the model never saw.",
            "Correct `held_out` or `trained_on` in the study.",
        )
    asked, corpus = (
        subset_text(Subset(dataset=dataset.name, index=text)) for text in (queries, index)
    )
    target = f"neighbors/{encoder.name}/{corpus}/datasets/{asked}"
    origin = {"items": fingerprint([dataset.fingerprint, rows.tolist()])}

    def vectors() -> NDArray[np.float32]:
        stored = embed_dataset(store, encoder, dataset, options.progress)
        ascending = np.argsort(rows)
        gathered = np.empty((len(rows), stored.shape[1]), dtype=np.float32)
        for part in np.array_split(ascending, max(1, len(rows) // 4096)):
            first, last = int(rows[part].min()), int(rows[part].max())
            gathered[part] = stored[first : last + 1][rows[part] - first]
        return gathered

    coords = {"item": ("seed", rows)}
    return _cached(store, encoder, dataset, index, target, origin, vectors, coords, options)


def _cached(
    store: SampleStore,
    encoder: EncoderHandle,
    dataset: StoredDataset,
    index: str,
    target: str,
    origin: dict[str, Any],
    vectors: Callable[[], NDArray[np.float32]],
    coords: dict[str, tuple[str, NDArray[np.int64]]],
    options: SearchOptions,
) -> xr.Dataset:
    rows = dataset.index(index)
    k = min(options.k, len(rows))
    made_from = {
        **origin,
        "encoder": encoder.fingerprint,
        "corpus": fingerprint([dataset.fingerprint, rows.tolist()]),
    }
    stored = read_cached(store.path, target, "made_from", made_from)
    if stored is not None and stored.sizes["neighbor"] >= k:
        return stored.isel(neighbor=slice(k))
    try:
        queries = vectors()
        corpus = embed_dataset(store, encoder, dataset, options.progress)
    except MissingDataError as error:
        if not store.files.exists(target):
            raise
        raise MissingDataError(
            f"The neighbors {target} in the store cannot be used, nor searched again: "
            f"{error.parts[0]}",
            "Neighbors that are damaged, have no checksum or were made from something else are "
            "searched again, which takes the vectors of all samples and items.",
            error.parts[2],
        ) from error
    found = knn(queries, corpus, k, encoder.metric, options.engine, index=rows)
    name = "similarity" if encoder.metric == "cosine" else "distance"
    result = xr.Dataset(
        {
            name: (("seed", "neighbor"), found.values),
            "train_index": (("seed", "neighbor"), found.index),
        },
        coords=coords,
        attrs={"made_from": made_from, "metric": encoder.metric},
    )
    if not store.read_only:
        write_labelled(store.path, target, result)
    return result
