"""A pack with any bytes changed: it is told, and unpacked it is what was packed or not there."""

import json
import zipfile

import numpy as np
import pytest
from fuzzing import examples, outcome, watched
from hypothesis import example, given
from hypothesis import strategies as st
from reading_stores import build, read_all, same

from reprostore.errors import FormatError, ReprostoreError
from reprostore.sharing.archives.manifest import MANIFEST, check_manifest
from reprostore.sharing.pack import pack_store
from reprostore.sharing.packing.request import PackRequest
from reprostore.sharing.unpack import unpack
from reprostore.store import open_store
from reprostore.testing.strategies import damaged_bytes, json_files, odd_texts


class Packed:
    """A pack, its members, and what is read of the store in it."""

    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "store.zip"
        pack_store(open_store(build(folder)), self.path, PackRequest("samples", runs=["a/s/none"]))
        self.content = self.path.read_bytes()
        with zipfile.ZipFile(self.path) as archive:
            self.members = {name: archive.read(name) for name in archive.namelist()}
        self.truth = read_all(self.path)
        self.others = set(folder.iterdir())

    def check(self, content):
        """Receive these bytes instead; return what unpacking them gave."""
        self.path.write_bytes(content)
        place = self.folder / "unpacked"
        with watched():
            found = outcome(open_store, self.path)
            findings = outcome(check_manifest, self.path)
            done = outcome(unpack, self.path, place)
        if not isinstance(done, ReprostoreError):
            assert findings == []
            assert not isinstance(found, ReprostoreError)
        left = set(self.folder.iterdir()) - self.others
        if isinstance(done, ReprostoreError):
            assert not left, (done.parts, left)
            return done
        assert left == {place}
        files = {
            file.relative_to(place).as_posix(): file.read_bytes()
            for file in sorted(place.rglob("*"))
            if not file.is_dir()
        }
        assert all(file.resolve().is_relative_to(place.resolve()) for file in place.rglob("*"))
        _remove(place)
        return files


def _remove(place):
    for file in sorted(place.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    place.rmdir()


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return Packed(tmp_path_factory.mktemp("packed"))


def zipped(members):
    """Write members into an archive as packing does, in this order and under any names."""
    import io

    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content)
    return made.getvalue()


def test_the_pack_as_it_is_unpacks(packed):
    assert packed.check(packed.content) == packed.members


@examples(12)
@given(data=st.data())
def test_an_archive_with_changed_bytes(packed, data):
    content = data.draw(damaged_bytes(packed.content) | directory_damage(packed.content))
    files = packed.check(content)
    assert isinstance(files, ReprostoreError) or files == packed.members


def directory_damage(content):
    """Return the archive with one byte of its central directory or of a local header changed."""
    start = content.rindex(b"PK\x05\x06")
    first = int.from_bytes(content[start + 16 : start + 20], "little")
    places = st.integers(first, len(content) - 1) | st.integers(0, 120)
    return st.tuples(places, st.integers(0, 255)).map(
        lambda change: content[: change[0]] + bytes([change[1]]) + content[change[0] + 1 :]
    )


@examples(12)
@given(data=st.data())
def test_a_pack_with_a_changed_manifest(packed, data):
    manifest = data.draw(json_files(packed.members[MANIFEST]))
    files = packed.check(zipped((packed.members | {MANIFEST: manifest}).items()))
    if not isinstance(files, ReprostoreError):
        written = json.loads(files.pop(MANIFEST))["files"]
        assert written.keys() == files.keys()
        assert all(files[name] == packed.members[name] for name in files)


@examples(12)
@given(data=st.data())
def test_a_pack_with_changed_members(packed, data):
    members = dict(packed.members)
    name = data.draw(st.sampled_from(sorted(members)))
    content = members.pop(name)
    how = data.draw(st.sampled_from(["damage", "remove", "rename", "add"]))
    if how == "damage":
        members[name] = data.draw(damaged_bytes(content))
    elif how == "rename":
        members[data.draw(NAMES)] = content
    elif how == "add":
        members |= {name: content, data.draw(NAMES): content}
    files = packed.check(zipped(members.items()))
    assert isinstance(files, ReprostoreError) or files == packed.members


NAMES = st.sampled_from(
    ["../out", "/tmp/out", "a/../../out", "store.zarr/../x", "a//b", "./a", "a\\b", "C:\\a", "a/",
     ".", "\x00", "store.zarr/zarr.json/x", "STORE.zarr/zarr.json", "x" * 5000, "a/" * 500 + "b",
     MANIFEST + "/x"]
) | odd_texts().filter(lambda text: len(text.encode("utf-8", "replace")) < 2**16)  # fmt: skip


@examples(6)
@given(data=st.data())
def test_a_store_is_read_in_place_from_a_changed_archive(packed, data):
    content = data.draw(directory_damage(packed.content) | damaged_bytes(packed.content))
    packed.path.write_bytes(content)
    with watched():
        found = read_all(packed.path)
    status = found.get("a/s/none status")
    if isinstance(status, np.ndarray) and not status.all():
        return  # without a chunk of `status` its slots count as missing
    for name, value in found.items():
        known = isinstance(value, ReprostoreError) or name in {"root", "contents"}
        assert known or name not in packed.truth or same(value, packed.truth[name]), name


@examples(12)
@given(content=st.binary(max_size=300))
@example(b"PK\x05\x06" + bytes(18))
@example(b"PK\x03\x04" + bytes(300))
def test_no_archive_at_all(packed, content):
    assert isinstance(packed.check(content), FormatError)
