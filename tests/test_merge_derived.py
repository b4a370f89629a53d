"""Datasets, vectors, neighbors and withheld samples, merged."""

import numpy as np
import pytest
from merging import (
    add_dataset,
    arrays,
    by_seed,
    laboratory,
    open_tree,
    pack,
    pixel,
    run_of,
    shifted,
    small_units,
    trained,
    vectors,
    withhold,
)
from stores import add, content

from reprostore.embed import EncoderHandle, embed_dataset, embed_run
from reprostore.errors import CorruptionError, MissingDataError
from reprostore.ingest import StoredDataset
from reprostore.neighbors import SearchOptions, item_neighbors, run_neighbors
from reprostore.sharing.merge import merge_stores
from reprostore.store import create_store, open_store
from reprostore.store.arrays import open_array
from reprostore.store.labelled import read_attributes
from reprostore.testing.store import run_spec, write_units
from reprostore_analyses import reproducibility

OPTIONS = SearchOptions(k=2, engine="torch")


@pytest.fixture(autouse=True)
def _small_units(monkeypatch):
    small_units(monkeypatch)


def image_run(name="unet", **values):
    return run_spec(name, steps=(5,), sample_shape=(1, 2, 2), **values)


def test_datasets_are_joined_by_what_they_hold(tmp_path):
    a = laboratory(tmp_path / "a.zarr", [(trained(run_of("unet"), "digits"), [0])])
    b = laboratory(
        tmp_path / "b.zarr", [(trained(run_of("vit", weights="1" * 64), "numbers", "2-5"), [0])]
    )
    ours, theirs = add_dataset(a, "digits", seed=3), add_dataset(b, "numbers", seed=3)
    add_dataset(b, "faces", seed=4, count=7)
    rows = merge_stores(a.path, [b.path])
    found = {row["name"]: (row["from"], row["copied"], row["equal"])
             for row in rows if row["kind"] == "dataset"}  # fmt: skip
    assert found == {"digits": ("numbers", 0, 20), "faces": ("faces", 7, 0)}
    store = open_store(a.path)
    assert store.files.folders("datasets") == ["digits", "faces"]
    assert store.run("vit/sampler/none").spec.model_spec.trained_on.dataset == "digits"
    assert store.run("vit/sampler/none").spec.fingerprint == b.runs()[0].spec.fingerprint
    assert ours.fingerprint == theirs.fingerprint
    faces = StoredDataset(store, "faces")
    np.testing.assert_array_equal(
        faces.read(slice(None)), StoredDataset(b, "faces").read(slice(None))
    )
    assert (
        content(a.path / "datasets" / "faces").keys()
        == content(b.path / "datasets" / "faces").keys()
    )


def test_held_out_items_go_with_the_models(tmp_path):
    a = laboratory(tmp_path / "a.zarr", [(trained(run_of("unet"), "digits"), [0])])
    b = laboratory(
        tmp_path / "b.zarr",
        [(trained(run_of("vit"), "digits"), [0]),
         (trained(run_of("own"), "digits", held_out="19"), [0])],
    )  # fmt: skip
    add_dataset(a, "digits", held_out="10-14")
    add_dataset(b, "digits", held_out="15-17")
    rows = merge_stores(a.path, [b.path])
    assert any("15-17" in row.get("text", "") for row in rows)
    store = open_store(a.path)
    held = {run.spec.model: run.spec.model_spec.held_out for run in store.runs()}
    assert held == {"unet": None, "vit": "15-17", "own": "19"}
    assert StoredDataset(store, "digits").spec.held_out == "10-14"


def test_a_damaged_dataset_is_not_copied(tmp_path):
    a, b = (laboratory(tmp_path / f"{name}.zarr", []) for name in "ab")
    dataset = add_dataset(b, "digits")
    array = StoredDataset(open_store(b.path, mode="r+"), "digits").items
    array[3] = 255 - array[3]  # with a checksum of its own
    with pytest.raises(CorruptionError, match=f"and {dataset.fingerprint} is recorded"):
        merge_stores(a.path, [b.path])
    assert open_store(a.path).files.folders("datasets") == []


