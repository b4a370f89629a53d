"""What models saw and what datasets hold out, where stores say it in their own ways."""

import pytest
from merging import add_dataset, laboratory, run_of, small_units, trained

from reprostore.errors import ConflictError
from reprostore.ingest import StoredDataset
from reprostore.sharing.merge import merge_stores
from reprostore.store import open_store


@pytest.fixture(autouse=True)
def _small_units(monkeypatch):
    small_units(monkeypatch)


def laboratories(tmp_path, ours, theirs, held_out="15-19"):
    """Two stores of one dataset of twenty items; only the first holds some out."""
    a = laboratory(tmp_path / "a.zarr", [(trained(run_of("ours"), "digits", ours), [0])])
    b = laboratory(tmp_path / "b.zarr", [(trained(run_of("theirs"), "digits", theirs), [0])])
    add_dataset(a, "digits", held_out=held_out)
    add_dataset(b, "digits")
    return a, b


@pytest.mark.parametrize(("index", "both"), [("all", "15-19"), ("0-9,17,19", "17,19")])
def test_models_are_not_given_held_out_items_that_they_saw(tmp_path, index, both):
    a, b = laboratories(tmp_path, "0-14", index)
    with pytest.raises(ConflictError) as error:
        merge_stores(a.path, [b.path])
    (one,) = error.value.conflicts
    assert (one["what"], one["name"]) == ("trained_on", "theirs/sampler/none")
    assert f"({both})" in one["found"]
    assert "--rename-dataset b:digits=NEW" in one["action"]
    assert open_store(a.path).run_paths() == ["ours/sampler/none"]
    merge_stores(a.path, [b.path], rename_datasets={"b:digits": "numbers"})
    assert StoredDataset(open_store(a.path), "numbers").spec.held_out is None
    # Into the store that holds out none the other's model takes its own along.
    merge_stores(b.path, [a.path])
    held = {run.spec.model: run.spec.model_spec.held_out for run in open_store(b.path).runs()}
    assert held == {"ours": "15-19", "theirs": None}


def test_models_are_given_held_out_items_that_they_did_not_see(tmp_path):
    a, b = laboratories(tmp_path, "0-14", "0-9")
    merge_stores(a.path, [b.path])
    assert len(open_store(a.path).run_paths()) == 2


def test_a_run_that_is_here_already_may_grow_whatever_is_held_out(tmp_path):
    spec = trained(run_of(), "digits", "all")
    a = laboratory(tmp_path / "a.zarr", [(spec, range(3))])
    b = laboratory(tmp_path / "b.zarr", [(spec, range(6))])
    add_dataset(a, "digits", held_out="19")
    add_dataset(b, "digits")
    merge_stores(a.path, [b.path])
    assert len(open_store(a.path).runs()[0].seeds) == 6


def test_all_items_are_those_of_the_dataset(tmp_path):
    indices = {"a": "all", "b": "0-19", "c": "10-19,0-9", "d": "0-18"}
    stores = {
        name: laboratory(tmp_path / f"{name}.zarr", [(trained(run_of(), "digits", index), [0])])
        for name, index in indices.items()
    }
    add_dataset(stores["a"], "digits")
    add_dataset(stores["c"], "digits")
    options = {"rename_datasets": {"digits": "digits"}}
    merge_stores(stores["a"].path, [stores["b"].path], **options)
    merge_stores(stores["a"].path, [stores["c"].path])
    with pytest.raises(ConflictError, match="was trained on digits all, and on digits 0-18 as d"):
        merge_stores(stores["a"].path, [stores["d"].path], **options)


def test_held_out_items_that_are_the_same_stand_with_the_dataset_alone(tmp_path):
    vit = trained(run_of("vit"), "digits", "12-17")
    a = laboratory(tmp_path / "a.zarr", [(trained(run_of("unet"), "digits"), [0])])
    b = laboratory(tmp_path / "b.zarr", [(vit, [0])])
    for store in (a, b):
        add_dataset(store, "digits", held_out="0-5")
    merge_stores(a.path, [b.path])
    assert open_store(a.path).run(vit.path).spec == b.run(vit.path).spec
