"""The numerical floor of a run: what another execution changes in its samples, kept in the store.

Reading one imports neither torch nor a model.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from reprostore.canonical import fingerprint, to_jsonable
from reprostore.errors import CorruptionError
from reprostore.neighbors import Written
from reprostore.store import Run, SampleStore
from reprostore.store.labelled import read_attributes, read_labelled, write_labelled

FLOOR = "numerical_floor"
"""Name of its groups below ``/results``."""

VERSION = 1
"""Raised when a change to this code changes what is stored: others are then not used."""

COMPARED = (
    "batch_size",
    "compute_dtype",
    "device",
    "device_name",
    "threads",
    "tf32",
    "versions",
    "machine",
    "host",
)
"""The parts of an execution that may change bits, in the order in which they are shown."""

_SHOWN = {"seed", "encoder", "digest", "identical", "similarity"}
"""What is read of a floor beside RP; in a store from elsewhere it may be missing."""


def stored_executions(
    store: SampleStore, run: Run, slots: NDArray[np.int64]
) -> tuple[list[dict[str, Any]], NDArray[np.int64]]:
    """Return how samples were computed when they were stored, and which of these each one was.

    Parameters
    ----------
    store, run
        Where they are.
    slots : ndarray of int64, shape (sample,)
        Written slots.

    Returns
    -------
    executions : list of dict
        What the sessions recorded of themselves, but for when they were started.
    which : ndarray of int64, shape (sample,)
        Positions in `executions`.
    """
    numbers, session = np.unique(run.recorded("session")[slots], return_inverse=True)
    executions: list[dict[str, Any]] = []
    places = []
    for number in numbers:
        found = store.session(int(number))
        found.pop("started", None)
        if found not in executions:
            executions.append(found)
        places.append(executions.index(found))
    return executions, np.asarray(places, dtype=np.int64)[session]


def keep_floor(store: SampleStore, floor: xr.Dataset) -> bool:
    """Write a floor into the store, beside those of other executions and of other choices.

    Parameters
    ----------
    store : SampleStore
        Left as it is where it was opened for reading only.
    floor : xarray.Dataset
        Of `reprostore.sharing.regeneration.regenerate.regenerate`.

    Returns
    -------
    bool
        Whether it was written.
    """
    if store.read_only:
        return False
    write_labelled(store.path, f"results/{FLOOR}/{fingerprint(floor.attrs['question'])}", floor)
    return True


def current_floors(store: SampleStore, runs: Sequence[Run]) -> dict[str, list[xr.Dataset]]:
    """Return the floors in a store that were measured on the samples it has now.

    Parameters
    ----------
    store : SampleStore
        The store.
    runs : sequence of Run
        Whose floors.

    Returns
    -------
    dict
        By run path, in the order of their keys. Those of other samples than the run holds today,
        of another version, and damaged ones are left out.
    """
    wanted = {run.path: run for run in runs}
    digests: dict[str, dict[int, int]] = {}
    found: dict[str, list[xr.Dataset]] = {}
    for key in store.files.folders(f"results/{FLOOR}"):
        target = f"results/{FLOOR}/{key}"
        try:
            attributes = read_attributes(store.path, target) or {}
            run = wanted.get(str(attributes.get("run")))
            if run is None or not _is_of(attributes, run):
                continue
            floor = read_labelled(store.path, target, sealed=True)
            if not _SHOWN.issubset(floor.variables.keys()):
                continue
            if run.path not in digests:
                written = Written.of(run)
                digests[run.path] = dict(
                    zip(written.seeds.tolist(), written.digests.tolist(), strict=True)
                )
            measured = zip(
                floor["seed"].values.tolist(), floor["digest"].values.tolist(), strict=True
            )
            if all(digests[run.path].get(seed) == digest for seed, digest in measured):
                found.setdefault(run.path, []).append(floor)
        except (CorruptionError, KeyError):  # what is in doubt is not used
            continue
    return found


def _is_of(attributes: Mapping[str, Any], run: Run) -> bool:
    question, made_from = attributes.get("question"), attributes.get("made_from")
    executions = attributes.get("stored_executions")
    return (
        isinstance(question, dict)
        and isinstance(made_from, dict)
        and question.get("version") == VERSION
        and made_from.get("run") == run.spec.fingerprint
        and isinstance(made_from.get("encoders"), dict)
        and isinstance(attributes.get("execution"), dict)
        and isinstance(executions, list)
        and all(isinstance(execution, dict) for execution in executions)
    )


def differences(floor: xr.Dataset, stored: int | None = None) -> dict[str, list[Any]]:
    """Return in what the execution of a floor differs from those in which samples were stored.

    Parameters
    ----------
    floor : xarray.Dataset
        The floor.
    stored : int, optional
        Position of one stored execution; all of them when left out.

    Returns
    -------
    dict
        By part of the execution, the values in the store and, as the last, that of today. Parts
        that the store does not record are left out.
    """
    executions = floor.attrs["stored_executions"]
    chosen = executions if stored is None else [executions[stored]]
    today = to_jsonable(floor.attrs["execution"])
    found: dict[str, list[Any]] = {}
    for key in COMPARED:
        values: list[Any] = []
        for execution in chosen:
            if key in execution and execution[key] not in values:
                values.append(execution[key])
        if any(value != today.get(key) for value in values):
            found[key] = [*values, today.get(key)]
    return found


def floor_rows(floor: xr.Dataset) -> list[dict[str, Any]]:
    """Return one row for each stored execution of a run, as the table and ``--json`` show it.

    Parameters
    ----------
    floor : xarray.Dataset
        Of `reprostore.sharing.regeneration.regenerate.regenerate`.

    Returns
    -------
    list of dict
        `run`, number of `seeds`, `identical` of them, largest `difference` and median of the
        seeds' medians `median_difference` in the units of the samples, the same in grey levels
        (`grey_difference`, `median_grey_difference`), the largest difference at each recorded
        step in `state_difference` by `steps`, in `encoders` the smallest `similarity` or largest
        `distance` by encoder, what `differs` between the executions, and both of them.
    """
    rows = []
    for place, stored in enumerate(floor.attrs["stored_executions"]):
        own = floor.isel(seed=np.flatnonzero(floor["stored_execution"].values == place))
        states = own["state_difference"].values
        row = {
            "run": str(floor.attrs["run"]),
            "seeds": own.sizes["seed"],
            "identical": int(own["identical"].values.astype(bool).sum()),
            "difference": float(states[:, -1].max()),
            "median_difference": float(np.median(own["median_difference"].values)),
            "grey_difference": float(own["grey_difference"].values.max()),
            "median_grey_difference": float(np.median(own["median_grey_difference"].values)),
            "steps": floor["step"].values.tolist(),
            "state_difference": states.max(axis=0).tolist(),
            "encoders": {
                str(name): {
                    "similarity": float(own["similarity"].sel(encoder=name).min(skipna=False)),
                    "distance": float(own["distance"].sel(encoder=name).max(skipna=False)),
                }
                for name in own["encoder"].values
            },
            "differs": differences(floor, place),
            "stored_execution": stored,
            "execution": floor.attrs["execution"],
        }
        rows.append(row)
    return rows
