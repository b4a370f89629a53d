"""Noise schedules, seeds, solvers and folders of a study that cannot be used, with their lines."""

import os

import pytest

from reprostore.errors import SpecError
from reprostore.noise_schedules import SCHEDULE_KEYS, check_noise_schedule, check_recipe_schedule
from reprostore.study import load_study
from reprostore.study_requests import requests_of

STUDY = """\
store = "s.zarr"

[datasets.digits]
source = "sklearn:digits"

[recipes.small]
width = 16
steps = 300
checkpoints = [100, 300]

[models.one]
source = "ck/one"
recipe = "small"
trained_on = { dataset = "digits", index = "0-7" }

[models.two]
source = "ck/two"
recipe = "small"
trained_on = { dataset = "digits", index = "0-15" }

[models.theirs]
source = "theirs/unet"

[samplers.ddim]
scheduler = "ddim"
steps = 5

[encoders.net]
kind = "torchscript"
weights = "net.pt"
preprocessing = "none"
"""


@pytest.fixture
def load(tmp_path):
    def load(*edits):
        text = STUDY
        for old, new in edits:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        path = tmp_path / "study.toml"
        path.write_text(text, encoding="utf-8")
        return load_study(path)

    return load


@pytest.fixture
def message(load):
    def message(*edits):
        with pytest.raises(SpecError) as caught:
            load(*edits)
        return str(caught.value)

    return message


def line(text):
    (number,) = [n for n, each in enumerate(STUDY.splitlines(), 1) if text in each]
    return f"study.toml, line {number}: "


WRONG = [
    ({"num_train_timesteps": 123_456_789}, "`num_train_timesteps` is 123456789. It should be a wh"),
    ({"num_train_timesteps": 50.0}, "`num_train_timesteps` is 50.0."),
    ({"num_train_timesteps": True}, "`num_train_timesteps` is true."),
    ({"num_train_timesteps": 0}, "from 1 to 1000000"),
    ({"beta_start": "a"}, '`beta_start` is "a". It should be a number from 0 to 1.'),
    ({"beta_start": False}, "`beta_start` is false."),
    ({"beta_start": 1.5}, "`beta_start` is 1.5."),
    ({"beta_end": 1.5}, "above 0 and at most 1"),
    ({"beta_end": 0}, "`beta_end` is 0."),
    ({"beta_schedule": "foo"}, "linear, scaled_linear, squaredcos_cap_v2, laplace, sigmoid"),
    ({"beta_schedule": ["linear"]}, '`beta_schedule` is ["linear"].'),
    ({"rescale_betas_zero_snr": 1}, "true or false"),
    ({"variance_type": "small"}, "`variance_type` is"),
    ({"clip_sample": "yes"}, "true or false"),
    ({"clip_sample_range": 0}, "above 0"),
    ({"thresholding": 0}, "true or false"),
    ({"dynamic_thresholding_ratio": 2}, "from 0 to 1"),
    ({"sample_max_value": -1.0}, "above 0"),
    ({"timestep_spacing": "foo"}, "linspace, leading, trailing"),
    ({"steps_offset": "x"}, '`steps_offset` is "x".'),
    ({"steps_offset": -1}, "`steps_offset` is -1."),
    ({"steps_offset": 1000}, "The timesteps are 0 to 999"),
    ({"num_train_timesteps": 5, "steps_offset": 5}, "The timesteps are 0 to 4"),
    ({"trained_betas": 0.1}, "a list of numbers"),
    ({"trained_betas": []}, "a list of numbers"),
    ({"trained_betas": [0.1, 0.0], "num_train_timesteps": 2}, "above 0 and at most 1"),
    ({"trained_betas": [0.1, "b"], "num_train_timesteps": 2}, "a list of numbers"),
    ({"trained_betas": [0.1]}, "has 1 value and `num_train_timesteps` is 1000, its default."),
    (
        {"trained_betas": [0.1] * 3, "num_train_timesteps": 2},
        "has 3 values and `num_train_timesteps` is 2. Each timestep has one beta. Write "
        "num_train_timesteps = 3, or",
    ),
]


@pytest.mark.parametrize(("values", "part"), WRONG, ids=str)
def test_values_that_no_scheduler_takes(values, part):
    for check in (check_noise_schedule, check_recipe_schedule):
        with pytest.raises(SpecError) as caught:
            check(values)
        assert part in str(caught.value)


