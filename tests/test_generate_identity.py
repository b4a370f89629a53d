"""A run's name stands for one model, sampler and condition."""

import shutil

import pytest
from generating import FINAL, files, sample_bits, small_units, study

import reprostore.resolve
from reprostore.errors import IdentityError
from reprostore.store import open_store
from reprostore.studies import check_stored_runs, generate_study
from reprostore.testing.models import DDPM_CONFIG, tiny_checkpoint


@pytest.fixture(autouse=True)
def _small_units():
    with small_units():
        yield


def other_weights(base):
    shutil.rmtree(base / "net")
    tiny_checkpoint(base / "net", channels=3, seed=7)


def other_schedule(base):
    shutil.rmtree(base / "net")
    tiny_checkpoint(base / "net", channels=3, scheduler={**DDPM_CONFIG, "beta_end": 0.01})


@pytest.mark.parametrize(
    ("change", "sampler", "values", "found"),
    [
        (other_weights, {}, {}, r"weights\.diffusion_pytorch_model\.safetensors is '\w{64}' in "),
        (other_schedule, {}, {}, r"weights\.scheduler_config\.json is '\w{64}' in the store and "),
        (None, {"eta": 0.5}, {}, "sampler.eta is 0.0 in the store and 0.5 in what was asked for"),
        (
            None,
            {"options": {"clip_sample": True}},
            {},
            "sampler.options.clip_sample is None in the store and True in what was asked for",
        ),
        (None, {"steps": 4}, {}, r"sampler.steps is 3 in the store and 4 in what"),
        (None, {"scheduler": "unipc"}, {}, "scheduler is 'DDIMScheduler' in the store and 'UniPCM"),
        (None, {"dtype": "float16"}, {}, "sampler.dtype is 'float32' in the store and 'float16'"),
        (None, {}, {"dtype": "float64"}, "compute_dtype is 'float32' in the store and 'float64'"),
        (None, {"record": [1]}, {}, r"steps is \[3\] in the store and \[1, 3\] in what"),
        (None, {"denoised": True}, {}, "sampler.denoised is False in the store and True in what"),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", None),
)
def test_another_identity_is_refused_and_nothing_written(tmp_path, change, sampler, values, found):
    tiny_checkpoint(tmp_path / "net", channels=3)
    generate_study(study(tmp_path, "0-3"))
    if change is not None:
        change(tmp_path)
    before = files(tmp_path)
    with pytest.raises(IdentityError, match=found) as caught:
        generate_study(study(tmp_path, "0-7", {"final": {**FINAL, **sampler}}, **values))
    assert "Give the model or the sampler another name in the study" in str(caught.value)
    assert files(tmp_path) == before


def test_another_noise_schedule_in_the_study_is_refused(tmp_path):
    tiny_checkpoint(tmp_path / "net", channels=3, scheduler=None)
    schedule = {**DDPM_CONFIG}

    def asked(beta_end):
        spec = {"source": "net", "noise_schedule": {**schedule, "beta_end": beta_end}}
        return study(tmp_path, "0-3", models={"net": spec})

    generate_study(asked(0.02))
    before = files(tmp_path)
    with pytest.raises(
        IdentityError, match=r"noise_schedule\.beta_end is 0\.02 in the store and 0\.03"
    ):
        generate_study(asked(0.03))
    assert files(tmp_path) == before


def test_a_resolved_value_that_differs_is_refused_when_work_starts(tmp_path, monkeypatch):
    tiny_checkpoint(tmp_path / "net", channels=3)
    generate_study(study(tmp_path, "0-3"))
    before = files(tmp_path / "store.zarr")
    build = reprostore.resolve.build_sampler

    def other_default(spec, model):
        sampler = build(spec, model)
        sampler.identity["config"]["set_alpha_to_one"] = "another default"
        return sampler

    monkeypatch.setattr("reprostore.resolve.build_sampler", other_default)
    with pytest.raises(
        IdentityError,
        match=r"scheduler\.config\.set_alpha_to_one is True in the store and 'another default'",
    ):
        generate_study(study(tmp_path, "0-7"))
    assert files(tmp_path / "store.zarr") == before


def test_a_moved_checkpoint_is_the_same_model(tmp_path):
    tiny_checkpoint(tmp_path / "net", channels=3)
    generate_study(study(tmp_path, "0-3"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "net").rename(tmp_path / "elsewhere" / "moved")
    moved = study(tmp_path, "0-7", models={"net": {"source": "elsewhere/moved"}})
    assert generate_study(moved)[0]["written"] == 4
    assert len(sample_bits(moved, "net/final/none")) == 8


def test_one_identity_under_another_list_of_steps_is_an_error(tmp_path):
    tiny_checkpoint(tmp_path / "net", channels=3)
    path = {**FINAL, "record": [0, 2]}
    generate_study(study(tmp_path, "0-3", {"s": path}))
    same = study(tmp_path, "0-3", {"s": {**FINAL, "record": [2, 0, 3]}})
    assert generate_study(same)[0]["written"] == 0  # the last step is always recorded
    before = files(tmp_path)
    with pytest.raises(
        IdentityError, match=r"steps is \[0, 2, 3\] in the store and \[0, 1, 2, 3\]"
    ):
        generate_study(study(tmp_path, "0-3", {"s": {**FINAL, "record": "all"}}))
    assert files(tmp_path) == before


@pytest.mark.parametrize("change", [other_weights, other_schedule])
def test_an_analysis_notices_that_the_study_means_another_model(tmp_path, change):
    tiny_checkpoint(tmp_path / "net", channels=3)
    loaded = study(tmp_path, "0-3")
    generate_study(loaded)
    store = open_store(loaded.store_path)
    check_stored_runs(store, loaded)
    change(tmp_path)
    with pytest.raises(IdentityError, match="net/final/none in the store differs"):
        check_stored_runs(store, loaded)
    with pytest.raises(IdentityError, match=r"sampler\.steps is 3 in the store and 9"):
        check_stored_runs(store, study(tmp_path, "0-3", {"final": {**FINAL, "steps": 9}}))
    shutil.rmtree(tmp_path / "net")  # the store went to somebody who does not have the model
    check_stored_runs(store, loaded)
