"""A store with any one file damaged: what is read is what was written, or an error of ours."""

import pytest
from fuzzing import examples, outcome, watched
from hypothesis import given
from hypothesis import strategies as st
from reading_stores import build, read_all, same

from reprostore.errors import ReprostoreError
from reprostore.sharing.verify import verify_store
from reprostore.store import open_store
from reprostore.testing.strategies import damaged_bytes, json_files

KINDS = ("runs", "runs", "datasets", "embeddings", "neighbors", "results", "sessions", "zarr.json")


class Intact:
    """A store, the bytes of its files, and what is read of it."""

    def __init__(self, path):
        self.path = path
        self.files = {
            file.relative_to(path).as_posix(): file.read_bytes()
            for file in sorted(path.rglob("*"))
            if file.is_file()
        }
        self.truth = {}
        for kind in dict.fromkeys(KINDS):
            self.truth |= read_all(path, kind)

    def keys(self, kind, *, metadata):
        """Return the keys of metadata, or of chunks, of one kind."""
        return [
            key
            for key in self.files
            if key.split("/")[0] == kind and key.endswith("zarr.json") == metadata
        ]

    def check(self, key, content):
        """Put these bytes, or nothing, in the place of a file, and read all that depends on it."""
        file = self.path / key
        try:
            if content is None:
                file.unlink()
            else:
                file.write_bytes(content)
            with watched():
                found = read_all(self.path, key.split("/")[0])
                report = outcome(lambda: verify_store(open_store(self.path)))
        finally:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self.files[key])
        changed = {name for name, value in found.items() if self._differs(name, value)}
        assert not changed - self.allowed(key), (sorted(changed), key, content)
        return found, report

    def _differs(self, name, value):
        if isinstance(value, ReprostoreError):
            return False
        return not same(value, self.truth.get(name))

    def allowed(self, key):
        """Return what may read differently, since no other file says what it was.

        A run is as long as its `status`, and without a chunk of it the slots are missing. Vectors
        in doubt are made again. A dataset, a session and the root are what their attributes say.
        """
        kind, *parts = key.split("/")
        if kind == "runs" and parts[3:4] == ["status"]:
            shorter = {name for name in self.truth if name.startswith(f"{parts[0]}/")}
            return shorter | {"contents", "samples", "final", f"neighbors of {parts[0]}", "result"}
        if kind == "embeddings":
            return {"missing of a", "missing of b", "contents"}
        if key == "datasets/items/zarr.json":
            return {"contents", "fingerprint", "neighbors of a", "neighbors of b"}
        return {"sessions": {"a/s/none who", "b/s/none who"}, "results": {"contents"}}.get(
            kind, set()
        )


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    return Intact(build(tmp_path_factory.mktemp("fuzzed")))


def files_of(intact, *, metadata):
    """Return a strategy for a kind of group, then a file of it."""
    keys = {kind: intact.keys(kind, metadata=metadata) for kind in KINDS}
    return st.sampled_from([kind for kind in KINDS if keys[kind]]).flatmap(
        lambda kind: st.sampled_from(keys[kind])
    )


@examples(20)
@given(data=st.data())
def test_changed_metadata(intact, data):
    key = data.draw(files_of(intact, metadata=True))
    intact.check(key, data.draw(json_files(intact.files[key])))


@examples(12)
@given(data=st.data())
def test_changed_chunks(intact, data):
    key = data.draw(files_of(intact, metadata=False))
    found, _ = intact.check(key, data.draw(st.none() | damaged_bytes(intact.files[key])))
    assert not isinstance(found.get("contents"), ReprostoreError) or "runs/" in key
