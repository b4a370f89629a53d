"""Joined samples: right pairing, nothing cast or filled, nothing computed before its time."""

import dask
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from reprostore import layout
from reprostore.errors import MissingDataError, SpecError
from reprostore.store import create_store, open_store, reading
from reprostore.store.checked import CheckedArray
from reprostore.store.reading import run_dataset
from reprostore.testing.store import fake_states, run_spec, step_table, write_units


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "UNIT_SEEDS", 4)
    monkeypatch.setattr(layout, "CHUNK_BYTES", 25)  # two seeds of 16 bytes
    return create_store(tmp_path / "a.zarr")


def written(store, spec, seeds, units=None):
    run = store.add_run(spec, step_table(spec), seeds)
    write_units(run, 1, None if units is None else [run.units()[index] for index in units])
    return run


def expected(spec, seeds, rows, position=0):
    return np.stack(
        [np.stack([fake_states(spec, int(s), row)[position] for row in rows]) for s in seeds]
    )


def refuse_to_compute(*args, **kwargs):
    raise AssertionError("computed while the Dataset was built")


ORDERS = st.lists(st.integers(0, 30), min_size=1, max_size=11, unique=True)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=ORDERS, second=ORDERS, third=ORDERS)
def test_pairs_have_equal_seeds_whatever_the_order(tmp_path_factory, first, second, third):
    store = create_store(tmp_path_factory.mktemp("pairs") / "a.zarr")
    specs = [run_spec(name, steps=(0, 2), denoised=True, batch_size=3) for name in "abc"]
    for spec, seeds in zip(specs, (first, second, third), strict=True):
        written(store, spec, seeds)
    common = sorted(set(first) & set(second) & set(third))
    if not common:
        with pytest.raises(MissingDataError, match=r"a/sampler/none, b/sampler/none.* no written"):
            store.samples()
        return
    samples, final = store.samples(), store.final_samples()
    assert samples["seed"].values.tolist() == final["seed"].values.tolist() == common
    for spec in specs:
        # The states depend on seed and step alone, so equal values mean equal seeds.
        chosen = samples.sel(model=spec.model, sampler="sampler", condition="none")
        for position, name in enumerate(("sample", "denoised")):
            values = chosen[name].compute(scheduler="synchronous").values
            np.testing.assert_array_equal(values, expected(spec, common, (0, 1), position))
        last = final["sample"].sel(model=spec.model).compute(scheduler="synchronous").values[0, 0]
        np.testing.assert_array_equal(last, expected(spec, common, (1,))[:, 0])


def test_only_written_seeds_of_all_runs_are_joined(store):
    a, b = run_spec("a"), run_spec("b")
    written(store, a, [8, 7, 6, 5, 4, 3, 2, 1, 0], units=[0, 2])  # 8-5 and 0
    written(store, b, [0, 5, 7, 9, 8, 6])
    samples = store.samples()
    assert samples["seed"].values.tolist() == [0, 5, 6, 7, 8]
    values = samples["sample"].values[:, 0, 0]
    np.testing.assert_array_equal(values[0], values[1])
    np.testing.assert_array_equal(values[0], expected(a, [0, 5, 6, 7, 8], range(3)))


def test_dimensions_coordinates_and_noise_levels(store):
    for model in ("a", "b"):
        for sampler in ("ddim", "heun"):
            written(store, run_spec(model, sampler, steps=(0, 3, 4)), range(3))
    samples = store.samples(models=["b", "a"])
    dims = ("model", "sampler", "condition", "seed", "step", "channel", "y", "x")
    assert samples["sample"].dims == dims
    assert samples["model"].values.tolist() == ["b", "a"]  # as asked for
    assert samples["sampler"].values.tolist() == ["ddim", "heun"]
    assert samples["condition"].values.tolist() == ["none"]
    assert samples["step"].values.tolist() == [0, 3, 4]
    table = step_table(run_spec(steps=(0, 3, 4)))
    for name in ("sigma", "alpha", "timestep"):
        values = samples[name].sel(model="a", sampler="heun", condition="none").values
        np.testing.assert_array_equal(values, getattr(table, name))
    assert "step" not in store.final_samples().dims


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_the_dtype_is_kept(store, dtype):
    for name in "ab":
        written(store, run_spec(name, steps=(2,), dtype=dtype), [4, 2, 9])
    for dataset in (store.samples(), store.final_samples()):
        assert dataset["sample"].dtype == np.dtype(dtype)
        assert dataset["sample"].values.dtype == np.dtype(dtype)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "float16"}, "differ in stored_dtype: float32 and float16"),
        ({"sample_shape": (3, 2, 2)}, r"differ in sample_shape: \(1, 2, 2\) and \(3, 2, 2\)"),
        ({"kind": "trajectory", "sample_shape": (2, 2)}, "differ in sample_dims"),
    ],
)
def test_unequal_runs_are_not_combined(store, changes, message):
    written(store, run_spec("a"), range(3))
    written(store, run_spec("b", **changes), range(3))
    for attempt in (store.samples, store.final_samples):
        with pytest.raises(SpecError, match=f"runs a/sampler/none and b/sampler/none {message}"):
            attempt()
    assert store.samples(models=["b"]).sizes["seed"] == 3


