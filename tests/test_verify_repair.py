"""Repair: damaged seeds become missing, all others keep their bytes, and generate completes."""

import shutil

import numpy as np
import pytest
import zarr
from stores import content
from verifying import (
    CUTS,
    FLOAT,
    RUN,
    SEEDS,
    chunk_span,
    edit,
    flip,
    found,
    make_run,
    missing,
    repair,
    zipped,
)
from zarr.storage import LocalStore

from reprostore import layout, open_store
from reprostore.errors import StorageError
from reprostore.sharing.repair import LOST, repair_store
from reprostore.sharing.verify import verify_store
from reprostore.store.checked import CheckedArray
from reprostore.store.run import WRITTEN
from reprostore.testing.faults import killed_after
from reprostore.testing.store import fake_states, write_units


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("intact") / "store.zarr")


@pytest.fixture
def path(intact, tmp_path):
    return shutil.copytree(intact, tmp_path / "store.zarr")


@pytest.fixture(autouse=True)
def small_units(monkeypatch):
    monkeypatch.setattr(layout, "UNIT_SEEDS", 4)
    monkeypatch.setattr(layout, "CHUNK_BYTES", 25)


def values(path):
    """Return all arrays of the run but `session`, read with plain zarr."""
    group = zarr.open_group(LocalStore(path, read_only=True), path=RUN, mode="r")
    return {name: array[...] for name, array in group.arrays() if name != "session"}


def session(path):
    (folder,) = (path / "sessions").glob("*/")
    return int(folder.name, 16)


def assert_whole(path, intact):
    """Complete the run as generate does; it is bit for bit what it was."""
    assert found(path) == []
    run = open_store(path, mode="r+").run(FLOAT.path)
    for name, position in (("sample", 0), ("denoised", 1)):  # reads before and after
        stored = CheckedArray(run, name)[:]
        for slot in np.flatnonzero(run.status == WRITTEN):
            for row in range(3):
                expected = fake_states(FLOAT, SEEDS[slot], row)[position]
                np.testing.assert_array_equal(stored[slot, row], expected)
    write_units(run, session(path))
    now, before = values(path), values(intact)
    assert now.keys() == before.keys()
    for name in before:
        assert now[name].tobytes() == before[name].tobytes(), name


def sample_shard(path, block=1):
    return path / RUN / "sample" / "c" / str(block) / "0" / "0" / "0" / "0"


def flip_chunk(path, block=1, chunk=(1, 2)):
    file = sample_shard(path, block)
    flip(file, chunk_span(file, (2, 3), chunk)[0] + 3)


def test_a_flipped_bit_takes_two_seeds_and_keeps_the_others_of_their_shard(path, intact):
    flip_chunk(path)
    before = content(path)
    assert repair(path) == []
    assert missing(path) == [22, 23]
    changed = {key for key, value in content(path).items() if before[key] != value}
    assert changed == {f"{RUN}/status/c/1", f"{RUN}/sample/c/1/0/0/0/0"}
    assert_whole(path, intact)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("array", ["sample", "denoised"])
def test_a_damaged_shard_is_removed_with_its_seeds(path, intact, array, cut):
    CUTS[cut](path / RUN / array / "c" / "1" / "0" / "0" / "0" / "0")
    assert repair(path) == []
    assert missing(path) == [20, 21, 22, 23]
    assert not (path / RUN / array / "c" / "1" / "0" / "0" / "0" / "0").exists()
    assert_whole(path, intact)


@pytest.mark.parametrize("array", ["status", "digest", "session", "noise_probe"])
def test_damaged_metadata_of_a_unit_take_its_seeds(path, intact, array):
    flip(path / RUN / array / "c" / ("2/0" if array == "noise_probe" else "2"))
    assert repair(path) == []
    assert missing(path) == [30, 31]
    assert_whole(path, intact)


def test_a_wrong_digest_takes_one_seed(path, intact):
    array = zarr.open_array(LocalStore(path), path=f"{RUN}/sample")
    array[5, 1] = 0.25
    assert repair(path) == []
    assert missing(path) == [21]
    assert_whole(path, intact)


