"""GL and copies against each model's own items, beside real items that it did not see."""

import importlib
import shutil

import numpy as np
import pytest
import xarray as xr
from analyzing import add_dataset, add_run, cosine, open_tree, pictures, subset

from reprostore.errors import DatasetError, MissingDataError, SpecError, StorageError
from reprostore.specs import DatasetSpec, ModelSpec
from reprostore.store import create_store, open_store
from reprostore_analyses.context import Context
from reprostore_analyses.generalization import (
    GeneralizationOptions,
    generalization,
    generalization_rows,
)

module = importlib.import_module("reprostore_analyses.generalization")
scores = importlib.import_module("reprostore_analyses.generalization_scores")
ITEMS = pictures(140, seed=9)


@pytest.fixture
def store(tmp_path):
    store = create_store(tmp_path / "s.zarr")
    add_dataset(store, tmp_path, ITEMS, held_out="40-139")
    return store


def score(store, *, context=None, **options):
    return generalization(context or Context(store), GeneralizationOptions(**options))


def nearest(images, items):
    """Return the similarity to the nearest item, by brute force."""
    return np.asarray([max(cosine(image, item) for item in items) for image in images])


def faded(images, share):
    """Return images mixed with noise: their similarity to the original is below 1."""
    noise = pictures(len(images), seed=77)
    return np.rint(share * images + (1 - share) * noise).astype(np.uint8)


def test_each_model_is_compared_with_its_own_items(store):
    copies = ITEMS[[3, 5, 25, 7, 31, 9]]  # four of the first model's items, two of the second's
    for model, index in (("a", "0-19"), ("b", "20-39"), ("c", "0-39")):
        add_run(store, model, dict(enumerate(copies)), trained_on=subset(index))
    result = score(store, threshold=0.9, control=False)
    np.testing.assert_array_equal(result["run"], ["a/s/none", "b/s/none", "c/s/none"])
    np.testing.assert_allclose(result["memorized"], [4 / 6, 2 / 6, 1])
    np.testing.assert_allclose(result["gl"], [2 / 6, 4 / 6, 0], atol=1e-12)
    np.testing.assert_allclose(result["gl_low"], 1 - result["memorized_high"])
    np.testing.assert_array_equal(result["train_size"], [20, 20, 40])
    truth = [nearest(copies, ITEMS[part]) for part in (slice(20), slice(20, 40), slice(40))]
    np.testing.assert_allclose(result["similarity"], truth, atol=1e-6)
    np.testing.assert_array_equal(result["train_index"][2], [3, 5, 25, 7, 31, 9])
    # Items of other models are never found, whatever their number in the subset.
    assert set(result["train_index"].values[1]) <= set(range(20, 40))
    second = [sorted(cosine(image, item) for item in ITEMS[:20])[-2] for image in copies]
    np.testing.assert_allclose(result["similarity_2"][0], second, atol=1e-6)


def test_held_out_items_and_the_calibrated_threshold_against_the_same_items(store):
    generated = dict(enumerate(faded(ITEMS[:12], 0.75)))
    add_run(store, "a", generated, trained_on=subset("0-19"))
    result = score(store, threshold=0.35, resamples=300)
    real = nearest(ITEMS[40:], ITEMS[:20])  # matched N: the model's own 20 items
    made = nearest(generated.values(), ITEMS[:20])
    at = result.isel(run=0)
    theta = float(np.quantile(real, 0.99))
    assert int(at["held_out_size"]) == 100
    assert float(at["held_out_memorized"]) == (real > 0.35).mean()
    assert 0 < float(at["held_out_memorized"]) < 1
    assert float(at["calibrated_threshold"]) == pytest.approx(theta, abs=1e-6)
    assert float(at["calibrated_memorized"]) == (made > theta).mean()
    assert float(at["memorized"]) == (made > 0.35).mean()
    grid = result["threshold"].values
    np.testing.assert_allclose(at["curve"], [(made > t).mean() for t in grid], atol=1e-12)
    np.testing.assert_allclose(at["held_out_curve"], [(real > t).mean() for t in grid], atol=1e-12)
    assert float(at["calibrated_threshold_low"]) <= theta <= real.max() + 1e-6
    assert result.attrs["reasons"] == {}
    assert result.attrs["held_out"] == ["40-139"]


def test_equality_is_no_copy(tmp_path):
    # (3, 4, -3, -4) and (5, 0, -5, 0): the cosine is exactly 30/50.
    a, b = (np.asarray(v).reshape(1, 2, 2) + 128 for v in ([3, 4, -3, -4], [5, 0, -5, 0]))
    store = create_store(tmp_path / "t.zarr")
    add_dataset(store, tmp_path, np.asarray([b[0], b[0]], dtype=np.uint8), "two")
    add_run(store, "a", {0: a.astype(np.uint8)}, trained_on=subset("0", "two"))
    result = score(store, threshold=0.6, control=False)
    assert float(result["memorized"][0]) == 0
    assert int((result["similarity"] > 0.6).sum()) == 0
    assert float(score(store, threshold=0.599, control=False)["memorized"][0]) == 1
    assert np.isnan(result["similarity_2"].values).all()  # one item has no second neighbor


