"""Datasets into the store, and out of it again."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.canonical import fingerprint
from reprostore.datasets.arrays import split_key
from reprostore.datasets.content import Content
from reprostore.datasets.sources import open_source
from reprostore.digests import file_digest, folder_digest
from reprostore.errors import CorruptionError, DatasetError, IdentityError, MissingDataError
from reprostore.layout import CHUNK_BYTES, MIB
from reprostore.seeds import check_ranges, format_ranges, parse_ranges, shorten
from reprostore.specs import DatasetSpec, Subset
from reprostore.store import SampleStore
from reprostore.store.arrays import create_array, open_array, read_whole, write_array
from reprostore.store.files import store_files
from reprostore.store.groups import staged_group
from reprostore.store.identity import first_difference
from reprostore.store.labelled import read_attributes
from reprostore.store.locks import locked
from reprostore.store.present import require_files

SHARD_BYTES = 64 * MIB
_IDENTITY = ("source", "labels", "shuffle", "value_range")


class StoredDataset:
    """A dataset in a store, indexed by `train_index`.

    Parameters
    ----------
    store : SampleStore
        The store.
    name : str
        Name of the dataset.

    Raises
    ------
    MissingDataError
        The store has no such dataset.
    """

    def __init__(self, store: SampleStore, name: str) -> None:
        attributes = read_attributes(store.path, f"datasets/{name}")
        if attributes is None or "dataset" not in attributes:
            known = store_files(store.path).folders("datasets")
            raise MissingDataError(
                f"The store {store.path} has no dataset {name!r}.",
                f"Its datasets are {', '.join(known) or 'none yet'}.",
                "Define it in the study under [datasets]; `repro analyze` then reads it in.",
            )
        self.store = store
        self.name = name
        self.group = f"datasets/{name}"
        recorded: dict[str, Any] = dict(attributes["dataset"])
        self.fingerprint: str = recorded.pop("fingerprint")
        self.provenance: dict[str, Any] = recorded.pop("provenance")
        self.source_digest: str | None = recorded.pop("source_digest")
        self.spec = DatasetSpec.model_validate(recorded)
        self.items = open_array(store.zarr_store, f"{self.group}/item")

    def __len__(self) -> int:
        """Return the number of items."""
        return self.items.shape[0]

    @property
    def item_shape(self) -> tuple[int, ...]:
        """Shape of one item, (channel, y, x)."""
        return self.items.shape[1:]

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """Labels, (train_index,), where the source has them."""
        if not store_files(self.store.path).exists(f"{self.group}/label"):
            return None
        array = open_array(self.store.zarr_store, f"{self.group}/label")
        require_files(self.store.path, array, self._action)
        return read_whole(array)

    @property
    def _action(self) -> str:
        return f"Delete {self.store.path / self.group}; it is read in again from its source."

    def index(self, ranges: str) -> NDArray[np.int64]:
        """Return the `train_index` numbers of ranges such as "0-63,99", or of "all".

        Raises
        ------
        DatasetError
            A number is not below the number of items.
        """
        if ranges == "all":
            return np.arange(len(self), dtype=np.int64)
        last = max(part.stop for part in check_ranges(ranges, "index")) - 1
        if last >= len(self):
            raise DatasetError(
                f"The index {shorten(ranges)!r} of the dataset {self.name!r} names item {last}.",
                f"The dataset has {len(self)} items, 0 to {len(self) - 1}.",
                "Correct the index in the study.",
            )
        return np.asarray(parse_ranges(ranges, "index"), dtype=np.int64)

    def named(self, ranges: str) -> dict[str, str]:
        """Return which items these are, as JSON; see `index` for the ranges and errors."""
        index = format_ranges(self.index(ranges).tolist())
        return {"dataset": self.name, "index": index, "fingerprint": self.fingerprint}

    def read(self, rows: NDArray[np.int64] | slice) -> NDArray[Any]:
        """Read items, uint8 in 0 to 255 or float32 in [-1, 1].

        Parameters
        ----------
        rows : ndarray of int64 or slice
            Their `train_index` numbers, in any order.

        Returns
        -------
        ndarray, shape (item, channel, y, x)
            In the order of `rows`.

        Raises
        ------
        DatasetError
            There is no such item.
        CorruptionError
            A chunk is damaged or absent.
        """
        first, last = _extent(rows, len(self))
        if first < 0 or last > len(self):
            raise DatasetError(
                f"Items {first} to {last - 1} of the dataset {self.name!r} were asked for.",
                f"The dataset has {len(self)} items, 0 to {len(self) - 1}.",
                "Ask for items that it has.",
            )
        require_files(self.store.path, self.items, self._action, slice(first, last))
        try:
            if isinstance(rows, slice):
                return np.asarray(self.items[rows])
            return np.asarray(self.items.oindex[rows])
        except Exception as error:
            raise CorruptionError(
                f"The dataset {self.name!r} in the store is damaged ({error}).",
                "Every chunk agrees with its checksum.",
                self._action,
            ) from error


def _extent(rows: NDArray[np.int64] | slice, length: int) -> tuple[int, int]:
    if isinstance(rows, slice):
        start, stop, _ = rows.indices(length)
        return start, max(start, stop)
    return (int(rows.min()), int(rows.max()) + 1) if rows.size else (0, 0)


def ingest(store: SampleStore, name: str, spec: DatasetSpec, base: Path) -> StoredDataset:
    """Read a dataset into the store, unless it is there.

    Parameters
    ----------
    store : SampleStore
        Opened for writing where the dataset is not in it yet.
    name : str
        Name of the dataset.
    spec : DatasetSpec
        Where its items come from.
    base : Path
        Folder to which the source's path is relative.

    Returns
    -------
    StoredDataset
        The dataset.

    Raises
    ------
    IdentityError
        A dataset of this name is there and comes from another source.
    DatasetError, NotFoundError
        The source cannot be read.
    """
    target = f"datasets/{name}"
    if read_attributes(store.path, target) is None:
        store.require_writable()
        with locked(store.path, target):
            if read_attributes(store.path, target) is None:
                _write(store, name, spec, base)
    dataset = StoredDataset(store, name)
    _check_source(dataset, spec, base)
    stored, asked = (
        s.model_dump(mode="json", include=set(_IDENTITY)) for s in (dataset.spec, spec)
    )
    if stored != asked:
        raise IdentityError(
            f"The dataset {name!r} in the store differs from the one asked for: "
            f"{first_difference(stored, asked)}.",
            "A dataset's name stands for one source, in one order.",
            "Give the dataset another name in the study.",
        )
    return dataset


def _check_source(dataset: StoredDataset, spec: DatasetSpec, base: Path) -> None:
    """Refuse a source that changed since it was read in; one that is not here is not needed."""
    now = source_digest(spec, base)
    if spec.source == dataset.spec.source and now not in (None, dataset.source_digest):
        raise IdentityError(
            f"The source {spec.source} of the dataset {dataset.name!r} has changed since it was "
            f"read into {dataset.store.path}.",
            "A dataset in a store is what models were trained on, and does not change.",
            "Give the changed dataset another name in the study, or restore the source.",
        )


def source_digest(spec: DatasetSpec, base: Path) -> str | None:
    """Return a digest of a source's files, cached by their size and time of change.

    Returns
    -------
    str or None
        Of the contents of files, and of names and contents in folders, with those of the labels;
        None for packaged datasets and where there is nothing at this path.
    """
    digests = [_path_digest(text, base) for text in (spec.source, spec.labels) if text is not None]
    known = [digest for digest in digests if digest is not None]
    if len(known) < len(digests):
        return None
    return known[0] if len(known) == 1 else fingerprint(known)


def _path_digest(source: str, base: Path) -> str | None:
    file, key = split_key(source)
    path = base / Path(file).expanduser()
    if path.is_file():
        return file_digest(path)
    # Of a Zarr store, only the array: runs may be added beside it.
    inside = path / key if key is not None and (path / key).is_dir() else path
    return folder_digest(inside) if inside.is_dir() else None


def _write(store: SampleStore, name: str, spec: DatasetSpec, base: Path) -> None:
    source = open_source(name, spec, base)
    item_bytes = int(np.prod(source.item_shape)) * source.dtype.itemsize
    chunk = min(source.length, max(1, CHUNK_BYTES // item_bytes))
    shard = chunk * min(-(-source.length // chunk), max(1, SHARD_BYTES // (chunk * item_bytes)))
    # Before the items are read: what changes in the meantime is then noticed.
    digest = source_digest(spec, base)
    content = Content()
    with staged_group(store.path, f"datasets/{name}") as staging:
        array = create_array(
            staging.store,
            "item",
            shape=(source.length, *source.item_shape),
            dims=("train_index", *source.item_dims),
            dtype=str(source.dtype),
            chunks=(chunk, *source.item_shape),
            shards=(shard, *source.item_shape),
        )
        start = 0
        for block in source.blocks(shard):
            array[start : start + len(block)] = block
            content.add(block)
            start += len(block)
        if source.labels is not None:
            labels = np.asarray(source.labels, dtype=np.int64)
            write_array(staging.store, "label", labels, ("train_index",))
        staging.attributes["dataset"] = {
            **spec.model_dump(mode="json"),
            "provenance": source.provenance,
            "source_digest": digest,
            "fingerprint": content.fingerprint(source),
        }


def subset_text(subset: Subset) -> str:
    """Return the name of a subset in paths: ``digits@0-63``, with + for commas."""
    if subset.index == "all":
        return subset.dataset
    text = subset.index.replace(" ", "").replace(",", "+")
    return f"{subset.dataset}@{text if len(text) <= 60 else fingerprint(text)}"
