"""What is not generated anew, or refused: other models, other noise, what cannot be computed."""

import shutil
import sys

import numpy as np
import pytest
from generating import FINAL, study
from regenerating import again, copied, generated, results

from reprostore.errors import IdentityError, MissingDataError, ModelError, PairingError, SpecError
from reprostore.sharing.regeneration import recomputation, recorded_models
from reprostore.sharing.regeneration.floor import floor_rows
from reprostore.store import open_store
from reprostore.studies import generate_study
from reprostore.testing.models import tiny_checkpoint

ODD = {"scheduler": "edm-heun", "steps": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return generated(tmp_path_factory.mktemp("regenerate"))


@pytest.fixture
def own(made, tmp_path):
    return copied(made, tmp_path / "own")


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


@pytest.mark.parametrize("value", [9.0, np.nan])
def test_one_value_of_other_noise_in_a_probe_is_enough(own, value):
    array = open_store(own.store_path, mode="r+").run("net/final/none").array("noise_probe")
    values = array[...]
    values[6, 3] = value
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
