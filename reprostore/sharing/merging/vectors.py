"""Vectors of the sources' samples and items, taken over where they are of the merged ones."""

import numpy as np
from numpy.typing import NDArray

from reprostore.canonical import fingerprint
from reprostore.embed import EncoderHandle, RunVectors
from reprostore.errors import CorruptionError
from reprostore.ingest import StoredDataset
from reprostore.sharing.merging.derived import Derived
from reprostore.sharing.merging.groups import copy_group, require_finite
from reprostore.store import Run, SampleStore
from reprostore.store.arrays import open_array, read_whole
from reprostore.store.groups import storage_errors
from reprostore.store.labelled import read_attributes
from reprostore.store.locks import locked


def copy_run_vectors(target: SampleStore, item: Derived) -> int:
    """Copy vectors of those samples of a run that have none in the merged store.

    A vector is taken only where the digest of the sample that it was made from is that of the
    merged store's sample; it is written before its mark, as every vector is.

    Parameters
    ----------
    target : SampleStore
        The merged store.
    item : Derived
        Vectors of a run.

    Returns
    -------
    int
        How many vectors were copied.

    Raises
    ------
    CorruptionError
        A vector of the source is damaged.
    """
    assert item.encoder is not None
    run = Run(target.path, item.merged_name, read_only=False)
    theirs = RunVectors(item.source.store, item.encoder, item.source.store.run(item.name))
    named = EncoderHandle(item.encoder_name, None, recorded=item.encoder.identity)
    ours = RunVectors(target, named, run)
    if not theirs.current():
        return 0
    if run.withheld and not ours.current() and target.files.exists(ours.group):
        return 0  # those of another encoder cannot be made again
    pairs = {row: _pairs(ours, theirs, row) for row in range(len(run.spec.steps))}
    if not any(len(slots) for slots, _ in pairs.values()):
        return 0
    dimension = open_array(item.source.store.zarr_store, f"{item.group}/vector").shape[2]
    with locked(target.path, ours.group), storage_errors(target.path):
        ours.prepare()
        ours.create(dimension)
        for row, (slots, other) in pairs.items():
            _fill(ours, theirs, row, slots, other)
    return sum(len(slots) for slots, _ in pairs.values())


def _pairs(
    ours: RunVectors, theirs: RunVectors, row: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return slots without a vector, and the slots of the same samples that have one."""
    need = ours.missing(row)
    slots, seeds = theirs.run.written()
    made = ~np.isin(slots, theirs.missing(row))
    slots, seeds = slots[made], seeds[made]
    own_seeds = ours.run.seeds[need]
    _, at, other = np.intersect1d(own_seeds, seeds, return_indices=True)
    need, slots = need[at], slots[other]
    equal = ours.run.recorded("digest")[need] == theirs.run.recorded("digest")[slots]
    order = np.argsort(need[equal])
    return need[equal][order], slots[equal][order]


def _fill(
    ours: RunVectors,
    theirs: RunVectors,
    row: int,
    slots: NDArray[np.int64],
    other: NDArray[np.int64],
) -> None:
    store, run = ours.store, ours.run
    vector = open_array(store.zarr_store, f"{ours.group}/vector")
    made = open_array(store.zarr_store, f"{ours.group}/source_digest")
    digests = run.recorded("digest")
    for unit in run.units():
        mine = (slots >= unit.start) & (slots < min(unit.stop, made.shape[0]))
        if not mine.any():
            continue
        region = slice(unit.start, min(unit.stop, made.shape[0]))
        new = theirs.read(other[mine], row)
        fresh = np.array(made[region, row])
        fresh[fresh != digests[region]] = 0
        try:
            values = np.array(vector[region, row])
        except Exception:  # damaged vectors are made again
            values = np.full((len(fresh), vector.shape[2]), np.nan, dtype=np.float32)
            fresh[:] = 0
        values[slots[mine] - unit.start] = new
        made[region, row] = fresh
        vector[region, row] = values
        fresh[slots[mine] - unit.start] = digests[slots[mine]]
        made[region, row] = fresh


def copy_item_vectors(target: SampleStore, item: Derived) -> int:
    """Copy the vectors of a dataset, if all are there and the merged store has not all of them.

    Returns
    -------
    int
        How many vectors were copied.

    Raises
    ------
    CorruptionError
        A vector of the source is damaged.
    """
    assert item.encoder is not None
    dataset = StoredDataset(target, item.merged_name)
    origin = {"encoder": fingerprint(item.encoder.identity), "dataset": dataset.fingerprint}
    with locked(target.path, item.merged_group), storage_errors(target.path):
        if _is_whole(target, item.merged_group, origin):
            return 0
        if not _is_whole(item.source.store, item.group, origin):
            return 0
        require_finite(item.source.store, f"{item.group}/vector")
        said = read_attributes(item.source.store.path, item.group) or {}
        said["name"] = item.encoder_name
        copy_group(item.source.store, item.group, target, item.merged_group, said)
    return open_array(target.zarr_store, f"{item.merged_group}/vector").shape[0]


def _is_whole(store: SampleStore, group: str, origin: dict[str, str]) -> bool:
    try:
        attributes = read_attributes(store.path, group)
        if attributes is None or attributes.get("made_from") != origin:
            return False
        open_array(store.zarr_store, f"{group}/vector")
        return bool(read_whole(open_array(store.zarr_store, f"{group}/block_done")).all())
    except CorruptionError:  # what is in doubt is not counted on
        return False
