"""A store of format 1 that an earlier version wrote stays readable, and can be extended."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from reprostore.embed import EncoderHandle, embed_run
from reprostore.ingest import StoredDataset
from reprostore.neighbors import run_neighbors
from reprostore.specs import EncoderSpec
from reprostore.store import create_store, open_store
from reprostore.store.labelled import read_labelled
from reprostore.store.reading import run_dataset
from reprostore.testing.store import run_spec, step_table, write_units

PATH = Path(__file__).parent / "data" / "format1.zarr"


@pytest.fixture(scope="module")
def store():
    return open_store(PATH)


def test_root_and_runs(store):
    assert store.attributes["format"] == 1
    assert store.attributes["title"] == "A store of format 1"
    assert store.attributes["license"] == "CC0-1.0"
    runs = ["alpha/all", "alpha/bytes", "alpha/half", "beta/all", "beta/later", "gamma/bytes"]
    assert store.run_paths() == [f"{run}/none" for run in runs]


def test_all_steps_of_two_models_at_their_common_seeds(store):
    samples = store.samples(samplers=["all"])
    assert samples["seed"].values.tolist() == [1, 3]
    assert samples["model"].values.tolist() == ["alpha", "beta"]
    assert samples["step"].values.tolist() == [0, 1, 2, 3]
    assert samples["sample"].shape == (2, 1, 1, 2, 4, 1, 2, 2)
    for seed in (1, 3):
        for row in range(4):
            part = samples.sel(seed=seed, step=row)
            assert (part["sample"].values == seed * 100 + row).all()
            if row < 3:
                assert (part["denoised"].values == -(seed * 100 + row)).all()
            else:
                assert np.isnan(part["denoised"].values).all()


def test_a_grown_run(store):
    run = store.run("alpha/all/none")
    dataset = run_dataset(run)
    assert dataset["seed"].values.tolist() == [0, 1, 2, 3, 4, 5, 10, 11]
    values = dataset["sample"].isel(channel=0, y=1, x=0).values
    expected = np.array([[s * 100 + row for row in range(4)] for s in [0, 1, 2, 3, 4, 5, 10, 11]])
    np.testing.assert_array_equal(values, expected.astype(np.float32), strict=True)
    np.testing.assert_array_equal(dataset["sigma"], np.linspace(10, 0, 4))
    np.testing.assert_array_equal(dataset["alpha"], np.ones(4))
    np.testing.assert_array_equal(dataset["timestep"], [4, 3, 2, np.nan])


def test_float16_trajectories(store):
    dataset = run_dataset(store.run("alpha/half/none"))
    assert dataset["sample"].dims == ("seed", "step", "time", "coord")
    values = dataset["sample"].values
    assert (values.dtype, values.shape) == (np.float16, (2, 2, 3, 2))
    assert dataset["step"].values.tolist() == [0, 5]
    assert (values == np.array([[700, 701], [200, 201]])[:, :, None, None]).all()


def test_uint8_images(store):
    final = store.final_samples(models=["alpha"], samplers=["bytes"])
    assert final["sample"].dtype == np.uint8
    assert final["sample"].shape == (1, 1, 1, 5, 3, 2, 2)
    assert (final["sample"].values == np.arange(5)[:, None, None, None]).all()


def test_a_run_that_was_not_written(store):
    run = store.run("beta/later/none")
    assert run.seeds.tolist() == [0, 1]
    assert not run.status.any()
    assert [unit.index for unit in run.missing_units()] == [0]


def test_digest_session_and_probe(store):
    run = store.run("beta/all/none")
    assert run.seeds.tolist() == [3, 9, 1]
    numbers = set(run.recorded("session").tolist())
    assert len(numbers) == 1
    assert store.session(numbers.pop())["device"] == "cpu"
    made_up = np.asarray([np.random.default_rng(s).standard_normal(8) for s in (3, 9, 1)], "f4")
    np.testing.assert_array_equal(run.recorded("noise_probe"), made_up)
    for seed, digest in zip([3, 9, 1], run.recorded("digest"), strict=True):
        states = []
        for row in range(4):
            sample = np.full(4, seed * 100 + row, "<f4")
            states += [sample, -sample if row < 3 else np.full(4, np.nan, "<f4")]
        expected = hashlib.blake2b(np.stack(states).tobytes(), digest_size=8).digest()
        assert int(digest).to_bytes(8, "little") == expected


def test_the_identity_is_still_computed_the_same(store):
    spec = run_spec("alpha", "all", steps=range(4), batch_size=4, denoised=True)
    assert store.run("alpha/all/none").spec == spec  # its fingerprint is checked on reading


def test_dataset_vectors_and_neighbors_are_used_as_they_are(store):
    dataset = StoredDataset(store, "onehot")
    assert (dataset.read(slice(None)).reshape(4, 4) == 255 * np.eye(4)).all()
    run, encoder = store.run("gamma/bytes/none"), EncoderHandle("pixel", EncoderSpec(kind="pixel"))
    vectors = embed_run(store, encoder, run).read(np.arange(4))
    centered = np.eye(4)[::-1] - 0.25  # seed s is white in pixel 3 - s
    np.testing.assert_allclose(
        vectors / np.linalg.norm(vectors, axis=1)[:, None],
        centered / np.linalg.norm(centered, axis=1)[:, None],
        atol=1e-6,
    )
    found = run_neighbors(store, encoder, run, dataset)  # the store is read-only: from the cache
    assert found["train_index"].values[:, 0].tolist() == [3, 2, 1, 0]
    np.testing.assert_allclose(found["similarity"], np.tile([1, -1 / 3], (4, 1)))


def test_a_result(store):
    [key] = [path.name for path in (PATH / "results" / "generalization").iterdir() if path.is_dir()]
    result = read_labelled(PATH, f"results/generalization/{key}")
    assert result["run"].values.tolist() == ["gamma/bytes/none"]
    assert result["train_index"].values.tolist() == [[3, 2, 1, 0]]
    assert result["memorized"].values.tolist() == [1.0]


def test_xarray_opens_it_unaided():
    tree = xr.open_datatree(PATH, engine="zarr", chunks={}, consolidated=False)
    node = tree["runs/alpha/half/none"]
    assert node["sample"].dims == ("seed", "step", "time", "coord")
    assert node["status"].values.tolist() == [1, 1]


def test_it_can_be_extended(tmp_path):
    path = shutil.copytree(PATH, tmp_path / "format1.zarr")
    run = create_store(path).run("beta/later/none")
    run = create_store(path).add_run(run.spec, step_table(run.spec), [1, 0, 5])
    write_units(run, 7)
    assert run.seeds.tolist() == [0, 1, 5]
    assert run_dataset(run)["sample"].values.shape == (3, 1, 1, 2, 2)
