"""What was made by an encoder that its name no longer stands for, when stores are merged."""

import numpy as np
import pytest
from merging import (
    add_dataset,
    arrays,
    by_seed,
    laboratory,
    pixel,
    run_of,
    small_units,
    vectors,
    withhold,
)

from reprostore.embed import embed_dataset, embed_run
from reprostore.errors import ConflictError
from reprostore.neighbors import SearchOptions, item_neighbors
from reprostore.sharing.merge import merge_stores
from reprostore.store import open_store
from reprostore.store.labelled import read_attributes

OLD = {"version": "old"}
ONE, TWO, THREE = (
    run_of(name, steps=(5,), weights=str(number) * 64, denoised=False, sample_shape=(1, 2, 2))
    for number, name in enumerate(("one", "two", "three"))
)


@pytest.fixture(autouse=True)
def _small_units(monkeypatch):
    small_units(monkeypatch)


def embedded(path, made):
    """Make a store whose runs have vectors of an encoder each: [(spec, its other values)]."""
    store = laboratory(path, [(spec, range(3)) for spec, _ in made])
    for spec, other in made:
        embed_run(store, pixel(**other), store.run(spec.path))
    return store


def test_vectors_of_an_older_encoder_are_left_out(tmp_path):
    a = embedded(tmp_path / "a.zarr", [(ONE, {})])
    b = embedded(tmp_path / "b.zarr", [(TWO, {}), (THREE, OLD)])
    rows = merge_stores(a.path, [b.path])
    (note,) = (row for row in rows if row["kind"] == "note")
    assert note["name"] == f"embeddings/pixel/runs/{THREE.path}"
    assert note["text"].startswith("Left out. They come from another encoder")
    store = open_store(a.path)
    assert len(vectors(store, store.run(TWO.path), pixel())) == 3
    assert not store.files.exists(note["name"])
    assert by_seed(a.path, THREE.path) == by_seed(b.path, THREE.path)


def test_the_encoder_is_that_of_the_merged_store_however_few_vectors_it_made(tmp_path):
    b = embedded(tmp_path / "b.zarr", [(ONE, OLD), (TWO, OLD), (THREE, {})])
    a = embedded(tmp_path / "a.zarr", [(ONE, {})])
    merge_stores(a.path, [b.path])
    store = open_store(a.path)
    for spec, count in ((ONE, 3), (TWO, 0), (THREE, 3)):
        assert len(vectors(store, store.run(spec.path), pixel())) == count
    merge_stores(tmp_path / "c.zarr", [b.path])  # no other store says which it is
    store = open_store(tmp_path / "c.zarr")
    assert len(vectors(store, store.run(TWO.path), pixel(**OLD))) == 3


def test_only_chosen_runs_are_looked_at(tmp_path):
    a = embedded(tmp_path / "a.zarr", [(ONE, {})])
    b = embedded(tmp_path / "b.zarr", [(TWO, {}), (THREE, OLD)])
    rows = merge_stores(a.path, [b.path], runs=["two/*"])
    assert not [row for row in rows if row["kind"] == "note"]
    with pytest.raises(ConflictError, match="come from another encoder than those of the store"):
        merge_stores(a.path, [b.path], runs=["three/*"])


def test_vectors_that_cannot_be_made_again_are_not_left_out(tmp_path):
    a = embedded(tmp_path / "a.zarr", [(ONE, {})])
    b = embedded(tmp_path / "b.zarr", [(TWO, {}), (THREE, OLD)])
    held = vectors(b, b.run(THREE.path), pixel(**OLD))
    withhold(b.path, THREE.path)
    with pytest.raises(ConflictError, match="is in none of the stores") as error:
        merge_stores(a.path, [b.path])
    assert "--run three/sampler/none and --rename-encoder b:pixel=NEW" in str(error.value)
    merge_stores(a.path, [b.path], runs=["three/*"], rename_encoders={"b:pixel": "pixel-old"})
    merge_stores(a.path, [b.path], runs=["two/*"])
    store = open_store(a.path)
    found = vectors(store, store.run(THREE.path), pixel("pixel-old", **OLD))
    np.testing.assert_array_equal([*found.values()], [*held.values()])
    # Where nothing else decides it, they are what the name stands for.
    merge_stores(tmp_path / "c.zarr", [b.path])
    store = open_store(tmp_path / "c.zarr")
    assert len(vectors(store, store.run(THREE.path), pixel(**OLD))) == 3


def test_a_store_with_older_vectors_can_be_added_to(tmp_path):
    a = embedded(tmp_path / "a.zarr", [(ONE, {}), (TWO, OLD)])
    withhold(a.path, TWO.path)
    b = embedded(tmp_path / "b.zarr", [(TWO, {}), (THREE, {})])
    withhold(b.path, TWO.path)
    merge_stores(a.path, [b.path])
    store = open_store(a.path)
    assert len(vectors(store, store.run(THREE.path), pixel())) == 3
    assert len(vectors(store, store.run(TWO.path), pixel(**OLD))) == 3


def test_neighbors_of_an_older_encoder_do_not_replace_others(tmp_path):
    options = SearchOptions(k=2, engine="torch")
    a, b = (laboratory(tmp_path / f"{name}.zarr", []) for name in "ab")
    ours, theirs = add_dataset(a, "digits"), add_dataset(b, "digits")
    item_neighbors(a, pixel(), ours, "12-14", "0-9", options)
    item_neighbors(b, pixel(**OLD), theirs, "12-14", "0-9", options)
    embed_dataset(b, pixel(), theirs)
    group = "neighbors/pixel/digits@0-9/datasets/digits@12-14"
    before, values = read_attributes(a.path, group), arrays(a.path, group)
    merge_stores(a.path, [b.path])
    assert read_attributes(a.path, group) == before
    for name, array in arrays(a.path, group).items():
        np.testing.assert_array_equal(array, values[name])
    merge_stores(tmp_path / "c.zarr", [b.path])
    assert not open_store(tmp_path / "c.zarr").files.exists(group)
