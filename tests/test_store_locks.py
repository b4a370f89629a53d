"""Locks between processes, and groups that are replaced whole or not at all."""

import json

import pytest
import xarray as xr
from stores import ADD_RUNS, finish, python

from reprostore.store import create_store, open_store
from reprostore.store.groups import remove_group, staged_group, sweep_staging
from reprostore.store.locks import lock_folder, locked, try_lock
from reprostore.testing.faults import killed_after


@pytest.fixture
def store(tmp_path):
    return create_store(tmp_path / "a.zarr", title="Digits", license="CC0-1.0", creators=["A. Lab"])


_HOLD = """
import sys
from pathlib import Path
from reprostore.store.locks import try_lock
lock = try_lock(Path(sys.argv[1]), sys.argv[2])
print(lock is not None, flush=True)
sys.stdin.readline() if len(sys.argv) < 4 else None
"""


def test_a_lock_is_held_by_one_process_and_freed_when_it_dies(store):
    name = "runs/model/sampler/none/unit-0"
    holder = python(_HOLD, store.path, name)
    try:
        assert holder.stdout.readline() == "True\n"
        assert try_lock(store.path, name) is None
        assert try_lock(store.path, name + "1") is not None
    finally:
        holder.kill()
        holder.communicate()
    lock = try_lock(store.path, name)
    assert lock is not None
    assert try_lock(store.path, name) is None  # also within one process
    assert finish(python(_HOLD, store.path, name, "once")) == "False\n"
    lock.release()
    assert finish(python(_HOLD, store.path, name, "once")) == "True\n"


def test_a_lock_is_released_after_an_error(store):
    with pytest.raises(ZeroDivisionError), locked(store.path, "x"):
        1 / 0  # noqa: B018
    assert try_lock(store.path, "x") is not None


def make_group(store, value, target="results/a/b"):
    with staged_group(store.path, target) as staging:
        staging.attributes["value"] = value


def value_of(store, target="results/a/b"):
    return json.loads((store.path / target / "zarr.json").read_text())["attributes"]["value"]


def test_a_group_is_replaced_and_removed(store):
    make_group(store, 1)
    make_group(store, float("inf"))
    assert value_of(store) == "inf"  # attributes cannot hold infinity
    remove_group(store.path, "results/a/b")
    remove_group(store.path, "results/a/b")
    assert not (store.path / "results/a/b").exists()
    assert list((lock_folder(store.path) / "staging").iterdir()) == []


def test_a_group_that_fails_leaves_the_old_one(store):
    make_group(store, 1)
    with pytest.raises(ZeroDivisionError), staged_group(store.path, "results/a/b") as staging:
        staging.attributes["value"] = 1 / 0
    assert value_of(store) == 1


def test_replacing_a_group_and_killed_anywhere_keeps_the_old_or_the_new(store):
    make_group(store, 0)
    after, old = 0, 0
    while True:
        with killed_after(store.path.parent, after) as fault:
            make_group(store, after + 1)
        sweep_staging(store.path)
        assert value_of(store) in ({old, after + 1} if fault.killed else {after + 1})
        old = value_of(store)
        staged = (lock_folder(store.path) / "staging").iterdir()
        assert [entry for entry in staged if entry.suffix != ".lock"] == []
        if not fault.killed:
            assert after > 5
            return
        after += 1


def test_sweeping_leaves_the_groups_of_living_writers(store):
    with staged_group(store.path, "results/a/c") as staging:
        open_store(store.path, mode="r+")
        staging.attributes["value"] = 5
    assert value_of(store, "results/a/c") == 5


def test_two_processes_create_a_store_and_runs_of_one_model(tmp_path):
    path = tmp_path / "c.zarr"
    processes = [python(ADD_RUNS, path, 3, names) for names in ("a,c,e", "b,c,d")]
    for process in processes:
        finish(process)
    assert [p.split("/")[1] for p in open_store(path).run_paths()] == ["a", "b", "c", "d", "e"]
    xr.open_datatree(path, engine="zarr", chunks={}, consolidated=False)
