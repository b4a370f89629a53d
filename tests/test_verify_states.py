"""Damaged states and what every seed carries: found with the exact run, seeds and steps."""

import contextlib
import shutil
import tracemalloc

import google_crc32c
import numpy as np
import pytest
import zarr
from verifying import CUTS, FLOAT, RUN, SEEDS, chunk_span, flip, found, make_run
from zarr.storage import LocalStore

from reprostore import open_store
from reprostore.sharing.checks import states as verify_states
from reprostore.sharing.verify import verify_store
from reprostore.store import create_store
from reprostore.store.files import FolderFiles
from reprostore.testing.store import run_spec, step_table, write_units

# Of `sample` a shard holds 4 seeds and 3 steps, of `denoised` 4 seeds and 2 steps.
ROWS = {"sample": 3, "denoised": 2}


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("intact") / "store.zarr")


@pytest.fixture
def path(intact, tmp_path):
    return shutil.copytree(intact, tmp_path / "store.zarr")


def shard(path, array, seeds, rows=0):
    return path / RUN / array / "c" / str(seeds) / str(rows) / "0" / "0" / "0"


def put(path, array, where, value):
    """Write with plain zarr: checksums are right, digests are not."""
    zarr.open_array(LocalStore(path), path=f"{RUN}/{array}")[where] = value


@pytest.mark.parametrize("array", ROWS)
@pytest.mark.parametrize("part", [0.0, 0.4, 0.99])
def test_a_flipped_bit_names_two_seeds_and_one_step(path, array, part):
    row = ROWS[array] - 1
    file = shard(path, array, 1)
    start, length = chunk_span(file, (2, ROWS[array]), (1, row))
    flip(file, start + int(part * (length - 1)))
    step = str(FLOAT.steps[row])
    # Chunk 1 of shard 1 holds the slots 6 and 7.
    assert found(path) == [("checksum", f"{RUN}/{array}", "22-23", step)]


@pytest.mark.parametrize("array", ROWS)
@pytest.mark.parametrize("cut", CUTS)
def test_a_damaged_shard_names_its_seeds_and_steps(path, array, cut):
    CUTS[cut](shard(path, array, 1))
    kind = "file" if cut == "deleted" else "checksum"
    steps = {"sample": "0-1,5", "denoised": "0-1"}[array]
    assert found(path) == [(kind, f"{RUN}/{array}", "20-23", steps)]


def test_a_chunk_that_its_shard_does_not_name(path):
    """zarr reads it as NaN; only the status says that it was written."""
    file = shard(path, "sample", 0)
    form = (2, 3)
    data = bytearray(file.read_bytes())
    size = 16 * 6
    index = np.frombuffer(bytes(data[-size - 4 : -4]), "<u8").reshape(*form, 2).copy()
    index[1, 0] = 2**64 - 1
    tail = index.tobytes()
    data[-size - 4 :] = tail + google_crc32c.value(tail).to_bytes(4, "little")
    file.write_bytes(data)
    assert found(path) == [("file", f"{RUN}/sample", "12-13", "0")]


def test_two_kinds_of_damage_are_told_apart(path):
    CUTS["deleted"](shard(path, "denoised", 2, 1))
    for chunk in [(0, 0), (0, 2)]:
        flip(shard(path, "sample", 0), chunk_span(shard(path, "sample", 0), (2, 3), chunk)[0] + 5)
    assert found(path) == [
        ("file", f"{RUN}/denoised", "30-31", "5"),
        ("checksum", f"{RUN}/sample", "10-11", "0,5"),
    ]


@pytest.mark.parametrize(("array", "row"), [("sample", 0), ("sample", 2), ("denoised", 1)])
def test_states_that_were_replaced_are_found_by_their_digest(path, array, row):
    put(path, array, (5, row), np.float32(0.5))
    assert found(path) == [("digest", f"{RUN}/digest", "21", None)]


def test_exchanged_states_are_found_by_their_digests(path):
    array = zarr.open_array(LocalStore(path), path=f"{RUN}/sample")
    array[0:2] = np.asarray(array[0:2])[::-1]
    assert found(path) == [("digest", f"{RUN}/digest", "10-11", None)]


def test_an_edited_digest_and_seeds_that_are_called_written(path):
    put(path, "digest", slice(9, 10), np.asarray([7], np.uint64))
    assert found(path) == [("digest", f"{RUN}/digest", "31", None)]


def test_samples_that_are_not_finite(path):
    put(path, "sample", (3, 1, 0, 1, 1), np.float32(np.inf))
    assert found(path) == [
        ("digest", f"{RUN}/digest", "13", None),
        ("values", f"{RUN}/sample", "13", "1"),
    ]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("array", ["digest", "session", "noise_probe"])
def test_what_every_seed_carries_is_found_by_unit(path, array, cut):
    CUTS[cut](path / RUN / array / "c" / ("2/0" if array == "noise_probe" else "2"))
    assert found(path) == [("checksum", f"{RUN}/{array}", "30-31", None)]


