"""Recipes and sweeps in a study file: what they become, and mistakes with their lines."""

import dataclasses
import inspect

import pytest

from reprostore.errors import NotFoundError, SpecError
from reprostore.specs import ModelSpec, RunSpec, SamplerSpec, Subset
from reprostore.study import Study, load_study
from reprostore.study_expansion import expanded
from reprostore.testing.store import run_spec
from reprostore.trainings import require_trained, trainings_of

STUDY = """\
store = "s.zarr"

[datasets.digits]
source = "sklearn:digits"

[recipes.small]
width = 16
steps = 300
checkpoints = [100, 200]

[models.one]
source = "checkpoints/one"
recipe = "small"
trained_on = { dataset = "digits", index = "0-7" }

[models.theirs]
source = "theirs/unet"
width = 40

[sweeps.two]
recipe = "small"
dataset = "digits"
sizes = [16, 32]
widths = [16, 32]

[samplers.ddim]
scheduler = "ddim"
steps = 5
"""
SWEPT = ["two-w16-n16-s0", "two-w32-n16-s0", "two-w16-n32-s0", "two-w32-n32-s0"]


@pytest.fixture
def load(tmp_path):
    def load(text=STUDY, *edits):
        for old, new in edits:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        path = tmp_path / "study.toml"
        path.write_text(text)
        return load_study(path)

    return load


@pytest.fixture
def message(load):
    def message(*edits):
        with pytest.raises(SpecError) as caught:
            load(STUDY, *edits)
        return str(caught.value)

    return message


def line(text):
    """The line of a text that stands once in the study."""
    (number,) = [n for n, each in enumerate(STUDY.splitlines(), 1) if text in each]
    return f"study.toml, line {number}: "


def test_sweeps_become_models_behind_those_of_the_study(load):
    study = load().study
    assert list(study.models) == ["one", "theirs", *SWEPT]
    assert [run[0] for run in study.runs()] == list(study.models)


def test_what_a_recipe_says_is_filled_in(load):
    models = load().study.models
    filled = [models["one"].model_dump()[key] for key in
              ("family", "width", "training_step", "trainer_seed", "parameters")]  # fmt: skip
    assert filled == ["unet", 16, 300, 0, None]
    theirs = models["theirs"]
    assert (theirs.width, theirs.family, theirs.training_step) == (40, None, None)


def test_what_the_study_says_of_a_model_stays(load):
    own = 'recipe = "small"\nfamily = "mine"\nwidth = 24\ntrainer_seed = 5\ntrained_on'
    model = load(STUDY, ('recipe = "small"\ntrained_on', own)).study.models["one"]
    assert (model.family, model.width, model.trainer_seed, model.training_step) == (
        "mine", 24, 5, 300,
    )  # fmt: skip


def test_width_and_family_of_a_fine_tuned_network_are_not_made_up(load):
    model = load(STUDY, ("width = 16", 'start_from = "x"'), ("widths = [16, 32]\n", ""))
    assert model.study.models["one"].width is None
    assert model.study.models["one"].training_step == 300


def test_expanding_again_changes_nothing(load):
    loaded = load()
    assert expanded(loaded.study) == loaded.study
    again = Study.model_validate_json(loaded.study.model_dump_json())
    assert again == loaded.study
    copy = dataclasses.replace(loaded, study=again)
    assert (list(copy.study.models), copy.lines) == (list(loaded.study.models), loaded.lines)


def test_a_study_file_is_validated_without_being_expanded():
    study = Study(
        store="s",
        recipes={"r": {"steps": 1}},
        sweeps={"s": {"recipe": "r", "dataset": "d", "sizes": [1]}},
    )
    assert study.models == {}


def test_lines_of_the_models_of_a_sweep_are_those_of_its_keys(load):
    loaded = load()
    for location, text in [
        (("trained_on", "index"), "sizes"),
        (("width",), "widths"),
        (("samplers",), "[sweeps.two]"),
    ]:
        assert loaded.where(("models", "two-w16-n16-s0", *location)) + ": " == line(text)


def test_run_specs_that_were_written_without_a_recipe_stay_readable():
    spec = run_spec("a")
    old = spec.model_dump(mode="json")
    del old["model_spec"]["recipe"]
    assert RunSpec.model_validate(old) == spec
    trained = spec.model_copy(
        update={
            "model_spec": ModelSpec(
                source="x", recipe="r", trained_on=Subset(dataset="d", index="0-3")
            )
        }
    )
    assert trained.fingerprint == spec.fingerprint  # a recipe does not change the samples


