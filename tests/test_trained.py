"""A study that says something else of its trained models than what they were trained by."""

import json
import shutil

import numpy as np
import pytest
from commands import Repro, contents, edit

from reprostore.datasets.content import source_fingerprint
from reprostore.datasets.sources import open_source
from reprostore.errors import IdentityError
from reprostore.ingest import ingest
from reprostore.specs import DatasetSpec
from reprostore.store import create_store, open_store
from reprostore.studies import generate_study
from reprostore.study import load_study
from reprostore.trainer import train_study
from reprostore_analyses.api import generalization

STUDY = """\
store = "digits.zarr"
seeds = "0-3"
batch_size = 4

[datasets.digits]
source = "sklearn:digits"
shuffle = 0
held_out = "1000-1099"

[models.m]
source = "checkpoints/m"
recipe = "tiny"
trained_on = { dataset = "digits", index = "0-7" }

[models.early]
source = "checkpoints/m@1"
recipe = "tiny"
training_step = 1
trained_on = { dataset = "digits", index = "0-7" }

[models.tuned]
source = "checkpoints/tuned"
recipe = "more"
trained_on = { dataset = "digits", index = "8-15" }

[samplers.ddim2]
scheduler = "ddim"
steps = 2

[analyses.generalization]
encoder = "pixel"
threshold = 0.6

[recipes.tiny]
width = 8
steps = 2
batch_size = 4
checkpoints = [1]

[recipes.more]
start_from = "checkpoints/m"
steps = 1
batch_size = 4
"""
COMMANDS = ["plan", "generate", "analyze"]
WEIGHTS = "diffusion_pytorch_model.safetensors"
EDITS = {
    "items": ('"0-7"', '"16-23"', "trained_on.index is '0-7' there and '16-23'"),
    "all items": ('"0-7"', '"all"', "trained_on.index is '0-7' there and '0-1796'"),
    "recipe": ("width = 8", "width = 16", "recipe.width is 8 there and 16"),
    "seed": ('= "tiny"', '= "tiny"\ntrainer_seed = 3', "trainer_seed is 0 there and 3"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The study with its models and their samples."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "study.toml").write_text(STUDY)
    loaded = load_study(folder / "study.toml")
    train_study(loaded, threads=1)
    generate_study(loaded)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy of it."""
    return shutil.copytree(made, tmp_path / "s")


@pytest.fixture
def repro(folder, capsys):
    """Run a command on the study."""
    return lambda command, *more: Repro(capsys)(command, folder / "study.toml", *more)


@pytest.fixture
def refused(folder, repro):
    """Run a command that is refused without writing, and return what it says."""

    def run(command, *more):
        before = contents(folder)
        done = repro(command, *more)
        assert (done.code, done.out) == (2, ""), done.out + done.err
        assert done.err.count("\n") == 1
        assert len(done.err) < 900
        after = contents(folder)
        touched = {path for path in before | after if before.get(path) != after.get(path)}
        assert all(".lock" in path for path in touched)
        return done.err

    return run


def changed(folder, old, new):
    path = folder / "study.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def without_recipes(folder):
    """Let the models be those of somebody who says what they were trained on."""
    text = STUDY[: STUDY.index("[recipes.tiny]")]
    for name in ("tiny", "more"):
        text = text.replace(f'recipe = "{name}"\n', "")
    (folder / "study.toml").write_text(text)


def flip(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("what", EDITS)
def test_another_description_is_refused_and_both_values_are_shown(folder, refused, command, what):
    old, new, said = EDITS[what]
    changed(folder, old, new)
    error = refused(command)
    assert said in error
    assert f"study.toml, line {STUDY[: STUDY.index('[models.m]')].count(chr(10)) + 1}: " in error


@pytest.mark.parametrize("what", EDITS)
@pytest.mark.parametrize("without", ["digits.zarr", "digits.zarr/datasets"])
def test_without_the_dataset_in_the_store_all_but_its_content_is_compared(
    folder, refused, repro, what, without
):
    shutil.rmtree(folder / without)
    assert repro("plan").code == 0
    changed(folder, *EDITS[what][:2])
    assert EDITS[what][2] in refused("generate")


def test_a_kept_checkpoint_is_compared_by_itself(folder, refused):
    changed(folder, "[models.early]", "[models.early]\ntrainer_seed = 1")
    changed(folder, "checkpoints/m@1", "checkpoints/other@1")
    (folder / "checkpoints" / "m@1").rename(folder / "checkpoints" / "other@1")
    assert "model early is not what the study says" in refused("generate")


def test_an_analysis_reads_a_dataset_that_the_store_lacks_before_it_believes_it(folder, refused):
    shutil.rmtree(folder / "digits.zarr" / "datasets")
    changed(folder, "shuffle = 0", "shuffle = 1")
    assert "trained_on.fingerprint is " in refused("analyze")


def test_functions_compare_as_the_command_does(folder):
    changed(folder, '"0-7"', '"16-23"')
    store = open_store(folder / "digits.zarr", mode="r+")
    with pytest.raises(IdentityError, match=r"trained_on\.index"):
        generalization(store, load_study(folder / "study.toml"), encoder="pixel", threshold=0.6)


class TestHandedOver:
    """The store and the study alone: what the store recorded counts."""

    @pytest.fixture(autouse=True)
    def _alone(self, folder):
        shutil.rmtree(folder / "checkpoints")

    @pytest.mark.parametrize("recipes", [True, False])
    def test_is_analyzed(self, folder, repro, recipes):
        if not recipes:
            without_recipes(folder)
        assert repro("analyze", "--no-figures").code == 0

    @pytest.mark.parametrize("what", ["items", "all items", "recipe", "seed"])
    def test_another_description_is_refused(self, folder, refused, what):
        changed(folder, *EDITS[what][:2])
        assert "its samples in the store are those of a model with" in refused("analyze")

    def test_also_without_its_recipe(self, folder, refused):
        without_recipes(folder)
        changed(folder, '"0-7"', '"16-23"')
        said = refused("analyze")
        assert "trained_on = items 16-23 of digits" in said
        assert "those of a model with trained_on = items 0-7 of digits" in said

    def test_other_words_for_the_same_items_are_no_difference(self, folder, repro):
        changed(folder, '"0-7"', '"0-3, 4-7"')
        assert repro("analyze", "--no-figures").code == 0


class TestWithoutRecipe:
    """A checkpoint of the user's own, which may come from a training of this package."""

    @pytest.fixture(autouse=True)
    def _own(self, folder):
        without_recipes(folder)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_its_record_is_compared(self, folder, repro, refused, command):
        assert repro(command, *(["--no-figures"] if command == "analyze" else [])).code == 0
        changed(folder, '"0-7"', '"16-23"')
        said = refused(command)
        assert "In the study it was trained on items 16-23 of digits, " in said
        assert "its training records items 0-7 of digits." in said

    def test_another_dataset_of_that_name_is_refused(self, folder, refused):
        changed(folder, "shuffle = 0", "shuffle = 1")
        shutil.rmtree(folder / "digits.zarr" / "datasets")
        assert "its training records the dataset digits with the fingerprint " in refused("analyze")

    def test_the_name_of_the_dataset_is_its_own(self, folder, repro):
        changed(folder, "datasets.digits", "datasets.mine")
        changed(folder, 'dataset = "digits"', 'dataset = "mine"')
        shutil.rmtree(folder / "digits.zarr")
        for command in COMMANDS:
            assert repro(command).code == 0

    @pytest.mark.parametrize(
        "record", [None, "nonsense", "[]", "{}", '{"size": 3}', '{"identity": {"trained_on": 3}}']
    )
    def test_other_records_say_nothing(self, folder, repro, record):
        for path in (folder / "checkpoints").glob("*/training.json"):
            path.unlink() if record is None else path.write_text(record)
        changed(folder, '"0-7"', '"16-23"')
        assert repro("generate").code == 0

    def test_its_files_are_compared(self, folder, refused):
        shutil.rmtree(folder / "digits.zarr")
        flip(folder / "checkpoints" / "tuned" / WEIGHTS)
        assert f"{WEIGHTS} is not what its training wrote" in refused("generate")


@pytest.mark.parametrize(
    ("command", "name"),
    [("train", "m"), ("train", "m@1"), ("plan", "m@1"), ("generate", "m"), ("analyze", "m")],
)
def test_damaged_weights_are_refused(folder, refused, command, name):
    flip(folder / "checkpoints" / name / WEIGHTS)
    said = refused(command)
    assert f"{name}/{WEIGHTS} is not what its training wrote" in said
    assert "Restore the file from a copy, or move" in said


def test_records_without_digests_stay_valid(folder, repro):
    for path in (folder / "checkpoints").glob("*/training.json"):
        record = json.loads(path.read_text())
        del record["files"], record["items_sha256"]
        path.write_text(json.dumps(record))
    for command in ("train", *COMMANDS):
        assert repro(command).code == 0


@pytest.mark.parametrize(
    ("command", "record"),
    [("train", "{}"), ("plan", "x"), ("generate", '{"identity": {}}'), ("analyze", "[]")],
)
def test_records_that_are_none_are_refused(folder, refused, command, record):
    (folder / "checkpoints" / "m" / "training.json").write_text(record)
    assert "is not the record of a training" in refused(command)


class TestStart:
    def test_a_fine_tuning_before_its_start_says_what_to_train_first(self, folder, refused):
        shutil.rmtree(folder / "checkpoints")
        said = refused("train", "tuned")
        assert "It is written when the model m is trained." in said
        assert f"Train that first, or both: repro train {folder / 'study.toml'} m tuned." in said

    def test_a_fine_tuning_does_not_start_from_damaged_weights(self, folder, refused):
        shutil.rmtree(folder / "checkpoints" / "tuned")
        flip(folder / "checkpoints" / "m" / WEIGHTS)
        assert f"{WEIGHTS} is not what its training wrote" in refused("train", "tuned")

    def test_the_hub_is_not_asked_for_the_start_of_a_finished_model(
        self, folder, repro, monkeypatch
    ):
        changed(folder, 'start_from = "checkpoints/m"', 'start_from = "some/model"')
        edit(folder / "checkpoints" / "tuned" / "training.json", '"checkpoints/m"', '"some/model"')
        asked = []
        monkeypatch.setattr("reprostore.models.locate._locate_on_hub", asked.append)
        assert [repro(command).code for command in COMMANDS] == [0, 0, 0]
        assert asked == []


@pytest.mark.parametrize("source", ["sklearn:digits", "x.npy"])
def test_the_fingerprint_of_a_source_is_that_in_the_store(tmp_path, source):
    """With labels and without; in one block and in several."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).uniform(-1, 1, (9, 2, 4, 4)))
    spec = DatasetSpec(source=source, shuffle=1)
    stored = ingest(create_store(tmp_path / "s.zarr"), "x", spec, tmp_path).fingerprint
    assert source_fingerprint(open_source("x", spec, tmp_path)) == stored
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reprostore.datasets.content._BLOCK_BYTES", 500)
        assert source_fingerprint(open_source("x", spec, tmp_path)) == stored
