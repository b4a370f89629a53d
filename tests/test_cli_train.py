"""`repro train` on tiny networks: what it writes, repeats, refuses, and how it is stopped."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from commands import Repro, contents, edit, environment, subpython
from diffusers import DDPMScheduler

from reprostore import trainer
from reprostore.ingest import StoredDataset
from reprostore.models import weight_digests
from reprostore.store import open_store
from reprostore.study import load_study

STUDY = """\
store = "digits.zarr"
seeds = "0-3"
batch_size = 4

[datasets.digits]
source = "sklearn:digits"
shuffle = 0

[recipes.tiny]
width = 8
steps = 6
batch_size = 4
checkpoints = [2]

[recipes.more]
start_from = "checkpoints/s-w8-n4-s0@2"
steps = 3
batch_size = 4

[models.tuned]
source = "checkpoints/tuned"
recipe = "more"
trained_on = { dataset = "digits", index = "all" }

[models.theirs]
source = "theirs"

[sweeps.s]
recipe = "tiny"
dataset = "digits"
sizes = [4, 8]
trainer_seeds = [0, 1]
training_steps = [2]

[samplers.ddim2]
scheduler = "ddim"
steps = 2
"""
MODELS = [f"s-w8-n{size}-s{seed}" for size in (4, 8) for seed in (0, 1)]
ORDER = [MODELS[0], "tuned", *MODELS[1:]]  # a fine-tuning comes after what it starts from
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A study whose models are trained, one after the other."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "study.toml").write_text(STUDY)
    done = subpython(
        "-m", "reprostore_cli", "train", folder / "study.toml", "--threads", 1, "--json"
    )
    assert (done.code, done.err) == (0, "")
    return folder, done


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of that study."""
    return shutil.copytree(trained[0], tmp_path / "s")


@pytest.fixture
def new(tmp_path):
    """The study alone."""
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "study.toml").write_text(STUDY)
    return tmp_path / "new"


@pytest.fixture
def refused(capsys):
    """Run a command that must be refused without writing, and return what it says."""

    def run(folder, *arguments):
        before = contents(folder)
        done = Repro(capsys)(*arguments)
        assert (done.code, done.out) == (2, ""), done.out + done.err
        assert done.err.startswith("Error: ")
        assert done.err.count("\n") == 1, "one paragraph"
        after = contents(folder)
        assert {p: d for p, d in after.items() if ".lock" not in p} == {
            p: d for p, d in before.items() if ".lock" not in p
        }
        return done.err

    return run


def weights(folder, models):
    return {m: (folder / "checkpoints" / m / WEIGHTS).read_bytes() for m in models}


