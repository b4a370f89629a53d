"""Samples generated anew: equal bits, and differences against what plain NumPy finds."""

import json
import shutil

import numpy as np
import pytest
import xarray as xr
from generating import FINAL, altered_outputs, arrays, files, study
from regenerating import SAMPLERS, again, copied, generated, of, pixel_vectors, results

from reprostore.embed import EncoderHandle, embed_run
from reprostore.errors import MissingDataError
from reprostore.sharing.regeneration.comparison import absolute_difference
from reprostore.sharing.regeneration.floor import FLOOR, current_floors, floor_rows
from reprostore.specs import EncoderSpec
from reprostore.store import open_store
from reprostore.studies import generate_study
from reprostore.testing.models import tiny_checkpoint

ODD = {"scheduler": "edm-heun", "steps": 2}
BYTES = {"scheduler": "ddim", "steps": 2, "dtype": "uint8"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return generated(tmp_path_factory.mktemp("regenerate"))


@pytest.fixture
def own(made, tmp_path):
    return copied(made, tmp_path / "own")


def test_the_same_execution_gives_the_same_bits(own):
    done = again(own)
    assert [floor.attrs["run"] for floor in done.floors] == ["net/final/none", "net/path/none"]
    assert (done.left_out, done.kept) == ({}, True)
    for floor, steps in zip(done.floors, ([3], [0, 1, 2, 3]), strict=True):
        assert floor["seed"].values.tolist() == list(range(10))
        assert floor["step"].values.tolist() == steps
        assert floor["identical"].values.all()
        for name in ("state_difference", "median_difference", "grey_difference"):
            assert (floor[name].values == 0).all(), name
        assert (floor["similarity"].values == 1).all()
        assert np.isnan(floor["distance"].values).all()
        (row,) = floor_rows(floor)
        assert (row["seeds"], row["identical"], row["difference"]) == (10, 10, 0)
        assert row["differs"] == {}
    assert (of(done, "net/path/none")["denoised_difference"].values == 0).all()
    store = open_store(own.store_path)
    kept = current_floors(store, store.runs())
    for floor in done.floors:
        (read,) = kept[floor.attrs["run"]]
        assert json.dumps(floor_rows(read)) == json.dumps(floor_rows(floor))
    assert len(results(own)) == 2
    tree = xr.open_datatree(own.store_path, engine="zarr", chunks={}, consolidated=False)
    assert len(tree[f"results/{FLOOR}"].children) == 2


def test_another_batch_size_is_another_execution_with_differences_as_by_hand(own):
    other = study(own.base, samplers=SAMPLERS, store="other.zarr", batch_size=3)
    generate_study(other)
    stored, anew = arrays(own), arrays(other)
    again(own)
    done = again(own, batch_size=3)
    for path in ("net/final/none", "net/path/none"):
        floor = of(done, path)
        by_hand = np.abs(
            stored[f"{path}/sample"].astype(np.float64) - anew[f"{path}/sample"].astype(np.float64)
        ).reshape(10, len(floor["step"]), -1)
        np.testing.assert_array_equal(floor["state_difference"], by_hand.max(axis=2))
        np.testing.assert_array_equal(floor["median_difference"], np.median(by_hand[:, -1], axis=1))
        same = stored[f"{path}/digest"] == anew[f"{path}/digest"]
        np.testing.assert_array_equal(floor["identical"], same)
        (row,) = floor_rows(floor)
        assert 0 < row["difference"] == by_hand[:, -1].max() < 1e-4
        assert row["median_difference"] == np.median(np.median(by_hand[:, -1], axis=1))
        assert row["state_difference"] == by_hand.max(axis=(0, 2)).tolist()
        assert row["differs"] == {"batch_size": [4, 3]}
        assert (row["stored_execution"]["batch_size"], row["execution"]["batch_size"]) == (4, 3)
    # The first state is the noise, which no execution changes.
    assert of(done, "net/path/none")["state_difference"].values[:, 0].max() == 0
    denoised = [each["net/path/none/denoised"].astype(np.float64) for each in (stored, anew)]
    np.testing.assert_array_equal(
        of(done, "net/path/none")["denoised_difference"],
        np.abs(denoised[0] - denoised[1]).reshape(10, 4, -1).max(axis=2),
    )
    assert len(results(own)) == 4  # both executions are kept
    again(own, batch_size=3)
    assert len(results(own)) == 4


def test_samples_that_the_model_did_not_make_are_told_by_how_much(made, tmp_path):
    base = tmp_path / "altered"
    shutil.copytree(made.base / "net", base / "net")
    altered = study(base, samplers={"final": FINAL, "bytes": BYTES})
    with pytest.MonkeyPatch.context() as patch:
        altered_outputs(patch, lambda output, call: output + 0.4 * output.flip(-1))
        generate_study(altered)
    true = study(base, samplers={"final": FINAL, "bytes": BYTES}, store="true.zarr")
    generate_study(true)
    stored, anew = arrays(altered), arrays(true)
    done = again(altered)
    floor = of(done, "net/final/none")
    a, b = (each["net/final/none/sample"][:, -1].astype(np.float64) for each in (stored, anew))
    assert not floor["identical"].values.any()
    np.testing.assert_array_equal(
        floor["state_difference"].values[:, -1], np.abs(a - b).max(axis=(1, 2, 3))
    )
    grey_a, x = pixel_vectors(a)
    grey_b, y = pixel_vectors(b)
    np.testing.assert_array_equal(floor["grey_difference"], np.abs(grey_a - grey_b).max(axis=1))
    np.testing.assert_array_equal(
        floor["median_grey_difference"], np.median(np.abs(grey_a - grey_b), axis=1)
    )
    cosine = (x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    assert cosine.min() < 0.999
    np.testing.assert_allclose(floor["similarity"].values[0], cosine, rtol=1e-12)
    floor = of(done, "net/bytes/none")
    a, b = (each["net/bytes/none/sample"][:, -1].astype(int) for each in (stored, anew))
    grey = np.abs(a - b).max(axis=(1, 2, 3))
    np.testing.assert_array_equal(floor["grey_difference"], grey)
    np.testing.assert_allclose(floor["state_difference"].values[:, -1], grey / 127.5, rtol=1e-12)


def test_seeds_that_were_stored_in_differing_ways_have_rows_of_their_own(own):
    longer = study(own.base, "0-9,20-24", {"final": FINAL}, batch_size=2)
    generate_study(longer, accept_drift=True)
    (floor,) = again(longer).floors
    first, second = floor_rows(floor)
    counts = {row["stored_execution"]["batch_size"]: row["seeds"] for row in (first, second)}
    # The unit of 512 slots was written again by the second session, but for what it held.
    assert counts == {4: 10, 2: 5}
    differs = {row["stored_execution"]["batch_size"]: row["differs"] for row in (first, second)}
    assert differs == {4: {}, 2: {"batch_size": [2, 4]}}
    of_four = first if first["stored_execution"]["batch_size"] == 4 else second
    assert of_four["difference"] == 0


def test_a_closed_form_is_computed_from_the_items_in_the_store(tmp_path):
    items = np.random.default_rng(0).integers(0, 256, (6, 5, 5), np.uint8)
    np.save(tmp_path / "items.npy", items)
    spec = {"source": "gaussian", "trained_on": {"dataset": "items", "index": "0-4"}}
    loaded = study(tmp_path, "0-3", {"heun": ODD}, {"g": spec},
                   datasets={"items": {"source": "items.npy"}})  # fmt: skip
    generate_study(loaded)
    (floor,) = again(loaded).floors
    assert floor["identical"].values.all()
    shutil.rmtree(loaded.store_path / "datasets" / "items")
    with pytest.raises(MissingDataError, match="dataset that it is computed from is not in the"):
        again(loaded)
    assert not (loaded.store_path / "datasets" / "items").exists()


def test_withheld_samples_are_compared_by_digest_and_vectors(own):
    store = open_store(own.store_path, mode="r+")
    embed_run(store, EncoderHandle("pixel", EncoderSpec(kind="pixel")), store.run("net/final/none"))
    for sampler in SAMPLERS:
        group = own.store_path / "runs" / "net" / sampler / "none"
        metadata = json.loads((group / "zarr.json").read_text())
        metadata["attributes"]["withheld"] = True
        (group / "zarr.json").write_text(json.dumps(metadata))
        for name in ("sample", "denoised"):
            shutil.rmtree(group / name, ignore_errors=True)
    done = again(own)
    for floor in done.floors:
        assert floor["identical"].values.all()
        assert np.isnan(floor["state_difference"].values).all()
    assert (of(done, "net/final/none")["similarity"].values == 1).all()
    assert of(done, "net/final/none").attrs["stored_vectors"] == [True]
    assert np.isnan(of(done, "net/path/none")["similarity"].values).all()
    rows = floor_rows(of(done, "net/path/none"))
    assert (rows[0]["identical"], np.isnan(rows[0]["difference"])) == (10, True)


def test_an_encoder_that_is_named_twice_is_measured_once(own):
    (floor,) = again(study(own.base, samplers={"final": FINAL}), encoders=("pixel", "pixel")).floors
    assert floor["encoder"].values.tolist() == ["pixel"]
    assert floor["similarity"].shape == (1, 10)


def test_a_store_that_is_only_read_keeps_nothing(own):
    before = files(own.store_path)
    done = again(own, "2", mode="r")
    assert not done.kept
    assert [floor.sizes["seed"] for floor in done.floors] == [2, 2]
    assert files(own.store_path) == before


def test_samples_are_compared_wherever_their_seeds_are_stored(own):
    """Slots are not in the order of the seeds."""
    mixed = study(own.base, "7,3,9,0,5", SAMPLERS, store="mixed.zarr")
    generate_study(mixed)
    for floor in again(mixed).floors:
        assert sorted(floor["seed"].values.tolist()) == [0, 3, 5, 7, 9]
        assert floor["identical"].values.all()
        assert (floor["state_difference"].values == 0).all()


def test_runs_of_several_shapes_are_encoded_each_in_its_own(own):
    tiny_checkpoint(own.base / "colour", channels=3)
    both = study(own.base, "0-3", {"final": FINAL}, ("net", "colour"), store="both.zarr")
    generate_study(both)
    floors = again(both).floors
    assert [floor.attrs["run"] for floor in floors] == ["net/final/none", "colour/final/none"]
    for floor in floors:
        assert (floor["similarity"].values == 1).all()


def test_medians_and_grey_levels_are_those_of_the_samples_alone(own):
    run = open_store(own.store_path, mode="r+").run("net/path/none")
    values = run.array("denoised")[...]
    values[:, -1] += 0.5
    run.array("denoised")[...] = values
    floor = of(again(own), "net/path/none")
    np.testing.assert_allclose(floor["denoised_difference"].values[:, -1], 0.5, atol=1e-6)
    for name in ("state_difference", "median_difference", "grey_difference"):
        assert (floor[name].values == 0).all(), name


def test_differences_of_values_that_are_none():
    a = np.asarray([1.0, np.nan, np.nan, 2.0])
    b = np.asarray([1.5, np.nan, 0.0, np.nan])
    np.testing.assert_array_equal(absolute_difference(a, b), [0.5, 0, np.inf, np.inf])
    np.testing.assert_allclose(
        absolute_difference(np.asarray([0, 255], np.uint8), np.asarray([255, 254], np.uint8)),
        [2, 1 / 127.5],
    )
