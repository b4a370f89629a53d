"""Small stores of two laboratories, and what is in a store as plain xarray and zarr see it."""

import json
import shutil
import zipfile

import numpy as np
import zarr
from store_model import LIMITS, open_tree
from stores import add
from zarr.storage import LocalStore

from reprostore import layout
from reprostore.embed import EncoderHandle, RunVectors
from reprostore.ingest import ingest
from reprostore.specs import DatasetSpec, EncoderSpec, ModelSpec, Subset
from reprostore.store import create_store
from reprostore.store.arrays import open_array
from reprostore.store.dataset_attributes import sealed
from reprostore.testing.store import fake_states, run_spec, write_units

__all__ = ["LIMITS", "open_tree"]


def small_units(patch):
    for name, value in LIMITS.items():
        patch.setattr(layout, name, value)


def laboratory(path, runs, *, device="cpu", **about):
    """Make a store with one session and runs that it wrote: (spec, seeds) each."""
    store = create_store(path, **about)
    session = store.start_session({"device": device, "batch_size": 2, "host": path.name})
    for spec, seeds in runs:
        write_units(add(store, spec, seeds), session)
    return store


def shifted(by, seeds=None):
    """Give states that differ from the usual ones by a constant, of some seeds or all."""

    def states(spec, seed, row):
        sample, denoised = fake_states(spec, seed, row)
        return (sample, denoised) if seeds is not None and seed not in seeds else (
            (sample + sample.dtype.type(by)), denoised
        )  # fmt: skip

    return states


def trained(spec, dataset, index="0-9", held_out=None):
    """Say of a run's model what it was trained on."""
    model = ModelSpec(
        source=spec.model_spec.source,
        trained_on=Subset(dataset=dataset, index=index),
        held_out=held_out,
    )
    return spec.model_copy(update={"model_spec": model})


def add_dataset(store, name, seed=0, count=20, shape=(1, 2, 2), **values):
    """Read random uint8 images into a store."""
    file = store.path.parent / f"{store.path.stem}-{name}.npy"
    rng = np.random.default_rng(seed)
    np.save(file, rng.integers(0, 256, (count, *shape[1:], shape[0]), dtype=np.uint8))
    return ingest(store, name, DatasetSpec(source=file.name, **values), file.parent)


def pixel(name="pixel", **other):
    """Return the encoder of pixels, or one that says to be another."""
    handle = EncoderHandle(name, EncoderSpec(kind="pixel"))
    handle.__dict__["identity"] = {**handle.identity, **other}
    return handle


def pack(path):
    """Put a store into an archive of uncompressed members."""
    target = path.with_suffix(".zip")
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(path.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(path).as_posix())
    return target


def withhold(path, run):
    """Take the samples of a run out of a store, as a pack of vectors alone does."""
    group = path / "runs" / run
    for name in ("sample", "denoised"):
        shutil.rmtree(group / name, ignore_errors=True)
    metadata = json.loads((group / "zarr.json").read_text())
    metadata["attributes"]["withheld"] = True
    (group / "zarr.json").write_text(json.dumps(metadata))


def withhold_items(dataset):
    """Take the items of a dataset out of its store, as a pack without datasets does."""
    group = dataset.store.path / dataset.group
    metadata = json.loads((group / "zarr.json").read_text())
    form = {"shape": list(dataset.items.shape), "dtype": str(dataset.items.dtype)}
    said = metadata["attributes"] | {"withheld": True, "items": form}
    metadata["attributes"] = sealed(dataset.name, said)
    (group / "zarr.json").write_text(json.dumps(metadata))
    shutil.rmtree(group / "item")


def arrays(path, below=""):
    """Return all arrays of a store, read with plain zarr: {path: values}."""
    root = zarr.open_group(LocalStore(path, read_only=True), mode="r")
    return {
        name: item[...]
        for name, item in root.members(max_depth=None)
        if hasattr(item, "dtype") and name.startswith(below)
    }


def by_seed(path, run):
    """Return all that a store has of each written seed of a run: {seed: {array: bytes}}."""
    found = arrays(path, f"runs/{run}/")
    values = {name.rsplit("/", 1)[-1]: array for name, array in found.items()}
    names = [n for n in ("sample", "denoised", "digest", "session", "noise_probe") if n in values]
    return {
        int(seed): {name: values[name][slot].tobytes() for name in names}
        for slot, seed in enumerate(values["seed"])
        if values["status"][slot]
    }


def vectors(store, run, encoder):
    """Return the vectors of a run's samples that are in the store: {(seed, row): values}."""
    held = RunVectors(store, encoder, run)
    if not held.current():
        return {}
    values = open_array(store.zarr_store, f"{held.group}/vector")[...]
    marks = open_array(store.zarr_store, f"{held.group}/source_digest")[...]
    digests = run.recorded("digest")
    return {
        (int(seed), row): values[slot, row]
        for slot, seed in enumerate(run.seeds[: len(marks)])
        for row in range(values.shape[1])
        if marks[slot, row] == digests[slot] != 0
    }


def run_of(name="unet", **values):
    """Return a run of three recorded steps with `denoised`, whose units hold four seeds."""
    return run_spec(name, **{"denoised": True, **values})
