"""Datasets in the store: the source's content in the study's order, and nothing in doubt."""

import hashlib
import os

import numpy as np
import pytest
import zarr
from analyzing import add_dataset, damage, open_tree, pictures
from PIL import Image

import reprostore.ingest as module
from reprostore.errors import (
    CorruptionError,
    DatasetError,
    IdentityError,
    MissingDataError,
    NotFoundError,
    SpecError,
    StorageError,
)
from reprostore.ingest import StoredDataset, ingest, source_digest, subset_text
from reprostore.specs import DatasetSpec, Subset, is_name
from reprostore.store import create_store, open_store
from reprostore.testing.faults import killed_after


@pytest.fixture
def store(tmp_path):
    return create_store(tmp_path / "s.zarr")


def order_of(count, seed):
    """The documented permutation, written anew."""
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable")


@pytest.mark.parametrize("count", [1, 12, 13])
@pytest.mark.parametrize("shuffle", [None, 5])
def test_items_and_labels_are_those_of_the_source_in_the_order_asked_for(
    store, tmp_path, monkeypatch, count, shuffle
):
    monkeypatch.setattr(module, "CHUNK_BYTES", 60)  # two items, so several chunks and shards
    monkeypatch.setattr(module, "SHARD_BYTES", 160)
    images, labels = pictures(count), np.arange(count) * 7
    np.savez(tmp_path / "d.npz", x=images, y=labels)
    spec = DatasetSpec(source="d.npz:x", labels="d.npz:y", shuffle=shuffle)
    dataset = ingest(store, "d", spec, tmp_path)
    order = np.arange(count) if shuffle is None else order_of(count, shuffle)
    assert dataset.items.dtype == np.uint8
    np.testing.assert_array_equal(dataset.read(slice(None)), images[order])
    np.testing.assert_array_equal(dataset.labels, labels[order])
    rows = np.random.default_rng(1).permutation(count)[:7]
    np.testing.assert_array_equal(dataset.read(rows), images[order][rows])
    np.testing.assert_array_equal(
        open_tree(store)["datasets/d"]["item"].values, images[order]
    )  # fmt: skip


def test_a_prime_number_of_items_is_not_stored_item_by_item(store, tmp_path):
    dataset, _ = add_dataset(store, tmp_path, pictures(1009, shape=(3, 32, 32)))
    assert dataset.items.chunks[0] == 341  # the most that 1 MiB holds
    np.testing.assert_array_equal(dataset.read(slice(None)), pictures(1009, shape=(3, 32, 32)))


def test_floats_are_stored_between_minus_one_and_one(store, tmp_path):
    values = np.linspace(0, 5, 3 * 25).reshape(3, 5, 5)
    dataset, _ = add_dataset(store, tmp_path, values, value_range=(0, 5))
    assert dataset.items.dtype == np.float32
    expected = (2 * values / 5 - 1)[:, None]
    np.testing.assert_allclose(dataset.read(slice(None)), expected, atol=1e-6)
    assert dataset.labels is None


def test_the_fingerprint_depends_on_content_alone(store, tmp_path):
    images = pictures(6)
    same, other = images.copy(), images.copy()
    other[3, 0, 0, 0] ^= 1
    prints = {}
    for name, items, fields in [
        ("a", images, {}), ("b", same, {}), ("c", other, {}), ("d", images, {"shuffle": 0}),
        ("e", images, {"held_out": "1-2"}),
    ]:  # fmt: skip
        prints[name] = add_dataset(store, tmp_path, items, name, **fields)[0].fingerprint
    assert prints["a"] == prints["b"] == prints["e"]
    assert len({prints[name] for name in "acd"}) == 3
    np.save(tmp_path / "y.npy", np.arange(6))
    labelled = DatasetSpec(source="a.npy", labels="y.npy")
    assert ingest(store, "f", labelled, tmp_path).fingerprint != prints["a"]


