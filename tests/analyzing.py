"""Stores whose samples have chosen values, and the same scores by plain NumPy."""

import hashlib
from pathlib import Path

import numpy as np
import xarray as xr

from reprostore.ingest import ingest
from reprostore.specs import DatasetSpec, ModelSpec, Subset
from reprostore.testing.store import run_spec, step_table, write_units

SHAPE = (1, 5, 5)


def pictures(count, seed=0, shape=SHAPE):
    """Return random 8-bit images, (count, *shape)."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def levels(images):
    """Return float32 samples that a PNG file would show as these images."""
    return (images / 127.5 - 1).astype(np.float32)


def add_run(store, model, samples, *, sampler="s", dtype="uint8", batch_size=2, probe=None,
            session=None, spec=None, **known):  # fmt: skip
    """Add a run with chosen final samples.

    Parameters
    ----------
    samples : dict
        Sample by seed; the order of the keys is that of the slots.
    probe : callable, optional
        Changes the noise probes, (seed, 8).
    session : dict, optional
        What the session records.
    spec : dict, optional
        Fields of the RunSpec to replace.
    **known
        Fields of the ModelSpec.
    """
    first = next(iter(samples.values()))
    made = run_spec(model, sampler, sample_shape=first.shape, steps=(3,), batch_size=batch_size,
                    dtype=dtype, weights=hashlib.sha256(model.encode()).hexdigest())  # fmt: skip
    made = made.model_copy(
        update={"model_spec": ModelSpec(source=f"checkpoints/{model}", **known), **(spec or {})}
    )
    run = store.add_run(made, step_table(made), list(samples))
    number = store.start_session({"batch_size": batch_size, "device": "cpu", **(session or {})})
    write_units(run, number, states=lambda spec, seed, row: (samples[seed], None))
    if probe is not None:
        array = run.array("noise_probe")
        array[...] = probe(array[...])
    return run


def add_dataset(store, folder, items, name="items", **fields):
    """Save items beside the store and read them in."""
    Path(folder).mkdir(exist_ok=True)
    np.save(Path(folder) / f"{name}.npy", items)
    spec = DatasetSpec(source=f"{name}.npy", **fields)
    return ingest(store, name, spec, Path(folder)), spec


def subset(index, name="items"):
    return Subset(dataset=name, index=index)


def cosine(a, b):
    """Return the mean-removed cosine of two images, or 0 where one is constant."""
    a, b = (image.astype(np.float64).ravel() - image.astype(np.float64).mean() for image in (a, b))
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return 0.0 if norms == 0 else float(np.dot(a, b) / norms)


def open_tree(store):
    """Open all of a store as xarray does unaided; warnings are errors in tests."""
    return xr.open_datatree(store.path, engine="zarr", chunks={}, consolidated=False)


def damage(folder, kind):
    """Damage the chunk files of one array: "flip" a byte, "cut" or "delete" them."""
    files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    files = [path for path in files if path.name != "zarr.json"]
    assert files
    for path in files:
        content = bytearray(path.read_bytes())
        if kind == "delete":
            path.unlink()
        elif kind == "cut":
            path.write_bytes(content[: len(content) // 2])
        elif kind == "empty":
            path.write_bytes(b"")
        else:
            content[len(content) // 3] ^= 0x10
            path.write_bytes(content)
