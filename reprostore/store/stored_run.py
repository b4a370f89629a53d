"""What is stored of one run: its spec, its seeds, and which of them are written."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from reprostore.canonical import fingerprint
from reprostore.errors import CorruptionError, MissingDataError, StorageError
from reprostore.seeds import seeds_text, shorten
from reprostore.specs import RunSpec
from reprostore.store.archive import zarr_store
from reprostore.store.arrays import open_array, read_whole
from reprostore.store.files import store_files
from reprostore.store.forms import check_run_array
from reprostore.store.present import require_files

MISSING, WRITTEN = 0, 1
SEED_ARRAYS = ("seed", "sample", "denoised", "digest", "session", "noise_probe", "status")


@dataclass(frozen=True)
class StepTable:
    """The recorded steps' noise levels, each (steps,) float64.

    Attributes
    ----------
    sigma, alpha : ndarray
        Such that x_k ≈ alpha · (x_0 + sigma · ε).
    timestep : ndarray
        With which the model is next called on the state; NaN for the last.
    """

    sigma: NDArray[np.float64]
    alpha: NDArray[np.float64]
    timestep: NDArray[np.float64]


@dataclass(frozen=True)
class Unit:
    """Consecutive slots ``start`` to ``stop`` of the seed axis, owned by one writer."""

    index: int
    start: int
    stop: int


class StoredRun:
    """A run in a store.

    Parameters
    ----------
    store_path : Path
        Folder of the store.
    path : str
        Of the run: model/sampler/condition.
    read_only : bool
        Whether writing is refused.
    """

    def __init__(self, store_path: Path, path: str, *, read_only: bool = True) -> None:
        self.store_path = store_path
        self.path = path
        self.read_only = read_only
        self.zarr_store = zarr_store(store_path, read_only=read_only)
        self._told_apart = 0

    def __repr__(self) -> str:
        """Show the run's path and how much of it is written."""
        status = self.status
        return f"Run({self.path!r}, {int((status == WRITTEN).sum())} of {len(status)} seeds)"

    def require_writable(self) -> None:
        """Raise StorageError where the store was opened for reading only."""
        if self.read_only:
            raise StorageError(
                f"The store {self.store_path} was opened for reading only.",
                "Writing needs a store that was opened with mode 'r+'.",
                "Open it with open_store(path, mode='r+').",
            )

    @property
    def group(self) -> str:
        """Path of the run's group in the store."""
        return f"runs/{self.path}"

    @cached_property
    def spec(self) -> RunSpec:
        """What the run is, as recorded when it was created.

        Raises
        ------
        CorruptionError
            The group's attributes are not those of a run, or of another one.
        """
        try:
            group = zarr.open_group(self.zarr_store, path=self.group, mode="r", zarr_format=3)
            recorded = dict(cast("dict[str, Any]", group.attrs.asdict()["run"]))
            checksum = recorded.pop("checksum")
            found = fingerprint(recorded)
            recorded.pop("fingerprint")
            spec = RunSpec.model_validate(recorded)
        except Exception as error:  # damaged metadata raises errors of every kind
            raise CorruptionError(
                f"The attributes of the run {self.path} cannot be read ({shorten(str(error))}).",
                "A run's group carries its RunSpec, fingerprint and checksum.",
                f"Restore {self.store_path / self.group / 'zarr.json'} from a copy, or delete the "
                "run's folder and generate it again.",
            ) from error
        if found != checksum:
            raise CorruptionError(
                f"The attributes of the run {self.path} have the checksum {found}, and {checksum} "
                "is recorded.",
                "A run's attributes are never changed after it was created.",
                f"Restore {self.store_path / self.group / 'zarr.json'} from a copy, or delete the "
                "run's folder and generate it again.",
            )
        if spec.path != self.path:
            raise CorruptionError(
                f"The folder {self.group} holds the run {spec.path}.",
                "A run lies in the folder of its model, sampler and condition.",
                f"Restore {self.store_path / self.group} from a copy, or move the folder back to "
                f"runs/{spec.path} if it was moved.",
            )
        return spec

    @cached_property
    def withheld(self) -> bool:
        """Whether the samples are not in this store, but only what was made of them."""
        try:
            metadata = json.loads(store_files(self.store_path).read(f"{self.group}/zarr.json"))
            return metadata["attributes"].get("withheld") is True
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return False  # damage is told by who reads the spec

    def require_samples(self) -> None:
        """Raise MissingDataError where the samples were withheld."""
        if self.withheld:
            raise MissingDataError(
                f"The samples of the run {self.path} are not in the store {self.store_path}.",
                "Who made the store withheld them; it holds at most vectors of them.",
                "Analyze the run with an encoder whose vectors are there (`repro status` lists "
                "them), leave it out (models = [...]), or ask for its samples.",
            )

    def array(self, name: str) -> "zarr.Array[Any]":
        """Open one of the run's arrays.

        Raises
        ------
        CorruptionError
            There is none, or it is not what the run's spec says of it.
        """
        return open_array(
            self.zarr_store,
            f"{self.group}/{name}",
            lambda array: check_run_array(array, name, self.spec),
        )

    def _length(self) -> int:
        """Return the number of slots, of which all have a place in the files of `seed`."""
        length, seeds = self.array("status").shape[0], self.array("seed")
        if length:
            last = seeds.metadata.encode_chunk_key(((length - 1) // seeds.chunks[0],))
            if not store_files(self.store_path).size(f"{self.group}/seed/{last}"):
                raise CorruptionError(
                    f"The seeds of the run {self.path} are incomplete: of its {length} slots, the "
                    f"file {self.group}/seed/{last} does not exist or is empty.",
                    "Every slot of a run has its seed.",
                    f"Restore {self.store_path / self.group} from a copy, or delete the run's "
                    "folder and generate it again.",
                )
        return int(length)

    @property
    def status(self) -> NDArray[np.uint8]:
        """Which slots are written, (slot,); read anew, since other processes write too."""
        return read_whole(self.array("status"), slice(self._length()))

    @property
    def seeds(self) -> NDArray[np.int64]:
        """The seed of every slot, (slot,), in the order in which seeds were added."""
        status_length = self._length()
        # A run that is growing has longer arrays for a moment; status is resized last.
        seeds = read_whole(self.array("seed"), slice(status_length))
        if len(seeds) != status_length or (seeds < 0).any():
            raise CorruptionError(
                f"The seeds of the run {self.path} are incomplete: "
                f"{int((seeds >= 0).sum())} of {status_length} are there.",
                "Every slot of a run has its seed.",
                f"Restore {self.store_path / self.group / 'seed'} from a copy, or delete the "
                "run's folder and generate it again.",
            )
        if status_length > self._told_apart:
            self._refuse_equal(seeds)
            self._told_apart = status_length
        return seeds

    def _refuse_equal(self, seeds: NDArray[np.int64]) -> None:
        numbers, counts = np.unique(seeds, return_counts=True)
        if len(numbers) < len(seeds):
            raise CorruptionError(
                f"The seeds {seeds_text(numbers[counts > 1])} of the run {self.path} are in it "
                "more than once.",
                "Every slot of a run has a seed of its own.",
                f"Restore {self.store_path / self.group / 'seed'} from a copy, or delete the "
                "run's folder and generate it again.",
            )

    def written(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the written slots and their seeds, (written,) each."""
        status = self.status
        slots = np.flatnonzero(status == WRITTEN)
        return slots, self.seeds[slots]

    def recorded(self, name: str, region: slice = slice(None)) -> NDArray[Any]:
        """Return `digest`, `session` or `noise_probe` of the slots in a region, (slot, …).

        Raises
        ------
        CorruptionError
            The array is damaged, or a file of it is missing although its slots are written.
        """
        start, stop, _ = region.indices(self._length())
        status = read_whole(self.array("status"), slice(start, stop))
        array = self.array(name)
        rest = (0,) * (array.ndim - 1)
        for index in np.unique((start + np.flatnonzero(status == WRITTEN)) // array.chunks[0]):
            key = array.metadata.encode_chunk_key((int(index), *rest))
            if store_files(self.store_path).size(f"{self.group}/{name}/{key}") is None:
                raise CorruptionError(
                    f"The array {name} of the run {self.path} has no file {key}, although "
                    f"its seeds {self._unit_seeds(int(index))} are written.",
                    "Every written seed has its digest, session and noise probe.",
                    f"Restore {self.store_path / self.group / name} from a copy, or run `repro "
                    "verify --repair` on the store, and make these seeds again.",
                )
        return read_whole(array, slice(start, stop))

    def _unit_seeds(self, index: int) -> str:
        return seeds_text(self.seeds[index * self.unit_length : (index + 1) * self.unit_length])

    def step_table(self) -> StepTable:
        """Return the noise levels of the recorded steps."""
        arrays = [self.array(name) for name in ("sigma", "alpha", "timestep")]
        action = f"Restore {self.store_path / self.group} from a copy."
        for array in arrays:
            require_files(self.store_path, array, action)
        return StepTable(*map(read_whole, arrays))

    @cached_property
    def unit_length(self) -> int:
        """Slots of one work unit, fixed when the run was created."""
        length, other = (self.array(name).chunks[0] for name in ("digest", "status"))
        if length != other:
            raise CorruptionError(
                f"The arrays digest and status of the run {self.path} have chunks of {length} and "
                f"{other} slots.",
                "Their chunks are one work unit long.",
                f"Restore {self.store_path / self.group} from a copy.",
            )
        return length

    def units(self) -> list[Unit]:
        """Return all work units; the last may be shorter than the others."""
        length = self._length()
        return [
            Unit(index, start, min(start + self.unit_length, length))
            for index, start in enumerate(range(0, length, self.unit_length))
        ]

    def unit(self, index: int) -> Unit:
        """Return a work unit as long as it is now: others may have added seeds to the last one.

        The caller holds its lock, without which nobody writes into it.
        """
        start = index * self.unit_length
        return Unit(index, start, min(start + self.unit_length, self._length()))

    def missing_units(self) -> list[Unit]:
        """Return the units in which at least one slot is not written."""
        status = self.status
        return [unit for unit in self.units() if (status[unit.start : unit.stop] != WRITTEN).any()]
