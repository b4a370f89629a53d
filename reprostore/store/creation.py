"""A run's group with all of its arrays, complete or not at all."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reprostore.canonical import fingerprint
from reprostore.layout import PROBE_LENGTH, SEED_CHUNK, RunLayout
from reprostore.seeds import checked_seeds
from reprostore.specs import RunSpec
from reprostore.store.arrays import create_array, write_array
from reprostore.store.groups import staged_group
from reprostore.store.run import StepTable


def create_run(
    store_path: Path,
    spec: RunSpec,
    table: StepTable,
    seeds: Sequence[int],
    *,
    withheld: bool = False,
) -> None:
    """Create a run's group with all of its arrays, complete or not at all.

    Parameters
    ----------
    store_path : Path
        Folder of the store; the caller holds the run's lock.
    spec : RunSpec
        What the run is.
    table : StepTable
        Noise levels of the recorded steps.
    seeds : sequence of int
        The first seeds.
    withheld : bool
        Make no arrays for samples: only what is made of them comes into this store.
    """
    layout, numbers = RunLayout.of(spec), checked_seeds(seeds)
    count, steps = len(numbers), len(spec.steps)
    with staged_group(store_path, f"runs/{spec.path}") as staging:
        store = staging.store
        shards = {"sample": layout.shard, "denoised": layout.denoised_shard}
        names = ["sample", "denoised"] if layout.denoised else ["sample"]
        for name in [] if withheld else names:
            create_array(
                store,
                name,
                shape=(count, steps, *spec.sample_shape),
                dims=("seed", "step", *spec.sample_dims),
                dtype=spec.stored_dtype,
                chunks=(layout.chunk, 1, *spec.sample_shape),
                shards=(*shards[name], *spec.sample_shape),
            )
        for name, dtype in [("digest", "uint64"), ("session", "uint64"), ("status", "uint8")]:
            create_array(
                store, name, shape=(count,), dims=("seed",), dtype=dtype, chunks=(layout.unit,)
            )
        create_array(
            store,
            "noise_probe",
            shape=(count, PROBE_LENGTH),
            dims=("seed", "probe"),
            dtype="float32",
            chunks=(layout.unit, PROBE_LENGTH),
        )
        create_array(
            store, "seed", shape=(count,), dims=("seed",), dtype="int64", chunks=(SEED_CHUNK,),
            fill=-1,
        )[...] = np.asarray(numbers, dtype=np.int64)  # fmt: skip
        write_array(store, "step", np.asarray(spec.steps, dtype=np.int32), ("step",))
        for name in ("sigma", "alpha", "timestep"):
            write_array(store, name, np.asarray(getattr(table, name), np.float64), ("step",))
        recorded = {**spec.model_dump(mode="json"), "fingerprint": spec.fingerprint}
        staging.attributes["run"] = {**recorded, "checksum": fingerprint(recorded)}
        if withheld:
            staging.attributes["withheld"] = True