@pytest.mark.parametrize("packed", [False, True])
def test_vectors_of_equal_samples_are_taken_over(tmp_path, packed):
    spec = run_of(steps=(0, 1, 2))
    a = laboratory(tmp_path / "a.zarr", [(spec, range(6))])
    b = laboratory(tmp_path / "b.zarr", [(spec, [9, 5, 8, 7]), (image_run("vit"), range(5))])
    embed_run(a, pixel(), a.run(spec.path), rows=(-1,))
    embed_run(b, pixel(), b.run(spec.path), rows=(0, -1))
    embed_run(b, pixel(), b.run("vit/sampler/none"))
    expected = {
        **vectors(b, b.run(spec.path), pixel()),
        **vectors(a, a.run(spec.path), pixel()),
    }
    rows = merge_stores(a.path, [pack(b.path) if packed else b.path])
    store = open_store(a.path)
    found = vectors(store, store.run(spec.path), pixel())
    assert found.keys() == expected.keys()
    assert len(found) == 6 + 2 * 4 - 1
    for key, values in found.items():
        np.testing.assert_array_equal(values, expected[key])
    other = vectors(store, store.run("vit/sampler/none"), pixel())
    assert len(other) == 5
    copied = {row["name"]: row["copied"] for row in rows if row["kind"] == "run-vectors"}
    assert copied[f"embeddings/pixel/runs/{spec.path}"] == 2 * 4 - 1
    # They are used as they are: nothing is left to be encoded.
    used = EncoderHandle("pixel", None, recorded=pixel().identity)
    np.testing.assert_array_equal(
        embed_run(store, used, store.run("vit/sampler/none")).read(np.arange(5)),
        [other[seed, 0] for seed in range(5)],
    )
    open_tree(a.path)
    before = content(a.path)
    merge_stores(a.path, [b.path])
    assert content(a.path) == before


def test_vectors_of_other_samples_are_left_out(tmp_path):
    a = laboratory(tmp_path / "a.zarr", [])
    b = laboratory(tmp_path / "b.zarr", [(image_run(), range(5))])
    embed_run(b, pixel(), b.runs()[0])
    run = open_store(b.path, mode="r+").runs()[0]
    marks = open_array(run.zarr_store, f"embeddings/pixel/runs/{run.path}/source_digest")
    values = marks[...]
    values[2] += 1
    marks[...] = values
    merge_stores(a.path, [b.path])
    store = open_store(a.path)
    assert {seed for seed, _ in vectors(store, store.runs()[0], pixel())} == {0, 1, 3, 4}


def searched(store, run, dataset, **options):
    return run_neighbors(store, pixel(), run, dataset, "0-9", OPTIONS, **options)


@pytest.mark.parametrize("seeds", [range(5), range(3, 9)])
def test_neighbors_are_joined_where_all_samples_have_them(tmp_path, seeds):
    spec = image_run()
    a = laboratory(tmp_path / "a.zarr", [(spec, range(5))])
    b = laboratory(tmp_path / "b.zarr", [(spec, seeds)])
    for store, name in ((a, "digits"), (b, "numbers")):
        dataset = add_dataset(store, name)
        searched(store, store.runs()[0], dataset)
        item_neighbors(store, pixel(), dataset, "12-14", "0-9", OPTIONS)
    merge_stores(tmp_path / "c.zarr", [a.path, b.path])
    place = f"neighbors/pixel/digits@0-9/runs/{spec.path}"
    store = open_store(tmp_path / "c.zarr")
    made = read_attributes(store.path, place)["made_from"]
    stored = searched(store, store.runs()[0], StoredDataset(store, "digits"))
    assert stored.attrs["made_from"] == made
    # What a search in the merged store finds without the joined neighbors is the same.
    fresh = laboratory(tmp_path / "d.zarr", [(spec, [*range(5), *(s for s in seeds if s > 4)])])
    expected = searched(fresh, fresh.runs()[0], add_dataset(fresh, "digits"))
    assert stored.drop_attrs().equals(expected.drop_attrs())
    assert store.files.folders("neighbors/pixel/digits@0-9/datasets") == ["digits@12-14"]


