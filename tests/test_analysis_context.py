"""What analyses work on: runs, encoders and datasets of a study and of a store, and the API."""

from dataclasses import replace

import numpy as np
import pytest
from analyzing import add_dataset, add_run, cosine, open_tree, pictures, subset

import reprostore_analyses as ra
from reprostore.encoders.kinds import KINDS
from reprostore.errors import MissingDataError, SpecError
from reprostore.specs import DatasetSpec
from reprostore.store import create_store, open_store
from reprostore.testing.store import run_spec, step_table
from reprostore_analyses.context import Context
from reprostore_analyses.reproducibility import ReproducibilityOptions, reproducibility


@pytest.fixture
def store(tmp_path):
    return create_store(tmp_path / "s.zarr")


def test_pixels_need_no_study_also_when_a_store_that_has_some_grows(store):
    images, others = pictures(6), pictures(6, seed=1)
    for model, values in (("a", images), ("b", others)):
        add_run(store, model, dict(enumerate(values[:4])))
    assert ra.reproducibility(store, encoder="pixel").sizes["seed"] == 4
    for model, values in (("a", images), ("b", others)):
        add_run(store, model, dict(enumerate(values)))
    found = ra.pair_similarity(store, encoder="pixel")
    assert found.dims == ("run_a", "run_b", "seed")
    truth = [cosine(a, b) for a, b in zip(images, others, strict=True)]
    np.testing.assert_allclose(found[0, 1], truth, atol=1e-6)
    assert np.isnan(found.values[[0, 1], [0, 1]]).all()


def test_pixels_of_an_earlier_version_are_made_again(store, monkeypatch):
    for model in "ab":
        add_run(store, model, dict(enumerate(pictures(4))))
    first = ra.reproducibility(store)
    monkeypatch.setitem(KINDS, "pixel", replace(KINDS["pixel"], version=2))
    again = ra.reproducibility(store)
    assert first.attrs["encoder_identity"]["version"] == 1
    assert again.attrs["encoder_identity"]["version"] == 2


def test_an_encoder_that_is_not_defined_is_refused(store):
    with pytest.raises(SpecError, match=r"encoder 'sscd' is not defined.*pixel"):
        Context(store).encoder("sscd")


def test_runs_are_those_of_the_study_that_have_samples(store):
    for model in "abc":
        add_run(store, model, dict(enumerate(pictures(2))))
    context = Context(store, run_paths=("c/s/none", "a/s/none"))
    assert [run.path for run in context.runs(None, None)] == ["c/s/none", "a/s/none"]
    assert [run.path for run in context.runs(("a",), ("s",))] == ["a/s/none"]
    with pytest.raises(MissingDataError, match=r"model 'b' has no run here.*a, c"):
        context.runs(("b",), None)
    with pytest.raises(MissingDataError, match="has no run d/s/none"):
        Context(store, run_paths=("d/s/none",)).runs(None, None)


def test_a_run_without_samples_is_named(store):
    spec = run_spec("empty", "s", steps=(3,))
    store.add_run(spec, step_table(spec), range(4))
    with pytest.raises(MissingDataError, match=r"no written samples of empty/s/none.*generate"):
        ra.reproducibility(store)


def test_the_source_of_a_dataset_is_looked_at_once(store, tmp_path, monkeypatch):
    _, spec = add_dataset(store, tmp_path, pictures(4))
    looked = []
    monkeypatch.setattr(
        "reprostore.ingest.source_digest", lambda *arguments: looked.append(1) or None
    )
    context = Context(store, tmp_path, datasets={"items": spec})
    assert context.dataset("items") is context.dataset("items")
    assert len(looked) == 1


def test_held_out_items_come_from_the_model_then_the_study_then_the_store(store, tmp_path):
    _, spec = add_dataset(store, tmp_path, pictures(9), held_out="5-8")
    run = add_run(store, "a", {0: pictures(1)[0]}, trained_on=subset("0-3"))
    own = add_run(store, "b", {0: pictures(1)[0]}, trained_on=subset("0-3"), held_out="4")
    bare = DatasetSpec(source=spec.source)
    other = DatasetSpec(source=spec.source, held_out="6-7")
    # A study that names the dataset and no held-out items has withdrawn those that were recorded.
    for dataset, expected in ((None, "5-8"), (bare, None), (other, "6-7")):
        datasets = {} if dataset is None else {"items": dataset}
        context = Context(store, tmp_path, datasets=datasets)
        assert context.held_out(run, subset("0-3")) == expected
        assert context.held_out(own, subset("0-3")) == "4"


def test_reproducibility_reads_no_dataset_in(store, tmp_path):
    np.save(tmp_path / "items.npy", pictures(9))
    for model, index in (("a", "0-3"), ("b", "4-8")):
        add_run(store, model, dict(enumerate(pictures(3))), trained_on=subset(index))
    context = Context(store, tmp_path, datasets={"items": DatasetSpec(source="items.npy")})
    result = reproducibility(context, ReproducibilityOptions())
    assert result.attrs["relations"][int(result["relation"][0, 1])] == "disjoint training items"
    assert not (store.path / "datasets").exists()


def test_everything_in_one_store_opens_in_xarray_unaided(store, tmp_path):
    add_dataset(store, tmp_path, pictures(30, seed=4), held_out="20-29")
    for model, index in (("a", "0-9"), ("b", "10-19")):
        of = dict(enumerate(pictures(5, seed=ord(model))))
        add_run(store, model, of, trained_on=subset(index))
    reproduced = ra.reproducibility(store)
    generalized = ra.generalization(store)
    ra.agreement(store, compare=[["a", "b"]])
    tree = open_tree(open_store(store.path))
    (key,) = tree["results/reproducibility"].children
    group = tree["results/reproducibility"][key]
    for name in ("rp", "similarity", "relation"):
        np.testing.assert_array_equal(group[name].values, reproduced[name].values)
    (key,) = tree["results/generalization"].children  # that of `agreement` is the same
    group = tree["results/generalization"][key]
    np.testing.assert_array_equal(group["gl"].values, generalized["gl"].values)
    assert set(tree["embeddings/pixel"].children) == {"runs", "datasets"}
    assert set(tree["neighbors/pixel"].children) == {"items@0-9", "items@10-19"}


def test_options_that_do_not_exist_are_refused(store):
    with pytest.raises(SpecError, match=r"no option 'treshold'.*threshold"):
        ra.reproducibility(store, treshold=0.5)
