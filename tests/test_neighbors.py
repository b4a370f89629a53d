"""Neighbors kept in the store: those of brute force, while all they are made from stands."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from analyzing import add_dataset, add_run, cosine, damage, levels, open_tree, pictures

import reprostore.neighbors as module
from reprostore.embed import EncoderHandle
from reprostore.encoders.kinds import KINDS
from reprostore.errors import DatasetError, SpecError
from reprostore.importing.existing import state_digests
from reprostore.neighbors import SearchOptions, Written, item_neighbors, run_neighbors
from reprostore.specs import EncoderSpec
from reprostore.store import create_store, open_store

PIXEL = EncoderHandle("pixel", EncoderSpec(kind="pixel"))


@pytest.fixture
def store(tmp_path):
    return create_store(tmp_path / "s.zarr")


def brute(queries, items, rows, k):
    """Return similarities and numbers of the nearest, ties going to the lower number."""
    similarity = np.asarray([[cosine(query, items[row]) for row in rows] for query in queries])
    order = np.asarray([np.lexsort((rows, -np.round(line, 12)))[:k] for line in similarity])
    return np.take_along_axis(similarity, order, axis=1), np.asarray(rows)[order]


def searches(monkeypatch):
    """Count the searches."""
    counted = []
    search = module.knn
    monkeypatch.setattr(module, "knn", lambda *a, **k: counted.append(1) or search(*a, **k))
    return counted


def equal(found, truth):
    np.testing.assert_allclose(found["similarity"].values, truth[0], atol=1e-6)
    np.testing.assert_array_equal(found["train_index"].values, truth[1])


@pytest.mark.parametrize("index", ["all", "3-9", "7,2,11", "5"])
def test_neighbors_are_those_of_brute_force(store, tmp_path, index):
    items = pictures(12, seed=1)
    items[9] = items[2]  # a tie
    dataset, _ = add_dataset(store, tmp_path, items)
    of = dict(zip([30, 4, 17, 8, 2], pictures(5, seed=2), strict=True))
    of[8] = items[2]
    run = add_run(store, "a", of)
    rows = dataset.index(index)
    found = run_neighbors(store, PIXEL, run, dataset, index, SearchOptions(k=4))
    assert found.sizes["neighbor"] == min(4, len(rows))  # fewer where the subset is smaller
    np.testing.assert_array_equal(found["seed"].values, list(of))
    equal(found, brute(of.values(), items, rows, min(4, len(rows))))


def test_items_find_items_of_the_subset_by_their_number(store, tmp_path):
    items = pictures(20, seed=1)
    dataset, _ = add_dataset(store, tmp_path, items)
    found = item_neighbors(store, PIXEL, dataset, "19,3-5", "6-18", SearchOptions(k=2))
    np.testing.assert_array_equal(found["item"].values, [19, 3, 4, 5])
    equal(found, brute(items[[19, 3, 4, 5]], items, np.arange(6, 19), 2))


def test_a_held_out_item_that_was_trained_on_is_refused(store, tmp_path):
    dataset, _ = add_dataset(store, tmp_path, pictures(20))
    with pytest.raises(DatasetError, match=r"2 items .*both held out \(5-9\).*\(0-6\).*first.* 5"):
        item_neighbors(store, PIXEL, dataset, "5-9", "0-6")
    with pytest.raises(DatasetError, match="names item 20"):
        item_neighbors(store, PIXEL, dataset, "5-20", "0-4")
    assert not (store.path / "neighbors").exists()


def test_samples_and_items_of_other_shapes_are_refused(store, tmp_path):
    dataset, _ = add_dataset(store, tmp_path, pictures(5))
    run = add_run(store, "a", dict(enumerate(pictures(3, shape=(1, 5, 6)))))
    with pytest.raises(DatasetError, match=r"shape \(1, 5, 5\).*a/s/none \(1, 5, 6\)"):
        run_neighbors(store, PIXEL, run, dataset)


def test_what_was_found_is_kept_for_whoever_opens_the_store(store, tmp_path, monkeypatch):
    dataset, _ = add_dataset(store, tmp_path, pictures(12, seed=1))
    run = add_run(store, "a", dict(zip([5, 3, 4], pictures(3), strict=True)))
    first = run_neighbors(store, PIXEL, run, dataset, "2-8", SearchOptions(k=3))
    real = item_neighbors(store, PIXEL, dataset, "9-11", "2-8", SearchOptions(k=3))
    counted = searches(monkeypatch)
    received = open_store(store.path)
    again = run_neighbors(received, PIXEL, received.run("a/s/none"), dataset, "2-8",
                          SearchOptions(k=3))  # fmt: skip
    assert again.identical(first)
    assert item_neighbors(received, PIXEL, dataset, "9-11", "2-8", SearchOptions(k=3)).identical(
        real
    )
    fewer = run_neighbors(received, PIXEL, run, dataset, "2-8", SearchOptions(k=1))
    assert fewer.identical(first.isel(neighbor=slice(1)))
    assert counted == []
    tree = open_tree(store)["neighbors/pixel/items@2-8/runs/a/s/none"]
    np.testing.assert_array_equal(tree["seed"].values, [5, 3, 4])
    np.testing.assert_array_equal(tree["train_index"].values, first["train_index"].values)


def test_whatever_changes_is_searched_again(store, tmp_path, monkeypatch):
    items = pictures(12, seed=1)
    dataset, _ = add_dataset(store, tmp_path, items)
    of = dict(enumerate(pictures(4)))
    run = add_run(store, "a", of)
    counted = searches(monkeypatch)

    def search(encoder=PIXEL, index="2-8", k=2, n=1):
        found = run_neighbors(store, encoder, run, dataset, index, SearchOptions(k=k))
        assert len(counted) == n
        equal(found, brute(of.values(), items, dataset.index(index), k))

    search()
    search(index="2-9", n=2)
    search(index="2-8", n=2)
    search(k=3, n=3)
    search(k=2, n=3)
    of = {**of, **dict(zip([9, 10], pictures(2, seed=5), strict=True))}
    run = add_run(store, "a", of)
    search(n=4)
    of[0] = 255 - of[0]
    run.array("sample")[0, 0] = of[0]
    run.array("digest")[0:1] = state_digests(of[0][None])
    search(n=5)
    monkeypatch.setitem(KINDS, "pixel", replace(KINDS["pixel"], version=2))
    search(encoder=EncoderHandle("pixel", EncoderSpec(kind="pixel")), n=6)


def test_another_dataset_of_the_same_name_is_searched_again(store, tmp_path, monkeypatch):
    dataset, _ = add_dataset(store, tmp_path, pictures(6, seed=1))
    of = dict(enumerate(pictures(4)))
    run = add_run(store, "a", of)
    run_neighbors(store, PIXEL, run, dataset)
    item_neighbors(store, PIXEL, dataset, "4-5", "0-3")
    shutil.rmtree(store.path / "datasets/items")
    dataset, _ = add_dataset(store, tmp_path, pictures(6, seed=9))
    counted = searches(monkeypatch)
    equal(
        run_neighbors(store, PIXEL, run, dataset),
        brute(of.values(), pictures(6, seed=9), np.arange(6), 2),
    )
    equal(
        item_neighbors(store, PIXEL, dataset, "4-5", "0-3"),
        brute(pictures(6, seed=9)[4:6], pictures(6, seed=9), np.arange(4), 2),
    )
    assert len(counted) == 2


@pytest.mark.parametrize("name", ["train_index", "similarity", "seed"])
@pytest.mark.parametrize("kind", ["flip", "delete"])
def test_damaged_neighbors_are_searched_again(store, tmp_path, monkeypatch, name, kind):
    dataset, _ = add_dataset(store, tmp_path, pictures(6, seed=1))
    run = add_run(store, "a", dict(enumerate(pictures(4))))
    first = run_neighbors(store, PIXEL, run, dataset)
    damage(store.path / "neighbors/pixel/items/runs/a/s/none" / name, kind)
    counted = searches(monkeypatch)
    for _ in range(2):
        assert run_neighbors(store, PIXEL, run, dataset).identical(first)
    assert len(counted) == 1


def test_float_samples_are_compared_as_their_png_would_be(store, tmp_path):
    items = pictures(6, seed=1)
    dataset, _ = add_dataset(store, tmp_path, items)
    nudge = np.random.default_rng(0).uniform(-0.4, 0.4, items.shape)
    of = {seed: levels(np.clip(items[seed] + nudge[seed], 0, 255)) for seed in range(6)}
    found = run_neighbors(store, PIXEL, add_run(store, "a", of, dtype="float32"), dataset)
    np.testing.assert_array_equal(found["similarity"].values[:, 0], 1.0)
    np.testing.assert_array_equal(found["train_index"].values[:, 0], np.arange(6))


def test_an_unknown_engine_is_refused(store, tmp_path):
    dataset, _ = add_dataset(store, tmp_path, pictures(6, seed=1))
    run = add_run(store, "a", dict(enumerate(pictures(4))))
    with pytest.raises(SpecError, match="no search engine"):
        run_neighbors(store, PIXEL, run, dataset, options=SearchOptions(engine="fast"))


def test_the_samples_of_one_moment_are_searched_for(store, tmp_path):
    items, of = pictures(9, seed=1), dict(enumerate(pictures(6)))
    dataset, _ = add_dataset(store, tmp_path, items)
    few = {seed: of[seed] for seed in (3, 1)}
    run = add_run(store, "a", few)
    before = Written.of(run)
    run = add_run(store, "a", {**few, 0: of[0], 5: of[5]})
    for _ in range(2):  # searched, then from the store
        found = run_neighbors(store, PIXEL, run, dataset, written=before)
        np.testing.assert_array_equal(found["seed"], [3, 1])
        equal(found, brute(list(few.values()), items, range(9), 2))
    np.testing.assert_array_equal(run_neighbors(store, PIXEL, run, dataset)["seed"], [3, 1, 0, 5])
