"""Creating and opening stores, identity, seeds and sessions."""

import json
import os
import subprocess
import sys

import pytest
import xarray as xr
from stores import add, content

from reprostore.errors import (
    FormatError,
    IdentityError,
    MissingDataError,
    NotFoundError,
    SpecError,
    StorageError,
)
from reprostore.store import create_store, open_store
from reprostore.store.units import UnitWriter
from reprostore.testing.store import run_spec, write_units


@pytest.fixture
def store(tmp_path):
    return create_store(tmp_path / "a.zarr", title="Digits", license="CC0-1.0", creators=["A. Lab"])


def test_root_attributes(store):
    attributes = store.attributes
    created = attributes.pop("created")
    assert attributes == {
        "format": 1,
        "title": "Digits",
        "license": "CC0-1.0",
        "creators": ["A. Lab"],
    }
    assert created.endswith("+00:00")
    tree = xr.open_datatree(store.path, engine="zarr", chunks={}, consolidated=False)
    assert tree.attrs["reprostore"]["title"] == "Digits"


def test_creating_twice_opens_the_first(store):
    again = create_store(store.path, title="another")
    assert again.attributes == store.attributes
    assert not again.read_only


def test_an_empty_folder_becomes_a_store(tmp_path):
    (tmp_path / "b.zarr").mkdir()
    assert create_store(tmp_path / "b.zarr").run_paths() == []


def test_nothing_at_the_path(tmp_path):
    with pytest.raises(NotFoundError, match=r"There is no store at .*b.zarr. .*Check the path"):
        open_store(tmp_path / "b.zarr")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_something_else_at_the_path_is_left_alone(tmp_path, kind):
    path = tmp_path / "b.zarr"
    if kind == "folder":
        path.mkdir()
        (path / "letter.txt").write_text("dear")
    else:
        path.write_text("dear")
    for attempt in (create_store, open_store):
        with pytest.raises(
            FormatError, match=r"is no sample store: it (has no zarr\.json|cannot be)"
        ):
            attempt(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_newer_format_is_refused(store):
    metadata = json.loads((store.path / "zarr.json").read_text())
    metadata["attributes"]["reprostore"]["format"] = 2
    (store.path / "zarr.json").write_text(json.dumps(metadata))
    for attempt in (lambda: open_store(store.path), lambda: create_store(store.path)):
        with pytest.raises(FormatError, match=r"has format 2. .* up to 1. Install a newer"):
            attempt()


def test_read_only(store):
    spec = run_spec()
    run = add(store, spec, range(3))
    before = content(store.path.parent)
    reader = open_store(store.path)
    for attempt in (
        lambda: add(reader, spec, range(9)),
        lambda: reader.run(run.path).grow([7]),
        lambda: reader.start_session({}),
        lambda: UnitWriter(reader.run(run.path), run.units()[0], 1),
    ):
        with pytest.raises(StorageError, match=r"was opened for reading only. .*mode='r\+'"):
            attempt()
    assert content(store.path.parent) == before


def test_a_folder_without_write_permission(store, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may always write
    with pytest.raises(StorageError, match="is read-only"):
        open_store(store.path, mode="r+")
    open_store(store.path)


def test_another_identity_shows_both_values(store):
    spec = run_spec()
    add(store, spec, range(3))
    before = content(store.path)
    for other, values in [
        (run_spec(weights="1" * 64), f"{'0' * 64!r} in the store and {'1' * 64!r} in what"),
        (run_spec(sample_shape=(1, 2, 3)), r"[1, 2, 2] in the store and [1, 2, 3] in what"),
        (run_spec(dtype="float16"), "'float32' in the store and 'float16' in what"),
    ]:
        with pytest.raises(IdentityError) as error:
            add(store, other, range(9))
        assert f"run {spec.path} in the store differs" in str(error.value)
        assert values in str(error.value)
    assert content(store.path) == before


def test_batch_size_is_no_identity(store):
    add(store, run_spec(batch_size=2), range(3))
    run = add(store, run_spec(batch_size=3), range(5))
    assert run.spec.batch_size == 2
    assert len(run.seeds) == 5


@pytest.mark.parametrize(
    ("seeds", "message"),
    [([1, -1], "-1 was given as a seed"), ([2**32], "4294967296 was"), ([3, 4, 3], "given twice")],
)
def test_impossible_seeds(store, seeds, message):
    with pytest.raises(SpecError, match=message):
        add(store, run_spec(), seeds)
    assert store.run_paths() == []
    run = add(store, run_spec(), [5])
    with pytest.raises(SpecError, match=message):
        run.grow(seeds)
    assert run.seeds.tolist() == [5]


def test_the_largest_seed(store):
    assert add(store, run_spec(), [2**32 - 1]).seeds.tolist() == [2**32 - 1]


def test_an_unknown_run_lists_those_there_are(store):
    add(store, run_spec("known"), [1])
    with pytest.raises(MissingDataError, match=r"no run other/s/none. Its runs are known/sampler"):
        store.run("other/s/none")


def test_sessions(store):
    number = store.start_session({"device": "cpu", "threads": 2})
    session = store.session(number)
    assert (session["device"], session["threads"]) == ("cpu", 2)
    assert session["started"].endswith("+00:00")
    with pytest.raises(MissingDataError, match="session 0000000000000007 cannot be read"):
        store.session(7)


def test_adding_a_model_touches_nothing_else(store):
    write_units(add(store, run_spec("one"), range(5)), 1)
    before = content(store.path)
    write_units(add(store, run_spec("two", kind="sequence", sample_shape=(7,)), range(5)), 1)
    after = content(store.path)
    assert {key: after[key] for key in before} == before
    assert all(key.startswith("runs/two/") for key in after.keys() - before.keys())


def test_importing_the_package_loads_no_library_that_most_commands_do_not_need():
    code = "import sys, reprostore; print({'xarray', 'dask', 'pandas', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"
