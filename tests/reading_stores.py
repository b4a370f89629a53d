"""A small store of every kind of group, and all that is read of it, for tests that damage it."""

import os
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from analyzing import add_dataset, pictures, subset
from fuzzing import outcome

from reprostore import layout
from reprostore.contents import store_contents
from reprostore.embed import EncoderHandle, embed_dataset, embed_run
from reprostore.embed.runs import RunVectors
from reprostore.errors import ReprostoreError
from reprostore.ingest import StoredDataset
from reprostore.neighbors import run_neighbors
from reprostore.specs import EncoderSpec, ModelSpec
from reprostore.store import create_store, open_store
from reprostore.store.checked import CheckedArray
from reprostore.store.labelled import read_labelled
from reprostore.testing.store import fake_states, run_spec, step_table, write_units
from reprostore_analyses import reproducibility

PIXEL = EncoderHandle("pixel", EncoderSpec(kind="pixel"))
SEEDS = [3, 1, 4, 15, 9, 2]
SHAPE = (1, 5, 5)


def states(spec, seed, row):
    """Return states that tell the models apart."""
    return fake_states(spec, seed + 1000 * ord(spec.model), row)


def build(folder):
    """Write two runs of two units, a dataset, vectors, neighbors and a result."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "UNIT_SEEDS", 4)
        store = create_store(folder / "store.zarr", title="Fuzzed")
        dataset, _ = add_dataset(store, folder, pictures(5, shape=SHAPE), held_out="4")
        for model in "ab":
            spec = run_spec(
                model, "s", sample_shape=SHAPE, steps=(0, 1, 5), denoised=True, weights=model * 64
            )
            known = ModelSpec(source=model, trained_on=subset("0-3"))
            spec = spec.model_copy(update={"model_spec": known})
            run = store.add_run(spec, step_table(spec), SEEDS)
            session = store.start_session({"device": "cpu", "batch_size": 2})
            write_units(run, session, states=states)
            embed_run(store, PIXEL, run)
            run_neighbors(store, PIXEL, run, dataset, "0-3")
        embed_dataset(store, PIXEL, dataset)
        reproducibility(store, encoder="pixel", threshold=0.6)
    return store.path


def read_all(path, about="runs"):
    """Return what is read of a store, by name: values, or errors of ours.

    `about` is the first part of the path of what was damaged; what does not depend on it is left
    out: "results" is read from itself alone, "runs" are in everything.
    """
    store = outcome(open_store, path)
    if isinstance(store, ReprostoreError):
        return {"store": store}
    found = {
        "root": outcome(lambda: store.attributes and None),
        "repr": outcome(lambda: repr(store) and None),
        "contents": outcome(store_contents, store),
    }
    if about in {"runs", "sessions", "zarr.json"}:
        runs = outcome(store.runs)
        for run in [] if isinstance(runs, ReprostoreError) else runs:
            found |= {f"{run.path} {name}": value for name, value in _run(store, run).items()}
        found["samples"] = outcome(_computed, store.samples)
        found["final"] = outcome(_computed, store.final_samples)
    if about in {"datasets", "zarr.json"}:
        dataset = outcome(StoredDataset, store, "items")
        if not isinstance(dataset, ReprostoreError):
            found["items"] = outcome(dataset.read, slice(None))
            found["labels"] = outcome(lambda: dataset.labels)
            found["index"] = outcome(dataset.index, "all")
            found["fingerprint"] = dataset.fingerprint
    if about in {"neighbors", "results"}:
        for key in sorted(group_keys(path)):
            found[key] = outcome(_labelled, store.path, key)
    if about == "embeddings":
        found |= _vectors(store)
    if about != "results":
        for model in "ab":
            found[f"neighbors of {model}"] = outcome(_neighbors, store, model)
    found["result"] = outcome(_result, store)
    return found


def _vectors(store):
    found = {}
    for model in "ab":
        run = store.run(f"{model}/s/none")
        vectors = RunVectors(store, PIXEL, run)
        found[f"missing of {model}"] = outcome(vectors.missing, 2)
        found[f"vectors of {model}"] = outcome(lambda v=vectors: v.read(np.arange(len(SEEDS))))
    of_items = outcome(embed_dataset, store, PIXEL, StoredDataset(store, "items"))
    found["vectors of items"] = (
        of_items if isinstance(of_items, ReprostoreError) else outcome(lambda: of_items[0:5])
    )
    return found


def group_keys(path):
    """Return the groups that `read_labelled` reads."""
    groups = [*path.glob("neighbors/*/*/runs/*/*/*"), *path.glob("results/*/*")]
    return [group.relative_to(path).as_posix() for group in groups if group.is_dir()]


def _run(store, run):
    found = {
        "spec": outcome(lambda: run.spec),
        "repr": outcome(lambda: repr(run) and None),
        "seeds": outcome(lambda: run.seeds),
        "status": outcome(lambda: run.status),
        "written": outcome(lambda: run.written()[1]),
        "units": outcome(lambda: [tuple(vars(unit).values()) for unit in run.units()]),
        "missing": outcome(run.missing_units),
        "table": outcome(lambda: np.stack(list(vars(run.step_table()).values()))),
    }
    for name in ("digest", "session", "noise_probe"):
        found[name] = outcome(run.recorded, name)
    for name in ("sample", "denoised"):
        found[name] = outcome(lambda name=name: CheckedArray(run, name)[:])
    if isinstance(found["session"], np.ndarray):
        found["who"] = outcome(lambda: [store.session(int(n)) for n in found["session"][:1]])
    return found


def _computed(samples):
    dataset = samples().compute(scheduler="synchronous")
    return {name: dataset[name].values for name in dataset.variables}


def _labelled(path, key):
    dataset = read_labelled(path, key)
    return {str(name): dataset[name].values for name in dataset.variables} | {
        "attrs": dataset.attrs
    }


def _neighbors(store, model):
    run, dataset = store.run(f"{model}/s/none"), StoredDataset(store, "items")
    found = run_neighbors(store, PIXEL, run, dataset, "0-3")
    return {str(name): found[name].values for name in found.variables}


def _result(store):
    found = reproducibility(store, encoder="pixel", threshold=0.6)
    return {str(name): found[name].values for name in found.variables}


def same(one, other):
    """Say whether two values are equal, NaN being equal to NaN."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return (
            one.dtype == other.dtype
            and one.shape == other.shape
            and one.tobytes() == other.tobytes()
        )
    return bool(one == other)


@contextmanager
def spared(path):
    """Let the block damage a store, and put back what it was."""
    kept = path.with_name("kept")
    if not kept.exists():
        shutil.copytree(path, kept)
    try:
        yield
    finally:
        for leftover in (path, path.with_name(f"{path.name}.lock")):
            if leftover.is_symlink() or leftover.is_file():
                leftover.unlink()
            else:
                shutil.rmtree(leftover, ignore_errors=True)
        shutil.copytree(kept, path, copy_function=os.link)
