"""Make format1.zarr, the small store of format 1 that has to stay readable.

Run it as ``python tests/data/make_format1.py FOLDER``, into another folder than this: the committed
store is not made again, for reading what was just written says nothing about older stores.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.specs import DatasetSpec, ModelSpec, RunSpec, Subset
from reprostore.store import SampleStore, create_store
from reprostore.testing.store import run_spec, step_table, write_units
from reprostore_analyses.context import Context
from reprostore_analyses.generalization import GeneralizationOptions, generalization


def closed_form(spec: RunSpec, seed: int, row: int) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return states that are seed * 100 + row everywhere; denoised is its negative.

    uint8 images hold the seed; `denoised` is NaN in the last row, as where sigma is not 0.
    """
    dtype = np.dtype(spec.stored_dtype)
    if dtype.kind == "u":
        return np.full(spec.sample_shape, seed, dtype), None
    sample = np.full(spec.sample_shape, seed * 100 + row, dtype)
    if not spec.sampler_spec.denoised:
        return sample, None
    last = row == len(spec.steps) - 1
    return sample, np.full_like(sample, np.nan) if last else -sample


def make(path: Path) -> SampleStore:
    """Write two models: "alpha" with three kinds of runs, and "beta", half written.

    Parameters
    ----------
    path : Path
        Where the store is made; nothing stands there yet.
    """
    store = create_store(
        path, title="A store of format 1", license="CC0-1.0", creators=["The reprostore developers"]
    )
    session = store.start_session({"device": "cpu", "threads": 1, "batch_size": 4})
    trajectory = run_spec(
        "alpha", "half", kind="trajectory", sample_shape=(3, 2), steps=(0, 5), dtype="float16"
    )
    runs = [
        (run_spec("alpha", "all", steps=range(4), batch_size=4, denoised=True), range(6)),
        (run_spec("beta", "all", steps=range(4), batch_size=4, denoised=True), [3, 9, 1]),
        (trajectory, [7, 2]),
        (run_spec("alpha", "bytes", sample_shape=(3, 2, 2), steps=(20,), dtype="uint8"), range(5)),
    ]
    for spec, seeds in runs:
        write_units(store.add_run(spec, step_table(spec), seeds), session, states=closed_form)
    spec, _ = runs[0]
    write_units(store.add_run(spec, step_table(spec), [10, 11]), session, states=closed_form)
    unwritten = run_spec("beta", "later", steps=(50,))
    store.add_run(unwritten, step_table(unwritten), [0, 1])
    return store


def one_hot(spec: RunSpec, seed: int, row: int) -> tuple[NDArray[Any], None]:
    """Return an image that is white in one pixel, number 3 - seed."""
    image = np.zeros(spec.sample_shape, np.uint8)
    image.flat[3 - seed] = 255
    return image, None


def derive(store: SampleStore, folder: Path) -> None:
    """Add a dataset of four one-hot images, a model of such samples, and all that follows.

    Parameters
    ----------
    store : SampleStore
        The store.
    folder : Path
        Where the source of the dataset lies for a moment; readers do without it.
    """
    spec = run_spec("gamma", "bytes", sample_shape=(1, 2, 2), steps=(20,), dtype="uint8")
    session = store.start_session({"device": "cpu", "threads": 1, "batch_size": 4})
    write_units(store.add_run(spec, step_table(spec), range(4)), session, states=one_hot)
    source = folder / "onehot.npy"
    np.save(source, np.eye(4, dtype=np.uint8).reshape(4, 2, 2) * np.uint8(255))
    model = ModelSpec(source="checkpoints/gamma", trained_on=Subset(dataset="onehot"))
    context = Context(
        store,
        base=folder,
        models={"gamma": model},
        datasets={"onehot": DatasetSpec(source="onehot.npy")},
    )
    generalization(context, GeneralizationOptions(models=("gamma",), control=False))
    source.unlink()


if __name__ == "__main__":
    target = Path(sys.argv[1])
    derive(make(target / "format1.zarr"), target)