def test_unequal_steps_are_combined_by_their_last_only(store):
    long, short = run_spec("a", steps=range(4), denoised=True), run_spec("b", steps=(50,))
    written(store, long, range(5))
    written(store, short, range(5))
    with pytest.raises(SpecError, match=r"differ in steps: \(0, 1, 2, 3\) and \(50,\).*final_samp"):
        store.samples()
    final = store.final_samples()
    assert list(final) == ["sample"]
    values = final["sample"].values[:, 0, 0]
    np.testing.assert_array_equal(values[0], expected(long, range(5), (3,))[:, 0])
    np.testing.assert_array_equal(values[1], expected(short, range(5), (0,))[:, 0])


def test_denoised_only_where_all_runs_have_it(store):
    written(store, run_spec("a", denoised=True), range(2))
    written(store, run_spec("b"), range(2))
    assert list(store.samples(models=["a"])) == ["sample", "denoised"]
    assert list(store.samples()) == ["sample"]


def test_missing_combinations_are_named(store):
    written(store, run_spec("a", "ddim"), range(2))
    written(store, run_spec("b", "heun"), range(2))
    with pytest.raises(MissingDataError, match="no run a/heun/none"):
        store.samples()
    with pytest.raises(MissingDataError, match="no run c/heun/none"):
        store.samples(models=["b", "c"], samplers=["heun"])
    with pytest.raises(MissingDataError, match="has no runs with the names"):
        store.samples(models=["c"])


def test_nothing_is_computed_before_it_is_asked_for(store):
    written(store, run_spec("a", denoised=True), range(9))
    written(store, run_spec("b", denoised=True), [8, 3, 4, 1, 0])
    reader = open_store(store.path)
    with dask.config.set(scheduler=refuse_to_compute):
        for dataset in (
            reader.samples(),
            reader.final_samples(),
            run_dataset(reader.run("a/sampler/none")),
        ):
            selected = dataset["sample"].sel(seed=[3, 8]).mean("x") * 2
            assert selected.sizes["seed"] == 2
            with pytest.raises(AssertionError, match="while the Dataset was built"):
                selected.compute()


def test_chunks_are_whole_chunks_of_the_store(store):
    run = written(store, run_spec("a"), range(9))
    assert run.array("sample").chunks == (2, 1, 1, 2, 2)
    for dataset in (store.samples(), run_dataset(run)):
        chunks = dict(zip(dataset["sample"].dims, dataset["sample"].chunks, strict=True))
        assert chunks["seed"] == (4, 4, 1)  # two chunks of two seeds, a whole shard
        assert chunks["step"] == (1, 1, 1)
        assert (chunks["channel"], chunks["y"], chunks["x"]) == ((1,), (2,), (2,))
    final = store.final_samples()["sample"].chunks[3]
    assert final == (4, 4, 1)


def test_one_run_in_the_order_of_its_slots(store):
    spec = run_spec("a", denoised=True)
    run = written(store, spec, [9, 3, 7, 1, 20, 5, 6, 2, 11], units=[2, 0])
    dataset = run_dataset(run)
    assert dataset["seed"].values.tolist() == [9, 3, 7, 1, 11]
    for position, name in enumerate(("sample", "denoised")):
        values = expected(spec, dataset["seed"].values, range(3), position)
        np.testing.assert_array_equal(dataset[name].values, values, strict=True)
    assert list(dataset.coords) == ["seed", "step", "sigma", "alpha", "timestep"]


def test_a_run_without_written_seeds_is_empty(store):
    run = written(store, run_spec("a"), range(5), units=[])
    dataset = run_dataset(run)
    assert dataset["sample"].shape == (0, 3, 1, 2, 2)
    assert dataset["sample"].values.dtype == np.float32
    assert repr(run) == "Run('a/sampler/none', 0 of 5 seeds)"


def test_several_chunks_of_a_shard_are_read_together_and_no_others(tmp_path, monkeypatch):
    store = create_store(tmp_path / "b.zarr")
    spec = run_spec("a", sample_shape=(3, 64, 64), steps=(0, 1), batch_size=64)
    run = written(store, spec, range(200))
    chunk, shard = run.array("sample").chunks[0], run.array("sample").shards[0]
    assert 1 < chunk < shard
    assert store.samples()["sample"].chunks[3] == (200,)  # the shard, of which 200 seeds exist
    monkeypatch.setattr(reading, "READ", 2 * chunk * 3 * 64 * 64 * 4)
    assert store.samples()["sample"].chunks[3][0] == 2 * chunk

    asked = []
    read = CheckedArray.__getitem__
    monkeypatch.setattr(
        CheckedArray, "__getitem__", lambda self, key: asked.append(key) or read(self, key)
    )
    one = store.samples()["sample"].sel(seed=7, step=1).squeeze().values
    np.testing.assert_array_equal(one, expected(spec, [7], [1], 0)[0, 0])
    [(slots, rows, *_)] = asked  # one read, of the dask chunk that the seed is in
    assert (slots.start, slots.stop, rows.start, rows.stop) == (0, 2 * chunk, 1, 2)
