"""Imported vectors are compared with the digests of their run, seed by seed."""

import shutil

import numpy as np
import pytest
import zarr
from importing import request
from verifying import edit, flip, found, notes
from zarr.storage import LocalStore

from reprostore import open_store
from reprostore.importing import import_samples
from reprostore.sharing.repair import repair_store
from reprostore.sharing.verify import verify_store
from reprostore.store import create_store

GROUP = "embeddings/incep/runs/m/imported/none"
DIGEST = "runs/m/imported/none/digest"
SEEDS = [5, 6, 7, 20, 21, 22]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Six vectors, and a store that they were imported into."""
    folder = tmp_path_factory.mktemp("vectors")
    vectors = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)
    np.savez(folder / "features.npz", features=vectors)
    bring(create_store(folder / "store.zarr"), folder)
    return folder


def bring(store, folder):
    fields = {"seeds": "5-7,20-22", "encoder": "incep", "sample_shape": (3, 4, 4)}
    return import_samples(store, request(folder / "features.npz", **fields))


@pytest.fixture
def path(source, tmp_path):
    return shutil.copytree(source / "store.zarr", tmp_path / "store.zarr")


def array(path, name):
    return zarr.open_array(LocalStore(path), path=f"{GROUP}/{name}")


def replaced(path):
    array(path, "vector")[3, 0, 2] = np.float32(0.25)


def exchanged(path):
    vectors = array(path, "vector")
    vectors[0:2] = np.asarray(vectors[0:2])[::-1]


def unmarked(path):
    array(path, "source_digest")[4:6] = np.zeros((2, 1), np.uint64)


def cut(path):
    for name in ("vector", "source_digest"):
        edit(path / GROUP / name / "zarr.json", lambda d: d["shape"].__setitem__(0, 5))


CHANGES = {replaced: "20", exchanged: "5-6", unmarked: "21-22", cut: "22"}


def test_all_of_them_are_compared(path):
    report = verify_store(open_store(path))
    assert report.findings == []
    assert report.seeds == 6


@pytest.mark.parametrize("change", CHANGES)
def test_vectors_of_another_digest_are_found_and_imported_again(source, path, change):
    before = [array(path, name)[...] for name in ("vector", "source_digest")]
    change(path)
    assert found(path) == [("digest", DIGEST, CHANGES[change], None)]
    store = open_store(path, mode="r+")
    assert repair_store(store, verify_store(store)) == []
    assert found(path) == []
    bring(store, source)
    assert verify_store(store).findings == []
    for name, values in zip(("vector", "source_digest"), before, strict=True):
        np.testing.assert_array_equal(array(path, name)[...], values)


def test_a_damaged_chunk_takes_the_seeds_in_it(path):
    flip(path / GROUP / "vector" / "c" / "0" / "0" / "0", 5)
    assert ("digest", DIGEST, "5-7,20-22", None) in found(path)


def test_vectors_that_stayed_elsewhere_are_noted(path):
    shutil.rmtree(path / "embeddings")
    assert found(path) == []
    assert notes(path) == [("unchecked", "runs/m/imported/none")]
