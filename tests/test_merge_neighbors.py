"""Which neighbors, and how many of each sample or item, a merged store has."""

import shutil

import numpy as np
import pytest
from merging import add_dataset, arrays, laboratory, pixel, run_of, small_units, withhold

from reprostore.embed import embed_run
from reprostore.neighbors import SearchOptions, item_neighbors, run_neighbors
from reprostore.sharing.merge import merge_stores
from reprostore.store import open_store

RUN = run_of(steps=(5,), denoised=False, sample_shape=(1, 2, 2))
GROUP = f"neighbors/pixel/digits@0-9/runs/{RUN.path}"


@pytest.fixture(autouse=True)
def _small_units(monkeypatch):
    small_units(monkeypatch)


def searched(path, seeds, k):
    store = laboratory(path, [(RUN, seeds)])
    dataset = add_dataset(store, "digits")
    run_neighbors(store, pixel(), store.runs()[0], dataset, "0-9", SearchOptions(k, "torch"))
    return store


@pytest.mark.parametrize("withheld", [False, True])
@pytest.mark.parametrize(("seeds", "k"), [(range(4), (1, 9)), (range(2), (9, 9)), ((), (9, 1))])
def test_the_most_neighbors_that_all_samples_have_are_kept(tmp_path, withheld, seeds, k):
    """The second store has four samples, the first those of the same seeds or fewer, or others."""
    a = searched(tmp_path / "a.zarr", seeds or range(4), k[0])
    b = searched(tmp_path / "b.zarr", range(4), k[1])
    expected = arrays((a if k[0] > k[1] else b).path, GROUP)
    for store in (a, b) if withheld else ():
        withhold(store.path, RUN.path)
    rows = merge_stores(a.path, [b.path])
    assert not [row for row in rows if row["kind"] == "note"]
    found = arrays(a.path, GROUP)
    assert found[f"{GROUP}/train_index"].shape == (4, 9)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    rows = merge_stores(a.path, [b.path])
    assert [row["copied"] for row in rows if row["kind"] == "run-neighbors"] == [0]


def test_neighbors_that_only_some_samples_have_are_told(tmp_path):
    a = searched(tmp_path / "a.zarr", range(4), 2)
    b = searched(tmp_path / "b.zarr", range(4, 8), 5)
    rows = merge_stores(a.path, [b.path])
    (note,) = (row for row in rows if row["kind"] == "note")
    assert note["name"] == GROUP
    assert note["text"].startswith("2 neighbors of each sample are kept, not 5")
    assert arrays(a.path, GROUP)[f"{GROUP}/train_index"].shape == (8, 2)


@pytest.mark.parametrize("k", [(2, 3), (3, 2)])
def test_joined_neighbors_are_those_of_a_search_for_all_samples(tmp_path, k):
    a = searched(tmp_path / "a.zarr", range(5), k[0])
    b = searched(tmp_path / "b.zarr", range(5, 9), k[1])
    merge_stores(tmp_path / "c.zarr", [a.path, b.path])
    found = arrays(tmp_path / "c.zarr", GROUP)
    expected = arrays(searched(tmp_path / "d.zarr", range(9), 2).path, GROUP)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, strict=True)


@pytest.mark.parametrize("k", [(1, 3), (3, 1)])
def test_the_larger_number_of_neighbors_of_items_is_kept(tmp_path, k):
    stores = [laboratory(tmp_path / f"{name}.zarr", []) for name in "ab"]
    for store, count in zip(stores, k, strict=True):
        options = SearchOptions(k=count, engine="torch")
        item_neighbors(store, pixel(), add_dataset(store, "digits"), "12-14", "0-9", options)
    merge_stores(stores[0].path, [stores[1].path])
    group = "neighbors/pixel/digits@0-9/datasets/digits@12-14"
    assert arrays(stores[0].path, group)[f"{group}/train_index"].shape == (3, 3)


@pytest.mark.parametrize("stale", [0, 1])
def test_neighbors_among_other_items_of_the_name_are_not_joined(tmp_path, stale):
    """One store read its dataset anew after the search."""
    stores = [laboratory(tmp_path / f"{name}.zarr", [(RUN, range(at, at + 4))])
              for name, at in (("a", 0), ("b", 4))]  # fmt: skip
    for number, store in enumerate(stores):
        dataset = add_dataset(store, "digits", seed=1 if number == stale else 0)
        run_neighbors(store, pixel(), store.runs()[0], dataset, "0-9", SearchOptions(2, "torch"))
    shutil.rmtree(stores[stale].path / "datasets")
    add_dataset(stores[stale], "digits")
    rows = merge_stores(tmp_path / "c.zarr", [store.path for store in stores])
    assert any("searched again" in row["text"] for row in rows if row["kind"] == "note")
    assert not open_store(tmp_path / "c.zarr").files.exists(GROUP)


def test_neighbors_by_an_encoder_that_the_name_stood_for_earlier_are_not_joined(tmp_path):
    store = laboratory(tmp_path / "b.zarr", [(RUN, range(4))])
    options = SearchOptions(2, "torch")
    older = pixel(version="old")
    run_neighbors(store, older, store.runs()[0], add_dataset(store, "digits"), "0-9", options)
    embed_run(store, pixel(), store.runs()[0])
    merge_stores(tmp_path / "c.zarr", [store.path])
    assert not open_store(tmp_path / "c.zarr").files.exists(GROUP)
