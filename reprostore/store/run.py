"""One run of the store, and how it grows."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import CorruptionError
from reprostore.seeds import checked_seeds
from reprostore.store.arrays import read_whole
from reprostore.store.groups import storage_errors
from reprostore.store.locks import locked
from reprostore.store.stored_run import (
    MISSING,
    SEED_ARRAYS,
    WRITTEN,
    StepTable,
    StoredRun,
    Unit,
)

__all__ = ["MISSING", "SEED_ARRAYS", "WRITTEN", "Run", "StepTable", "Unit"]


class Run(StoredRun):
    """A run in a store, which can grow along its seeds.

    Parameters
    ----------
    store_path : Path
        Folder of the store, or the archive that it was packed into.
    path : str
        Of the run: model/sampler/condition.
    read_only : bool
        Whether writing is refused.
    """

    def recover(self) -> None:
        """Roll a half-grown run back to the length of `status`; the caller holds the run's lock.

        A process that dies while a run grows leaves arrays of unequal length, which xarray
        cannot open. Nothing was written into the new slots yet, so they are taken away.
        """
        folder = self.store_path / self.group
        for leftover in [*folder.glob("*/*.partial"), *folder.glob("seed/c/*.partial")]:
            leftover.unlink(missing_ok=True)
        length = self._length()
        beyond = self.array("session")
        if read_whole(beyond, slice(length, None)).any():
            raise CorruptionError(
                f"The array status of the run {self.path} has {length} slots, and seeds beyond it "
                "were written.",
                "What a run has is written within the length of its status.",
                f"Restore {folder / 'status'} from a copy, or run `repro verify --repair` on the "
                "store.",
            )
        arrays = [self.array(name) for name in self._seed_arrays()]
        if min(array.shape[0] for array in arrays) < length:
            raise CorruptionError(
                f"The array status of the run {self.path} has {length} slots, and other arrays "
                f"{min(array.shape[0] for array in arrays)}.",
                "A run's status is lengthened last.",
                f"Restore {folder / 'status'} from a copy, or run `repro verify --repair` on the "
                "store.",
            )
        for array in arrays:
            if array.shape[0] != length:
                array.resize((length, *array.shape[1:]))

    def is_half_grown(self) -> bool:
        """Say, without opening arrays, whether the run has arrays of unequal length."""
        folder = self.store_path / self.group
        lengths = set()
        with contextlib.suppress(
            OSError, ValueError, LookupError, TypeError, RecursionError
        ):  # damage: not here
            for name in self._seed_arrays():
                metadata = json.loads((folder / name / "zarr.json").read_bytes())
                lengths.add(metadata["shape"][0])
        return len(lengths) > 1

    def _seed_arrays(self) -> list[str]:
        folder = self.store_path / self.group
        absent = ("sample", "denoised") if self.withheld else ("denoised",)
        return [n for n in SEED_ARRAYS if n not in absent or (folder / n).is_dir()]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run's lock, and roll back what a killed process left."""
        self.require_writable()
        with locked(self.store_path, f"{self.group}/run"):
            with storage_errors(self.store_path):
                self.recover()
            yield

    def grow(self, seeds: Sequence[int]) -> int:
        """Add those of `seeds` that the run does not have, in their order.

        Parameters
        ----------
        seeds : sequence of int
            Seeds from 0 to 2**32 - 1.

        Returns
        -------
        int
            How many were added.

        Raises
        ------
        StorageError
            The store cannot be written.
        """
        with self.locked(), storage_errors(self.store_path):
            old = self.seeds
            known = set(old.tolist())
            new = np.asarray([s for s in checked_seeds(seeds) if s not in known], dtype=np.int64)
            if len(new) == 0:
                return 0
            self.require_samples()
            try:
                self._lengthen(np.concatenate([old, new]))
            except BaseException:
                with contextlib.suppress(OSError, CorruptionError):  # the first error is told
                    self.recover()
                raise
            return len(new)

    def _lengthen(self, seeds: NDArray[np.int64]) -> None:
        for name in self._seed_arrays():
            array = self.array(name)
            if name == "status":  # the last: it is what says how long the run is
                self.array("seed")[...] = seeds
            array.resize((len(seeds), *array.shape[1:]))