def test_models_may_have_held_out_items_of_their_own(store):
    of = dict(enumerate(pictures(4)))
    add_run(store, "a", of, trained_on=subset("0-19"), held_out="20-29")
    add_run(store, "b", of, trained_on=subset("20-39"))
    result = score(store)
    np.testing.assert_array_equal(result["held_out_size"], [10, 100])
    assert result.attrs["held_out"] == ["20-29", "40-139"]
    real = nearest(ITEMS[20:30], ITEMS[:20])
    assert float(result["held_out_memorized"][0]) == (real > 0.6).mean()


def test_too_few_held_out_items_give_no_threshold_and_the_reason(store):
    of = dict(enumerate(pictures(4)))
    add_run(store, "a", of, trained_on=subset("0-19"), held_out="20-29")
    result = score(store)
    for name in ("calibrated_threshold", "calibrated_memorized"):
        for suffix in ("", "_low", "_high"):
            assert np.isnan(float(result[name + suffix][0]))
    assert not np.isnan(float(result["held_out_memorized"][0]))
    (row,) = generalization_rows(result, GeneralizationOptions())
    assert "needs at least 100 held-out items; there are 10" in row["reason"]
    assert np.isfinite(float(score(store, q=0.1)["calibrated_threshold"][0]))


def test_without_a_control_the_row_says_so(store):
    add_run(store, "a", dict(enumerate(pictures(4))), trained_on=subset("0-139"))
    result = score(store, control=False)
    assert np.isnan(float(result["held_out_memorized"][0]))
    assert np.isnan(result["held_out_curve"].values).all()
    (row,) = generalization_rows(result, GeneralizationOptions(control=False))
    assert row["held_out_size"] == 0
    assert "control = false" in row["reason"]
    assert (row["train_size"], row["seeds"]) == (140, 4)


def test_held_out_items_are_asked_for_and_may_not_be_trained_on(store, tmp_path):
    of = dict(enumerate(pictures(4)))
    add_run(store, "a", of, trained_on=subset("0-40"))
    with pytest.raises(DatasetError, match=r"1 items .* both held out"):
        score(store)
    add_dataset(store, tmp_path, ITEMS[:5], "bare")
    add_run(store, "b", of, trained_on=subset("0-2", "bare"))
    with pytest.raises(SpecError, match=r"model b has no held-out items.*control = false"):
        score(store, models=("b",))


def test_the_study_decides_what_a_model_saw(store, tmp_path):
    copies = dict(enumerate(ITEMS[[1, 2, 3, 21]]))
    add_run(store, "a", copies, trained_on=subset("0-19"), held_out="30-139", width=16)
    spec = DatasetSpec(source="items.npy", held_out="41-139")
    models = {"a": ModelSpec(source="m", trained_on=subset("20-29"))}
    context = Context(store, tmp_path, models=models, datasets={"items": spec})
    result = score(store, context=context, threshold=0.99)
    assert float(result["memorized"][0]) == 1 / 4
    # What the store recorded as held out belongs to other training items.
    assert result.attrs["held_out"] == ["41-139"]
    silent = Context(store, models={"a": ModelSpec(source="m", family="unet")})
    result = score(store, context=silent, threshold=0.99)
    assert float(result["memorized"][0]) == 3 / 4
    assert result.attrs["held_out"] == ["30-139"]
    known = silent.model_spec(store.run("a/s/none"))
    assert (known.family, known.width) == ("unet", 16)


def test_runs_of_which_nothing_is_known_are_named_also_from_the_cache(store):
    of = dict(enumerate(pictures(4)))
    add_run(store, "a", of, trained_on=subset("0-19"))
    assert score(store).attrs["skipped"] == []
    add_run(store, "b", of)
    for _ in range(2):
        result = score(store)
        assert result.attrs["skipped"] == ["b/s/none"]
        np.testing.assert_array_equal(result["run"], ["a/s/none"])
    with pytest.raises(MissingDataError, match=r"None of the runs b/s/none says"):
        score(store, models=("b",))


def test_runs_may_have_different_seeds_in_any_order(store):
    of = dict(zip(range(20), faded(ITEMS[:20], 0.8), strict=True))
    add_run(store, "a", {seed: of[seed] for seed in (9, 2, 5)}, trained_on=subset("0-19"))
    add_run(store, "b", {seed: of[seed] for seed in (5, 11)}, trained_on=subset("0-19"))
    result = score(store, control=False)
    np.testing.assert_array_equal(result["seed"], [2, 5, 9, 11])
    np.testing.assert_array_equal(result["train_index"], [[2, 5, 9, -1], [-1, 5, -1, 11]])
    np.testing.assert_array_equal(result["seeds"], [3, 2])
    np.testing.assert_array_equal(np.isnan(result["similarity"]), result["train_index"] < 0)


