"""Samples of equal seeds that differ between two stores, and how far they may."""

import numpy as np
import pytest
from merging import by_seed, laboratory, run_of, shifted, small_units
from stores import add, content

from reprostore.errors import ConflictError
from reprostore.execution import drift
from reprostore.sharing.merge import merge_stores
from reprostore.sharing.merging import states as merge_states
from reprostore.store import create_store, open_store
from reprostore.testing.store import fake_states, run_spec, write_units


@pytest.fixture(autouse=True)
def _small_units(monkeypatch):
    small_units(monkeypatch)


def rows_of_runs(rows):
    return [row for row in rows if row["kind"] == "run"]


def test_within_the_tolerance_the_first_stay_and_new_ones_are_marked(tmp_path):
    spec = run_of()
    a = laboratory(tmp_path / "a.zarr", [(spec, range(4))])
    b = create_store(tmp_path / "b.zarr")
    session = b.start_session({"device": "cpu", "batch_size": 2, "host": "a.zarr"})
    write_units(add(b, spec, range(2, 6)), session, states=shifted(2.0**-10, {3, 4, 5}))
    was = by_seed(a.path, spec.path)
    (row,) = rows_of_runs(merge_stores(a.path, [b.path], tolerance=1e-3))
    assert (row["copied"], row["equal"], row["differing"]) == (2, 1, 1)
    assert row["largest_difference"] == pytest.approx(2.0**-10, abs=1e-7)  # float32 sums
    found, theirs = by_seed(a.path, spec.path), by_seed(b.path, spec.path)
    assert {seed: found[seed] for seed in range(4)} == was
    assert [found[seed]["sample"] for seed in (4, 5)] == [theirs[s]["sample"] for s in (4, 5)]
    store = open_store(a.path)
    assert drift(store, store.run(spec.path)) == {"reproduced": [True, False]}
    marked = store.session(int(store.run(spec.path).recorded("session")[5]))
    assert marked["merged"]["session"] == f"{session:016x}"
    before = content(a.path)
    merge_stores(a.path, [b.path], tolerance=1e-3)
    assert content(a.path) == before


def test_marked_samples_stay_marked_when_the_others_are_gone(tmp_path):
    store = create_store(tmp_path / "a.zarr")
    run = add(store, run_of(), range(3))
    write_units(run, store.start_session({"device": "cpu", "reproduced": False}))
    assert drift(store, run) == {"reproduced": [False]}


def test_the_tolerance_of_bytes_is_that_of_the_range_from_minus_one_to_one(tmp_path):
    spec = run_spec("seen", steps=(5,), dtype="uint8")

    def one_more(spec, seed, row):
        values = np.full(spec.sample_shape, 100 + seed, dtype=np.uint8)
        return values, None

    def as_is(spec, seed, row):
        return one_more(spec, seed, row)[0] + np.uint8(1), None

    for name, states in (("a", one_more), ("b", as_is)):
        store = create_store(tmp_path / f"{name}.zarr")
        write_units(add(store, spec, range(3)), store.start_session({}), states=states)
    paths = tmp_path / "a.zarr", [tmp_path / "b.zarr"]
    (row,) = rows_of_runs(merge_stores(*paths, tolerance=0.008))
    assert row["largest_difference"] == pytest.approx(1 / 127.5)
    assert row["copied"] == 0


@pytest.mark.parametrize("name", ["sample", "denoised"])
@pytest.mark.parametrize("step", range(3))
def test_the_largest_difference_may_be_in_any_state(tmp_path, monkeypatch, name, step):
    """One value of one state of the last of the seeds, which are compared one by one."""
    monkeypatch.setattr(merge_states, "_BLOCK_BYTES", 1)

    def states(spec, seed, row):
        made = dict(zip(("sample", "denoised"), fake_states(spec, seed, row), strict=True))
        by = 2.0**-12 if (seed, row) != (3, step) else 0.5
        made[name] = np.array(made[name])
        made[name].flat[1] += by
        return made["sample"], made["denoised"]

    spec = run_of()
    a = laboratory(tmp_path / "a.zarr", [(spec, range(4))])
    b = create_store(tmp_path / "b.zarr")
    write_units(add(b, spec, range(4)), b.start_session({}), states=states)
    with pytest.raises(ConflictError, match=r"differ by up to 0\.5, images in"):
        merge_stores(a.path, [b.path], tolerance=0.25)
    (row,) = rows_of_runs(merge_stores(a.path, [b.path], tolerance=0.75))
    assert (row["differing"], row["largest_difference"]) == (4, pytest.approx(0.5, abs=1e-6))


def test_differences_to_samples_that_came_from_several_stores(tmp_path):
    spec = run_of()
    a = laboratory(tmp_path / "a.zarr", [(spec, [7, 0, 2])])
    b = laboratory(tmp_path / "b.zarr", [(spec, [5, 1])])
    c = create_store(tmp_path / "c.zarr")
    write_units(add(c, spec, range(8)), c.start_session({}), states=shifted(2.0**-10, {0, 1, 5}))
    merged = merge_stores(tmp_path / "d.zarr", [a.path, b.path, c.path], tolerance=1e-3)
    rows = rows_of_runs(merged)
    assert [(row["copied"], row["equal"], row["differing"]) for row in rows] == [
        (3, 0, 0), (2, 0, 0), (3, 2, 3),
    ]  # fmt: skip
    assert rows[-1]["largest_difference"] == pytest.approx(2.0**-10, abs=1e-7)  # float32 sums


def test_a_difference_as_large_as_the_tolerance_is_allowed(tmp_path):
    spec = run_spec("seen", steps=(5,), dtype="uint8")
    for name, level in (("a", 100), ("b", 103)):
        store = create_store(tmp_path / f"{name}.zarr")
        state = np.full(spec.sample_shape, level, dtype=np.uint8)
        write_units(add(store, spec, range(3)), store.start_session({}),
                    states=lambda *_, state=state: (state, None))  # fmt: skip
    paths = tmp_path / "a.zarr", [tmp_path / "b.zarr"]
    with pytest.raises(ConflictError):
        merge_stores(*paths, tolerance=np.nextafter(3 / 127.5, 0))
    (row,) = rows_of_runs(merge_stores(*paths, tolerance=3 / 127.5))
    assert row["largest_difference"] == 3 / 127.5


@pytest.mark.parametrize("both", [False, True])
def test_a_value_that_only_one_store_has_is_infinitely_far(tmp_path, both):
    spec = run_of()

    def states(by, holes):
        def made(spec, seed, row):
            sample, denoised = fake_states(spec, seed, row)
            denoised = np.array(denoised)
            denoised.flat[0] = np.nan if holes else 0.0
            return sample + sample.dtype.type(by), denoised

        return made

    for name, by, holes in (("a", 0, both), ("b", 2.0**-10, True)):
        store = create_store(tmp_path / f"{name}.zarr")
        write_units(add(store, spec, range(3)), store.start_session({}), states=states(by, holes))
    paths = tmp_path / "a.zarr", [tmp_path / "b.zarr"]
    if both:
        (row,) = rows_of_runs(merge_stores(*paths, tolerance=1e-3))
        assert row["largest_difference"] == pytest.approx(2.0**-10, abs=1e-7)  # float32 sums
    else:
        with pytest.raises(ConflictError, match="differ by up to inf"):
            merge_stores(*paths, tolerance=1e6)