@pytest.mark.parametrize("cut", CUTS)
def test_a_damaged_status_is_found_and_a_deleted_one_means_missing(path, cut):
    CUTS[cut](path / RUN / "status" / "c" / "1")
    expected = [("checksum", f"{RUN}/status", "20-23", None)]
    assert found(path) == ([] if cut == "deleted" else expected)


def test_a_status_that_is_neither_and_a_probe_that_is_not_known(path):
    put(path, "status", slice(4, 5), np.asarray([2], np.uint8))
    put(path, "noise_probe", (8, 3), np.float32(np.nan))
    assert found(path) == [
        ("values", f"{RUN}/noise_probe", "30", None),
        ("values", f"{RUN}/status", "20", None),
    ]


def test_a_damaged_shard_of_missing_seeds_is_told_as_no_loss(path):
    put(path, "status", slice(4, 8), np.zeros(4, np.uint8))
    CUTS["halved"](shard(path, "sample", 1))
    (finding,) = verify_store(open_store(path)).damage
    assert (finding.seeds, finding.steps) == ("20-23", "0-1,5")
    assert "nothing is lost" in finding.what


@pytest.mark.parametrize("small", [1, 2**14])
@pytest.mark.parametrize(
    ("dtype", "shape", "steps"),
    [("float32", (1, 3, 5), (0, 2)), ("float16", (2, 4, 4), (3,)), ("uint8", (3, 8, 8), (9,))],
)
def test_digests_of_all_dtypes_by_either_way_of_hashing(
    tmp_path, monkeypatch, small, dtype, shape, steps
):
    monkeypatch.setattr(verify_states, "SMALL_STATE", small)
    monkeypatch.setattr(verify_states, "GATHERED", 100)
    spec = run_spec(sample_shape=shape, steps=steps, dtype=dtype, denoised=dtype == "float32")
    store = create_store(tmp_path / "a.zarr")
    run = store.add_run(spec, step_table(spec), SEEDS)
    write_units(run, store.start_session({}))
    report = verify_store(store)
    assert report.findings == []
    assert report.seeds == 10


def test_a_file_that_is_replaced_while_it_is_read_is_no_damage(path, monkeypatch):
    """The first read finds half a file, the second one the whole."""
    file = shard(path, "sample", 1)
    whole = shutil.copy(file, path.parent / "whole")
    original = verify_states._check_column

    def replaced(files, states, slots, opened):
        column = original(files, states, slots, opened)
        if not column.fine:  # half of the file was seen
            with contextlib.suppress(FileNotFoundError):  # another thread was first
                whole.replace(file)
        return column

    monkeypatch.setattr(verify_states, "_check_column", replaced)
    CUTS["halved"](file)
    assert found(path) == []
    assert not whole.exists()


def test_memory_is_that_of_a_few_chunks(tmp_path):
    """64 MB of states in shards of 64 MB, and chunks of 1 MiB."""
    spec = run_spec(sample_shape=(1, 512, 512), steps=(0, 1), batch_size=32)
    store = create_store(tmp_path / "a.zarr")
    run = store.add_run(spec, step_table(spec), range(32))
    state = np.random.default_rng(0).standard_normal((1, 512, 512)).astype(np.float32)
    write_units(run, store.start_session({}), states=lambda *_: (state, None))
    assert run.array("sample").shards[:2] == (32, 2)
    tracemalloc.start()
    report = verify_store(store)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.findings == []
    # A worker holds a packed chunk and an unpacked one; two times as many wait with one each.
    assert peak < 2**20 * 6 * verify_states.workers()


def test_a_file_of_a_unit_that_is_replaced_while_it_is_read_is_no_damage(path, monkeypatch):
    """The first read finds half a file, the second one the whole."""
    file = path / RUN / "digest" / "c" / "1"
    whole = shutil.copy(file, path.parent / "whole")
    original = FolderFiles.read

    def read(self, key, *part):
        content = original(self, key, *part)
        if key == f"{RUN}/digest/c/1" and whole.exists():
            whole.replace(file)
        return content

    monkeypatch.setattr(FolderFiles, "read", read)
    CUTS["halved"](file)
    assert found(path) == []
    assert not whole.exists()


@pytest.mark.parametrize("span", [(2**64 - 9, 10), (2**63 + 5, 2**63 + 5)], ids=str)
def test_an_index_that_wraps_around_points_outside_of_the_file(path, span):
    """Offset and length have a sum of 64 bits that lies in the file; the checksum is right."""
    file = shard(path, "sample", 1)
    data = file.read_bytes()
    index = np.frombuffer(data[-16 * 6 - 4 : -4], "<u8").reshape(2, 3, 2).copy()
    index[1, 0] = span
    tail = index.tobytes()
    file.write_bytes(data[: -16 * 6 - 4] + tail + google_crc32c.value(tail).to_bytes(4, "little"))
    assert found(path) == [("checksum", f"{RUN}/sample", "20-23", "0-1,5")]
