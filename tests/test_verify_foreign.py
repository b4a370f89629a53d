"""What a store has beside what it is to have: arrays, attributes, entries and settings."""

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from packing import analyzed, laboratory, pack
from verifying import BYTES, FLOAT, RUN, edit, found, make_store, repair
from zarr.storage import LocalStore

from reprostore.contents import store_contents
from reprostore.sharing.checks.findings import Damage
from reprostore.sharing.checks.forms import array_form
from reprostore.sharing.unpack import unpack
from reprostore.sharing.verify import verify_store
from reprostore.store import open_store
from reprostore.store.files import FolderFiles

FINAL = f"runs/{BYTES.path}"
ITEM, LABEL = "datasets/items/item", "datasets/items/label"
VECTORS = "embeddings/pixel/datasets/items"
OF_RUN = f"embeddings/pixel/runs/{BYTES.path}"


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("intact") / "store.zarr")


@pytest.fixture
def path(intact, tmp_path):
    return shutil.copytree(intact, tmp_path / "store.zarr")


@pytest.mark.parametrize(
    ("group", "name"),
    [(FINAL, "denoised"), (FINAL, "extra"), (RUN, "step_2"), ("datasets/items", "sample")],
)
def test_an_array_that_a_run_or_dataset_does_not_have(path, group, name):
    shutil.copytree(path / FINAL / "status", path / group / name)
    assert ("array", f"{group}/{name}", None, None) in found(path)


@pytest.mark.parametrize("group", [VECTORS, OF_RUN, f"neighbors/pixel/items/runs/{BYTES.path}"])
def test_an_array_that_vectors_or_neighbors_do_not_have(path, group):
    shutil.copytree(path / FINAL / "status", path / group / "extra")
    assert [place for _, place, _, _ in found(path)] == [group]


@pytest.mark.parametrize("spec", [FLOAT, BYTES])
def test_samples_of_a_run_that_is_said_to_have_none(path, spec):
    group = f"runs/{spec.path}"
    edit(path / group / "zarr.json", lambda d: d["attributes"].update(withheld=True))
    assert ("attributes", group, None, None) in found(path)


@pytest.mark.parametrize("array", [ITEM, f"{VECTORS}/vector", f"{OF_RUN}/vector", f"{RUN}/sample"])
@pytest.mark.parametrize("attributes", [{"scale_factor": 0.5}, {"units": "days"}, {"dtype": "i1"}])
def test_attributes_under_which_xarray_reads_other_numbers(path, array, attributes):
    edit(path / array / "zarr.json", lambda d: d["attributes"].update(attributes))
    (told,) = found(path)
    assert array.startswith(told[1])


def test_attributes_of_labels(path):
    shutil.copytree(path / FINAL / "seed", path / LABEL)
    edit(path / LABEL / "zarr.json", lambda d: d["attributes"].update(add_offset=1))
    assert ("checksum", LABEL, None, None) in found(path)


def test_attributes_of_neighbors_without_a_checksum(path):
    group = f"neighbors/pixel/items/runs/{BYTES.path}"
    edit(path / group / "zarr.json", lambda d: d["attributes"].pop("checksum"))
    assert found(path) == []
    scaled = {"scale_factor": 0.5}
    edit(path / group / "similarity" / "zarr.json", lambda d: d.update(attributes=scaled))
    assert found(path) == [("checksum", group, None, None)]


