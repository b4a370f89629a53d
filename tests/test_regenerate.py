"""Samples generated anew: equal bits, and differences against what plain NumPy finds."""

import json
import shutil
import sys

import numpy as np
import pytest
import xarray as xr
from analyzing import damage
from generating import FINAL, PATH, altered_outputs, arrays, files, study

from reprostore.embed import EncoderHandle, embed_run
from reprostore.errors import IdentityError, MissingDataError, ModelError, PairingError, SpecError
from reprostore.sharing.regeneration import recomputation, recorded_models
from reprostore.sharing.regeneration.comparison import absolute_difference
from reprostore.sharing.regeneration.floor import FLOOR, current_floors, floor_rows
from reprostore.sharing.regeneration.portion import Portion, Regeneration
from reprostore.sharing.regeneration.regenerate import regenerate
from reprostore.specs import EncoderSpec
from reprostore.store import open_store
from reprostore.studies import generate_study
from reprostore.testing.models import tiny_checkpoint

ODD = {"scheduler": "edm-heun", "steps": 2}
BYTES = {"scheduler": "ddim", "steps": 2, "dtype": "uint8"}
SAMPLERS = {"final": FINAL, "path": PATH}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a study whose samples are generated; tests that write take a copy of its folder."""
    base = tmp_path_factory.mktemp("regenerate")
    tiny_checkpoint(base / "net")
    loaded = study(base, samplers=SAMPLERS)
    generate_study(loaded)
    return loaded


@pytest.fixture
def own(made, tmp_path):
    base = tmp_path / "own"
    shutil.copytree(made.base, base)
    return study(base, samplers=SAMPLERS)


def again(loaded, portion="100%", mode="r+", **options):
    store = open_store(loaded.store_path, mode=mode)
    return regenerate(store, loaded, Regeneration(Portion.parse(portion), **options))


def of(done, path):
    (floor,) = (floor for floor in done.floors if floor.attrs["run"] == path)
    return floor


def results(loaded):
    return sorted(path.name for path in (loaded.store_path / "results" / FLOOR).glob("*/"))


def pixel_vectors(states):
    """Return mean-removed 8-bit images, as a PNG would hold them."""
    grey = np.rint(np.clip((states.astype(np.float32) + 1) * 127.5, 0, 255)).astype(np.float64)
    grey = grey.reshape(len(grey), -1)
    return grey, grey - grey.mean(axis=1, keepdims=True)


# --- the floor of one run


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


# --- what is refused or left out


def test_other_weights_are_refused_before_anything_is_computed(own, monkeypatch):
    monkeypatch.setattr(recomputation, "sampled_batch", None)
    recorded = open_store(own.store_path).run("net/final/none").spec.weights
    shutil.rmtree(own.base / "net")
    tiny_checkpoint(own.base / "net", seed=1)
    with pytest.raises(IdentityError) as error:
        again(own)
    name = "diffusion_pytorch_model.safetensors"
    assert f"weights.{name} is '{recorded[name]}' in the store and" in str(error.value)
    assert results(own) == []


def test_an_option_of_the_scheduler_is_part_of_the_model(own):
    other = study(own.base, samplers={"final": FINAL | {"options": {"clip_sample": False}}})
    with pytest.raises(IdentityError, match="clip_sample"):
        again(other)


def test_values_that_a_library_resolves_otherwise_are_refused(own, monkeypatch):
    original = recorded_models.prepare

    def newer(*args, **options):
        spec, sampler = original(*args, **options)
        config = {**spec.scheduler["config"], "thresholding": True}
        return spec.model_copy(update={"scheduler": {**spec.scheduler, "config": config}}), sampler

    monkeypatch.setattr(recorded_models, "prepare", newer)
    with pytest.raises(IdentityError, match=r"scheduler\.config\.thresholding is False in"):
        again(own)


def test_the_noise_is_that_of_the_seed(own, monkeypatch):
    original = recomputation.sampled_batch
    monkeypatch.setattr(
        recomputation,
        "sampled_batch",
        lambda sampler, model, seeds, *rest: original(sampler, model, seeds + 1, *rest),
    )
    with pytest.raises(PairingError, match=r"not that of its seeds 0-3\."):
        again(own)
    assert results(own) == []


def test_a_probe_of_other_noise_names_the_seed(own):
    array = open_store(own.store_path, mode="r+").run("net/final/none").array("noise_probe")
    values = array[...]
    values[6] += 0.01
    array[...] = values
    with pytest.raises(PairingError, match=r"net/final/none is not that of its seeds 6\."):
        again(own)


def test_noise_that_is_drawn_on_the_way_is_another_in_float64(own):
    done = again(own, dtype="float64")
    assert [floor.attrs["run"] for floor in done.floors] == ["net/final/none"]
    assert done.left_out == {
        "net/path/none": "Its sampler draws noise at every step, and draws other noise in float64."
    }
    (row,) = floor_rows(done.floors[0])
    assert row["differs"] == {"compute_dtype": ["float32", "float64"]}
    assert 0 < row["difference"] < 1e-3


def test_what_cannot_be_computed_is_left_out_with_its_reason(own):
    tiny_checkpoint(own.base / "more", seed=2)
    generate_study(study(own.base, "0-1", {"final": FINAL}, ("more",)))
    asked = study(own.base, samplers={"final": FINAL, "odd": ODD}, models=("net", "gone"))
    done = again(asked, "1")
    assert [floor.attrs["run"] for floor in done.floors] == ["net/final/none"]
    assert set(done.left_out) == {
        "net/odd/none", "gone/final/none", "gone/odd/none", "net/path/none", "more/final/none"
    }  # fmt: skip
    assert done.left_out["more/final/none"] == "The study does not have it."
    assert done.left_out["net/odd/none"] == "The store has no samples of it."
    shutil.rmtree(own.base / "net")
    done = again(study(own.base, samplers={"final": FINAL}, models=("net", "more")), "1")
    assert "does not exist" in done.left_out["net/final/none"]
    with pytest.raises(MissingDataError, match=r"net/final/none: The model source 'net'"):
        again(study(own.base, samplers={"final": FINAL}))


def test_a_store_does_not_say_what_is_imported(own):
    marker = own.base / "imported"
    (own.base / "planted.py").write_text(f"open({str(marker)!r}, 'w')\n")
    run = own.store_path / "runs" / "net" / "final" / "none"
    shutil.copytree(run, own.store_path / "runs" / "evil" / "final" / "none")
    changed = own.store_path / "runs" / "evil" / "final" / "none" / "zarr.json"
    text = changed.read_text().replace('"source": "net"', '"source": "python:planted:make"')
    assert "planted" in text
    changed.write_text(text)
    done = again(own, "1")
    assert done.left_out["evil/final/none"] == "The study does not have it."
    assert not marker.exists()
    assert "planted" not in sys.modules


def test_samples_that_are_not_finite_are_no_floor(own, monkeypatch):
    original = recomputation.sampled_batch

    def overflowing(*args):
        probe, states = original(*args)

        def broken():
            for sample, denoised in states:
                sample[1, 0, 0, 0] = np.inf
                yield sample, denoised

        return probe, broken()

    monkeypatch.setattr(recomputation, "sampled_batch", overflowing)
    with pytest.raises(ModelError, match=r"not finite for the seeds 1 after step 3"):
        again(own)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float8"}, "dtype 'float8' is not known"),
        ({"encoders": ("sscd",)}, "encoder 'sscd' is not defined"),
        ({"device": "tpu"}, "device 'tpu' is not known"),
    ],
)
def test_options_that_mean_nothing_are_told(made, options, message):
    with pytest.raises(SpecError, match=message):
        again(made, mode="r", **options)


# --- floors that are kept


def test_floors_of_other_samples_and_damaged_ones_are_not_used(own):
    again(own, "3")
    store = open_store(own.store_path, mode="r+")
    runs = store.runs()
    assert {path: len(found) for path, found in current_floors(store, runs).items()} == {
        "net/final/none": 1, "net/path/none": 1
    }  # fmt: skip
    chosen = current_floors(store, runs)["net/final/none"][0]["seed"].values
    digests = runs[0].array("digest")
    values = digests[...]
    untouched = next(seed for seed in range(10) if seed not in chosen)
    values[untouched] += 1
    digests[...] = values
    assert "net/final/none" in current_floors(store, runs)
    values[chosen[0]] += 1
    digests[...] = values
    assert set(current_floors(store, runs)) == {"net/path/none"}
    for key in results(own):
        damage(own.store_path / "results" / FLOOR / key / "digest", "flip")
    assert current_floors(store, runs) == {}


def test_growing_a_run_keeps_its_floor(own):
    again(own, "3")
    generate_study(study(own.base, "0-12", SAMPLERS))
    store = open_store(own.store_path)
    assert set(current_floors(store, store.runs())) == {"net/final/none", "net/path/none"}
    # The same question of other samples is answered beside it.
    again(own)
    generate_study(study(own.base, "0-13", SAMPLERS))
    again(own)
    for floors in current_floors(store, store.runs()).values():
        assert sorted(floor.sizes["seed"] for floor in floors) == [3, 13, 14]


# --- which samples


@pytest.mark.parametrize(
    ("text", "written", "expected"),
    [
        ("0.1%", 1000, 1), ("0.1%", 1001, 2), ("0.1%", 10, 1), ("0.1 %", 50000, 50),
        ("100%", 7, 7), ("50%", 5, 3), ("33.3%", 1000, 333), ("7%", 100, 7),
        ("32", 1000, 32), ("32", 8, 8), ("1", 1, 1), (" 5% ", 100, 5), ("0.000000000001%", 10, 1),
    ],
)  # fmt: skip
def test_portions(text, written, expected):
    assert Portion.parse(text).of(written) == expected


@pytest.mark.parametrize(
    "text",
    ["0", "0%", "0.0%", "101%", "100.1%", "abc", "", "%", "-1", "-5%", "1.5", "1/3", "1e3", "5%%",
     "٣", "nan%", "1,5%", "99999999999"],
)  # fmt: skip
def test_portions_that_are_none(text):
    with pytest.raises(SpecError, match=r'Write, for example, "0\.1%" or "32"\.'):
        Portion.parse(text)


def test_the_choice_depends_on_seed_and_run_and_not_on_the_order():
    seeds = np.arange(1000)
    portion = Portion.parse("5%")
    chosen = portion.choose(seeds, 0, "a/s/none")
    assert len(set(chosen.tolist())) == 50
    np.testing.assert_array_equal(chosen, portion.choose(seeds, 0, "a/s/none"))
    assert set(chosen.tolist()) != set(portion.choose(seeds, 1, "a/s/none").tolist())
    assert set(chosen.tolist()) != set(portion.choose(seeds, 0, "b/s/none").tolist())
    shuffled = np.random.default_rng(0).permutation(seeds)
    assert set(shuffled[portion.choose(shuffled, 0, "a/s/none")].tolist()) == set(chosen.tolist())
    # Each seed is as likely as any other: 200 choices of 5 % hit each about 10 times.
    hits = np.zeros(1000)
    for rng_seed in range(200):
        hits[portion.choose(seeds, rng_seed, "a/s/none")] += 1
    assert hits.sum() == 200 * 50
    assert abs(hits.var() / (200 * 0.05 * 0.95) - 1) < 0.2
    assert hits.min() >= 1


def test_differences_of_values_that_are_none():
    a = np.asarray([1.0, np.nan, np.nan, 2.0])
    b = np.asarray([1.5, np.nan, 0.0, np.nan])
    np.testing.assert_array_equal(absolute_difference(a, b), [0.5, 0, np.inf, np.inf])
    np.testing.assert_allclose(
        absolute_difference(np.asarray([0, 255], np.uint8), np.asarray([255, 254], np.uint8)),
        [2, 1 / 127.5],
    )