def test_a_prediction_is_the_models_and_a_learned_variance_nobodys():
    with pytest.raises(SpecError, match=r"`prediction_type` is 3\. .* epsilon, v_pred"):
        check_noise_schedule({"prediction_type": 3})
    with pytest.raises(SpecError, match="has the key `prediction_type`"):
        check_recipe_schedule({"prediction_type": "epsilon"})
    check_noise_schedule({"variance_type": "learned_range"})
    with pytest.raises(SpecError, match="predict no variance"):
        check_recipe_schedule({"variance_type": "learned_range"})


def test_values_of_another_class_are_its_own():
    check_noise_schedule({"_class_name": "HeunDiscreteScheduler", "beta_schedule": "exp"})
    check_noise_schedule({"_class_name": "EDMEulerScheduler", "sigma_data": 0.5})
    with pytest.raises(SpecError, match=r"`beta_schedule` is 3\. It should be a text"):
        check_noise_schedule({"_class_name": "HeunDiscreteScheduler", "beta_schedule": 3})
    with pytest.raises(SpecError, match="has 2 values"):
        check_noise_schedule({"_class_name": "DDIMScheduler", "trained_betas": [0.1, 0.2]})


def test_all_that_is_allowed_works_in_diffusers():
    diffusers = pytest.importorskip("diffusers")
    chosen = {
        "beta_schedule": ("linear", "scaled_linear", "squaredcos_cap_v2", "laplace", "sigmoid"),
        "timestep_spacing": ("linspace", "leading", "trailing"),
        "variance_type": ("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"),
        "trained_betas": (None, [0.1] * 20),
        "steps_offset": (0, 1),
    }
    for key, values in chosen.items():
        assert key in SCHEDULE_KEYS
        for value in values:
            config = {"num_train_timesteps": 20, key: value}
            check_recipe_schedule(config)
            scheduler = diffusers.DDPMScheduler(**config)
            scheduler.set_timesteps(5)
            assert ((scheduler.betas > 0) & (scheduler.betas <= 1)).all()
            assert len(scheduler.betas) == 20
            assert scheduler._get_variance(scheduler.timesteps[0]).isfinite()


def test_a_noise_schedule_is_checked_with_its_line(message, load):
    at_recipe = ("width = 16", "width = 16\nnoise_schedule = { steps_offset = 'x' }")
    said = message(at_recipe)
    assert said.startswith(
        'study.toml, line 8: [recipes.small.noise_schedule]: `steps_offset` is "'
    )
    said = message(('"theirs/unet"', '"theirs/unet"\nnoise_schedule = { prediction_type = 3 }'))
    assert said.startswith("study.toml, line 23: `noise_schedule` of [models.theirs]: `predict")
    load(('"theirs/unet"', '"theirs/unet"\nnoise_schedule = { beta_schedule = "linear" }'))


@pytest.mark.parametrize("source", ["oracle", "gaussian", "python:mine:load"])
def test_a_training_does_not_start_from_what_has_no_weights(message, source):
    said = message(("width = 16", f'start_from = "{source}"'))
    expected = line("width = 16") + f"`start_from` in [recipes.small]: {source!r} is no network"
    assert said.startswith(expected)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_trainer_seeds_that_are_none(message, load, seed):
    said = message(('source = "ck/one"', f'source = "ck/one"\ntrainer_seed = {seed}'))
    assert said.startswith(
        f"study.toml, line 13: `trainer_seed` of [models.one] has the seed {seed}"
    )
    sweep = '[sweeps.s]\nrecipe = "small"\ndataset = "digits"\nsizes = [4]\n'
    said = message(("[samplers.ddim]", f"{sweep}trainer_seeds = [0, {seed}]\n[samplers.ddim]"))
    assert f"line 28: `trainer_seeds` of [sweeps.s] has the seed {seed}. Trainings have" in said
    # Of a model that was trained elsewhere it is a name for the training.
    load(('source = "theirs/unet"', f'source = "theirs/unet"\ntrainer_seed = {seed}'))


def test_a_misspelt_solver_is_found_with_its_line(load):
    loaded = load(('"ddim"', '"ddim2"'))
    with pytest.raises(SpecError) as caught:
        requests_of(loaded)
    assert str(caught.value).startswith(line('scheduler = "ddim"') + "The scheduler 'ddim2' is unk")
    assert "Did you mean 'ddim'?" in str(caught.value)