@pytest.mark.parametrize("array", ["sample", "denoised", "status", "digest", "seed", "sigma"])
def test_lost_metadata_of_an_array_are_written_anew(path, intact, array):
    file = path / RUN / array / "zarr.json"
    before = file.read_bytes()
    file.unlink()
    assert repair(path) == []
    assert file.read_bytes() == before
    assert missing(path) == []
    assert_whole(path, intact)


def test_metadata_and_data_that_are_both_damaged(path, intact):
    (path / RUN / "sample" / "zarr.json").write_bytes(b"{")
    flip_chunk(path)
    assert repair(path) == []
    assert missing(path) == [22, 23]
    assert_whole(path, intact)


def test_groups_sessions_and_unequal_lengths(path, intact):
    (path / "runs" / "float" / "zarr.json").unlink()
    number = session(path)
    shutil.rmtree(path / "sessions" / f"{number:016x}")
    edit(path / RUN / "digest" / "zarr.json", lambda d: d.update(shape=[12]))
    assert repair(path) == []
    record = open_store(path).session(number)
    assert record == {"started": "", "lost": LOST}
    assert missing(path) == []
    assert_whole(path, intact)


def test_what_takes_a_copy_is_left_as_it_is(path):
    flip(path / RUN / "seed" / "c" / "0")
    flip(path / RUN / "sigma" / "c" / "0")
    before = content(path)
    left = repair(path)
    assert sorted(finding.place for finding in left) == [f"{RUN}/seed", f"{RUN}/sigma"]
    assert content(path) == before
    assert all("from a copy" in finding.action for finding in left)


def test_edited_attributes_of_a_run_are_left(path):
    edit(path / RUN / "zarr.json", lambda d: d["attributes"]["run"].update(noise_scale=2.0))
    before = content(path)
    assert [finding.kind for finding in repair(path)] == ["attributes"]
    assert content(path) == before


def test_what_is_left_elsewhere_is_told_beside_a_run_that_was_repaired(path, intact):
    flip_chunk(path)
    (path / "runs" / "other" / "sampler" / "none").mkdir(parents=True)
    (path / "runs" / "other" / "sampler" / "none" / "zarr.json").write_text("{")
    (left,) = repair(path)
    assert (left.group, left.mending) == ("runs/other/sampler/none", None)
    shutil.rmtree(path / "runs" / "other")
    assert_whole(path, intact)


def test_nothing_is_touched_where_nothing_is_wrong(path):
    before = content(path)
    assert repair(path) == []
    assert content(path) == before


def test_a_packed_store_is_not_repaired(path, tmp_path):
    flip_chunk(path)
    target = zipped(path, tmp_path / "store.zip")
    store = open_store(target)
    with pytest.raises(StorageError, match="reading only"):
        repair_store(store, verify_store(store))


def test_what_another_process_wrote_meanwhile_is_kept(path, intact):
    """Between the check and the repair the unit was repaired and written again."""
    flip_chunk(path)
    store = open_store(path, mode="r+")
    report = verify_store(store)
    repair(path)
    write_units(store.run(FLOAT.path), session(path))
    before = content(path)
    assert repair_store(store, report) == []
    assert content(path) == before


@pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_while_repairing(intact, tmp_path, stride):
    """After a kill between any two changes the store can be repaired, and nothing else is lost."""
    prepared = shutil.copytree(intact, tmp_path / "prepared.zarr")
    flip_chunk(prepared)
    CUTS["halved"](sample_shard(prepared, 0))
    flip(prepared / RUN / "digest" / "c" / "2")
    (prepared / RUN / "denoised" / "zarr.json").unlink()
    for after in range(0, 100, stride):
        folder = tmp_path / f"killed-{after}"
        path = shutil.copytree(prepared, folder / "store.zarr")
        with killed_after(folder, after) as fault:
            repair(path)
        assert repair(path) == []
        assert missing(path) == [10, 11, 12, 13, 22, 23, 30, 31]
        if after % 8 == 0 or not fault.killed:
            assert_whole(path, intact)
        shutil.rmtree(folder)
        if not fault.killed:
            assert after > 8  # else the kills missed the store's folder
            return
    pytest.fail("the repair never came to its end")
