"""Vectors of a run's samples, kept in the store and made where they are missing."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reprostore.embed.handle import EncoderHandle, Progress, checked_vectors, damaged, is_named
from reprostore.embed.pairwise import refuse_too_large
from reprostore.encoders import Encoder
from reprostore.errors import CorruptionError
from reprostore.images import to_uint8
from reprostore.store import Run, SampleStore
from reprostore.store.arrays import create_array, open_array, read_whole
from reprostore.store.checked import CheckedArray
from reprostore.store.forms import check_run_vectors
from reprostore.store.groups import remove_group, staged_group, storage_errors, sweep_partial
from reprostore.store.labelled import read_attributes
from reprostore.store.locks import locked

if TYPE_CHECKING:
    import zarr


def embed_run(
    store: SampleStore,
    encoder: EncoderHandle,
    run: Run,
    rows: tuple[int, ...] = (-1,),
    progress: Progress | None = None,
) -> "RunVectors":
    """Encode the written samples of a run that have no vector yet.

    Images are rounded to uint8 first, as a PNG would be. A vector is used only while the digest
    of the sample it was made from is that of the stored sample.

    Parameters
    ----------
    store : SampleStore
        The store; opened for writing where vectors are missing.
    encoder : EncoderHandle
        The encoder.
    run : Run
        The run.
    rows : tuple of int
        Which of the recorded steps, as positions; the last by default.
    progress : callable, optional
        Called after every unit with a name, the finished and all samples.

    Returns
    -------
    RunVectors
        Reads the vectors.
    """
    vectors = RunVectors(store, encoder, run)
    rows = tuple(row % len(run.spec.steps) for row in rows)
    missing = {row: slots for row in rows if len(slots := vectors.missing(row))}
    if not missing:
        return vectors
    run.require_samples()
    count = max(len(slots) for slots in missing.values())
    # Before anything is removed or locked: an encoder that cannot be loaded changes nothing.
    loaded = encoder.load(run.spec.sample_shape, store, f"{count} samples of the run {run.path}")
    refuse_too_large(encoder, len(run.seeds), loaded.dimension, f"the run {run.path}")
    with locked(store.path, vectors.group), storage_errors(store.path):
        vectors.prepare()
        vectors.create(loaded.dimension)
        for row in rows:
            vectors.fill(row, loaded, progress or (lambda name, done, total: None))
    return vectors


class RunVectors:
    """The vectors of one run under one encoder.

    In the store: `vector` (seed, step, embedding) float32, and `source_digest` (slot, step)
    uint64, the digest of the sample that was encoded, 0 where there is no vector. Its first
    dimension has a name of its own, so that xarray opens the group also when a process died
    between making the one and the other longer.

    Parameters
    ----------
    store, encoder, run
        Whose vectors.
    """

    def __init__(self, store: SampleStore, encoder: EncoderHandle, run: Run) -> None:
        self.store = store
        self.encoder = encoder
        self.run = run
        self.group = f"embeddings/{encoder.name}/runs/{run.path}"

    def _origin(self) -> dict[str, Any]:
        return {"encoder": self.encoder.fingerprint, "run": self.run.spec.fingerprint}

    def current(self) -> bool:
        """Say whether the store's vectors come from this encoder and this run."""
        attributes = read_attributes(self.store.path, self.group)
        return (
            attributes is not None
            and attributes.get("made_from") == self._origin()
            and is_named(attributes, self.encoder.name)
        )

    def missing(self, row: int) -> NDArray[np.int64]:
        """Return the written slots whose samples have no vector."""
        slots, _ = self.run.written()
        if not self.current():
            return slots
        digests = self.run.recorded("digest")[slots]
        made = self._made(row)
        stored = np.zeros(len(digests), dtype=np.uint64)
        within = slots < len(made)
        stored[within] = made[slots[within]]
        return np.asarray(slots[(stored != digests) | (stored == 0)])

    def _made(self, row: int) -> NDArray[np.uint64]:
        try:
            array = self._open("source_digest")
            length = min(array.shape[0], len(self.run.seeds))
            made: NDArray[np.uint64] = np.asarray(array[:length, row])
        except Exception:  # a damaged cache is made again
            return np.zeros(0, dtype=np.uint64)
        return made

    def prepare(self) -> None:
        """Remove vectors of another encoder or run, or of unknown samples, and what was cut off.

        The caller holds the lock.
        """
        sweep_partial(self.store.path, self.group)
        if read_attributes(self.store.path, self.group) is None:
            return
        try:
            read_whole(self._open("source_digest"), slice(len(self.run.seeds)))
            self._open("vector")
        except CorruptionError:
            remove_group(self.store.path, self.group)
        else:
            if not self.current():
                remove_group(self.store.path, self.group)

    def _open(self, name: str) -> "zarr.Array[Any]":
        steps = len(self.run.spec.steps)
        path = f"{self.group}/{name}"
        return open_array(
            self.store.zarr_store, path, lambda array: check_run_vectors(array, name, steps)
        )

    def create(self, dimension: int) -> None:
        """Create the arrays, or make them as long as the run; the caller holds the lock."""
        length, steps = len(self.run.seeds), len(self.run.spec.steps)
        unit = self.run.unit_length
        shapes: dict[str, tuple[int, ...]] = {
            "vector": (length, steps, dimension),
            "source_digest": (length, steps),
        }
        dims = {"vector": ("seed", "step", "embedding"), "source_digest": ("slot", "step")}
        if not self.current():
            with staged_group(self.store.path, self.group) as staging:
                for name, shape in shapes.items():
                    create_array(
                        staging.store,
                        name,
                        shape=shape,
                        dims=dims[name],
                        dtype="float32" if name == "vector" else "uint64",
                        chunks=(unit, 1, *shape[2:]),
                    )
                staging.attributes["made_from"] = self._origin()
                staging.attributes["encoder"] = self.encoder.identity
                staging.attributes["name"] = self.encoder.name
        for name, shape in shapes.items():
            array = self._open(name)
            if array.shape[0] < length:
                array.resize(shape)

    def fill(self, row: int, encoder: Encoder, progress: Progress) -> None:
        """Encode what is missing at one recorded step, unit by unit."""
        missing = self.missing(row)
        samples = CheckedArray(self.run, "sample")
        digests = self.run.recorded("digest")
        vector = self._open("vector")
        made = self._open("source_digest")
        # The run may have grown since the arrays were made as long as it.
        length = made.shape[0]
        missing = missing[missing < length]
        done = 0
        for unit in self.run.units():
            slots = missing[(missing >= unit.start) & (missing < unit.stop)]
            if len(slots) == 0:
                continue
            region = slice(unit.start, min(unit.stop, length))
            vectors = np.full((region.stop - region.start, vector.shape[2]), np.nan, np.float32)
            fresh = np.asarray(made[region, row])
            fresh[fresh != digests[region]] = 0
            kept = np.flatnonzero(fresh)
            if len(kept):
                try:
                    vectors[kept] = self._read(kept + unit.start, row)
                except CorruptionError:  # the whole unit is made again
                    slots = np.union1d(slots, kept + unit.start)
                    fresh[:], kept = 0, kept[:0]
            for start in range(0, len(slots), encoder.batch_size):
                part = slots[start : start + encoder.batch_size]
                states = samples[int(part[0]) : int(part[-1]) + 1, row][part - part[0]]
                vectors[part - unit.start] = self._encode(encoder, states)
            fresh[slots - unit.start] = digests[slots]
            # A reader trusts a vector by its digest: nothing is trusted while vectors change.
            made[region, row] = np.where(np.isin(np.arange(len(fresh)), kept), fresh, 0)
            vector[region, row] = vectors
            made[region, row] = fresh
            done += len(slots)
            progress(f"{self.encoder.name}: {self.run.path}", done, len(missing))

    def read(self, slots: NDArray[np.int64], row: int = -1) -> NDArray[np.float32]:
        """Read the vectors of slots at one recorded step, (slot, embedding).

        Damaged ones are made again where the store can be written and the encoder is known.

        Raises
        ------
        CorruptionError
            A vector is damaged, or was not made.
        """
        row = row % len(self.run.spec.steps)
        try:
            return self._read(slots, row)
        except CorruptionError:
            known = self.encoder.spec is not None and not self.run.withheld
            if self.store.read_only or not known or not self._forget(slots, row):
                raise
        return embed_run(self.store, self.encoder, self.run, (row,))._read(slots, row)

    def _forget(self, slots: NDArray[np.int64], row: int) -> bool:
        """Take the digests from the units whose vectors cannot be read; say whether there are."""
        found = False
        with locked(self.store.path, self.group), storage_errors(self.store.path):
            known = self._made(row)
            unit = self.run.unit_length
            for start in np.unique(slots[slots < len(known)] // unit * unit).tolist():
                made = start + np.flatnonzero(known[start : start + unit])
                try:
                    if len(made):
                        self._read(made, row)
                except CorruptionError:
                    region = slice(start, min(start + unit, len(known)))
                    array = self._open("source_digest")
                    array[region, row] = np.zeros(region.stop - start, dtype=np.uint64)
                    found = True
        return found

    def _read(self, slots: NDArray[np.int64], row: int) -> NDArray[np.float32]:
        try:
            array = self._open("vector")
            vectors = np.asarray(array[int(slots.min()) : int(slots.max()) + 1, row])
            values = vectors[slots - slots.min()]
        except Exception as error:
            raise damaged(self.store, self.group, str(error), withheld=self.run.withheld) from error
        if np.isnan(values).any():
            raise damaged(self.store, self.group, "vectors are absent", withheld=self.run.withheld)
        return np.asarray(values, dtype=np.float32)

    def _encode(self, encoder: Encoder, states: NDArray[Any]) -> NDArray[np.float32]:
        """Encode stored states: images as the PNG they would be, other samples as they are."""
        is_image = self.run.spec.kind == "image"
        items = to_uint8(states) if is_image else states.astype(np.float32)
        return checked_vectors(
            encoder.encode(items), self.encoder.name, f"samples of the run {self.run.path}"
        )
