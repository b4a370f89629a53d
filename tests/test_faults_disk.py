"""A disk that fills up, a store that may not be written, and readers while others write."""

import os
import random
import resource
import shutil
import subprocess
import sys

import pytest
from fault_workers import (
    SECONDS,
    assert_kept,
    damage,
    give_up_rights,
    opens_in_xarray,
    received,
    written_states,
)
from generating import (
    CONTEXT,
    FINAL,
    PATH,
    arrays,
    assert_same_arrays,
    child,
    files,
    leftovers,
    small_units,
    study,
)

from reprostore.errors import ReprostoreError, StorageError
from reprostore.store import open_store
from reprostore.studies import generate_study
from reprostore.testing.models import tiny_checkpoint

SAMPLERS = {"final": FINAL, "path": PATH}
SEEDS = "0-28"


@pytest.fixture(autouse=True)
def _small_units():
    with small_units():
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny_checkpoint(folder / "net")
    return folder


@pytest.fixture(scope="module")
def whole(base):
    """Return a complete store's arrays but `session`, and its states."""
    loaded = study(base, SEEDS, SAMPLERS)
    with small_units():
        generate_study(loaded)
    return arrays(loaded), written_states(loaded.store_path)


def mount(*arguments):
    """Mount a file system, or skip the test where that is not allowed."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("file systems are mounted by root on Linux alone")
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.decode().strip()}")


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", folder)
    yield folder
    subprocess.run(["umount", folder], check=True)


def generate_saying(connection, loaded):
    """Generate in a child; send the error, or None."""
    try:
        generate_study(loaded)
    except ReprostoreError as error:
        connection.send((type(error), str(error)))
    else:
        connection.send(None)


def told_by(worker, *args):
    process, connection = child(worker, *args)
    told = received(connection)
    process.join(SECONDS)
    assert process.exitcode == 0
    return told


def check_full(loaded, before, states, told):
    """After the disk was full: the message is clear, and what was written is whole."""
    kind, message = told
    assert issubclass(kind, StorageError)
    assert "Nothing that was finished is lost: make room" in message
    if not loaded.store_path.exists():
        return {}
    after = written_states(loaded.store_path)
    assert_kept(before, after)
    assert_kept(after, states)
    assert damage(loaded.store_path) == []
    opens_in_xarray(loaded.store_path)
    return after


@pytest.mark.parametrize("rounds", [1, pytest.param(30, marks=pytest.mark.slow)])
def test_a_disk_that_fills_up_loses_nothing(base, small_disk, whole, rounds):
    rng, seen, (expected, states) = random.Random(rounds), set(), whole
    balloon = small_disk / "balloon"
    for _ in range(rounds):
        loaded = study(base, SEEDS, SAMPLERS, store=small_disk / "s.zarr")
        before, room = {}, rng.randint(60_000, 400_000)
        while True:
            balloon.write_bytes(bytes(max(0, shutil.disk_usage(small_disk).free - room)))
            told = told_by(generate_saying, loaded)
            balloon.unlink()
            if told is None:
                break
            assert "no space is left on the device" in told[1]
            before = check_full(loaded, before, states, told)
            seen.add(len(before))
            room = rng.randint(60_000, 400_000)
        assert_same_arrays(arrays(loaded), expected)
        assert leftovers(loaded) == []
        assert damage(loaded.store_path) == []
        shutil.rmtree(loaded.store_path)
    assert len(seen) >= min(rounds, 5)  # the disk was full at different moments


def generate_with_limit(connection, loaded, limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    generate_saying(connection, loaded)


def test_files_that_are_cut_off_in_mid_shard(base, tmp_path, whole):
    loaded, (expected, states) = study(base, SEEDS, SAMPLERS, store=tmp_path / "s.zarr"), whole
    generate_study(study(base, "0-8", SAMPLERS, store=loaded.store_path))
    before = written_states(loaded.store_path)
    shards = {
        name: len(content)
        for name, (_, content) in files(loaded.store_path).items()
        if "/sample/c/" in name or "/denoised/c/" in name
    }
    limit = max(shards.values()) - 100  # no file of metadata is as large
    told = told_by(generate_with_limit, loaded, limit)
    assert "a file would be larger than the file system or a limit allows" in told[1]
    check_full(loaded, before, states, told)
    generate_study(loaded)
    assert_same_arrays(arrays(loaded), expected)
    assert leftovers(loaded) == []


def read_all(connection, loaded):
    """Read and verify a store, then try to write it, as somebody who may only read."""
    give_up_rights()
    found = damage(loaded.store_path)
    states = written_states(loaded.store_path)
    opens_in_xarray(loaded.store_path)
    connection.send((found, len(states)))
    generate_saying(connection, loaded)


def test_a_store_without_permission_to_write_is_read_and_left_alone(base, tmp_path):
    loaded = study(base, "0-8", SAMPLERS, store=tmp_path / "s.zarr")
    generate_study(loaded)
    more = study(base, SEEDS, SAMPLERS, store=loaded.store_path)
    before = files(loaded.store_path)
    folders = [loaded.store_path, *(p for p in loaded.store_path.rglob("*") if p.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    process, connection = child(read_all, more)
    assert received(connection) == ([], 18)
    kind, message = received(connection)
    process.join(SECONDS)
    for folder in folders:
        folder.chmod(0o755)
    assert issubclass(kind, StorageError)
    assert f"The store {loaded.store_path} is read-only. It is to be written." in message
    assert files(loaded.store_path) == before


def test_a_file_system_that_is_read_only(base, tmp_path, whole):
    loaded, (expected, _) = study(base, SEEDS, SAMPLERS, store=tmp_path / "d" / "s.zarr"), whole
    generate_study(study(base, "0-8", SAMPLERS, store=loaded.store_path))
    before, folder = files(loaded.store_path), loaded.store_path.parent
    mount("--bind", folder, folder)
    try:
        mount("-o", "remount,ro,bind", folder)
        assert damage(loaded.store_path) == []
        opens_in_xarray(loaded.store_path)
        told = told_by(generate_saying, loaded)
    finally:
        subprocess.run(["umount", folder], check=True)
    assert told is not None
    assert issubclass(told[0], StorageError)
    assert files(loaded.store_path) == before
    generate_study(loaded)
    assert_same_arrays(arrays(loaded), expected)


def read_in_a_loop(connection, path, stop, started):
    """Read a store over and over; send how many states each look found."""
    counts, states, last = [], {}, False
    while not last:
        last = stop.is_set()  # and one more look, which must find everything
        if (path / "zarr.json").exists():
            found = written_states(path)  # compares every digest with the bytes
            assert_kept(states, found)
            states = found
            counts.append(len(found))
            store = open_store(path)
            for run in store.runs():
                if run.written()[0].size:
                    store.samples(*run.path.split("/")).compute(scheduler="synchronous")
        started.set()
    connection.send((counts, states))


def test_a_reader_sees_only_what_is_whole_while_others_write_and_the_runs_grow(
    base, tmp_path, whole
):
    path, (expected, states) = tmp_path / "s.zarr", whole
    stop, started = CONTEXT.Event(), CONTEXT.Event()
    reader, connection = child(read_in_a_loop, path, stop, started)
    assert started.wait(SECONDS)
    for last in (12, 28):
        loaded = study(base, f"0-{last}", SAMPLERS, store=path)
        writers = [child(generate_saying, loaded) for _ in range(2)]
        for writer, from_writer in writers:
            assert received(from_writer) is None
            writer.join(SECONDS)
    stop.set()
    counts, found = received(connection)
    reader.join(SECONDS)
    assert reader.exitcode == 0
    assert counts == sorted(counts)
    assert len(set(counts)) >= 2  # it looked while there was something to come
    assert found == states
    assert_same_arrays(arrays(loaded), expected)
