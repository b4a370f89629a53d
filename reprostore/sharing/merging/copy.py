"""Runs written into the merged store: unit by unit, each seed with its own session and digest."""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from zarr.storage import LocalStore

from reprostore.canonical import fingerprint
from reprostore.errors import IdentityError, ReprostoreError
from reprostore.sharing.merging.runs import MergedRun
from reprostore.sharing.merging.states import recorded_names
from reprostore.sharing.merging.unit import UnitCopier
from reprostore.store import Run, SampleStore
from reprostore.store.creation import create_run
from reprostore.store.groups import staged_group, storage_errors
from reprostore.store.identity import check_identity
from reprostore.store.labelled import read_attributes
from reprostore.store.locks import lock_folder, locked
from reprostore.store.run import WRITTEN

_RECORDED = ("digest", "session", "noise_probe", "step", "sigma", "alpha", "timestep")

Progress = Callable[[str, int, int], None]
"""Called with what is copied, the finished seeds and all of them."""


def write_run(store: SampleStore, merged: MergedRun, progress: Progress | None) -> None:
    """Bring a run of the store into the state of the merged one.

    Finished units stay as they are, so that an interrupted merge goes on where it was. A run that
    the store has without its samples is made anew beside it and exchanged.

    Parameters
    ----------
    store : SampleStore
        The merged store, open for writing.
    merged : MergedRun
        What the run is to be.
    progress : callable, optional
        Called after every unit.

    Raises
    ------
    CorruptionError
        A state of a source is damaged; its unit is not written.
    IdentityError
        Another process has meanwhile made another run, or other samples of the same seeds.
    """
    path = merged.spec.path
    run = Run(store.path, path, read_only=False)
    with locked(store.path, f"{run.group}/run"):
        exists = (store.path / run.group).exists()
        if not exists:
            create_run(
                store.path, merged.spec, merged.table, merged.seeds.tolist(),
                withheld=merged.withheld,
            )  # fmt: skip
    scratch = _scratch(store, run)
    if exists:
        check_identity(run.spec, merged.spec)
        if run.withheld and not (merged.withheld and np.isin(merged.seeds, run.seeds).all()):
            _rebuild(store, run, merged, progress)
            return
        run.grow(merged.seeds.tolist())
    with locked(store.path, f"{run.group}/run"):
        if scratch.exists():  # of a merge that was interrupted when it had exchanged the run
            _remove(scratch)
    _fill(run, merged, progress)


def _fill(run: Run, merged: MergedRun, progress: Progress | None) -> None:
    """Write the seeds that are not written, under the locks of their units."""
    copier, status = UnitCopier(merged), run.status
    seeds = run.seeds[: len(status)]
    at = copier.found(run, seeds)
    missing = (at >= 0) & (status != WRITTEN)
    done, total = 0, int(missing.sum())
    for unit in run.units():
        count = int(missing[unit.start : unit.stop].sum())
        if count:
            with locked(run.store_path, f"{run.group}/unit-{unit.index}"):
                now = run.unit(unit.index)
                copier.copy(run, now, copier.found(run, run.seeds[now.start : now.stop]))
            done += count
            if progress is not None:
                progress(run.path, done, total)


def _rebuild(store: SampleStore, run: Run, merged: MergedRun, progress: Progress | None) -> None:
    """Write a run that was withheld anew, in a store beside the locks, and exchange it whole."""
    scratch = _scratch(store, run)
    with locked(store.path, f"{run.group}/run"), storage_errors(store.path):
        _check_unchanged(Run(store.path, run.path), merged)
        if not _is_begun(Run(scratch, run.path), merged):
            _remove(scratch)
            scratch.mkdir(parents=True)
            # What it is said to be is what the store says; only its samples are new.
            create_run(
                scratch, run.spec, merged.table, merged.seeds.tolist(), withheld=merged.withheld
            )
        made = Run(scratch, run.path, read_only=False)
        _fill(made, merged, progress)
        attributes = read_attributes(scratch, made.group) or {}
        with staged_group(store.path, run.group) as staging:
            assert isinstance(staging.store, LocalStore)
            Path(staging.store.root).mkdir(parents=True, exist_ok=True)
            for array in sorted((scratch / made.group).iterdir()):
                if array.is_dir():
                    array.rename(Path(staging.store.root) / array.name)
            staging.attributes.update(attributes)
        _remove(scratch)


def _check_unchanged(run: Run, merged: MergedRun) -> None:
    """Require that a run which is replaced has no more than was compared; its lock is held."""
    seeds, status = run.seeds, run.status
    at = merged.positions(seeds[status == WRITTEN])
    known = (at >= 0) & (merged.holder[at] >= 0)
    if not (run.withheld and np.array_equal(seeds, merged.seeds[: len(seeds)]) and known.all()):
        raise IdentityError(
            f"The run {run.path} was changed by another process while the stores were merged.",
            "A run that is here without its samples is replaced when they come.",
            "Merge again: what was written meanwhile is then compared.",
        )


def _scratch(store: SampleStore, run: Run) -> Path:
    return lock_folder(store.path) / "merging" / f"{fingerprint(run.path)}.zarr"


def _is_begun(made: Run, merged: MergedRun) -> bool:
    """Say whether an interrupted merge of the same samples left this run, all but some units."""
    with contextlib.suppress(ReprostoreError, OSError):
        for name in [*_RECORDED, *recorded_names(made)]:
            made.array(name)
        if (
            made.spec != merged.spec
            or made.withheld != merged.withheld
            or made.seeds.tolist() != merged.seeds.tolist()
        ):
            return False
        slots, _ = made.written()
        recorded = {"digest": merged.digests, "session": merged.sessions}
        return all(
            np.array_equal(made.recorded(name)[slots], values[slots])
            for name, values in recorded.items()
        )
    return False


def _remove(scratch: Path) -> None:
    for folder in (lock_folder(scratch), scratch):
        if folder.exists():
            shutil.rmtree(folder)
