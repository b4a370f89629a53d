"""Numerical floors of the runs that are merged."""

import numpy as np
import pytest
import xarray as xr
from merging import laboratory, run_of, small_units

from reprostore.canonical import fingerprint
from reprostore.sharing.merge import merge_stores
from reprostore.sharing.merging.derived import FLOORS
from reprostore.sharing.regeneration.floor import VERSION, current_floors, keep_floor
from reprostore.store import open_store

ONE, TWO = (run_of(name, weights=str(number) * 64) for number, name in enumerate(("one", "two")))


@pytest.fixture(autouse=True)
def _small_units(monkeypatch):
    small_units(monkeypatch)


def measured(path, runs):
    """Make a store with runs and a floor of each: [(spec, seeds)]."""
    store = laboratory(path, runs)
    for run in store.runs():
        seeds, digests = run.seeds, run.recorded("digest")
        samples = fingerprint([seeds.tolist(), digests.tolist()])
        floor = xr.Dataset(
            {
                "identical": ("seed", np.ones(len(seeds), dtype=np.bool_)),
                "similarity": (("encoder", "seed"), np.ones((1, len(seeds)))),
                "digest": ("seed", digests),
            },
            coords={"seed": seeds, "encoder": ["pixel"]},
            attrs={
                "run": run.path,
                "question": {"version": VERSION, "runs": [run.path], "samples": samples},
                "made_from": {"run": run.spec.fingerprint, "encoders": {}},
                "execution": {},
                "stored_executions": [{}],
            },
        )
        assert keep_floor(store, floor)
    return store


def seeds_of(path):
    """Return the seeds of each floor that counts, by run."""
    store = open_store(path)
    found = current_floors(store, store.runs())
    return {
        name: sorted(floor["seed"].values.tolist() for floor in floors)
        for name, floors in found.items()
    }


def test_one_question_about_the_samples_of_two_stores_has_two_answers(tmp_path):
    a = measured(tmp_path / "a.zarr", [(ONE, range(3))])
    b = measured(tmp_path / "b.zarr", [(ONE, range(3, 5))])
    for _ in range(2):
        merge_stores(a.path, [b.path])
        assert seeds_of(a.path) == {ONE.path: [[0, 1, 2], [3, 4]]}


def test_floors_come_with_chosen_runs_that_keep_their_names(tmp_path):
    a = measured(tmp_path / "a.zarr", [(ONE, range(3)), (TWO, range(4))])
    merge_stores(tmp_path / "c.zarr", [a.path], runs=["two/*"])
    assert seeds_of(tmp_path / "c.zarr") == {TWO.path: [[0, 1, 2, 3]]}
    rows = merge_stores(tmp_path / "d.zarr", [a.path], rename={"two": "three"})
    (note,) = (row for row in rows if row["kind"] == "note")
    assert note["name"] == TWO.path.replace("two", "three")
    assert "floor is left out" in note["text"]
    assert seeds_of(tmp_path / "d.zarr") == {ONE.path: [[0, 1, 2]]}
    rows = merge_stores(tmp_path / "e.zarr", [a.path], rename={"two": "two"})
    assert len(seeds_of(tmp_path / "e.zarr")) == 2


def test_a_damaged_floor_is_left_out(tmp_path):
    a = measured(tmp_path / "a.zarr", [(ONE, range(3)), (TWO, range(4))])
    for key in a.files.folders(FLOORS):
        file = a.path / FLOORS / key / "zarr.json"
        if ONE.path in file.read_text():
            file.write_text("{")
    rows = merge_stores(tmp_path / "c.zarr", [a.path])
    (note,) = (row for row in rows if row["kind"] == "note")
    assert note["text"].startswith("Left out. The attributes of the group")
    assert list(seeds_of(tmp_path / "c.zarr")) == [TWO.path]
