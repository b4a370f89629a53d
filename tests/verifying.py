"""A small store with everything in it, and ways to damage its files."""

import json
import zipfile

import numpy as np
import pytest

from reprostore import layout, open_store
from reprostore.sharing.repair import repair_store
from reprostore.sharing.verify import verify_store
from reprostore.specs import DatasetSpec, ModelSpec, Subset
from reprostore.store import create_store
from reprostore.store.run import WRITTEN
from reprostore.testing.store import run_spec, step_table, write_units
from reprostore_analyses.context import Context
from reprostore_analyses.generalization import GeneralizationOptions, generalization

# Units and shards of 4 seeds, chunks of 2 seeds and one step.
FLOAT = run_spec("float", steps=(0, 1, 5), denoised=True)
BYTES = run_spec("bytes", steps=(7,), dtype="uint8")
SEEDS = [10, 11, 12, 13, 20, 21, 22, 23, 30, 31]
RUN = f"runs/{FLOAT.path}"


def make_run(path):
    """Make a store with one run alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "UNIT_SEEDS", 4)
        patch.setattr(layout, "CHUNK_BYTES", 25)
        store = create_store(path)
        run = store.add_run(FLOAT, step_table(FLOAT), SEEDS)
        write_units(run, store.start_session({"device": "cpu"}))
    return path


def make_store(path):
    """Make a store with two runs, a dataset, vectors of it and a run, neighbors and a result."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "UNIT_SEEDS", 4)
        patch.setattr(layout, "CHUNK_BYTES", 25)
        store = create_store(path)
        session = store.start_session({"device": "cpu"})
        for spec in (FLOAT, BYTES):
            write_units(store.add_run(spec, step_table(spec), SEEDS), session)
        items = np.random.default_rng(0).integers(0, 256, (6, 2, 2), dtype=np.uint8)
        np.save(path.parent / "items.npy", items)
        context = Context(
            store,
            base=path.parent,
            models={"bytes": ModelSpec(source="bytes", trained_on=Subset(dataset="items"))},
            datasets={"items": DatasetSpec(source="items.npy")},
        )
        generalization(context, GeneralizationOptions(models=("bytes",), control=False))
    return path


def found(path):
    """Return the damage as (kind, place, seeds, steps)."""
    report = verify_store(open_store(path))
    return [(f.kind, f.place, f.seeds, f.steps) for f in report.damage]


def notes(path):
    """Return what is no damage as (kind, place)."""
    return [(f.kind, f.place) for f in verify_store(open_store(path)).findings if not f.damage]


def chunk_span(file, chunks_per_shard, chunk):
    """Find a chunk in a shard file: the index is its last part, (offset, length) and a crc32c."""
    size = 16 * int(np.prod(chunks_per_shard))
    index = np.frombuffer(file.read_bytes()[-size - 4 : -4], "<u8").reshape(*chunks_per_shard, 2)
    return [int(number) for number in index[chunk]]


def flip(file, at=None):
    data = bytearray(file.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 0x10
    file.write_bytes(data)


CUTS = {
    "shortened": lambda file: file.write_bytes(file.read_bytes()[:-5]),
    "halved": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "emptied": lambda file: file.write_bytes(b""),
    "zeroed": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "deleted": lambda file: file.unlink(),
}


def edit(file, change):
    """Change a JSON document in place."""
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


def zipped(path, target):
    """Pack a store as it is, members uncompressed."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(path.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(path).as_posix())
    return target


def repair(path):
    """Repair what is damaged in a store; return what is left."""
    store = open_store(path, mode="r+")
    return repair_store(store, verify_store(store))


def missing(path):
    """Return the seeds of the run FLOAT that are not written."""
    run = open_store(path).run(FLOAT.path)
    return [seed for seed, s in zip(run.seeds.tolist(), run.status, strict=True) if s != WRITTEN]
