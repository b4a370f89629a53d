"""Datasets into the store, from where they come."""

from pathlib import Path

import numpy as np

from reprostore.canonical import fingerprint
from reprostore.datasets.arrays import split_key
from reprostore.datasets.content import Content
from reprostore.datasets.sources import open_source
from reprostore.digests import file_digest, folder_digest
from reprostore.errors import IdentityError
from reprostore.layout import CHUNK_BYTES, MIB
from reprostore.specs import DatasetSpec
from reprostore.store import SampleStore
from reprostore.store.arrays import create_array, write_array
from reprostore.store.dataset_attributes import sealed
from reprostore.store.groups import staged_group
from reprostore.store.identity import first_difference
from reprostore.store.labelled import read_attributes
from reprostore.store.locks import locked
from reprostore.stored_dataset import StoredDataset, subset_text

__all__ = ["StoredDataset", "ingest", "source_digest", "subset_text"]

SHARD_BYTES = 64 * MIB
_IDENTITY = ("source", "labels", "shuffle", "value_range")


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
            attributes={"length": source.length},
        )
        start = 0
        for block in source.blocks(shard):
            array[start : start + len(block)] = block
            content.add(block)
            start += len(block)
        if source.labels is not None:
            labels = np.asarray(source.labels, dtype=np.int64)
            write_array(staging.store, "label", labels, ("train_index",))
        about = {
            **spec.model_dump(mode="json"),
            "provenance": source.provenance,
            "source_digest": digest,
            "fingerprint": content.fingerprint(source),
        }
        staging.attributes.update(sealed(name, {"dataset": about}))
