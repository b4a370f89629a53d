"""A store whose folders and files are something else: links, loops, folders of odd names."""

import os
import shutil

import pytest
from fuzzing import examples, outcome, watched
from hypothesis import given
from hypothesis import strategies as st
from reading_stores import build, read_all, spared

from reprostore.errors import ReprostoreError
from reprostore.sharing.verify import verify_store
from reprostore.store import open_store
from reprostore.testing.strategies import odd_texts

NAMES = (
    odd_texts()
    .filter(lambda text: text.strip("./") and "\0" not in text and "/" not in text)
    .filter(lambda text: len(text.encode("utf-8", "replace")) < 200)
)


def _as_file(place):
    _remove(place)
    place.write_bytes(b"no folder")


def _as_folder(place):
    _remove(place)
    place.mkdir()


def _as_loop(place):
    _remove(place)
    place.symlink_to(place.name)


def _as_dangling(place):
    _remove(place)
    place.symlink_to("nowhere")


def _as_parent(place):
    _remove(place)
    place.symlink_to("..")


def _as_device(place):
    _remove(place)
    place.symlink_to("/dev/null")


def _remove(place):
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink()


CHANGES = (_as_file, _as_folder, _as_loop, _as_dangling, _as_parent, _as_device, _remove)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return build(tmp_path_factory.mktemp("folders"))


@pytest.fixture(scope="module")
def places(path):
    """All files and folders of the store, by their kind of group and their depth."""
    found = sorted(place.relative_to(path).as_posix() for place in path.rglob("*"))
    grouped = {}
    for place in found:
        parts = place.split("/")
        grouped.setdefault((parts[0], len(parts)), []).append(place)
    return grouped


def survives(path, kind):
    """Read everything and verify; only our own errors may come out."""
    with watched():
        read_all(path, kind)
        outcome(lambda: verify_store(open_store(path)))


@examples(10)
@given(data=st.data())
def test_something_else_in_a_place(path, places, data):
    kind = data.draw(st.sampled_from(sorted(places)))
    place, change = data.draw(st.sampled_from(places[kind])), data.draw(st.sampled_from(CHANGES))
    with spared(path):
        change(path / place)
        survives(path, kind[0])


@examples(6)
@given(data=st.data())
def test_something_more_in_a_folder(path, places, data):
    kind = data.draw(st.sampled_from(sorted(places)))
    place = (path / data.draw(st.sampled_from(places[kind]))).parent
    name, change = data.draw(NAMES), data.draw(st.sampled_from(CHANGES[:-1]))
    with spared(path):
        new = place / name
        if not os.path.lexists(new):  # case is folded by some file systems
            new.write_bytes(b"")
            change(new)
            survives(path, kind[0])


@pytest.mark.parametrize("content", [b"", b"no store", b"PK\x05\x06" + bytes(18), bytes(100_000)])
def test_a_file_in_the_place_of_the_store(tmp_path, content):
    (tmp_path / "store.zarr").write_bytes(content)
    assert isinstance(outcome(open_store, tmp_path / "store.zarr"), ReprostoreError)


@pytest.mark.parametrize("target", ["store.zarr", "nowhere", ".", "/dev/null", "/dev/zero"])
def test_a_link_in_the_place_of_the_store(tmp_path, target):
    (tmp_path / "store.zarr").symlink_to(target)
    with watched(5):
        assert isinstance(outcome(open_store, tmp_path / "store.zarr"), ReprostoreError)
