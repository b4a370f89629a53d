"""A damaged unit of a run made sound: damaged seeds missing, all others with their bytes."""

import uuid
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from reprostore.sharing.checks.chunks import ABSENT, file_key, open_shard, unpacked
from reprostore.sharing.checks.findings import UNREADABLE, Damage, Finding
from reprostore.sharing.checks.forms import ArrayForm
from reprostore.sharing.checks.run_damage import check_run
from reprostore.sharing.checks.run_forms import UNIT_ARRAYS
from reprostore.sharing.checks.run_identity import RunIdentity
from reprostore.store import SampleStore
from reprostore.store.files import StoreFiles
from reprostore.store.groups import storage_errors
from reprostore.store.locks import locked
from reprostore.store.run import MISSING, Run


def mend_unit(store: SampleStore, path: str, unit: int, length: int) -> NDArray[np.int64]:
    """Mark the damaged seeds of a unit missing, and take what is damaged out of its files.

    The unit is checked again under its lock, so that what another process has written in the
    meantime is kept. A process that is killed on the way leaves a unit that is found damaged
    again, and is mended by the next one.

    Parameters
    ----------
    store : SampleStore
        Open for writing.
    path : str
        The run, model/sampler/condition.
    unit : int
        Number of the unit.
    length : int
        Slots of a unit.

    Returns
    -------
    ndarray of int64
        The slots that were damaged.
    """
    group = f"runs/{path}"
    with locked(store.path, f"{group}/unit-{unit}"), storage_errors(store.path):
        status = file_key(f"{group}/status", (unit,))
        keys = [status] if store.files.size(status) is not None else []
        span = range(unit * length, (unit + 1) * length)
        checked = check_run(store.files, path, keys, [span])
        found = [finding for finding in checked.findings if finding.mending == "seeds"]
        if not found or checked.identity is None:
            return np.zeros(0, dtype=np.int64)
        slots = np.unique(np.concatenate([finding.slots for finding in found]))
        _mark_missing(store, group, unit, slots, found)
        for array in UNIT_ARRAYS:
            if any(_of(finding, group, array) and finding.kind == "checksum" for finding in found):
                _remove(store.path / file_key(f"{group}/{array}", _place(array, unit)))
        _mend_shards(store, checked.identity, slots, found)
    return slots


def _of(finding: Finding, group: str, array: str) -> bool:
    return finding.place == f"{group}/{array}"


def _place(array: str, unit: int) -> tuple[int, ...]:
    return (unit, 0) if array == "noise_probe" else (unit,)


def _remove(file: Path) -> None:
    file.unlink(missing_ok=True)


def _mark_missing(
    store: SampleStore, group: str, unit: int, slots: NDArray[np.int64], found: list[Finding]
) -> None:
    """Nobody trusts the seeds from here on."""
    file = store.path / file_key(f"{group}/status", (unit,))
    if any(_of(finding, group, "status") and finding.kind == "checksum" for finding in found):
        _remove(file)  # the slots of an absent file are missing
    elif file.exists():
        array = Run(store.path, group.removeprefix("runs/"), read_only=False).array("status")
        start = unit * array.chunks[0]
        region = slice(start, min(start + array.chunks[0], array.shape[0]))
        status = np.asarray(array[region])
        status[slots - start] = MISSING
        array[region] = status


def _mend_shards(
    store: SampleStore, identity: RunIdentity, slots: NDArray[np.int64], found: list[Finding]
) -> None:
    for name in ("sample", "denoised"):
        form = identity.forms.get(name)
        if form is None or not any(_of(finding, identity.group, name) for finding in found):
            continue
        for block in np.unique(slots // form.shard[0]).tolist():
            for rows in range(form.files[1]):
                place = (block, rows, *(0,) * (len(form.shape) - 2))
                mend_shard(store.files, file_key(f"{identity.group}/{name}", place), form)


def mend_shard(files: StoreFiles, key: str, form: ArrayForm) -> None:
    """Take the damaged chunks out of a shard; the others keep their bytes.

    Parameters
    ----------
    files : StoreFiles
        Of a store in a folder.
    key : str
        The shard's file; it is removed where nothing of it can be read.
    form : ArrayForm
        Of its array.
    """
    file = files.path / key
    try:
        shard = open_shard(files, key, form)
    except Damage as damage:
        if UNREADABLE not in str(damage):
            _remove(file)
        return
    if shard is None:
        return
    spans = np.full_like(shard.spans, ABSENT)
    good: list[bytes] = []
    offset = 0
    for place in np.ndindex(*form.in_shard):
        if not shard.has(place):
            continue
        start, length = (int(number) for number in shard.spans[place])
        packed = files.read(key, start, start + length)
        try:
            unpacked(packed, form.chunk_bytes)
        except Damage:
            continue
        good.append(packed)
        spans[place] = offset, length
        offset += length
    kept = spans != ABSENT
    if np.array_equal(kept, shard.spans != ABSENT):
        return
    if not kept.any():
        _remove(file)
        return
    index = spans.astype("<u8").tobytes()
    checksum = google_crc32c.value(index).to_bytes(4, "little")
    partial = file.with_suffix(f".{uuid.uuid4().hex}.partial")
    partial.write_bytes(b"".join([*good, index, checksum]))
    partial.replace(file)
