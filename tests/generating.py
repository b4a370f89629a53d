"""Small studies for the tests of generating, and what is found on disk afterwards."""

import multiprocessing
from contextlib import contextmanager

import pytest
import torch
import zarr
from zarr.storage import LocalStore

import reprostore.generate
from reprostore import layout
from reprostore.studies import generate_study
from reprostore.study import LoadedStudy, Study

# A server that imports torch once; every child is forked from it and has its own process id.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["reprostore.generate", "reprostore.testing.models"])

FINAL = {"scheduler": "ddim", "steps": 3}
"""Deterministic; one shard a unit."""

PATH = {"scheduler": "ddpm", "steps": 3, "record": "all", "denoised": True}
"""Stochastic; several shards a unit of each array."""

LIMITS = {"UNIT_SEEDS": 8, "SHARD_BYTES": 12288}
"""With batches of four: two batches a unit, one batch of `PATH` a shard."""


@contextmanager
def small_units():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in LIMITS.items():
            patch.setattr(layout, name, value)
        yield


def study(base, seeds="0-9", samplers=None, models=("net",), store="store.zarr", **values):
    """Make a study; models are folders in `base` by name, or specs by name."""
    specs = models if isinstance(models, dict) else {name: {"source": name} for name in models}
    samplers = {"final": FINAL} if samplers is None else samplers
    content = {"batch_size": 4, "seeds": seeds, "models": specs, "samplers": samplers}
    return LoadedStudy(Study.model_validate({"store": str(store), **content, **values}), None, base)


def arrays(loaded, *, but=("session",)):
    """Return all arrays of all runs, read with plain zarr: {run/array: values}."""
    root = zarr.open_group(LocalStore(loaded.store_path, read_only=True), path="runs", mode="r")
    found = {path: item for path, item in root.members(max_depth=None) if hasattr(item, "dtype")}
    return {path: array[...] for path, array in found.items() if path.rsplit("/", 1)[-1] not in but}


def sample_bits(loaded, path, name="sample"):
    """Return each written seed's bytes of one run: {seed: bytes}."""
    found = arrays(loaded)
    seeds, status = found[f"{path}/seed"].tolist(), found[f"{path}/status"]
    values = found[f"{path}/{name}"]
    return {seed: values[i].tobytes() for i, seed in enumerate(seeds) if status[i]}


def assert_same_arrays(found, expected):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].dtype == values.dtype, name
        assert found[name].shape == values.shape, name
        assert found[name].tobytes() == values.tobytes(), name


def files(folder):
    """Return what stands in a folder: {path: (time of the last change, content)}."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def leftovers(loaded):
    """Return unfinished files, groups and marks of killed writers, in and beside the store."""
    parent = loaded.store_path.parent
    staging = parent / f"{loaded.store_path.name}.lock" / "staging"
    stray = [path for path in loaded.store_path.rglob("*") if ".partial" in path.name]
    return [*stray, *staging.glob("*")]


def counted_batches(patch):
    """Record the seeds of every batch that is computed from now on."""
    batches = []
    original = reprostore.generate.sampled_batch

    def counted(sampler, model, seeds, *args):
        batches.append(seeds.tolist())
        return original(sampler, model, seeds, *args)

    patch.setattr(reprostore.generate, "sampled_batch", counted)
    return batches


def altered_outputs(patch, alter):
    """Let networks that are loaded from now on give ``alter(output, number of the call)``."""
    original = reprostore.generate.load_model

    def load(*args):
        model = original(*args)
        calls = iter(range(10**9))

        def hook(module, inputs, output):
            output.sample = alter(output.sample, next(calls))

        model.network.register_forward_hook(hook)
        return model

    patch.setattr(reprostore.generate, "load_model", load)


def child(target, *args):
    """Start a function in a process of its own; return the process and our end of its pipe.

    It is called as ``target(connection, *args)`` with as many threads as this process has, since
    these can change bits.
    """
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(
        target=_run_child, args=(target, theirs, torch.get_num_threads(), *args), daemon=True
    )
    process.start()
    theirs.close()
    return process, ours


def _run_child(target, connection, threads, *args):
    torch.set_num_threads(threads)
    with small_units():
        target(connection, *args)
    connection.close()


def generate_reporting(connection, loaded):
    """Generate in a child, sending every report of progress and waiting for an answer."""

    def progress(*report):
        connection.send(report)
        connection.recv()

    generate_study(loaded, progress=progress)