def test_neighbors_that_do_not_cover_all_samples_are_left_out_and_noted(tmp_path):
    spec = image_run()
    a = laboratory(tmp_path / "a.zarr", [(spec, range(5))])
    b = laboratory(tmp_path / "b.zarr", [(spec, range(3, 9))])
    add_dataset(a, "digits")
    searched(b, b.runs()[0], add_dataset(b, "digits"))
    rows = merge_stores(a.path, [b.path])
    assert any("searched again" in row.get("text", "") for row in rows)
    assert not open_store(a.path).files.exists(f"neighbors/pixel/digits@0-9/runs/{spec.path}")


def test_vectors_of_datasets_are_copied_whole(tmp_path):
    a, b = (laboratory(tmp_path / f"{name}.zarr", []) for name in "ab")
    embed_dataset(b, pixel(), add_dataset(b, "digits"))
    merge_stores(a.path, [b.path], rename_datasets={"digits": "numbers"})
    ours = arrays(a.path, "embeddings/pixel/datasets/numbers/")
    theirs = arrays(b.path, "embeddings/pixel/datasets/digits/")
    assert len(ours) == len(theirs) == 2
    for (_, one), (_, two) in zip(sorted(ours.items()), sorted(theirs.items()), strict=True):
        np.testing.assert_array_equal(one, two)


def test_withheld_runs_bring_their_vectors(tmp_path):
    spec = image_run()
    a = laboratory(tmp_path / "a.zarr", [(spec, range(5))])
    b = laboratory(tmp_path / "b.zarr", [(spec, [7, 3, 9])])
    expected = {}
    for store in (a, b):
        embed_run(store, pixel(), store.runs()[0])
        expected |= vectors(store, store.runs()[0], pixel())
        withhold(store.path, spec.path)
    rows = merge_stores(a.path, [b.path])
    assert [row["copied"] for row in rows if row["kind"] == "run"] == [2]
    store = open_store(a.path)
    run = store.runs()[0]
    assert run.withheld
    assert run.seeds.tolist() == [0, 1, 2, 3, 4, 7, 9]
    assert run.status.tolist() == [1] * 7
    assert by_seed(a.path, spec.path)[9] == by_seed(b.path, spec.path)[9]
    found = vectors(store, run, pixel())
    assert found.keys() == expected.keys()
    for key, values in found.items():
        np.testing.assert_array_equal(values, expected[key])
    with pytest.raises(MissingDataError):
        store.final_samples()
    open_tree(a.path)
    before = content(a.path)
    merge_stores(a.path, [b.path])
    assert content(a.path) == before


def test_samples_come_to_a_run_that_was_withheld(tmp_path):
    spec = run_of()
    whole = laboratory(tmp_path / "whole.zarr", [(spec, [*range(5), 8])])
    a = laboratory(tmp_path / "a.zarr", [(spec, [4, 2, 0])])
    embed_run(a, pixel(), a.runs()[0])
    held = vectors(a, a.runs()[0], pixel())
    sessions = {seed: values["session"] for seed, values in by_seed(a.path, spec.path).items()}
    withhold(a.path, spec.path)
    merge_stores(a.path, [whole.path])
    store = open_store(a.path)
    assert not store.runs()[0].withheld
    assert store.runs()[0].seeds.tolist() == [4, 2, 0, 1, 3, 8]
    found, expected = by_seed(a.path, spec.path), by_seed(whole.path, spec.path)
    for seed, values in expected.items():
        assert found[seed] == values | {"session": sessions.get(seed, values["session"])}
    after = vectors(store, store.runs()[0], pixel())
    assert after.keys() == held.keys()
    open_tree(a.path)


