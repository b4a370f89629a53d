"""Repairing a store: what can be made again is marked missing or removed, nothing else."""

import json
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reprostore.errors import CorruptionError
from reprostore.sharing.checks.findings import UNREADABLE, Damage, Finding, Report
from reprostore.sharing.checks.forms import GROUP_KEYS, array_form, group_attributes, read_json
from reprostore.sharing.checks.run_damage import check_run
from reprostore.sharing.checks.run_forms import as_metadata, run_forms
from reprostore.sharing.checks.run_identity import run_identity
from reprostore.sharing.mend_unit import mend_unit
from reprostore.store import SampleStore
from reprostore.store.files import checked_files
from reprostore.store.groups import remove_group, staged_group, storage_errors
from reprostore.store.locks import locked
from reprostore.store.run import SEED_ARRAYS, Run

LOST = "The record of this session was lost; this one took its place when the store was repaired."

_ROUNDS = 4
"""Metadata that is written anew may show what is wrong with the data, and no more than that."""


def repair_store(store: SampleStore, report: Report) -> list[Finding]:
    """Repair what was found in a store, as far as it can be.

    Damaged seeds of runs become missing, so that `repro generate` makes them again; all other
    seeds keep their bytes. Damaged vectors, neighbors and results are removed, and made again when
    they are asked for. Metadata that a run's spec implies are written anew. Nothing else is
    touched: datasets and attributes of runs take their source, or a copy of the store. Entries of
    groups that are none of the format are taken out.

    It may be stopped at any time and repeated.

    Parameters
    ----------
    store : SampleStore
        Open for writing.
    report : Report
        Of `verify_store`.

    Returns
    -------
    list of Finding
        The damage that is left.

    Raises
    ------
    StorageError
        The store cannot be written.
    """
    store.require_writable()
    left: list[Finding] = []
    runs: list[str] = []
    for finding in report.damage:
        if finding.mending is None:
            left.append(finding)
        elif finding.mending == "group":
            _write_group(store, finding.place)
        elif finding.mending == "entries":
            _drop_entries(store, finding.place)
        elif finding.mending == "remove":
            with locked(store.path, finding.group):
                remove_group(store.path, finding.group)
        elif finding.group not in runs:
            runs.append(finding.group)
    for group in runs:
        found = _repair_run(store, group.removeprefix("runs/"))
        left = [finding for finding in left if finding.group != group] + found
    return left


def _write(file: Path, content: bytes) -> None:
    """Write a file of metadata in one move."""
    partial = file.with_name(f"{file.name}.{uuid.uuid4().hex}.partial")
    file.parent.mkdir(parents=True, exist_ok=True)
    partial.write_bytes(content)
    partial.replace(file)


def _write_group(store: SampleStore, group: str) -> None:
    document = {"attributes": {}, "zarr_format": 3, "node_type": "group"}
    with storage_errors(store.path):
        _write(store.path / group / "zarr.json", json.dumps(document, indent=2).encode())


def _drop_entries(store: SampleStore, group: str) -> None:
    key = f"{group}/zarr.json".lstrip("/")
    with locked(store.path, group or "root"), storage_errors(store.path):
        document = read_json(store.files, key)
        known = {name: value for name, value in document.items() if name in GROUP_KEYS}
        _write(store.path / key, json.dumps(known, indent=2).encode())


def _replace_session(store: SampleStore, group: str) -> None:
    with locked(store.path, group):
        try:
            record = group_attributes(store.files, group).get("session")
            known = dict(record) if isinstance(record, dict) else {}
        except Damage as damage:
            if UNREADABLE in str(damage):
                return
            known = {}
        if "started" not in known:
            with staged_group(store.path, group) as staging:
                staging.attributes["session"] = {**known, "started": "", "lost": LOST}


def _repair_run(store: SampleStore, path: str) -> list[Finding]:
    """Repair a run and return what is left."""
    group = f"runs/{path}"
    for _ in range(_ROUNDS):
        files = checked_files(store.path)
        found = check_run(files, path, list(files.walk(group))).findings
        if not any(finding.mending for finding in found):
            break
        for finding in found:
            if finding.mending == "session":
                _replace_session(store, finding.place)
        with locked(store.path, f"{group}/run"), storage_errors(store.path):
            _mend_metadata(store, path, found)
        slots = [finding.slots for finding in found if finding.mending == "seeds"]
        if slots:
            length = Run(store.path, path).unit_length
            for unit in np.unique(np.concatenate(slots) // length).tolist():
                mend_unit(store, path, unit, length)
    return [finding for finding in found if finding.damage]


def _mend_metadata(store: SampleStore, path: str, found: Sequence[Finding]) -> None:
    identity = run_identity(store.files, path)
    broken = {f.place.rpartition("/")[2] for f in identity.findings if f.mending == "array"}
    known = [form.shape[0] for name, form in identity.forms.items() if "seed" in form.dims]
    if broken and known:
        forms = run_forms(identity.spec, known[0], withheld=identity.withheld)
        for name in sorted(broken & forms.keys()):
            file = store.path / "runs" / path / name / "zarr.json"
            _write(file, as_metadata(forms[name]))
    if any(finding.mending == "length" for finding in found) and not broken:
        _mend_length(store, path)


def _mend_length(store: SampleStore, path: str) -> None:
    """Take away slots that nothing was written into; else it is the status that lost its length."""
    try:
        Run(store.path, path, read_only=False).recover()
    except CorruptionError:
        places = [f"runs/{path}/{name}" for name in SEED_ARRAYS if name != "status"]
        there = [place for place in places if store.files.exists(place)]
        lengths = {array_form(store.files, place)[0].shape[0] for place in there}
        if len(lengths) == 1:
            key = f"runs/{path}/status/zarr.json"
            document = read_json(store.files, key)
            document["shape"] = [*lengths]
            _write(store.path / key, json.dumps(document, indent=2).encode())
