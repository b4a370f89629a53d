"""The sample store: one Zarr group that holds runs, datasets, vectors, neighbors and results."""

import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reprostore.errors import MissingDataError, StorageError
from reprostore.specs import RunSpec
from reprostore.store.about import now, read_root_attributes
from reprostore.store.archive import zarr_store
from reprostore.store.creation import create_run
from reprostore.store.files import StoreFiles, run_folders, store_files
from reprostore.store.groups import staged_group
from reprostore.store.identity import check_identity
from reprostore.store.locks import locked
from reprostore.store.run import Run, StepTable

if TYPE_CHECKING:
    import xarray as xr

    from reprostore.store.reading import Names

Chosen = str | Sequence[str] | None
"""One name, several, or all."""


class SampleStore:
    """A store of diffusion-model samples.

    Use `create_store` and `open_store` to make one.

    Parameters
    ----------
    path : Path
        Folder of the store, or the archive that it was packed into.
    read_only : bool
        Whether writing is refused.
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self.zarr_store = zarr_store(path, read_only=read_only)

    def __repr__(self) -> str:
        """Show the path and the runs."""
        return f"SampleStore({str(self.path)!r}, {len(self.run_paths())} runs)"

    @property
    def files(self) -> StoreFiles:
        """The store's files, for reading."""
        return store_files(self.path)

    @property
    def attributes(self) -> dict[str, Any]:
        """Title, licence, creators, format and date of creation."""
        return read_root_attributes(self.path)

    def run_paths(self) -> list[str]:
        """Return the paths (model/sampler/condition) of all runs, sorted.

        Damaged runs are among them, so that opening one says what is wrong with it.
        """
        return run_folders(self.files, "runs")

    def runs(
        self,
        models: Chosen = None,
        samplers: Chosen = None,
        conditions: Chosen = None,
    ) -> list[Run]:
        """Return the runs whose names are among those given, or all, sorted by path."""
        filters = _names(models, samplers, conditions)
        chosen = []
        for path in self.run_paths():
            parts = path.split("/")
            if all(f is None or part in f for part, f in zip(parts, filters, strict=True)):
                chosen.append(self._run(path))
        return chosen

    def run(self, path: str) -> Run:
        """Return one run by its path, model/sampler/condition.

        Raises
        ------
        MissingDataError
            The store has no such run.
        """
        if path not in self.run_paths():
            raise MissingDataError(
                f"The store {self.path} has no run {path}.",
                f"Its runs are {', '.join(self.run_paths()) or 'none yet'}.",
                "Name one of these, or generate the run first.",
            )
        return self._run(path)

    def _run(self, path: str) -> Run:
        return Run(self.path, path, read_only=self.read_only)

    def add_run(
        self, spec: RunSpec, table: StepTable, seeds: Sequence[int], *, withheld: bool = False
    ) -> Run:
        """Create a run, or add seeds to it where it exists.

        Parameters
        ----------
        spec : RunSpec
            What the run is.
        table : StepTable
            Noise levels of the recorded steps.
        seeds : sequence of int
            Seeds that the run is to have; those that it has already are left alone.
        withheld : bool
            Make a new run without arrays for samples: only what was made of them is here.

        Returns
        -------
        Run
            The run, with all `seeds` in it, written or not.

        Raises
        ------
        IdentityError
            The run exists and is something else.
        StorageError
            The store cannot be written.
        """
        self.require_writable()
        run = self._run(spec.path)
        with locked(self.path, f"{run.group}/run"):
            exists = (self.path / run.group).exists()
            if exists:
                check_identity(run.spec, spec)
            else:
                create_run(self.path, spec, table, seeds, withheld=withheld)
        if exists:
            run.grow(seeds)
        return run

    def samples(
        self,
        models: Chosen = None,
        samplers: Chosen = None,
        conditions: Chosen = None,
    ) -> "xr.Dataset":
        """Return the samples of runs over (model, sampler, condition, seed, step), lazily.

        Nothing is filled or cast: the result has the seeds that all chosen runs have written,
        and the runs must agree in steps, sample shape and dtype.

        Parameters
        ----------
        models, samplers, conditions : str or sequence of str, optional
            Names of the runs; all when left out. Every combination must exist.

        Returns
        -------
        xarray.Dataset
            `sample` (model, sampler, condition, seed, step, …), as dask arrays whose chunks are
            whole chunks of the store: images in [-1, 1], or 0 to 255 where they are stored as
            uint8; `denoised` where all runs have it.

        Raises
        ------
        MissingDataError
            A combination or a common seed is missing.
        SpecError
            Steps, shapes or dtypes differ.
        """
        from reprostore.store.reading import combined_samples  # dask takes long to import

        names = _names(models, samplers, conditions)
        return combined_samples(self.runs(*names), names, final=False)

    def final_samples(
        self,
        models: Chosen = None,
        samplers: Chosen = None,
        conditions: Chosen = None,
    ) -> "xr.Dataset":
        """Return the last state of every run over (model, sampler, condition, seed), lazily.

        Like `samples`, but runs may have different numbers of steps.
        """
        from reprostore.store.reading import combined_samples  # dask takes long to import

        names = _names(models, samplers, conditions)
        return combined_samples(self.runs(*names), names, final=True)

    def start_session(self, execution: Mapping[str, Any]) -> int:
        """Record who writes: device, threads, batch size, versions, host and time, once.

        Returns
        -------
        int
            Number of the session, which is written beside every seed.
        """
        self.require_writable()
        number = secrets.randbits(63) | 1  # never 0, which stands for no session
        with staged_group(self.path, f"sessions/{number:016x}") as staging:
            staging.attributes["session"] = {"started": now(), **execution}
        return number

    def session(self, number: int) -> dict[str, Any]:
        """Return what a session recorded of itself.

        Raises
        ------
        MissingDataError
            There is no such session.
        """
        key = f"sessions/{number:016x}/zarr.json"
        try:
            return dict(json.loads(self.files.read(key))["attributes"]["session"])
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise MissingDataError(
                f"The session {number:016x} cannot be read from {self.path / key} ({error}).",
                "Every written seed names the session that wrote it.",
                "Restore the file from a copy.",
            ) from error

    def require_writable(self) -> None:
        """Raise StorageError where the store was opened for reading only."""
        if self.read_only:
            raise StorageError(
                f"The store {self.path} was opened for reading only.",
                "Writing needs a store that was opened with mode 'r+'.",
                "Open it with open_store(path, mode='r+').",
            )


def _names(*chosen: Chosen) -> "Names":
    models, samplers, conditions = ([c] if isinstance(c, str) else c for c in chosen)
    return models, samplers, conditions
