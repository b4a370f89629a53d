"""Paths that lead to no place, pipes in the place of files, and values that are empty."""

import os
import signal
from contextlib import contextmanager

import pytest
from commands import Repro
from importing import images, write_folder
from merging import laboratory, run_of

from reprostore import study_text
from reprostore.datasets.sources import open_source
from reprostore.digests import file_digest
from reprostore.errors import DatasetError, IdentityError, NotFoundError
from reprostore.specs import DatasetSpec
from reprostore.store import create_store


@pytest.fixture
def repro(capsys):
    return Repro(capsys)


@pytest.fixture
def place(tmp_path):
    """A store, its pack, a folder of images, a file and a link that leads nowhere."""
    laboratory(tmp_path / "s.zarr", [(run_of(), range(2))], license="CC0-1.0")
    write_folder(tmp_path / "images", dict(enumerate(images(2))))
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    return tmp_path


def _listed(place):
    return sorted((str(path), path.lstat().st_mtime_ns) for path in place.rglob("*"))


@contextmanager
def _soon():
    """Fail where the block waits for something."""

    def late(_signal, _frame):
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(10)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _refused(told, text):
    assert told.code == 2
    assert told.err.startswith("Error: ")
    assert "Traceback" not in told.err
    assert text in " ".join(told.err.split())


@pytest.mark.parametrize("name", ["file/x", "link", "link/x"])
def test_nothing_is_made_below_a_file_or_through_a_link_that_leads_nowhere(repro, place, name):
    store, packed, target = place / "s.zarr", place / "p.zip", place / name
    assert repro("pack", store, packed).code == 0
    before = _listed(place)
    text = "file is a file, and no folder." if name == "file/x" else "link that leads nowhere."
    for arguments in (
        ("import", place / "images", "--store", target, "--model", "m"),
        ("import", store, "--store", target),
        ("merge", store, packed, "--into", target),
        ("pack", store, target),
        ("unpack", packed, "--to", target),
        ("export", store, "--to", target, "--format", "npy", "--run", "*"),
    ):
        _refused(repro(*arguments), text)
        assert _listed(place) == before, "nothing is left, no lock either"
    with pytest.raises(IdentityError, match="Choose another place, or move away"):
        create_store(target)


def test_a_path_below_a_file_that_is_read_is_not_there(repro, place):
    _refused(repro("verify", place / "file" / "x.zarr"), "There is no store at")


def test_stores_beside_a_mistyped_path_are_named(repro, place):
    told = repro("status", place / "t.zarr")
    _refused(told, f"Check the path: in {place} there are s.zarr.")
    _refused(repro("status", place / "images" / "t.zarr"), "Check the path, or generate")


def test_pipes_are_no_files(repro, place, monkeypatch):
    (place / "images" / "000001.png").unlink()
    os.mkfifo(place / "images" / "000001.png")
    for name in ("study.toml", "x.npy", "x.npz"):
        os.mkfifo(place / name)
    store = place / "new.zarr"
    monkeypatch.setattr(study_text, "PATIENCE", 0.01)
    with _soon():
        _refused(repro("import", place / "images", "--store", store, "--model", "m"), "cannot be")
        for command in ("verify", "status", "generate"):
            _refused(repro(command, place / "study.toml"), "is a pipe that nobody writes to.")
        with pytest.raises(NotFoundError, match="is no file"):
            file_digest(place / "x.npy")
        for source in ("x.npy", "x.npz", "images"):
            with pytest.raises(DatasetError, match="cannot be read"):
                open_source("d", DatasetSpec(source=source), place)
    assert not store.exists()


def test_nothing_is_packed_into_a_pipe_or_a_device(repro, place):
    os.mkfifo(place / "pipe")
    read, write = os.pipe()
    with _soon():
        for target in ("/dev/null", f"/dev/fd/{write}", "/proc/self/x", place / "pipe"):
            _refused(repro("pack", place / "s.zarr", target), "is a pipe or a device, or lies")
    os.close(write)
    assert os.read(read, 1) == b""
    os.close(read)


def test_pipes_in_the_place_of_an_export_are_in_the_way(repro, place):
    folder = place / "out" / run_of().path
    folder.parent.mkdir(parents=True)
    os.mkfifo(folder.with_name(f"{folder.name}.npy.json"))
    arguments = ("--to", place / "out", "--format", "npy", "--run", "*")
    with _soon():
        _refused(repro("export", place / "s.zarr", *arguments), "is no record of an export")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("export", "s.zarr", "--to", "", "--format", "npy", "--run", "*"), "--to"),
        (("export", "s.zarr", "--to=", "--format", "npy", "--run", "*"), "--to"),
        (("import", "images", "--store", "n.zarr", "--model", "m", "--seeds", ""), "--seeds"),
        (("compare", "images", "images", "--allow-unchecked", "--seeds", ""), "--seeds"),
        (("pack", "s.zarr", "p.zip", "--creator", ""), "--creator"),
        (("merge", "s.zarr", "s.zarr", "--into", ""), "--into"),
        (("pack", "s.zarr", ""), "An argument"),
    ],
)
def test_empty_values_are_refused(repro, place, monkeypatch, arguments, name):
    monkeypatch.chdir(place)
    before = _listed(place)
    told = repro(*arguments)
    _refused(told, f"Error: {name} has no value.")
    assert _listed(place) == before


def test_a_value_may_end_in_an_equals_sign(repro, place):
    assert repro("pack", place / "s.zarr", place / "p", "--title=a=").code == 0
    assert (place / "p" / "README.md").read_text(encoding="utf-8").startswith("# a=\n")
