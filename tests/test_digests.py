import hashlib
import json
import os
import subprocess
import sys
import time

import pytest

from reprostore.digests import file_digest
from reprostore.errors import NotFoundError

OLD = time.time() - 3600


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REPROSTORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "digests.json"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(b"weights" * 100_000)
    os.utime(path, (OLD, OLD))
    return path


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def poison(cache, file):
    """Replace the cached digest, so that a test sees whether it is used."""
    entries = json.loads(cache.read_text())
    entries[str(file.resolve())][3] = "f" * 64
    cache.write_text(json.dumps(entries))


def test_digest_is_sha256_and_is_read_from_the_cache_afterwards(cache, file):
    assert file_digest(file) == sha256(file)
    poison(cache, file)
    assert file_digest(file) == "f" * 64


@pytest.mark.parametrize("change", ["size", "mtime", "inode"])
def test_a_changed_file_is_read_again(cache, file, change):
    file_digest(file)
    poison(cache, file)
    if change == "size":
        file.write_bytes(b"shorter")
        os.utime(file, (OLD, OLD))
    elif change == "mtime":
        os.utime(file, (OLD + 1, OLD + 1))
    else:
        other = file.with_name("other")
        other.write_bytes(file.read_bytes())
        os.utime(other, (OLD, OLD))
        other.replace(file)
    assert file_digest(file) == sha256(file)


def test_a_file_written_just_now_is_not_cached(cache, tmp_path):
    path = tmp_path / "fresh"
    path.write_bytes(b"one")
    assert file_digest(path) == sha256(path)
    assert not cache.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"a": 1}', '{"a": [1, 2, 3, 4]}'])
def test_a_broken_cache_is_ignored_and_replaced(cache, file, content):
    cache.parent.mkdir()
    cache.write_text(content)
    assert file_digest(file) == sha256(file)
    assert json.loads(cache.read_text())[str(file.resolve())][3] == sha256(file)


def test_an_entry_of_the_wrong_form_is_ignored(cache, file):
    cache.parent.mkdir()
    cache.write_text(json.dumps({str(file.resolve()): "f" * 64}))
    assert file_digest(file) == sha256(file)


def test_a_cache_that_cannot_be_written_is_ignored(tmp_path, monkeypatch, file):
    blocker = tmp_path / "blocker"
    blocker.write_text("a file where the cache's folder should be")
    monkeypatch.setenv("REPROSTORE_CACHE", str(blocker))
    assert file_digest(file) == sha256(file)


def test_the_cache_follows_xdg_and_home(tmp_path, monkeypatch, file):
    monkeypatch.delenv("REPROSTORE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    file_digest(file)
    assert (tmp_path / "xdg" / "reprostore" / "digests.json").is_file()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    file_digest(file)
    assert (tmp_path / "home" / ".cache" / "reprostore" / "digests.json").is_file()


def test_nothing_partial_is_left_and_other_entries_stay(cache, file, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b"other")
    os.utime(other, (OLD, OLD))
    file_digest(file)
    file_digest(other)
    assert len(json.loads(cache.read_text())) == 2
    assert [path.name for path in cache.parent.iterdir()] == ["digests.json"]


def test_links_are_followed(cache, file, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(file)
    assert file_digest(link) == sha256(file)


@pytest.mark.parametrize("name", ["absent", "."])
def test_what_is_no_file_is_named(cache, tmp_path, name):
    with pytest.raises(NotFoundError, match="is not there, or is no file"):
        file_digest(tmp_path / name)


def test_importing_it_does_not_import_torch():
    code = (
        "import sys, reprostore.digests, reprostore.models, reprostore.samplers; "
        "assert not {'torch', 'diffusers', 'huggingface_hub'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