def test_a_withheld_run_adds_vectors_to_one_with_samples(tmp_path):
    spec = image_run()
    a = laboratory(tmp_path / "a.zarr", [(spec, range(5))])
    b = laboratory(tmp_path / "b.zarr", [(spec, [3, 1])])
    embed_run(b, pixel(), b.runs()[0])
    withhold(b.path, spec.path)
    merge_stores(a.path, [b.path])
    store = open_store(a.path)
    assert not store.runs()[0].withheld
    assert {seed for seed, _ in vectors(store, store.runs()[0], pixel())} == {1, 3}


def test_reproducibility_of_the_merged_store_is_that_of_the_two(tmp_path):
    def states(spec, seed, row):
        values = np.random.default_rng(seed).uniform(-1, 1, spec.sample_shape)
        if spec.model == "unet-b":
            values += np.random.default_rng([seed, 1]).normal(0, 0.6, spec.sample_shape)
        return np.clip(values, -1, 1).astype(np.float32), None

    asked = {"unet-a": range(30), "unet-b": range(10, 50)}
    for weights, (name, seeds) in enumerate(asked.items()):
        store = create_store(tmp_path / f"{name}.zarr")
        spec = image_run(name, weights=str(weights) * 64)
        write_units(add(store, spec, seeds), store.start_session({}), states=states)
    merge_stores(tmp_path / "c.zarr", [tmp_path / f"{name}.zarr" for name in asked])
    images = []
    for name, seeds in asked.items():
        values = arrays(tmp_path / f"{name}.zarr")[f"runs/{name}/sampler/none/sample"]
        common = values[[list(seeds).index(seed) for seed in range(10, 30)], -1].reshape(20, -1)
        images.append(np.rint((common.astype(np.float64) + 1) * 127.5))
    one, two = (values - values.mean(axis=1, keepdims=True) for values in images)
    cosine = (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
    close = np.abs(images[0] - images[1]).mean(axis=1) < 15
    assert 0 < (cosine > 0.6).mean() < 1
    store = open_store(tmp_path / "c.zarr", mode="r+")
    found = reproducibility(store, encoder="pixel", threshold=0.6).isel(run_a=0, run_b=1)
    assert int(found["pairs"]) == 20
    assert float(found["rp"]) == pytest.approx((cosine > 0.6).mean())
    assert float(found["mae_score"]) == pytest.approx(close.mean())


def test_damaged_vectors_are_left_out_where_they_can_be_made_again(tmp_path):
    spec = image_run()
    b = laboratory(tmp_path / "b.zarr", [(spec, range(3))])
    embed_run(b, pixel(), b.runs()[0])
    file = b.path / f"embeddings/pixel/runs/{spec.path}/vector/c/0/0/0"
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)
    rows = merge_stores(tmp_path / "c.zarr", [b.path])
    assert any(row.get("text", "").startswith("Left out. The vectors") for row in rows)
    store = open_store(tmp_path / "c.zarr")
    assert by_seed(store.path, spec.path) == by_seed(b.path, spec.path)
    assert vectors(store, store.runs()[0], pixel()) == {}
    withhold(b.path, spec.path)
    with pytest.raises(CorruptionError, match="vectors"):
        merge_stores(tmp_path / "d.zarr", [b.path])


def test_what_was_made_of_samples_that_differ_a_little_is_not_taken_over(tmp_path):
    spec = image_run()
    a = laboratory(tmp_path / "a.zarr", [(spec, range(4))])
    add_dataset(a, "digits")
    b = create_store(tmp_path / "b.zarr")
    run = add(b, spec, range(4))
    write_units(run, b.start_session({}), states=shifted(2.0**-6, {2}))
    searched(b, run, add_dataset(b, "digits"))
    assert len(vectors(b, run, pixel())) == 4
    merge_stores(a.path, [b.path], tolerance=0.1)
    store = open_store(a.path)
    assert {seed for seed, _ in vectors(store, store.runs()[0], pixel())} == {0, 1, 3}
    assert not store.files.exists(f"neighbors/pixel/digits@0-9/runs/{spec.path}")