def test_a_row_does_not_depend_on_the_other_runs(store):
    for model in "abc":
        of = dict(enumerate(faded(ITEMS[:12], 0.5 + 0.1 * "abc".index(model))))
        add_run(store, model, of, trained_on=subset("0-19"))
    every = score(store, resamples=100)
    alone = score(store, resamples=100, models=("c",))
    xr.testing.assert_equal(every.sel(run=["c/s/none"]), alone)


def test_a_repeated_call_computes_nothing_and_opens_no_source(store, tmp_path, monkeypatch):
    add_run(store, "a", dict(enumerate(pictures(4))), trained_on=subset("0-19"))
    spec = DatasetSpec(source="items.npy", held_out="40-139")
    first = score(store, context=Context(store, tmp_path, datasets={"items": spec}))

    def refuse(*arguments, **options):
        raise AssertionError("computed again")

    monkeypatch.setattr(module, "generalization_scores", refuse)
    monkeypatch.setattr("reprostore.ingest.open_source", refuse)
    received = open_store(store.path)
    again = score(received, context=Context(received, tmp_path, datasets={"items": spec}))
    xr.testing.assert_identical(again, first)
    (tmp_path / "items.npy").unlink()
    again = score(received, context=Context(received, tmp_path, datasets={"items": spec}))
    xr.testing.assert_identical(again, first)
    open_tree(store).close()


def test_whatever_it_is_made_from_makes_it_again(store, tmp_path, monkeypatch):
    counted = []
    compute = module.generalization_scores
    monkeypatch.setattr(
        module, "generalization_scores", lambda *a: counted.append(1) or compute(*a)
    )

    def times(context=None, **options):
        before = len(counted)
        score(store, context=context, **{"resamples": 20, **options})
        return len(counted) - before

    images = pictures(8)
    add_run(store, "a", dict(enumerate(images[:6])), trained_on=subset("0-19"))
    assert (times(), times()) == (1, 0)
    for options in ({"threshold": 0.5}, {"control": False}, {"q": 0.02}, {"resamples": 30},
                    {"confidence": 0.9}, {"rng_seed": 1}):  # fmt: skip
        assert (times(**options), times(**options)) == (1, 0), options
    add_run(store, "a", dict(enumerate(images)), trained_on=subset("0-19"))
    assert (times(), times()) == (1, 0)
    models = {"a": ModelSpec(source="m", trained_on=subset("0-20"))}
    assert times(Context(store, models=models)) == 1
    datasets = {"items": DatasetSpec(source="items.npy", held_out="50-139")}
    assert times(Context(store, tmp_path, datasets=datasets)) == 1
    shutil.rmtree(store.path / "datasets/items")
    add_dataset(store, tmp_path, pictures(140, seed=8), held_out="40-139")
    result = score(store, resamples=20)
    assert len(counted) == 11
    truth = nearest(images, pictures(140, seed=8)[:20])
    np.testing.assert_allclose(result["similarity"][0], truth, atol=1e-6)


def test_missing_vectors_in_a_read_only_store_are_a_clear_error(store):
    add_run(store, "a", dict(enumerate(pictures(4))), trained_on=subset("0-19"))
    with pytest.raises(StorageError, match=r"Vectors of the encoder 'pixel' are missing for 4 "):
        score(open_store(store.path))


def test_a_read_only_store_with_its_vectors_gives_everything(store):
    add_run(store, "a", dict(enumerate(pictures(4))), trained_on=subset("0-19"))
    first = score(store)
    shutil.rmtree(store.path / "results")
    shutil.rmtree(store.path / "neighbors")
    xr.testing.assert_identical(score(open_store(store.path)), first)


def test_samples_that_a_run_gains_meanwhile_wait_for_the_next_time(store, monkeypatch):
    of = dict(zip(range(20), faded(ITEMS[:20], 0.8), strict=True))
    first = {seed: of[seed] for seed in (9, 2)}
    add_run(store, "a", first, trained_on=subset("0-19"))
    compute, search = module.generalization_scores, scores.run_neighbors

    def growing(*arguments):
        add_run(store, "a", {**first, 5: of[5]}, trained_on=subset("0-19"))
        return compute(*arguments)

    def growing_more(*arguments):
        more = {**first, 5: of[5], 1: of[1], 11: of[11]}
        add_run(store, "a", more, trained_on=subset("0-19"))
        return search(*arguments)

    monkeypatch.setattr(module, "generalization_scores", growing)
    monkeypatch.setattr(scores, "run_neighbors", growing_more)
    result = score(store, control=False)
    monkeypatch.undo()
    np.testing.assert_array_equal(result["seed"], [2, 9])
    np.testing.assert_array_equal(result["train_index"], [[2, 9]])
    again = score(store, control=False)
    np.testing.assert_array_equal(again["seed"], [1, 2, 5, 9, 11])
    np.testing.assert_array_equal(again["train_index"], [[1, 2, 5, 9, 11]])
