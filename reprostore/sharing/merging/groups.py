"""Whole groups copied file by file into the merged store, after all of them was read once."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from zarr.storage import LocalStore

from reprostore.datasets.content import Content
from reprostore.errors import CorruptionError, IdentityError
from reprostore.ingest import StoredDataset
from reprostore.sharing.merging.datasets import MergedDataset
from reprostore.store import SampleStore
from reprostore.store.arrays import open_array
from reprostore.store.dataset_attributes import sealed
from reprostore.store.groups import staged_group, storage_errors
from reprostore.store.labelled import read_attributes
from reprostore.store.locks import locked


def copy_group(
    source: SampleStore,
    group: str,
    target: SampleStore,
    place: str,
    attributes: Mapping[str, Any] | None = None,
) -> int:
    """Copy the arrays and attributes of a group, replacing what stands there in one move.

    The caller has read what is copied, and holds the lock of `place`.

    Parameters
    ----------
    source, group
        Where it is.
    target, place
        Where it is to be.
    attributes : mapping, optional
        Instead of its own.

    Returns
    -------
    int
        Bytes of its files.
    """
    total = 0
    with staged_group(target.path, place) as staging:
        assert isinstance(staging.store, LocalStore)
        for key in source.files.walk(group):
            inside = key.removeprefix(f"{group}/")
            if inside != "zarr.json":
                file = Path(staging.store.root) / inside
                file.parent.mkdir(parents=True, exist_ok=True)
                content = source.files.read(key)
                file.write_bytes(content)
                total += len(content)
        own = read_attributes(source.path, group) or {}
        staging.attributes.update(own if attributes is None else attributes)
    return total


def copy_dataset(
    target: SampleStore,
    name: str,
    merged: MergedDataset,
    progress: Callable[[str, int, int], None] | None,
) -> None:
    """Copy a dataset that the merged store does not have, or has without its items.

    Raises
    ------
    CorruptionError
        Its items are damaged, or are not those of its fingerprint.
    """
    stored, place = merged.stored, f"datasets/{name}"
    with locked(target.path, place), storage_errors(target.path):
        if read_attributes(target.path, place) is not None:
            present = StoredDataset(target, name)
            if present.fingerprint != stored.fingerprint:
                raise IdentityError(
                    f"Another dataset {name!r} was written while the stores were merged.",
                    "A dataset in a store does not change.",
                    "Merge again when no other process writes: the difference is then told.",
                )
            if not present.withheld or stored.withheld:
                return
        if not stored.withheld:
            _check_items(stored, progress)
        said = read_attributes(merged.about.store.path, merged.about.group) or {}
        if not stored.withheld:
            said = {key: value for key, value in said.items() if key not in ("withheld", "items")}
        copy_group(stored.store, stored.group, target, place, sealed(name, said))


def _check_items(stored: StoredDataset, progress: Callable[[str, int, int], None] | None) -> None:
    content, count = Content(), len(stored)
    step = (stored.items.shards or stored.items.chunks)[0]
    for start in range(0, count, step):
        content.add(stored.read(slice(start, min(start + step, count))))
        if progress is not None:
            progress(f"dataset {stored.name}", min(start + step, count), count)
    shape = (count, *stored.item_shape)
    found = content.finished(shape, str(stored.items.dtype), stored.labels)
    if found != stored.fingerprint:
        raise CorruptionError(
            f"The dataset {stored.name!r} in {stored.store.path} has items of the fingerprint "
            f"{found}, and {stored.fingerprint} is recorded.",
            "A dataset in a store does not change.",
            "Restore it from a copy, or leave out the runs that were trained on it.",
        )


def require_finite(source: SampleStore, path: str) -> None:
    """Read an array of vectors once.

    Raises
    ------
    CorruptionError
        A chunk is damaged or absent.
    """
    array = open_array(source.zarr_store, path)
    for start in range(0, array.shape[0], array.chunks[0]):
        rows = slice(start, min(start + array.chunks[0], array.shape[0]))
        try:
            fine = bool(np.isfinite(np.asarray(array[rows])).all())
        except Exception as error:  # whatever a decoder raises
            raise _damaged(source, path, str(error)) from error
        if not fine:
            raise _damaged(source, path, "vectors are absent")


def _damaged(source: SampleStore, path: str, why: str) -> CorruptionError:
    return CorruptionError(
        f"The vectors {path} in {source.path} are damaged ({why}).",
        "Every chunk agrees with its checksum.",
        "Delete their group there, and merge again: vectors are made again where items are.",
    )