class TestFolders:
    @pytest.mark.parametrize(
        ("edit", "place"),
        [
            (("s.zarr", "{}"), "`store` is"),
            (("sklearn:digits", "{}"), "`source` of [datasets.digits]"),
            (("ck/one", "{}"), "`source` of [models.one]"),
            (("theirs/unet", "{}"), "`source` of [models.theirs]"),
            (("net.pt", "{}"), "`weights` of [encoders.net]"),
            (('width = 16', 'start_from = "{}"'), "`start_from` of [recipes.small]"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )  # fmt: skip
    def test_texts_that_are_no_paths(self, message, edit, place):
        old, new = edit
        for text, reason in (
            ("x" * 300, "a name of 300 bytes"),
            ("ü" * 128, "a name of 256 bytes"),
            ("a/" * 2500 + "b", "is a path of"),
            (r"a\u0000b", "code 0" if place != "`store` is" else "no path on this machine"),
        ):
            said = message((old, new.format(text)))
            assert said.startswith(line(old))
            assert reason in said
            assert len(said) < 500
        if place != "`store` is":
            assert "cannot be followed" in message((old, new.format("~no-such-user-9/x")))

    def test_names_as_long_as_possible(self, load, message):
        loaded = load(("theirs/unet", "x" * 255))
        assert loaded.study.models["theirs"].source == "x" * 255
        load(("ck/one", "x" * 240))
        assert "a name of 241 bytes, where at most 240" in message(("ck/one", "x" * 241))
        # The longest of what a training writes beside its folder.
        assert len(os.fsencode("x" * 240 + ".training.lock")) <= 255

    @pytest.mark.parametrize(
        ("model", "source", "found"),
        [
            ("ck/two", "ck/one.training", "is the state of the training of the model one."),
            ("ck/two", "ck/one.training/model", "lies in the state of the training of the model"),
            ("ck/two", "ck/one/x", "lies in the folder of the model one."),
            ("ck/two", "ck/one@100", "is the checkpoint at step 100 of the model one."),
            ("ck/two", "ck/sub/../one@100/x", "lies in the checkpoint at step 100 of the model"),
            ("ck/two", "s.zarr", "is the store, s.zarr."),
            ("ck/two", "./s.zarr/models/two", "lies in the store, s.zarr."),
            ("theirs/unet", "ck/one.training", "is the state of the training of the model one."),
            ("theirs/unet", "ck/one.training/model", "lies in the state of the training"),
            ("theirs/unet", "ck/two/unet", "lies in the folder of the model two."),
            ("theirs/unet", "s.zarr", "is the store"),
        ],
    )
    def test_folders_of_others(self, message, model, source, found):
        said = message((f'"{model}"', f'"{source}"'))
        name = {"ck/two": "two", "theirs/unet": "theirs"}[model]
        assert said.startswith(line(f'source = "{model}"') + f"`source` of [models.{name}] {found}")

    def test_a_later_model_may_not_take_what_an_earlier_keeps(self, message):
        said = message(('"ck/one"', '"ck/two@100"'))
        assert said.startswith(line('"ck/one"') + "`source` of [models.one] is the checkpoint at")

    @pytest.mark.parametrize(
        "store", ["ck/one", "ck/one/s.zarr", "ck/two.training", "ck/one@100/s"]
    )
    def test_a_store_is_in_no_model(self, message, store):
        said = message(("s.zarr", store))
        assert said.startswith("study.toml, line ")
        assert "store" in said

    def test_links_are_followed(self, message, tmp_path):
        (tmp_path / "ck").mkdir()
        (tmp_path / "other").symlink_to(tmp_path / "ck")
        assert "lies in the folder of the model one" in message(('"ck/two"', '"other/one/x"'))
        (tmp_path / "circle").symlink_to(tmp_path / "circle")
        assert "cannot be followed" in message(('"ck/two"', '"circle/x"'))

    def test_what_is_trained_may_be_named_again(self, load):
        for source in ("ck/one", "ck/one@100", "ck/three", "ck/one@200", "ck/one.trainings"):
            load(('"theirs/unet"', f'"{source}"'))
        early = (
            '[models.early]\nsource = "ck/one@100"\nrecipe = "small"\ntraining_step = 100\n'
            'trained_on = { dataset = "digits", index = "0-7" }\n\n[samplers.ddim]'
        )
        loaded = load(("[samplers.ddim]", early))
        assert loaded.study.models["early"].training_step == 100