@pytest.mark.parametrize(
    ("edits", "parts"),
    [
        (
            [('recipe = "small"\ntrained_on', 'recipe = "smal"\ntrained_on')],
            ["line 13: `recipe` in [models.one] names \"smal\"", "Did you mean `small`?"],
        ),
        (
            [('recipe = "small"\ndataset', 'recipe = "big"\ndataset')],
            ["line 21: `recipe` in [sweeps.two] names \"big\", which is not defined."],
        ),
        (
            [('dataset = "digits"\nsizes', 'dataset = "digit"\nsizes')],
            ["line 22: `dataset` in [sweeps.two] names", "Did you mean `digits`?"],
        ),
        (
            [("sizes = ", 'samplers = ["ddm"]\nsizes = ')],
            ["`samplers` in [sweeps.two] names \"ddm\"", "Did you mean `ddim`?"],
        ),
        (
            [("sizes = ", 'conditions = ["x"]\nsizes = ')],
            ["`conditions` in [sweeps.two] names \"x\""],
        ),
        (
            [("checkpoints = [100", "checkpoint = [100")],
            ["line 9: unknown key `checkpoint` in [recipes.small].", "Did you mean `checkpoints`?"],
        ),
        (
            [("widths", "width")],
            ["line 24: unknown key `width` in [sweeps.two].", "Did you mean `widths`?"],
        ),
        (
            [("sizes = [16, 32]", "sizes = [32, 16]")],
            ["line 23: `sizes` in [sweeps.two]: 16 follows 32."],
        ),
        (
            [("steps = 300\n", "")],
            ["line 6: [recipes.small]: Neither `steps` nor `images` is given."],
        ),
        (
            [("\ntrained_on = { dataset = \"digits\", index = \"0-7\" }", "")],
            ["line 11: [models.one]: `recipe` stands without `trained_on`."],
        ),
        (
            [('source = "checkpoints/one"', 'source = "oracle"')],
            ["[models.one]: `recipe` stands beside the source 'oracle'."],
        ),
        (
            [("widths = [16, 32]", "widths = [16, 20]")],
            ["line 24: `widths` of [sweeps.two]: A level has 20 channels, `norm_groups` is 8"],
        ),
        (
            [('recipe = "small"\ntrained_on', 'recipe = "small"\nwidth = 12\ntrained_on')],
            ["line 14: `width` of [models.one]: A level has 12 channels"],
        ),
        (
            [("sizes = ", "training_steps = [150]\nsizes = ")],
            [
                "`training_steps` of [sweeps.two] names step 150.",
                "keeps checkpoints at the steps 100, 200, and the model itself at step 300.",
            ],
        ),
        (
            [("sizes = ", "training_steps = [300]\nsizes = ")],
            ["names step 300, the last of the training."],
        ),
        (
            [('recipe = "small"\ntrained_on', 'recipe = "small"\ntraining_step = 7\ntrained_on')],
            ["line 14: `training_step` of [models.one] names step 7."],
        ),
        (
            [('recipe = "small"\ntrained_on', 'recipe = "small"\ntraining_step = 100\ntrained_on')],
            ["line 12: `source` of [models.one] is 'checkpoints/one'", "Write @100 at the end"],
        ),
        (
            [("[models.theirs]", "[models.two-w16-n16-s0]")],
            ["line 20: [sweeps.two] makes a model `two-w16-n16-s0`, and there is another"],
        ),
        (
            [("[sweeps.two]", f"[sweeps.{'x' * 120}]")],
            ["makes a model 'xxx", "at most 128 characters"],
        ),
        (
            [('"theirs/unet"', '"checkpoints/one"\nrecipe = "small"\n'
              'trained_on = { dataset = "digits", index = "0-8" }')],
            ["the models one and theirs would both be trained into checkpoints/one."],
        ),
        (
            [("width = 16", 'start_from = "x"')],
            ["line 24: `widths` stands in [sweeps.two], whose recipe small has `start_from`."],
        ),
        (
            [("width = 16", 'width = 16\nnoise_schedule = { prediction_type = "epsilon" }')],
            ["`noise_schedule` has the key `prediction_type`.", "is the `objective`"],
        ),
        (
            [("[recipes.small]", "[recipes]\nsmall = 3\n[recipes.other]")],
            ["`small` in [recipes] is 3.", "[recipes] holds tables"],
        ),
    ],
    ids=lambda value: value[0][1][:30] if isinstance(value[0], tuple) else "",
)  # fmt: skip
def test_mistakes(message, edits, parts):
    said = message(*edits)
    assert said.startswith("study.toml, line ")
    for part in parts:
        assert part in said