def test_metadata_of_all_groups_in_one_of_them(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is not in the specification
        zarr.consolidate_metadata(LocalStore(path))

    def change(document):
        arrays = document["consolidated_metadata"]["metadata"]
        arrays[f"{RUN}/sample"]["attributes"] = {"scale_factor": 0.5}

    plain = {"engine": "zarr", "group": RUN, "zarr_format": 3}
    with xr.open_dataset(path, consolidated=False, **plain) as data:
        samples = data["sample"].values
    before = (path / "zarr.json").read_bytes()
    edit(path / "zarr.json", change)
    with xr.open_dataset(path, consolidated=True, **plain) as data:
        np.testing.assert_array_equal(data["sample"].values, samples / 2)
    assert found(path) == [("store", "", None, None)]
    edit(path / RUN / "zarr.json", lambda d: d.update(consolidated_metadata=None, extra=1))
    edit(path / RUN / "step" / "zarr.json", lambda d: d.update(data_type="int64"))
    assert [kind for kind, *_ in found(path)] == ["store", "attributes", "array"]
    assert [finding.place for finding in repair(path)] == [f"{RUN}/step"]
    assert found(path) == [("array", f"{RUN}/step", None, None)]
    known = json.loads(before)
    known.pop("consolidated_metadata")
    assert json.loads((path / "zarr.json").read_text()) == known


@pytest.mark.parametrize("name", ["@eaDir", ".ipynb_checkpoints", ".snapshot"])
def test_folders_of_systems_and_editors_are_no_part_of_a_store(path, tmp_path, name):
    copied = shutil.copytree(path, tmp_path / "copied" / "store.zarr")
    runs = open_store(path).run_paths()
    for folder in [path, *(place for place in path.rglob("*") if place.is_dir())]:
        (folder / name).mkdir()
        (folder / name / "x").write_bytes(b"1")
    shutil.copytree(copied / "runs", path / "runs" / name / "hourly.0")
    report = verify_store(open_store(path))
    assert report.damage == []
    assert {finding.kind for finding in report.findings} == {"stray"}
    assert report.counts()["runs"] == len(runs) == len(open_store(path).runs())
    assert [row["kind"] for row in store_contents(open_store(path))] == [
        row["kind"] for row in store_contents(open_store(copied))
    ]
    for store in (copied, path):
        pack(open_store(store), store.parent / "pack.zip")
    assert (tmp_path / "pack.zip").read_bytes() == (copied.parent / "pack.zip").read_bytes()


@pytest.mark.parametrize("array", [f"{RUN}/sample", f"{RUN}/sigma", f"{FINAL}/status", ITEM])
def test_zarr_opens_every_array_whose_metadata_has_nothing_wrong(path, array):
    """Each character that is no white space is replaced by another one."""
    file, files = path / array / "zarr.json", FolderFiles(path)
    before = file.read_bytes()
    expected, attributes = array_form(files, array)
    values = zarr.open_array(LocalStore(path), path=array)[...]
    passed = 0
    for place, byte in enumerate(before):
        if chr(byte).isspace():
            continue
        changed = bytearray(before)
        changed[place] ^= 1 << place % 5
        file.write_bytes(changed)
        try:
            same = array_form(files, array) == (expected, attributes)
        except Damage:
            continue
        if same:
            passed += 1
            np.testing.assert_array_equal(zarr.open_array(LocalStore(path), path=array), values)
    assert passed < 5  # the level of compression


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "bytes", "configuration": {"endian": "little"}, "must_understand": False},
        {"name": "bytes"},
        {"name": "bytes", "configuration": {}},
    ],
)
def test_settings_that_are_left_to_the_reader(path, entry):
    def change(document):
        document["codecs"][0] = entry

    edit(path / RUN / "digest" / "zarr.json", change)
    assert found(path) == [("array", f"{RUN}/digest", None, None)]


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    store = laboratory(folder)
    analyzed(store, folder)
    pack(store, folder / "vectors.zip", content="vectors")
    return store, folder / "vectors.zip"


@pytest.mark.parametrize(
    ("group", "mark"), [("runs/a/s/none", "source_digest"), ("datasets/items", "block_done")]
)
def test_a_lost_mark_of_vectors_that_cannot_be_made_again(packed, tmp_path, group, mark):
    store, pack_file = packed
    received = tmp_path / "store.zarr"
    Path(unpack(pack_file, tmp_path / "out")["store"]).rename(received)
    place = f"embeddings/blocks/{group}"
    for path in (received, shutil.copytree(store.path, tmp_path / "own.zarr")):
        assert found(path) == []
        (file,) = (p for p in (path / place / mark / "c").rglob("*") if p.is_file())
        file.unlink()
        own = path.name == "own.zarr"  # samples are there: vectors are made again
        assert [f[1] for f in found(path)] == ([] if own else [place])


def test_a_vector_without_its_mark_is_not_packed(packed, tmp_path):
    path = shutil.copytree(packed[0].path, tmp_path / "own.zarr")
    for mark in (path / "embeddings/blocks").rglob("block_done/c/0"):
        mark.unlink()
    pack(open_store(path), tmp_path / "vectors.zip", content="vectors")
    report = verify_store(open_store(tmp_path / "vectors.zip"))
    assert report.findings == []
