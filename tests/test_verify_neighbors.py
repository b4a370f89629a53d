"""Stored neighbors against the vectors of both sides: similarities computed here from scratch."""

import shutil

import numpy as np
import pytest
import zarr
from analyzing import add_dataset, add_run, pictures, subset
from merging import pixel
from verifying import found
from zarr.storage import LocalStore

from reprostore.ingest import StoredDataset
from reprostore.neighbors import SearchOptions, run_neighbors
from reprostore.sharing.checks import neighbor_pairs
from reprostore.sharing.checks.neighbor_pairs import wrong_pairs
from reprostore.sharing.verify import verify_store
from reprostore.store import create_store, open_store
from reprostore_analyses.context import Context
from reprostore_analyses.generalization import GeneralizationOptions, generalization

SHAPE = (1, 5, 5)
SEEDS = [7, 3, 12, 5, 9, 40, 41]
OF_RUN = "neighbors/pixel/items@0-19/runs/a/s/none"
OF_ITEMS = "neighbors/pixel/items@0-19/datasets/items@20-29"


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("neighbors")
    store = create_store(folder / "store.zarr")
    add_dataset(store, folder / "data", pictures(30, seed=1, shape=SHAPE), held_out="20-29")
    samples = dict(zip(SEEDS, pictures(len(SEEDS), seed=2, shape=SHAPE), strict=True))
    add_run(store, "a", samples, batch_size=3, trained_on=subset("0-19"))
    generalization(Context(store), GeneralizationOptions(encoder="pixel", threshold=0.9))
    shutil.rmtree(store.path / "results")
    return store.path


@pytest.fixture
def path(intact, tmp_path):
    return shutil.copytree(intact, tmp_path / "store.zarr")


def values_of(path, array):
    return zarr.open_array(LocalStore(path), path=array)[...]


def put(path, array, values):
    """Write with plain zarr: checksums are right."""
    opened = zarr.open_array(LocalStore(path), path=array)
    opened[...] = np.asarray(values, dtype=opened.dtype)


def told(path):
    (finding,) = verify_store(open_store(path)).damage
    assert finding.kind == "values"
    return finding.place, finding.what


def test_what_a_search_found_is_that_of_the_pairs(intact):
    assert found(intact) == []
    items = values_of(intact, "embeddings/pixel/datasets/items/vector").astype(np.float64)
    vectors = values_of(intact, "embeddings/pixel/runs/a/s/none/vector")[:, -1].astype(np.float64)
    index, stored = (values_of(intact, f"{OF_RUN}/{n}") for n in ("train_index", "similarity"))
    near = items[index]
    lengths = np.linalg.norm(near, axis=2) * np.linalg.norm(vectors, axis=1)[:, None]
    np.testing.assert_allclose(stored, (near * vectors[:, None]).sum(2) / lengths, rtol=1e-12)


@pytest.mark.parametrize("gathered", [neighbor_pairs.GATHERED, 1])
def test_neighbors_of_other_seeds_are_told_by_seeds(path, monkeypatch, gathered):
    monkeypatch.setattr(neighbor_pairs, "GATHERED", gathered)  # one query at a time
    for name in ("train_index", "similarity"):
        values = values_of(path, f"{OF_RUN}/{name}")
        values[[1, 4]] = values[[4, 1]]
        put(path, f"{OF_RUN}/{name}", values)
    what = "The array similarity has others than the vectors of the seeds 3,9 give."
    assert told(path) == (OF_RUN, what)


def test_neighbors_of_other_items_are_told_by_items(path):
    index = values_of(path, f"{OF_ITEMS}/train_index")
    free = [item for item in range(20) if item not in index[6]]
    index[6, 1] = free[0]
    put(path, f"{OF_ITEMS}/train_index", index)
    what = "The array similarity has others than the vectors of the items 26 give."
    assert told(path) == (OF_ITEMS, what)


@pytest.mark.parametrize("change", [2.0, -2.0, np.nan])
def test_by_how_much_a_value_may_differ(path, change):
    # 25 numbers in a vector, float32: (25 + 32) * 2**-24.
    bound = 57 * 2.0**-24
    values = values_of(path, f"{OF_RUN}/similarity")
    moved = values.copy()
    moved[2] = np.clip(moved[2] + 0.9 * bound * np.sign(change), -1, 1)
    if not np.isnan(change):
        put(path, f"{OF_RUN}/similarity", moved)
        assert found(path) == []
    moved[2] = values[2] + change * bound
    put(path, f"{OF_RUN}/similarity", moved)
    assert "of the seeds 12 give" in told(path)[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda path: shutil.rmtree(path / "embeddings/pixel/runs"),
        lambda path: shutil.rmtree(path / "embeddings/pixel/datasets"),
        lambda path: put(path, "embeddings/pixel/runs/a/s/none/source_digest", [[1]] * 7),
    ],
)
def test_nothing_is_said_without_the_vectors_of_both_sides(path, change):
    values = values_of(path, f"{OF_RUN}/train_index")
    put(path, f"{OF_RUN}/train_index", values[::-1])
    change(path)
    assert [kind for kind, place, *_ in found(path) if place == OF_RUN] == []


def test_distances_are_stored_nearest_first(path):
    store = open_store(path, mode="r+")
    options = SearchOptions(k=3, engine="torch")
    encoder = pixel("far", metric="squared_l2")
    run_neighbors(store, encoder, store.runs()[0], StoredDataset(store, "items"), "0-19", options)
    assert found(path) == []
    group = OF_RUN.replace("pixel", "far")
    for name in ("train_index", "distance"):
        put(path, f"{group}/{name}", values_of(path, f"{group}/{name}")[:, ::-1])
    what = "The array distance does not hold the nearest neighbors first."
    assert told(path) == (group, what)


def test_squared_distances():
    class Vectors:
        def __init__(self, rows):
            self.rows, self.dimension, self.run = rows, rows.shape[1], None

        def gather(self, rows):
            return self.rows[rows]

    rng = np.random.default_rng(0)
    asked, rows = (rng.standard_normal((n, 9)).astype(np.float32) for n in (5, 8))
    index = rng.permuted(np.tile(np.arange(8), (5, 1)), axis=1)[:, :3]
    exact = ((asked.astype(float)[:, None] - rows.astype(float)[index]) ** 2).sum(2)
    sides = (Vectors(asked), Vectors(rows), np.arange(5), index)
    assert not wrong_pairs(*sides, exact, metric="squared_l2").any()
    off = exact * (1 + 1e-3 * np.eye(5, 3))
    assert wrong_pairs(*sides, off, metric="squared_l2").tolist() == [True] * 3 + [False] * 2
