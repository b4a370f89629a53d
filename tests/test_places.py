"""Where something may be written, and what a user is told who names another place."""

import pytest
from commands import Repro
from merging import laboratory, pack, run_of, small_units, withhold
from stores import content

from reprostore.contents import store_contents
from reprostore.errors import SpecError
from reprostore.store import create_store, open_store


@pytest.fixture(autouse=True)
def _small_units(monkeypatch):
    small_units(monkeypatch)


@pytest.fixture
def repro(capsys):
    return Repro(capsys)


@pytest.fixture
def stores(tmp_path):
    a = laboratory(tmp_path / "a.zarr", [(run_of(), range(4))], license="CC0-1.0")
    b = laboratory(tmp_path / "b.zarr", [(run_of(), range(2, 7))], license="CC0-1.0")
    return a.path, b.path


def _refused(told, text, error="Error: "):
    assert told.code == 2
    assert told.err.startswith(error)
    assert "Traceback" not in told.err
    assert text in " ".join(told.err.split())


def test_nothing_is_put_into_a_store(repro, stores, tmp_path):
    a, b = stores
    assert repro("pack", b, tmp_path / "p.zip").code == 0
    before = [content(path) for path in stores]
    inside = a / "runs" / "more"
    _refused(repro("merge", a, b, "--into", inside), f"would lie in the store {a}")
    _refused(repro("pack", b, inside), f"would lie in the store {a}")
    _refused(repro("unpack", tmp_path / "p.zip", "--to", inside), f"would lie in the store {a}")
    exported = repro("export", b, "--to", inside, "--format", "npy", "--run", run_of().path)
    _refused(exported, f"would lie in the store {a}")
    with pytest.raises(SpecError, match="The new store would lie in the store"):
        create_store(inside)
    assert [content(path) for path in stores] == before


def test_a_zarr_group_of_others_may_hold_a_store(tmp_path):
    (tmp_path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    assert create_store(tmp_path / "s.zarr").run_paths() == []


def test_a_pack_is_not_unpacked_into_itself(repro, stores, tmp_path):
    folder = tmp_path / "pack"
    assert repro("pack", stores[0], folder).code == 0
    before = content(folder)
    _refused(repro("unpack", folder, "--to", folder / "in"), "lies in the pack")
    assert content(folder) == before


def test_a_pack_may_not_take_the_name_of_a_store(repro, stores, tmp_path):
    a, b = stores
    assert (tmp_path / "a.zarr.lock").is_dir()
    assert repro("pack", b, tmp_path / "p.zip").code == 0
    _refused(repro("unpack", tmp_path / "p.zip", "--to", a), "would lie in the store")
    _refused(repro("pack", b, a), "would lie in the store")
    (tmp_path / "gone.zarr.lock").mkdir()  # of a store that was removed
    assert repro("unpack", tmp_path / "p.zip", "--to", tmp_path / "gone.zarr").code == 0


def test_a_new_store_is_no_archive(repro, stores, tmp_path):
    told = repro("merge", *stores, "--into", tmp_path / "c.zip")
    _refused(told, "an archive is made of it by `repro pack`")
    assert not (tmp_path / "c.zip").exists()


def test_a_mistyped_first_store_is_not_made(repro, stores, tmp_path):
    _refused(repro("merge", tmp_path / "aa.zarr", stores[1]), "There is no store at")
    assert not (tmp_path / "aa.zarr").exists()


def test_the_store_in_a_packed_folder_is_named(repro, stores, tmp_path):
    folder = tmp_path / "pack"
    assert repro("pack", stores[0], folder).code == 0
    told = repro("status", folder)
    _refused(told, f"Name the store that lies in it, {folder / 'pack.zarr'}.")
    assert repro("status", folder / "pack.zarr").code == 0


def test_import_tells_how_a_conflict_is_solved(repro, tmp_path):
    other = run_of(weights="other")
    a = laboratory(tmp_path / "a.zarr", [(run_of(), range(2))]).path
    b = laboratory(tmp_path / "b.zarr", [(other, range(2))]).path
    before = content(a)
    told = repro("import", b, "--store", a)
    _refused(told, f"Use `repro merge {a} {b}`, which has more options.")
    assert content(a) == before
    done = repro("merge", a, b, "--rename", f"b:{other.model}=c")  # as the message says
    assert done.code == 0
    assert len(open_store(a).run_paths()) == 2


def test_compare_tells_first_what_is_not_there(repro, stores, tmp_path):
    (tmp_path / "pictures").mkdir()
    _refused(repro("compare", tmp_path / "pictures", tmp_path / "none"), "none is not there.")
    told = repro("compare", *stores)
    _refused(told, f"{stores[0]} is a sample store.")
    assert f"repro analyze reproducibility --store {stores[0]}" in told.err


def test_status_tells_that_samples_are_withheld(repro, tmp_path):
    path = laboratory(tmp_path / "w.zarr", [(run_of(), range(4))]).path
    withhold(path, run_of().path)
    (row,) = (row for row in store_contents(open_store(path)) if row["kind"] == "run")
    assert (row["withheld"], row["bytes"], row["written"]) == (True, 0, 4)
    assert "withheld" in repro("status", path).out


def test_damage_in_an_archive_is_not_to_be_repaired_there(repro, stores, tmp_path):
    file = next(x for x in (stores[0] / "runs" / run_of().path / "sample").rglob("*/0/0"))
    file = next(x for x in [file, *file.rglob("*")] if x.is_file())
    file.write_bytes(bytes(file.stat().st_size))
    for store, action in ((stores[0], f"verify {stores[0]} --repair"), (pack(stores[0]), "again;")):
        exported = repro(
            "export", store, "--to", tmp_path / "out", "--format", "npy", "--run", run_of().path
        )
        _refused(exported, action)
        assert ("--repair" in exported.err) == (store == stores[0])


def test_runs_without_their_root_are_not_made_anew(repro, stores):
    (stores[0] / "zarr.json").unlink()
    _refused(repro("verify", stores[0]), f"restore {stores[0] / 'zarr.json'} from a copy")
    assert repro("import", stores[1], "--store", stores[0]).code == 2