def test_the_same_name_with_another_source_or_order_is_refused(store, tmp_path):
    add_dataset(store, tmp_path, pictures(6), "a")
    _, spec = add_dataset(store, tmp_path, pictures(6), "b")
    with pytest.raises(IdentityError, match=r"'a' in the store differs .*source.*a\.npy.*b\.npy"):
        ingest(store, "a", spec, tmp_path)
    with pytest.raises(IdentityError, match="shuffle"):
        ingest(store, "b", spec.model_copy(update={"shuffle": 1}), tmp_path)
    held_out = spec.model_copy(update={"held_out": "0-1"})  # says nothing of the items
    assert ingest(store, "b", held_out, tmp_path).fingerprint


def test_a_source_that_changed_is_refused_and_one_that_is_gone_is_not_needed(store, tmp_path):
    images = pictures(6)
    dataset, spec = add_dataset(store, tmp_path, images)
    np.save(tmp_path / "items.npy", pictures(6, seed=1))
    with pytest.raises(IdentityError, match="has changed since it was read into"):
        ingest(store, "items", spec, tmp_path)
    np.save(tmp_path / "items.npy", images)
    assert ingest(store, "items", spec, tmp_path).fingerprint == dataset.fingerprint
    (tmp_path / "items.npy").unlink()
    again = ingest(open_store(store.path), "items", spec, tmp_path)
    np.testing.assert_array_equal(again.read(slice(None)), images)


def test_changed_labels_are_a_changed_source(store, tmp_path):
    np.save(tmp_path / "y.npy", np.arange(6))
    _, spec = add_dataset(store, tmp_path, pictures(6), labels="y.npy")
    np.save(tmp_path / "y.npy", np.arange(6) + 1)
    with pytest.raises(IdentityError, match="has changed"):
        ingest(store, "items", spec, tmp_path)