class TestTrained:
    def test_rows(self, trained):
        rows = trained[1].rows
        assert [row["model"] for row in rows] == ORDER
        assert [row["items"] for row in rows] == [4, 1797, 4, 8, 8]
        assert [row["steps"] for row in rows] == [6, 3, 6, 6, 6]
        assert [row["trained"] for row in rows] == [6, 3, 6, 6, 6]
        assert [row["width"] for row in rows] == [8, None, 8, 8, 8]
        assert {row["parameters"] for row in rows} == {rows[0]["parameters"]}
        assert all(0 < row["loss"] < 10 for row in rows)
        assert all(row["seconds"] >= 0 for row in rows)

    def test_folders(self, trained):
        names = {path.name for path in (trained[0] / "checkpoints").iterdir()}
        assert {name for name in names if not name.endswith(".lock")} == {
            *MODELS,
            *(f"{model}@2" for model in MODELS),
            "tuned",
        }

    def test_each_was_trained_on_its_own_items(self, trained):
        folder, _ = trained
        record = json.loads((folder / "checkpoints" / MODELS[3] / "training.json").read_text())
        dataset = StoredDataset(open_store(folder / "digits.zarr"), "digits")
        assert record["identity"]["trained_on"] == {
            "dataset": "digits",
            "index": "0-7",
            "fingerprint": dataset.fingerprint,
        }
        assert record["identity"]["trainer_seed"] == 1
        different = weights(folder, [*MODELS, "tuned"]).values()
        assert len(set(different)) == 5

    def test_again_trains_nothing_and_imports_nothing_heavy(self, trained):
        folder, _ = trained
        before = contents(folder)
        done = subpython("-X", "importtime", "-m", "reprostore_cli", "train",
                         folder / "study.toml", "--json")  # fmt: skip
        assert [row["trained"] for row in done.rows] == [0] * 5
        assert [{**row, "trained": None} for row in done.rows] == [
            {**row, "trained": None} for row in trained[1].rows
        ]
        imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.err.splitlines()}
        assert "reprostore" in imported
        assert not imported & {"torch", "diffusers", "sklearn", "matplotlib", "accelerate"}
        assert contents(folder) == before

    def test_generate_takes_them(self, folder, capsys):
        edit(folder / "study.toml", '[models.theirs]\nsource = "theirs"\n', "")
        done = Repro(capsys)("generate", folder / "study.toml", "--json")
        assert done.code == 0, done.err
        assert len(done.rows) == 9
        spec = open_store(folder / "digits.zarr").run(f"{MODELS[0]}@2/ddim2/none").spec.model_spec
        assert (spec.recipe, spec.training_step, spec.parameters) == (
            "tiny",
            2,
            trained_parameters(folder),
        )

    def test_the_record_of_a_training_is_no_part_of_the_model(self, folder):
        loaded = load_study(folder / "study.toml")
        spec = loaded.study.models[MODELS[0]]
        before = weight_digests(spec, loaded.base)
        assert set(before) == {"config.json", WEIGHTS, "scheduler_config.json"}
        (folder / spec.source / "training.json").write_text("{}")
        assert weight_digests(spec, loaded.base) == before

    def test_closed_forms_of_a_sweep_have_the_schedule_of_its_networks(self, folder):
        edit(folder / "study.toml", "training_steps = [2]", "oracle = true")
        loaded = load_study(folder / "study.toml")
        oracle = loaded.study.models["s-oracle-n4"]
        network = json.loads(
            (folder / "checkpoints" / MODELS[0] / "scheduler_config.json").read_text()
        )
        first, second = (
            {key: value for key, value in DDPMScheduler.from_config(config).config.items()
             if not key.startswith("_")}
            for config in (oracle.noise_schedule, network)
        )  # fmt: skip
        assert first == second


def trained_parameters(folder):
    return json.loads((folder / "checkpoints" / MODELS[0] / "training.json").read_text())[
        "parameters"
    ]


@pytest.mark.parametrize("objective", ["epsilon", "v_prediction", "sample", "edm", "flow"])
def test_a_plan_before_training_is_that_of_the_trained_models(new, capsys, objective):
    edit(new / "study.toml", "steps = 6", f'steps = 2\nobjective = "{objective}"')
    edit(new / "study.toml", "trainer_seeds = [0, 1]\ntraining_steps = [2]", 'samplers = ["heun2"]')
    edit(new / "study.toml", '[models.theirs]\nsource = "theirs"\n', "")
    with (new / "study.toml").open("a") as study:
        study.write('[samplers.heun2]\nscheduler = "edm-heun"\nsteps = 2\nrecord = "all"\n')
    repro = Repro(capsys)
    names = [f"s-w8-n{size}-s0/heun2/none" for size in (4, 8)]
    before = repro("plan", new / "study.toml", "--json")
    assert before.code == 0, before.err
    assert not (new / "digits.zarr").exists()
    trained = repro("train", new / "study.toml", "s")
    assert trained.code == 0, trained.err
    after = repro("plan", new / "study.toml", "--json")
    planned = [row for row in before.rows if row["run"] in names]
    assert planned == [row for row in after.rows if row["run"] in names]
    assert [row["run"] for row in planned] == names


