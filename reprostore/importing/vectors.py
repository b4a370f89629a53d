"""Imported vectors into the store, beside a run whose samples are withheld."""

from typing import Any

import numpy as np

from reprostore.embed import EncoderHandle
from reprostore.embed.pairwise import refuse_too_large
from reprostore.embed.runs import RunVectors
from reprostore.importing.existing import state_digests
from reprostore.importing.prepared import PreparedImport
from reprostore.store import Run, SampleStore, Unit
from reprostore.store.arrays import open_array, read_whole
from reprostore.store.groups import storage_errors
from reprostore.store.locks import locked
from reprostore.store.run import WRITTEN


class ImportedVectors:
    """Writes vectors and what the run records of the samples behind them.

    The digest of a withheld sample that only its vector is known of is that of the vector's
    float32 values: so vectors are checked against the run as those of stored samples are.

    Parameters
    ----------
    store : SampleStore
        The store, open for writing.
    run : Run
        The withheld run, with the seeds of the vectors.
    prepared : PreparedImport
        The vectors.
    """

    def __init__(self, store: SampleStore, run: Run, prepared: PreparedImport) -> None:
        request = prepared.request
        handle = EncoderHandle(str(request.encoder), None, recorded=request.encoder_identity())
        self._store = store
        self._run = run
        self._prepared = prepared
        (dimension,) = prepared.samples.shape
        refuse_too_large(handle, len(run.seeds), dimension, f"the run {run.path}")
        self._group = RunVectors(store, handle, run)
        with locked(store.path, self._group.group), storage_errors(store.path):
            self._group.prepare()
            self._group.create(dimension)

    def write(self, unit: Unit, session: int) -> None:
        """Write what is missing of one unit: the vectors first, the status last.

        Seeds that are written keep what is recorded of them, as after a repair of others.

        Parameters
        ----------
        unit : Unit
            Which unit; the caller holds its lock.
        session : int
            The session that writes.
        """
        run, region, path = self._run, slice(unit.start, unit.stop), self._group.group
        seeds, kept = run.seeds[region], run.status[region] == WRITTEN
        here = np.isin(seeds, self._prepared.samples.seeds)  # all that are missing, and others
        vectors, probes = self._prepared.states(seeds[here])
        digests = state_digests(vectors)
        with locked(self._store.path, path), storage_errors(self._store.path):
            # A reader trusts a vector by its digest, which is written after it.
            for name, values in {"vector": vectors, "source_digest": digests}.items():
                array = open_array(self._store.zarr_store, f"{path}/{name}")
                if not here.all():
                    whole = read_whole(array, region)[:, 0]
                    whole[here] = values
                    values = whole
                array[region, 0] = values
        recorded: dict[str, np.ndarray[Any, Any]] = {
            "digest": digests,
            "session": np.full(len(digests), session, dtype=np.uint64),
            "noise_probe": probes,
        }
        with storage_errors(self._store.path):
            for name, values in recorded.items():
                if kept.any():
                    whole = run.recorded(name, region)
                    whole[~kept] = values[~kept[here]]
                    values = whole
                run.array(name)[region] = values
            run.array("status")[region] = np.full(len(seeds), WRITTEN, dtype=np.uint8)
