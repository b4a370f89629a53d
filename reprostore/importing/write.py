"""Imported samples into the store, unit by unit."""

import importlib.metadata
import platform
import socket
from collections.abc import Callable
from typing import Any

import numpy as np

from reprostore.importing.existing import check_existing
from reprostore.importing.prepared import PreparedImport, prepared_import
from reprostore.importing.request import ImportRequest
from reprostore.importing.samples import require_same_seeds
from reprostore.importing.vectors import ImportedVectors
from reprostore.store import Run, SampleStore, StepTable, Unit
from reprostore.store.checked import CheckedArray
from reprostore.store.locks import locked
from reprostore.store.run import WRITTEN
from reprostore.store.units import UnitWriter

Progress = Callable[[str, int, int], None]
"""Called after every batch with the run's path, and how many of its samples are finished, and how
many there are."""

_FINISHED_IMAGES = StepTable(sigma=np.zeros(1), alpha=np.ones(1), timestep=np.full(1, np.nan))


def import_samples(
    store: SampleStore, request: ImportRequest, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Import samples that were made elsewhere as a run.

    The source is read twice, once to check all of it before anything is written. A repetition
    does nothing, and one after an interruption writes what is missing.

    Parameters
    ----------
    store : SampleStore
        The store, open for writing.
    request : ImportRequest
        The samples, and what is known of them.
    progress : callable, optional
        Called after every batch.

    Returns
    -------
    dict
        `run`, its path; `kind`, "images" or "vectors"; how many `seeds` the source has and how
        many of them were `written` now; `noise`, as in `RunSpec`; `notes`, sentences that the user
        should read.

    Raises
    ------
    ReprostoreError
        See `prepared_import` for the source. IdentityError where the run is in the store and was
        made from something else, StorageError where the store cannot be written.
    """
    with prepared_import(request) as prepared:
        return write_import(store, prepared, progress)


def write_import(
    store: SampleStore, prepared: PreparedImport, progress: Progress | None = None
) -> dict[str, Any]:
    """Write what was prepared; see `import_samples`."""
    store.require_writable()
    check_existing(store, prepared)
    spec, samples = prepared.spec, prepared.samples
    run = store.add_run(spec, _FINISHED_IMAGES, samples.seeds, withheld=prepared.withheld)
    written = _Writing(store, run, prepared, progress or (lambda path, done, total: None)).all()
    notes = list(samples.notes)
    if spec.noise == "unknown":
        notes.append(
            f"The noise of {run.path} is not known: comparisons with other runs are refused unless "
            "allow_unchecked = true says that equal seeds mean equal noise."
        )
    return {
        "run": run.path,
        "kind": "vectors" if prepared.withheld else "images",
        "seeds": len(samples.seeds),
        "written": written,
        "noise": spec.noise,
        "notes": notes,
    }


class _Writing:
    """The units of one import, recorded as a session when the first of them is begun."""

    def __init__(
        self, store: SampleStore, run: Run, prepared: PreparedImport, progress: Progress
    ) -> None:
        self._store = store
        self._run = run
        self._prepared = prepared
        self._progress = progress
        self._session: int | None = None
        self._vectors: ImportedVectors | None = None

    def all(self) -> int:
        """Write the units in which samples of the source are missing; count the new samples."""
        run, samples = self._run, self._prepared.samples
        total, status = len(samples.seeds), run.status
        mine = np.isin(run.seeds[: len(status)], samples.seeds)
        done = int((mine & (status == WRITTEN)).sum())
        written = 0
        for unit in run.missing_units():
            region = slice(unit.start, unit.stop)
            if not (mine & (status != WRITTEN))[region].any():
                continue
            with locked(self._store.path, f"{run.group}/unit-{unit.index}"):
                now = run.unit(unit.index)
                region = slice(now.start, now.stop)
                missing = run.seeds[region][run.status[region] != WRITTEN]
                require_same_seeds(missing.tolist(), samples.seeds, samples.what)
                if len(missing) and self._prepared.withheld:
                    self._write_vectors(now)
                elif len(missing):
                    self._write_samples(now)
            written += len(missing)
            done = min(total, done + len(missing))
            self._progress(run.path, done, total)
        return written

    @property
    def _number(self) -> int:
        if self._session is None:
            self._session = self._store.start_session(_record(self._prepared))
        return self._session

    def _write_samples(self, unit: Unit) -> None:
        writer = UnitWriter(self._run, unit, self._number)
        for slots in writer.batches(self._prepared.spec.batch_size):
            inside = slice(slots.start - unit.start, slots.stop - unit.start)
            seeds, kept = writer.seeds[inside], writer.kept[inside]
            states, probes = self._prepared.states(seeds[~kept])
            block = np.empty((len(slots), *states.shape[1:]), dtype=states.dtype)
            noise = np.full((len(slots), probes.shape[1]), np.nan, dtype=np.float32)
            block[~kept], noise[~kept] = states, probes
            if kept.any():  # they keep their bytes: what is put for them is only compared
                stored = CheckedArray(self._run, "sample")
                block[kept] = stored[slots.start : slots.stop, 0][kept]
            writer.put_noise(slots, noise)
            writer.put(slots, 0, block)
        writer.finish()

    def _write_vectors(self, unit: Unit) -> None:
        if self._vectors is None:
            self._vectors = ImportedVectors(self._store, self._run, self._prepared)
        self._vectors.write(unit, self._number)


def _record(prepared: PreparedImport) -> dict[str, Any]:
    """Return what a session records of an import.

    Names of packages stand apart from the versions that change the bits of generated samples:
    reading is lossless.
    """
    packages = ("reprostore", "numpy", "pillow") if prepared.request.source.is_dir() else (
        "reprostore", "numpy"
    )  # fmt: skip
    return {
        "imported_from": str(prepared.request.source),
        "files": prepared.samples.files,
        "content": prepared.samples.digest,
        "noise": prepared.request.noise,
        "read_with": {name: importlib.metadata.version(name) for name in packages},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "host": socket.gethostname(),
    }
