"""Repair changes nothing that is whole: lengths of arrays, and files that cannot be read."""

import errno
import shutil

import numpy as np
import pytest
import zarr
from stores import content
from verifying import FLOAT, RUN, SEEDS, edit, found, make_run, missing, repair
from zarr.storage import LocalStore

from reprostore import layout
from reprostore.store import create_store
from reprostore.store.files import FolderFiles
from reprostore.testing.store import step_table, write_units


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
    """Return all arrays of the run, read with plain zarr."""
    group = zarr.open_group(LocalStore(path, read_only=True), path=RUN, mode="r")
    return {name: np.asarray(array[...]).tobytes() for name, array in group.arrays()}


@pytest.mark.parametrize("length", [12, 9, 3])
def test_a_status_of_another_length_gets_its_own_back(path, intact, length):
    """Opening for writing takes half-grown runs back, and must not make or lose slots here."""
    edit(path / RUN / "status" / "zarr.json", lambda d: d.update(shape=[length]))
    assert {kind for kind, *_ in found(path)} == {"length"}
    assert repair(path) == []
    assert missing(path) == []
    assert found(path) == []
    assert values(path) == values(intact)


def test_units_far_beyond_a_shortened_status_are_kept(tmp_path):
    """Only the last unit is written: between it and the status there is nothing."""
    store = create_store(tmp_path / "store.zarr")
    run = store.add_run(FLOAT, step_table(FLOAT), SEEDS)
    write_units(run, store.start_session({}), [run.units()[2]])
    edit(store.path / RUN / "status" / "zarr.json", lambda d: d.update(shape=[3]))
    assert repair(store.path) == []
    assert missing(store.path) == SEEDS[:8]
    assert found(store.path) == []


@pytest.mark.parametrize(
    "key",
    ["sample/c/1/0/0/0/0", "status/c/1", "digest/c/1", "noise_probe/c/1/0", "sample/zarr.json"],
)
def test_what_the_system_does_not_give_is_never_removed(path, monkeypatch, key):
    before, read = content(path), FolderFiles.read

    def failing(files, asked, *part):
        if asked == f"{RUN}/{key}":
            raise OSError(errno.EIO, "Input/output error")
        return read(files, asked, *part)

    monkeypatch.setattr(FolderFiles, "read", failing)
    left = repair(path)
    assert {finding.place for finding in left} == {f"{RUN}/{key.split('/')[0]}"}
    assert all("Nothing is repaired that could not be read" in f.action for f in left)
    assert content(path) == before


def test_a_session_that_the_system_does_not_give_is_kept(path, monkeypatch):
    before, read = content(path), FolderFiles.read

    def failing(files, asked, *part):
        if asked.startswith("sessions/") and asked.count("/") == 2:
            raise PermissionError(errno.EACCES, "Permission denied")
        return read(files, asked, *part)

    monkeypatch.setattr(FolderFiles, "read", failing)
    assert [finding.kind for finding in repair(path)] == ["session"]
    assert content(path) == before