def test_keys_of_a_noise_schedule_are_those_of_the_scheduler():
    from diffusers import DDPMScheduler

    from reprostore.noise_schedules import SCHEDULE_KEYS

    known = set(inspect.signature(DDPMScheduler).parameters) - {"prediction_type"}
    assert set(SCHEDULE_KEYS) == known


class TestTrainings:
    def test_one_for_every_folder_in_the_order_of_the_study(self, load, tmp_path):
        loaded = load()
        trainings = trainings_of(loaded)
        assert [each.model for each in trainings] == ["one", *SWEPT]
        last = trainings[-1]
        assert (last.recipe, last.sweep) == (loaded.study.recipes["small"].with_width(32), "two")
        assert last.trained_on == Subset(dataset="digits", index="0-31")
        assert last.folder == tmp_path / "checkpoints" / "two-w32-n32-s0"

    def test_kept_checkpoints_belong_to_the_training_of_their_model(self, load):
        loaded = load(STUDY, ("sizes = [16, 32]", "sizes = [16]\ntraining_steps = [100, 200]"))
        trainings = trainings_of(loaded, ["two"])
        assert [each.model for each in trainings] == SWEPT[:2]
        for training in trainings:
            names = [f"{training.folder.name}@{step}" for step in (100, 200)]
            assert [path.name for path in training.kept] == names
        (one,) = trainings_of(loaded, ["two-w16-n16-s0@200"])
        assert one.folder.name == "two-w16-n16-s0"
        assert [path.name for path in one.kept] == ["two-w16-n16-s0@200"]

    def test_models_and_sweeps_may_be_named(self, load):
        loaded = load()
        names = ["two-w32-n16-s0", "one"]
        assert [t.model for t in trainings_of(loaded, names)] == ["one", "two-w32-n16-s0"]
        assert [t.model for t in trainings_of(loaded, ["two", "one"])] == ["one", *SWEPT]

    def test_a_fine_tuning_comes_after_the_model_that_it_starts_from(self, load):
        more = (
            '[recipes.more]\nsteps = 10\nstart_from = "checkpoints/one@100"\n'
            '[models.early]\nsource = "checkpoints/early"\nrecipe = "more"\n'
            'trained_on = { dataset = "digits" }\n[models.one]'
        )
        trainings = trainings_of(load(STUDY, ("[models.one]", more)))
        assert [each.model for each in trainings[:2]] == ["one", "early"]
        assert (trainings[0].after, trainings[1].after) == (None, trainings[0].folder)

    def test_trainings_that_start_from_each_other(self, load):
        edits = [("width = 16", 'start_from = "checkpoints/one"'), ("widths = [16, 32]\n", "")]
        with pytest.raises(SpecError, match=r"trainings of one and two-n16-s0 .* each other"):
            trainings_of(load(STUDY, *edits))

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("two-w16-n61-s0", r"no model 'two-w16-n61-s0'.*Did you mean two-w16-n16-s0\?"),
            ("theirs", "The model theirs has no recipe"),
            ("small", "no model 'small'"),
        ],
    )
    def test_names_that_cannot_be_trained(self, load, name, said):
        with pytest.raises(SpecError, match=said):
            trainings_of(load(), [name])

    def test_a_study_without_recipes(self, load):
        text = 'store = "s"\n[models.a]\nsource = "a"\n'
        with pytest.raises(SpecError, match="no model with a recipe"):
            trainings_of(load(text))

    def test_many_names_are_not_all_listed(self, load):
        loaded = load(STUDY, ("sizes = [16, 32]", f"sizes = {list(range(1, 99))}"))
        with pytest.raises(SpecError, match=r"two-w16-n6-s0 and 185 more") as caught:
            trainings_of(loaded, ["theirs"])
        assert len(str(caught.value)) < 500

    def test_models_that_are_not_trained_are_told_with_what_to_do(self, load, tmp_path):
        loaded = load()
        with pytest.raises(NotFoundError) as caught:
            require_trained(loaded)
        said = str(caught.value)
        assert "The model one is not trained, and neither are 4 others" in said
        assert f"Train it first: repro train {tmp_path / 'study.toml'}." in said
        for name in ["one", *SWEPT]:
            (tmp_path / "checkpoints" / name).mkdir(parents=True)
        require_trained(loaded)  # "theirs" has no recipe: nothing is said of it here


def test_samplers_of_a_sweep_are_those_its_models_run_with(load):
    loaded = load(STUDY, ("sizes = ", "samplers = []\nsizes = "))
    assert [run[0] for run in loaded.study.runs()] == ["one", "theirs"]
    assert loaded.study.samplers == {"ddim": SamplerSpec(scheduler="ddim", steps=5)}