class TestSideBySide:
    def test_the_same_bits_as_one_after_the_other(self, new, trained):
        done = subpython("-m", "reprostore_cli", "train", new / "study.toml", "--jobs", 2,
                         "--threads", 1)  # fmt: skip
        assert (done.code, done.err) == (0, "")
        assert weights(new, [*MODELS, "tuned"]) == weights(trained[0], [*MODELS, "tuned"])

    @pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
    def test_a_failure_lets_the_others_finish(self, new, capsys, jobs):
        edit(new / "study.toml", "checkpoints = [2]", "checkpoints = [2]\nlearning_rate = 1e30")
        edit(new / "study.toml", "steps = 3", "steps = 3\nlearning_rate = 1e-4")
        edit(new / "study.toml", "[models.theirs]", '[models.own]\nsource = "checkpoints/own"\n'
             'recipe = "fine"\ntrained_on = { dataset = "digits", index = "0-3" }\n'
             "[recipes.fine]\nsteps = 2\nbatch_size = 4\nwidth = 8\n\n[models.theirs]")  # fmt: skip
        done = Repro(capsys)("train", new / "study.toml", MODELS[0], "tuned", "own", "--jobs", jobs)
        assert done.code == 2, done.err
        assert done.err.count("\n") == 1
        assert f"2 models were not trained. {MODELS[0]}: " in done.err
        assert "tuned: starts from one of these." in done.err
        assert (new / "checkpoints" / "own" / WEIGHTS).exists()
        assert not (new / "checkpoints" / MODELS[0]).exists()


def test_steps_of_another_trainer_are_not_counted_as_new(new, monkeypatch):
    """It trains one model, and half of another, after this one has looked what is there."""
    loaded, look = load_study(new / "study.toml"), trainer._work

    def stop(advance):
        if advance.step >= 3:
            raise KeyboardInterrupt

    def meanwhile(*arguments):
        work = look(*arguments)
        monkeypatch.setattr(trainer, "_work", look)
        assert trainer.train_study(loaded, [MODELS[0]])[0]["trained"] == 6
        with pytest.raises(KeyboardInterrupt):
            trainer.train_study(loaded, [MODELS[1]], progress=stop)
        return work

    monkeypatch.setattr("reprostore.training.loop.REPORT_SECONDS", 0.0)
    monkeypatch.setattr(trainer, "_work", meanwhile)
    rows = trainer.train_study(loaded, MODELS[:3])
    assert [row["trained"] for row in rows] == [0, 3, 6]


def test_what_a_killed_training_left_beside_its_model_is_cleared_away(folder, capsys):
    checkpoints = folder / "checkpoints"
    before = sorted(path.name for path in checkpoints.iterdir())
    (checkpoints / f"{MODELS[0]}.training.lock").touch()
    (checkpoints / f"{MODELS[1]}.training").mkdir()
    (checkpoints / f"{MODELS[1]}.training" / "state-6.pt").write_bytes(b"old")
    assert Repro(capsys)("train", folder / "study.toml").code == 0
    assert sorted(path.name for path in checkpoints.iterdir()) == before


HOLDING = """\
import pathlib, sys, time

def hold(event, args):
    if event == "os.rename" and str(args[1]).endswith(NAME):
        (FOLDER / "held").touch()
        while not (FOLDER / "signalled").exists():
            time.sleep(0.01)

NAME, FOLDER = {name!r}, pathlib.Path({folder!r})
sys.addaudithook(hold)
"""


def held_at(name, folder):
    """Return the environment of processes that wait before something is renamed to a name.

    They leave the file `held`, and go on once there is the file `signalled`.
    """
    (folder / "python").mkdir()
    text = HOLDING.format(name=name, folder=str(folder))
    (folder / "python" / "sitecustomize.py").write_text(text)
    paths = [str(folder / "python"), environment()["PYTHONPATH"]]
    return environment(PYTHONPATH=os.pathsep.join(paths))


class TestStopped:
    @pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
    def test_ctrl_c_keeps_what_was_done_and_the_same_command_goes_on(self, new, capsys, jobs):
        """It comes while the checkpoint of the second step is put in its place."""
        edit(new / "study.toml", "steps = 6", "steps = 9")
        arguments = ["train", new / "study.toml", *MODELS[:2], "--jobs", jobs, "--threads", 1]
        whole = shutil.copytree(new, new.parent / "whole")
        arguments_whole = [a if a != arguments[1] else whole / "study.toml" for a in arguments]
        assert Repro(capsys)(*arguments_whole).code == 0

        process = subprocess.Popen(
            [sys.executable, "-m", "reprostore_cli", *map(str, arguments)],
            env=held_at(f"{MODELS[0]}@2", new), stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while not (new / "held").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        (new / "signalled").touch()
        _, said = process.communicate(timeout=60)
        assert (process.returncode, said) == (
            130,
            "Interrupted. What was finished is kept: run the same command again to go on.\n",
        )
        assert not (new / "checkpoints" / MODELS[0]).exists()
        done = Repro(capsys)(*arguments, "--json")
        assert done.code == 0, done.err
        assert done.rows[0]["trained"] == 9 - 2
        assert weights(new, MODELS[:2]) == weights(whole, MODELS[:2])

    def test_progress_shows_the_loss_on_a_terminal(self, new):
        main, terminal = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "reprostore_cli", "train", str(new / "study.toml"), "s"],
            env=environment(COLUMNS="120"), stdout=subprocess.PIPE, stderr=terminal,
        )  # fmt: skip
        os.close(terminal)
        shown = b""
        try:
            while block := os.read(main, 65536):
                shown += block
        except OSError:  # the other end is closed
            pass
        out, _ = process.communicate(timeout=60)
        os.close(main)
        assert process.returncode == 0
        for text in ("4 models", MODELS[3], "/24", "6/6", "steps/s", "loss "):
            assert text in shown.decode()
        assert "parameters" in out.decode()


