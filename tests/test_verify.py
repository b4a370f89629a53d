"""`verify_store` on whole stores, and damage of their tree, attributes and metadata."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from verifying import (
    CUTS,
    FLOAT,
    RUN,
    SEEDS,
    edit,
    flip,
    found,
    make_run,
    make_store,
    notes,
    zipped,
)
from zarr.storage import LocalStore

from reprostore import open_store
from reprostore.sharing.checks.chunks import unpacked
from reprostore.sharing.checks.findings import Damage
from reprostore.sharing.verify import verify_store
from reprostore.store import create_store
from reprostore.testing.store import step_table

FORMAT1 = Path(__file__).parent / "data" / "format1.zarr"


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("intact") / "store.zarr")


@pytest.fixture(scope="module")
def intact_run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run") / "store.zarr")


@pytest.fixture
def path(intact_run, tmp_path):
    return shutil.copytree(intact_run, tmp_path / "store.zarr")


def test_a_whole_store_has_nothing_wrong_and_all_of_it_was_read(intact):
    calls = []
    report = verify_store(open_store(intact), progress=lambda *call: calls.append(call))
    assert report.findings == []
    files = [file for file in intact.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    # 10 seeds in units of 4. Float run: 5 chunks of 2 seeds, 3 steps, 2 arrays; 3 units in 4
    # arrays; seed and 4 step arrays. Bytes run: 3 chunks of 4 seeds, and the same others.
    runs = 5 * 3 * 2 + 3 * 4 + 5 + 3 + 3 * 4 + 5
    # Vectors of 3 units with their digests; of items, and their marks; 3 arrays of neighbors.
    result = next((intact / "results" / "generalization").glob("*/"))
    derived = 3 * 2 + 2 + 3 + len(list(result.glob("*/")))
    assert report.counts() == {
        "files": len(files),
        "nbytes": size,
        "chunks": runs + 1 + derived,
        "runs": 2,
        "seeds": 20,
        "datasets": 1,
        "caches": 4,
    }
    done = [call[1] for call in calls]
    assert done == sorted(done)
    assert calls[-1] == ("store.zarr", size, size)


def test_the_store_of_format_1_and_a_packed_store_have_nothing_wrong(intact, tmp_path):
    report = verify_store(open_store(FORMAT1))
    made_up = {f"runs/{run}/none/noise_probe" for run in ("alpha/all", "alpha/bytes", "alpha/half",
                                                          "beta/all", "gamma/bytes")}  # fmt: skip
    earlier = {finding.place for finding in report.findings if "earlier" in finding.what}
    assert {place.split("/")[0] for place in earlier} == {
        "datasets", "embeddings", "neighbors", "results"
    }  # fmt: skip
    assert not earlier & {finding.place for finding in report.damage}
    others = {finding.place for finding in report.findings} - earlier
    assert others == made_up  # they are of no seed
    packed = verify_store(open_store(zipped(intact, tmp_path / "store.zip")))
    (note,) = packed.findings
    assert (note.damage, note.place) == (False, "manifest-sha256.json")  # zipped by other means
    assert packed.counts() == verify_store(open_store(intact)).counts()


def test_a_packed_store_with_a_damaged_shard_names_the_same(path, tmp_path):
    flip(path / RUN / "sample" / "c" / "1" / "0" / "0" / "0" / "0", 3)
    expected = found(path)
    assert expected
    assert found(zipped(path, tmp_path / "store.zip")) == expected


def test_missing_seeds_are_no_damage(path):
    store = open_store(path, mode="r+")
    store.run(FLOAT.path).grow([40, 41, 42])
    fresh = FLOAT.model_copy(update={"model": "fresh"})
    store.add_run(fresh, step_table(fresh), range(5))
    report = verify_store(store)
    assert report.findings == []
    assert report.seeds == 10


def test_an_empty_store_and_an_unknown_root_attribute(tmp_path):
    path = create_store(tmp_path / "a.zarr").path
    assert verify_store(open_store(path)).findings == []
    edit(path / "zarr.json", lambda root: root["attributes"].update(code="import os"))
    assert found(path) == [("store", "", None, None)]


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
@pytest.mark.parametrize("array", ["sample", "status", "seed", "sigma", "noise_probe"])
def test_a_damaged_array_zarr_json_is_named(path, array, content):
    file = path / RUN / array / "zarr.json"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    assert found(path) == [("array", f"{RUN}/{array}", None, None)]
    assert notes(path) == []


CHANGES = {
    "dtype": lambda d: d.update(data_type="float64"),
    "objects": lambda d: d.update(data_type="object"),
    "text": lambda d: d.update(data_type={"name": "fixed_length_utf32"}),
    "pickle": lambda d: d.update(codecs=[{"name": "numcodecs.pickle"}]),
    "blosc": lambda d: d["codecs"][0]["configuration"]["codecs"].insert(1, {"name": "blosc"}),
    "dims": lambda d: d.update(dimension_names=["seed", "step", "a", "y", "x"]),
    "fill": lambda d: d.update(fill_value=0.0),
    "steps": lambda d: d.update(shape=[10, 4, 1, 2, 2]),
    "huge": lambda d: d.update(shape=[10**30, 3, 1, 2, 2]),
    "negative": lambda d: d.update(shape=[-1, 3, 1, 2, 2]),
    "keys": lambda d: d["chunk_key_encoding"].update(name="v2"),
    "transformers": lambda d: d.update(storage_transformers=[{"name": "x"}]),
    "unknown": lambda d: d.update(must_understand="me"),
    "version": lambda d: d.update(zarr_format=2),
    "attributes": lambda d: d.update(attributes={"scale": 2}),
    "chunks": lambda d: d["chunk_grid"]["configuration"].update(chunk_shape=[3, 3, 1, 2, 2]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_metadata_are_found(path, name):
    edit(path / RUN / "sample" / "zarr.json", CHANGES[name])
    assert found(path) == [("array", f"{RUN}/sample", None, None)]


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a["run"].update(noise_scale=2.0),
        lambda a: a["run"].update(batch_size=4),
        lambda a: a["run"].update(checksum="0" * 32),
        lambda a: a["run"].pop("weights"),
        lambda a: a.pop("run"),
        lambda a: a.update(withheld="yes"),
        lambda a: a.update(more=1),
    ],
)
def test_edited_attributes_of_a_run_are_found(path, change):
    edit(path / RUN / "zarr.json", lambda d: change(d["attributes"]))
    assert found(path) == [("attributes", RUN, None, None)]


def test_a_run_in_the_place_of_another_is_found(path):
    shutil.move(path / RUN, path / "runs" / "float" / "sampler" / "other")
    assert ("attributes", "runs/float/sampler/other", None, None) in found(path)


def test_deleted_groups_are_found(intact, tmp_path):
    path = shutil.copytree(intact, tmp_path / "store.zarr")
    groups = ["datasets", "embeddings", "embeddings/pixel/runs/bytes", "neighbors/pixel/items/runs",
              "results", "runs", "runs/float", "runs/float/sampler", "sessions"]  # fmt: skip
    for group in groups:
        (path / group / "zarr.json").unlink()
    assert found(path) == [("group", group, None, None) for group in groups]


def test_a_lost_session_names_the_seeds_that_it_wrote(path):
    (session,) = (path / "sessions").glob("*/")
    shutil.rmtree(session)
    assert found(path) == [("session", f"sessions/{session.name}", "10-13,20-23,30-31", None)]


def test_unequal_lengths_are_found(path):
    edit(path / RUN / "digest" / "zarr.json", lambda d: d.update(shape=[12]))
    assert found(path) == [("length", f"{RUN}/digest", None, None)]


@pytest.mark.parametrize("cut", CUTS)
def test_a_damaged_seed_array_is_named(path, cut):
    CUTS[cut](path / RUN / "seed" / "c" / "0")
    assert found(path) == [("checksum", f"{RUN}/seed", None, None)]


@pytest.mark.parametrize(
    ("array", "values"),
    [
        ("seed", [*SEEDS[:-1], 10]),
        ("seed", [*SEEDS[:-1], -1]),
        ("seed", [*SEEDS[:-1], 2**32]),
        ("step", [0, 1, 6]),
        ("sigma", [10, np.nan, 0]),
        ("sigma", [10, -1, 0]),
        ("alpha", [1, np.inf, 1]),
        ("timestep", [3, 2, 1]),
        ("timestep", [3, np.nan, np.nan]),
    ],
)
def test_values_that_cannot_be_are_found(path, array, values):
    zarr.open_array(LocalStore(path), path=f"{RUN}/{array}")[...] = np.asarray(values)
    assert found(path) == [("values", f"{RUN}/{array}", None, None)]


def test_sigma_may_be_infinite(path):
    zarr.open_array(LocalStore(path), path=f"{RUN}/sigma")[0] = np.inf
    assert found(path) == []


def test_leftovers_and_foreign_files_are_notes(path):
    (path / "thumbs.db").write_bytes(b"x")
    leftover = path / RUN / "sample" / "c" / "0" / "0" / "0" / "0" / "0.1a.partial"
    leftover.write_bytes(b"x")
    outside = path / RUN / "digest" / "c" / "9"
    outside.write_bytes(b"x")
    assert found(path) == []
    assert sorted(notes(path)) == [
        ("leftover", leftover.relative_to(path).as_posix()),
        ("stray", f"{RUN}/digest/c/9"),
        ("stray", "thumbs.db"),
    ]


def test_a_batch_size_that_would_never_end_is_damage(path):
    """The divisors of a batch size are listed: one of 10**15 must not be tried."""
    from reprostore.canonical import fingerprint

    def change(document):
        run = document["attributes"]["run"]
        run.pop("checksum")
        run["batch_size"] = 10**15
        run["checksum"] = fingerprint(run)

    edit(path / RUN / "zarr.json", change)
    assert found(path) == [("attributes", RUN, None, None)]


def test_a_chunk_that_says_it_is_enormous_is_not_unpacked():
    """A zstd frame of 2 GB of zeros takes 64 KiB."""
    import google_crc32c
    import numcodecs.zstd

    frame = numcodecs.zstd.compress(bytes(10**7), 1)
    packed = frame + google_crc32c.value(frame).to_bytes(4, "little")
    assert unpacked(packed, 10**7).max() == 0
    for nbytes in (16, 10**7 + 1):
        with pytest.raises(Damage, match=f"10000000 bytes instead of {nbytes}"):
            unpacked(packed, nbytes)
    with pytest.raises(Damage, match="not compressed with zstd"):
        unpacked(b"12345678" + google_crc32c.value(b"12345678").to_bytes(4, "little"), 16)


def test_verifying_loads_no_heavy_library(intact):
    code = (
        "import sys; from reprostore import open_store\n"
        "from reprostore.sharing.verify import verify_store\n"
        "assert not verify_store(open_store(sys.argv[1])).findings\n"
        "bad = {'torch', 'diffusers', 'faiss', 'matplotlib', 'PIL', 'rocrate', 'sklearn'}\n"
        "print(sorted(bad & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(intact)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_rows_are_json(path):
    CUTS["deleted"](path / RUN / "sample" / "c" / "2" / "0" / "0" / "0" / "0")
    (row,) = [f.row() for f in verify_store(open_store(path)).damage]
    assert json.loads(json.dumps(row)) == row
    assert row["seeds"] == "30-31"
    assert row["steps"] == "0-1,5"
    assert row["repairable"]
