"""A merge that is killed between any two changes of the file system, and repeated."""

import shutil

import numpy as np
import pytest
from merging import (
    add_dataset,
    arrays,
    by_seed,
    laboratory,
    open_tree,
    pixel,
    run_of,
    shifted,
    small_units,
    vectors,
    withhold,
)
from store_model import leftovers
from stores import add, content

from reprostore.embed import embed_run
from reprostore.ingest import StoredDataset
from reprostore.neighbors import SearchOptions, run_neighbors
from reprostore.sharing.merge import merge_stores
from reprostore.sharing.merging import copy
from reprostore.store import create_store, open_store
from reprostore.store.arrays import open_array
from reprostore.store.locks import lock_folder
from reprostore.testing.faults import killed_after
from reprostore.testing.store import run_spec, write_units

GROWN = run_of("grown")
COPIED = run_spec("copied", steps=(5,), weights="1" * 64)


@pytest.fixture(autouse=True)
def _small_units(monkeypatch):
    small_units(monkeypatch)


def grown_and_copied(folder):
    """One run of both stores, one of the other alone with a dataset, vectors and neighbors."""
    laboratory(folder / "a.zarr", [(GROWN, [0, 1, 2])])
    b = laboratory(folder / "b.zarr", [(GROWN, [5, 2, 6]), (COPIED, range(3))])
    run_neighbors(b, pixel(), b.run(COPIED.path), add_dataset(b, "digits", count=3), "all",
                  SearchOptions(k=1, engine="torch"))  # fmt: skip


def was_withheld(folder):
    """Samples come to a run that has none."""
    a = laboratory(folder / "a.zarr", [(GROWN, [4, 2, 0])])
    embed_run(a, pixel(), a.runs()[0])
    withhold(a.path, GROWN.path)
    laboratory(folder / "b.zarr", [(GROWN, range(6))])


def new_store(folder):
    laboratory(folder / "b.zarr", [(COPIED, range(3))], title="B")


def check_valid(path, before):
    """See that a store can be read at once, and that nothing that it had is lost."""
    if not path.exists():
        return
    store = open_store(path)
    for run in store.runs():
        slots, seeds = run.written()
        if not run.withheld and len(slots):
            store.samples(models=run.spec.model)["sample"].compute()
        for seed, digest in zip(
            seeds.tolist(), run.recorded("digest")[slots].tolist(), strict=True
        ):
            assert before.get((run.path, seed), digest) == digest
        assert {s for p, s in before if p == run.path} <= set(seeds.tolist())
    for name in store.files.folders("datasets"):
        StoredDataset(store, name).read(slice(None))
    open_store(path, mode="r+")  # shortens a run that was growing
    open_tree(path)


def digests(path):
    if not path.exists():
        return {}
    return {
        (run.path, int(seed)): int(digest)
        for run in open_store(path).runs()
        for seed, digest in zip(
            run.written()[1], run.recorded("digest")[run.written()[0]], strict=True
        )
    }


@pytest.mark.parametrize(
    ("prepare", "stride"),
    [
        (grown_and_copied, 300),
        (was_withheld, 200),
        *(
            pytest.param(prepare, 1, marks=pytest.mark.slow)
            for prepare in (grown_and_copied, was_withheld, new_store)
        ),
    ],
)
def test_killed_while_merging(tmp_path, prepare, stride):
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    prepare(prepared)
    before = digests(prepared / "a.zarr")
    whole = tmp_path / "whole"
    shutil.copytree(prepared, whole)
    merge_stores(whole / "a.zarr", [whole / "b.zarr"])
    expected = arrays(whole / "a.zarr")
    for after in range(stride // 2, 10_000, stride):
        folder = tmp_path / f"killed-{after}"
        shutil.copytree(prepared, folder)
        source = content(folder / "b.zarr")
        with killed_after(folder, after) as fault:
            merge_stores(folder / "a.zarr", [folder / "b.zarr"])
        check_valid(folder / "a.zarr", before)
        merge_stores(folder / "a.zarr", [folder / "b.zarr"])
        found = arrays(folder / "a.zarr")
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values, strict=True, err_msg=name)
        open_tree(folder / "a.zarr")
        assert leftovers(folder / "a.zarr") == []
        assert [*(lock_folder(folder / "a.zarr") / "merging").glob("*")] == []
        assert {k: v[0] for k, v in content(folder / "b.zarr").items()} == {
            k: v[0] for k, v in source.items()
        }
        shutil.rmtree(folder)
        if not fault.killed:
            assert after > stride // 2, "none was killed"
            return


@pytest.mark.parametrize("by", [0.5, 0.0])
def test_what_an_interrupted_merge_of_another_store_left_is_not_used(tmp_path, monkeypatch, by):
    """The other store has other samples of the new seeds, or the same from another session."""
    a = laboratory(tmp_path / "a.zarr", [(GROWN, range(4))])
    withhold(a.path, GROWN.path)
    b = laboratory(tmp_path / "b.zarr", [(GROWN, range(12))])
    c = create_store(tmp_path / "c.zarr")
    write_units(add(c, GROWN, range(12)), c.start_session({"host": "c"}),
                states=shifted(by, set(range(4, 12))))  # fmt: skip
    exchange = copy.staged_group

    def interrupted(store_path, group):
        if group.startswith("runs/") and store_path == a.path:
            raise KeyboardInterrupt
        return exchange(store_path, group)

    with monkeypatch.context() as patch:
        patch.setattr(copy, "staged_group", interrupted)
        with pytest.raises(KeyboardInterrupt):
            merge_stores(a.path, [b.path])
    assert open_store(a.path).runs()[0].withheld
    merge_stores(a.path, [c.path])
    found, expected = by_seed(a.path, GROWN.path), by_seed(c.path, GROWN.path)
    assert {seed: found[seed] for seed in range(4, 12)} == {
        seed: expected[seed] for seed in range(4, 12)
    }


def test_no_vector_that_a_killed_merge_replaced_counts_as_made(tmp_path):
    """A unit of the first store lacks a vector, and its other ones are damaged."""
    for name in "ab":
        store = laboratory(tmp_path / f"{name}.zarr", [(COPIED, range(4))])
        embed_run(store, pixel(), store.runs()[0])
    expected = vectors(store, store.runs()[0], pixel())
    group = f"embeddings/pixel/runs/{COPIED.path}"
    marks = open_array(
        open_store(tmp_path / "a.zarr", mode="r+").zarr_store, f"{group}/source_digest"
    )
    marks[3, 0] = 0
    file = tmp_path / "a.zarr" / group / "vector" / "c" / "0" / "0" / "0"
    file.write_bytes(file.read_bytes()[:-1])
    for after in range(10):
        path = shutil.copytree(tmp_path / "a.zarr", tmp_path / f"{after}.zarr")
        with killed_after(path / group / "source_digest", after) as fault:
            merge_stores(path, [tmp_path / "b.zarr"])
        if (path / file.relative_to(tmp_path / "a.zarr")).read_bytes() != file.read_bytes():
            store = open_store(path)
            for place, values in vectors(store, store.runs()[0], pixel()).items():
                np.testing.assert_array_equal(values, expected[place])
        if not fault.killed:
            assert after > 0
            return