class TestMistakes:
    def test_names(self, new, refused):
        said = refused(new, "train", new / "study.toml", "s-w8-n4-s2")
        assert "no model 's-w8-n4-s2'" in said
        assert "Did you mean s-w8-n4-s" in said
        assert "no recipe" in refused(new, "train", new / "study.toml", "theirs")

    @pytest.mark.parametrize("option", ["--jobs", "--threads"])
    def test_numbers(self, new, refused, option):
        assert f"{option} is 0." in refused(new, "train", new / "study.toml", option, 0)

    @pytest.mark.parametrize("stored", [True, False])
    def test_a_subset_that_is_larger_than_the_dataset(self, new, folder, refused, stored):
        place = folder if stored else new
        edit(place / "study.toml", "[4, 8]", "[4, 1798]")
        said = refused(place, "train", place / "study.toml")
        line = STUDY[: STUDY.index("sizes")].count("\n") + 1
        assert f"study.toml, line {line}: a subset of the sweep s has 1798 items" in said
        assert "the last of them item 1797 (s-w8-n1798-s0, '0-1797')" in said
        assert "has 1797 items, 0 to 1796" in said

    def test_a_network_that_does_not_fit_the_items(self, new, refused):
        edit(new / "study.toml", "width = 8", "width = 8\ndepth = 5")
        said = refused(new, "train", new / "study.toml")
        assert "the model s-w8-n4-s0 cannot be trained on digits." in said
        assert "`depth` is 5, and samples have the shape (1, 8, 8)." in said

    @pytest.mark.parametrize(
        ("items", "said"), [(np.zeros((0, 1, 8, 8)), "is empty"), (None, "does not exist")]
    )
    def test_a_dataset_that_cannot_be_read(self, new, refused, items, said):
        edit(new / "study.toml", '"sklearn:digits"', '"items.npy"')
        if items is not None:
            np.save(new / "items.npy", items.astype(np.float32))
        assert said in refused(new, "train", new / "study.toml")

    def test_a_recipe_that_changed(self, folder, refused):
        edit(folder / "study.toml", "steps = 6", "steps = 7")
        said = refused(folder, "train", folder / "study.toml")
        assert "6" in said
        assert "7" in said
        assert str(folder / "checkpoints" / MODELS[0]) in said

    def test_a_checkpoint_that_was_removed(self, folder, refused):
        shutil.rmtree(folder / "checkpoints" / f"{MODELS[1]}@2")
        said = refused(folder, "train", folder / "study.toml")
        assert f"The training of {MODELS[1]} is finished, and its checkpoint" in said

    def test_a_folder_of_somebody_else(self, folder, refused):
        (folder / "checkpoints" / MODELS[0] / "training.json").unlink()
        assert str(folder / "checkpoints" / MODELS[0]) in refused(
            folder, "train", folder / "study.toml"
        )

    def test_generating_before_training(self, new, refused):
        said = refused(new, "generate", new / "study.toml")
        assert f"Train it first: repro train {new / 'study.toml'}." in said

    def test_without_torch(self, new, refused, monkeypatch):
        monkeypatch.setattr("reprostore.studies.find_spec", lambda name: None)
        said = refused(new, "train", new / "study.toml")
        assert "pip install 'reprostore[generate]'" in said