def test_an_image_added_to_a_folder_is_a_changed_source(store, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    images = pictures(3)
    for number, image in enumerate(images):
        Image.fromarray(image[0]).save(folder / f"{number}.png")
    spec = DatasetSpec(source="images")
    dataset = ingest(store, "f", spec, tmp_path)
    np.testing.assert_array_equal(dataset.read(slice(None)), images)
    assert ingest(store, "f", spec, tmp_path).fingerprint == dataset.fingerprint
    Image.fromarray(images[0, 0]).save(folder / "3.png")
    with pytest.raises(IdentityError, match="has changed"):
        ingest(store, "f", spec, tmp_path)


def test_what_stands_beside_an_array_in_a_zarr_source_is_no_change_of_it(store, tmp_path):
    root = zarr.open_group(tmp_path / "source.zarr", mode="w")
    images = pictures(5)
    root.create_array("x", data=images)
    spec = DatasetSpec(source="source.zarr:x")
    ingest(store, "z", spec, tmp_path)
    root.create_array("y", data=images)
    np.testing.assert_array_equal(ingest(store, "z", spec, tmp_path).read(slice(None)), images)
    root["x"][0] = images[1]
    with pytest.raises(IdentityError, match="has changed"):
        ingest(store, "z", spec, tmp_path)


def test_a_source_below_the_home_folder_is_watched_too(store, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "d.npy", pictures(3))
    assert (
        source_digest(DatasetSpec(source="~/d.npy"), tmp_path / "elsewhere")
        == hashlib.sha256((tmp_path / "d.npy").read_bytes()).hexdigest()
    )


def test_a_dataset_that_is_there_is_not_opened_or_read_again(store, tmp_path, monkeypatch):
    np.save(tmp_path / "d.npy", pictures(6))
    os.utime(tmp_path / "d.npy", (1e9, 1e9))  # long ago, so that its digest is remembered
    spec = DatasetSpec(source="d.npy")
    ingest(store, "d", spec, tmp_path)

    def refuse(*arguments, **options):
        raise AssertionError("the source was read")

    monkeypatch.setattr(module, "open_source", refuse)
    monkeypatch.setattr("hashlib.file_digest", refuse)
    assert len(ingest(open_store(store.path), "d", spec, tmp_path)) == 6


def test_a_killed_ingestion_leaves_all_or_nothing(tmp_path):
    images = pictures(40)
    np.save(tmp_path / "d.npy", images)
    spec = DatasetSpec(source="d.npy")
    absent = 0
    for changes in range(200):
        path = tmp_path / f"{changes}.zarr"
        store = create_store(path)
        with killed_after(tmp_path, changes) as fault:
            ingest(store, "d", spec, tmp_path)
        again = open_store(path, mode="r+")
        open_tree(again).close()
        if not fault.killed:
            break
        if not (path / "datasets/d").exists():
            absent += 1
            with pytest.raises(MissingDataError, match="has no dataset 'd'"):
                StoredDataset(again, "d")
        np.testing.assert_array_equal(ingest(again, "d", spec, tmp_path).read(slice(None)), images)
    assert not fault.killed
    assert absent > 5


def test_a_source_that_cannot_be_read_leaves_nothing(store, tmp_path):
    with pytest.raises(NotFoundError):
        ingest(store, "d", DatasetSpec(source="absent.npy"), tmp_path)
    np.save(tmp_path / "d.npy", np.full((2, 5, 5), np.nan))
    with pytest.raises(DatasetError):
        ingest(store, "d", DatasetSpec(source="d.npy"), tmp_path)
    with pytest.raises(MissingDataError, match="Its datasets are none yet"):
        StoredDataset(store, "d")


@pytest.mark.parametrize("kind", ["flip", "cut", "delete", "empty"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_damage_is_an_error_that_names_the_dataset(store, tmp_path, kind, dtype):
    items = pictures(300)
    items = items if dtype == np.uint8 else (items / 127.5 - 1).astype(np.float32)
    add_dataset(store, tmp_path, items)
    damage(store.path / "datasets/items/item", kind)
    for rows in (slice(None), slice(299, 300), np.asarray([7, 3])):
        with pytest.raises(CorruptionError, match=r"items.*read in again from its source"):
            StoredDataset(store, "items").read(rows)


@pytest.mark.parametrize("kind", ["flip", "delete"])
def test_damaged_labels_are_an_error(store, tmp_path, kind):
    np.save(tmp_path / "y.npy", np.arange(6))
    dataset, _ = add_dataset(store, tmp_path, pictures(6), labels="y.npy")
    damage(store.path / "datasets/items/label", kind)
    with pytest.raises(CorruptionError, match="label"):
        dataset.labels  # noqa: B018


def test_an_index_beyond_the_items_is_refused(store, tmp_path):
    dataset, _ = add_dataset(store, tmp_path, pictures(6))
    np.testing.assert_array_equal(dataset.index("4-5,0"), [4, 5, 0])
    np.testing.assert_array_equal(dataset.index("all"), range(6))
    for index in ("0-6", "0-4294967294"):
        with pytest.raises(DatasetError, match=r"names item .* has 6 items, 0 to 5"):
            dataset.index(index)
    with pytest.raises(SpecError, match="is no number or range"):
        dataset.index("")
    for rows in (np.asarray([0, 6]), np.asarray([-1])):
        with pytest.raises(DatasetError, match="has 6 items, 0 to 5"):
            dataset.read(rows)
    assert dataset.read(np.asarray([], dtype=np.int64)).shape == (0, 1, 5, 5)


def test_a_read_only_store_gives_what_it_has_and_takes_nothing(store, tmp_path):
    _, spec = add_dataset(store, tmp_path, pictures(6))
    received = open_store(store.path)
    assert len(ingest(received, "items", spec, tmp_path)) == 6
    with pytest.raises(StorageError, match="opened for reading only"):
        ingest(received, "other", spec, tmp_path)


def test_names_of_subsets_fit_into_a_path():
    texts = {
        index: subset_text(Subset(dataset="d", index=index))
        for index in ("all", "0-63", "0-63,99", ",".join(map(str, range(0, 400, 2))))
    }
    assert texts["all"] == "d"
    assert texts["0-63,99"] == "d@0-63+99"
    assert len(set(texts.values())) == 4
    assert all(is_name(text) and len(text) < 100 for text in texts.values())
