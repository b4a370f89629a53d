"""Growing a run changes its last unit and metadata only, also when two processes do it."""

import time

import pytest
import xarray as xr
from stores import ADD_RUNS, add, content, finish, python

from reprostore import layout
from reprostore.store import create_store, open_store
from reprostore.store.checked import CheckedArray
from reprostore.store.run import WRITTEN
from reprostore.testing.faults import killed_after
from reprostore.testing.store import run_spec, write_units


@pytest.fixture
def store(tmp_path):
    return create_store(tmp_path / "a.zarr", title="Digits", license="CC0-1.0", creators=["A. Lab"])


@pytest.fixture
def small_units(monkeypatch):
    monkeypatch.setattr(layout, "UNIT_SEEDS", 4)


@pytest.mark.usefixtures("small_units")
def test_growing_changes_only_the_last_unit_and_metadata(store):
    spec = run_spec(denoised=True)
    run = add(store, spec, [9, 8, 7, 6, 5, 4])
    write_units(run, 1)
    digests, before = run.recorded("digest"), content(store.path / run.group)
    time.sleep(0.02)  # so that times of files can differ
    assert run.grow([3, 9, 100, 5, 2]) == 3
    write_units(run, 2)
    after = content(store.path / run.group)
    assert run.seeds.tolist() == [9, 8, 7, 6, 5, 4, 3, 100, 2]
    assert (run.recorded("digest")[:6] == digests).all()
    assert run.recorded("session").tolist() == [1] * 6 + [2] * 3
    changed = {key for key in before if before[key] != after[key]}
    per_unit = {"sample": "/0/0/0/0", "denoised": "/0/0/0/0", "noise_probe": "/0"}
    names = ["sample", "denoised", "digest", "session", "noise_probe", "status"]
    expected = {f"{name}/c/1{per_unit.get(name, '')}" for name in names}
    # `denoised` has shards of half the steps, so two files a unit
    expected |= {"denoised/c/1/1/0/0/0", "seed/c/0"}
    expected |= {f"{name}/zarr.json" for name in [*names, "seed"]}
    assert changed == expected
    assert after.keys() - before.keys() == {
        key.replace("/c/1", "/c/2") for key in expected if "/c/1" in key
    }


@pytest.mark.usefixtures("small_units")
def test_a_grown_run_equals_one_that_was_written_at_once(store):
    spec, other = run_spec("grown", denoised=True), run_spec("whole", denoised=True)
    seeds = [4, 1, 11, 0, 7, 3, 2, 5, 9]
    for count in (1, 2, 5, 6, 9):
        write_units(add(store, spec, seeds[:count]), 1)
    write_units(add(store, other, seeds), 1)
    grown, whole = (content(store.path / "runs" / s.path) for s in (spec, other))
    different = {key for key in whole if grown[key][0] != whole[key][0]}
    assert grown.keys() == whole.keys()
    assert different == {"zarr.json"}  # which holds the model's name


@pytest.mark.usefixtures("small_units")
def test_a_unit_that_others_lengthened_meanwhile_is_written_with_their_samples(store):
    run = add(store, run_spec(), [9, 3])
    (short,) = run.units()
    run.grow([4])
    write_units(run, 1)
    digests, samples = run.recorded("digest"), CheckedArray(run, "sample")[:]
    run.array("status")[0] = 0  # as a repair marks a damaged seed
    write_units(run, 2, [short])
    assert (run.status == WRITTEN).all()
    assert (run.recorded("digest") == digests).all()
    assert (CheckedArray(run, "sample")[:] == samples).all()


def test_nothing_to_grow_changes_nothing(store):
    run = add(store, run_spec(), [1, 2])
    before = content(store.path)
    assert run.grow([2, 1]) == 0
    assert content(store.path) == before


def test_two_processes_grow_one_run(tmp_path):
    path = tmp_path / "d.zarr"
    store = create_store(path)
    spec = run_spec("shared", "a")
    add(store, spec, [1000])
    for process in [python(ADD_RUNS, path, count, "a") for count in (30, 50)]:
        finish(process)
    seeds = store.run(spec.path).seeds.tolist()
    assert seeds[0] == 1000
    assert sorted(seeds[1:]) == list(range(50))
    lengths = {store.run(spec.path).array(name).shape[0] for name in ("sample", "seed", "status")}
    assert lengths == {51}


def test_opening_for_writing_rolls_back_a_half_grown_run(store):
    spec = run_spec()
    run = add(store, spec, [3, 1])
    write_units(run, 1)
    with killed_after(store.path.parent, 9) as fault:
        run.grow(range(9))
    assert fault.killed
    lengths = {run.array(name).shape[0] for name in ("sample", "seed", "status")}
    assert len(lengths) == 2
    assert run.seeds.tolist() == [3, 1]  # readers go by the status
    assert store.samples().sizes["seed"] == 2
    open_store(store.path, mode="r+")
    assert {run.array(name).shape[0] for name in ("sample", "seed", "status")} == {2}
    xr.open_datatree(store.path, engine="zarr", chunks={}, consolidated=False)
