"""Trainings from their begin to their end: stopped, killed, continued, refused."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import environment
from diffusers import DDPMScheduler, UNet2DModel
from filelock import FileLock
from safetensors.torch import load_file

from reprostore.errors import (
    CorruptionError,
    DatasetError,
    IdentityError,
    ModelError,
    NotFoundError,
    SpecError,
    TrainingError,
)
from reprostore.models import load_model
from reprostore.recipe import RecipeSpec
from reprostore.specs import ModelSpec
from reprostore.training import train_model, training_status

WEIGHTS = "diffusion_pytorch_model.safetensors"
SMALL = {"width": 8, "batch_size": 4, "norm_groups": 4, "head_dim": 4}
DATA = {"dataset": "noise", "index": "0-9"}


def recipe(**values):
    return RecipeSpec(**{**SMALL, "steps": 6, "ema_decay": 0.5, **values})


def items(count=10):
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (count, 1, 4, 4)).astype(np.float32)


def train(folder, made=None, data=None, seed=0, **options):
    return train_model(
        made or recipe(),
        items() if data is None else data,
        folder,
        trained_on=DATA,
        trainer_seed=seed,
        base=folder.parent,
        threads=1,
        **options,
    )


def status(folder, made=None):
    return training_status(folder, made or recipe(), DATA, 0, folder.parent)


def saved_state(folder):
    (state,) = (folder / "m.training").glob("state-*.pt")
    return state


def weights(folder):
    return load_file(folder / WEIGHTS)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def stop_after(step):
    """Return a progress that interrupts the training; it is told of every step."""

    def progress(done, steps, loss):
        if done >= step:
            raise KeyboardInterrupt

    return progress


@pytest.fixture
def every_step(monkeypatch):
    monkeypatch.setattr("reprostore.training.loop.REPORT_SECONDS", 0.0)


def test_a_trained_model_is_an_ordinary_diffusers_folder(tmp_path):
    made = recipe(steps=12)
    record = train(tmp_path / "m", made)
    network = UNet2DModel.from_pretrained(tmp_path / "m").eval()
    config = DDPMScheduler.from_pretrained(tmp_path / "m").config
    assert (config.prediction_type, config.clip_sample) == ("epsilon", False)
    assert (config.beta_start, config.beta_end, config.num_train_timesteps) == (1e-4, 0.02, 1000)
    loaded = load_model(ModelSpec(source="m"), tmp_path, "cpu", "float32")
    x, t = torch.randn(2, 1, 4, 4), torch.tensor(7)
    with torch.inference_mode():
        assert torch.equal(loaded.output(x, t), network(x, t).sample)
    assert record == json.loads((tmp_path / "m" / "training.json").read_text())
    assert record["parameters"] == network.num_parameters()
    assert record["loss_curve"]["step"] == list(range(1, 13))
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    assert status(tmp_path / "m", made).record == record
    assert train(tmp_path / "m", made) == record  # nothing is done again


def test_the_loss_of_an_item_that_is_always_the_same_falls(tmp_path):
    record = train(tmp_path / "m", recipe(steps=150, batch_size=16), items(1))
    losses = record["loss_curve"]["loss"]
    assert np.mean(losses[-20:]) < 0.6 * np.mean(losses[:20])


def test_the_average_of_the_weights_follows_its_recursion(tmp_path):
    """Shadow ← d·shadow + (1 − d)·weights, with d = min(decay, (1 + n)/(10 + n)) after n steps."""
    steps = tuple(range(1, 7))
    train(tmp_path / "raw", recipe(ema_decay=0.0, checkpoints=steps))
    train(tmp_path / "ema", recipe(ema_decay=0.2))
    torch.manual_seed(0)
    shadow = None
    raw = [weights(tmp_path / f"raw@{step}") for step in steps]
    assert same(raw[-1], weights(tmp_path / "raw"))
    from reprostore.training.networks import new_unet

    shadow = {k: v.clone() for k, v in new_unet(recipe(), (1, 4, 4)).state_dict().items()}
    for n, now in enumerate(raw):
        decay = 0.0 if n == 0 else min(0.2, (1 + n) / (10 + n))
        shadow = {k: decay * shadow[k] + (1 - decay) * now[k] for k in now}
    for key, value in weights(tmp_path / "ema").items():
        torch.testing.assert_close(value, shadow[key], rtol=1e-5, atol=1e-7)


def test_seeds_and_items_make_other_models_and_the_callers_randomness_stays(tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train(tmp_path / "a")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    train(tmp_path / "again")
    train(tmp_path / "b", seed=1)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "again"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "b"))


VARIANTS = {
    "plain": {},
    "dropout": {"dropout": 0.3, "augmentation": ("flip",), "max_grad_norm": 1.0},
    "edm": {"objective": "edm", "weight_decay": 0.1, "schedule": "cosine", "warmup": 3},
    "flow": {"objective": "flow", "ema_decay": 0.0},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_stopped_training_ends_in_the_same_bits(tmp_path, every_step, variant):
    made = recipe(steps=8, checkpoints=(4,), **VARIANTS[variant])
    whole = train(tmp_path / "whole", made)
    for step in (3, 5):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "m", made, progress=stop_after(step))
        assert status(tmp_path / "m", made).step == step
        assert not (tmp_path / "m").exists()
    record = train(tmp_path / "m", made)
    assert same(weights(tmp_path / "m"), weights(tmp_path / "whole"))
    assert same(weights(tmp_path / "m@4"), weights(tmp_path / "whole@4"))
    assert record["loss_curve"] == whole["loss_curve"]
    assert [each["first_step"] for each in record["sessions"]] == [0, 3, 5]


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_training_runs as t
t.train(Path(sys.argv[2]), t.recipe(**t.KILLED), save_seconds=0.0)
"""
KILLED = {"steps": 30, "dropout": 0.2, "checkpoints": (10, 20)}


def start(folder):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(folder)],
        env=environment(),
    )


def step_of(folder):
    """Return the step whose state is saved; 0 where there is none, or none any more."""
    try:
        saved = folder.with_name(f"{folder.name}.training") / "progress.json"
        return json.loads(saved.read_text())["step"]
    except FileNotFoundError:
        return 0


def kill_rounds(tmp_path, rounds, seed):
    made = recipe(**KILLED)
    train(tmp_path / "whole", made)
    rng = random.Random(seed)
    killed = 0
    for turn in range(rounds):
        folder = tmp_path / f"m{turn}"
        for _ in range(30):
            step = step_of(folder) + rng.randint(1, KILLED["steps"] // 3)
            process = start(folder)
            while process.poll() is None and step_of(folder) < step:
                time.sleep(0.01)
            time.sleep(rng.uniform(0.0, 0.02))
            process.kill()
            killed += process.wait() == -signal.SIGKILL
            if folder.exists():
                break
        assert same(weights(folder), weights(tmp_path / "whole"))
        assert same(weights(folder.with_name(f"{folder.name}@10")), weights(tmp_path / "whole@10"))
    return killed


def test_a_killed_training_ends_in_the_same_bits(tmp_path):
    assert kill_rounds(tmp_path, 1, seed=0) >= 1


@pytest.mark.slow
def test_a_training_killed_many_times_ends_in_the_same_bits(tmp_path):
    assert kill_rounds(tmp_path, 10, seed=1) >= 10


def test_a_checkpoint_is_kept_also_after_a_kill_between_state_and_model(tmp_path, monkeypatch):
    made = recipe(checkpoints=(2,))
    train(tmp_path / "whole", made)

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("reprostore.training.loop.write_model", killed)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "m", made)
    assert saved_state(tmp_path).name == "state-2.pt"
    assert not (tmp_path / "m@2").exists()
    train(tmp_path / "m", made)
    assert same(weights(tmp_path / "m@2"), weights(tmp_path / "whole@2"))
    assert same(weights(tmp_path / "m"), weights(tmp_path / "whole"))


def test_processes_that_begin_the_same_training_wait_and_find_the_model(tmp_path):
    """The state folder goes while they wait; the lock is held until all of them are there."""
    lock = FileLock(tmp_path / "m.training.lock")
    with lock:
        processes = [start(tmp_path / "m") for _ in range(2)]
        with pytest.raises(subprocess.TimeoutExpired):
            processes[0].wait(timeout=6)
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    record = json.loads((tmp_path / "m" / "training.json").read_text())
    assert [each["first_step"] for each in record["sessions"]] == [0]
    assert {path.name for path in tmp_path.iterdir()} == {"m", "m@10", "m@20"}


def test_what_a_kill_after_the_last_step_leaves_is_cleared_away(tmp_path):
    record = train(tmp_path / "m")
    (tmp_path / "m.training").mkdir()
    (tmp_path / "m.training" / "state-4.pt").write_bytes(b"old")
    assert train(tmp_path / "m") == record
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_loss_that_is_no_number_stops_the_training(tmp_path, every_step):
    made = recipe(learning_rate=1e30, steps=50)
    with pytest.raises(TrainingError, match=r"loss of m became (nan|inf) in step \d+") as error:
        train(tmp_path / "m", made, save_seconds=0.0)
    step = status(tmp_path / "m", made).step
    assert f"The state after step {step} is kept" in str(error.value)
    assert not (tmp_path / "m").exists()
    state = torch.load(saved_state(tmp_path), weights_only=True)
    assert np.isfinite(state["losses"].numpy()).all()


@pytest.mark.parametrize("values", [{}, {"checkpoints": (3,)}, {"ema_decay": 0.0}])
def test_weights_that_an_update_breaks_are_neither_saved_nor_kept(tmp_path, monkeypatch, values):
    """The loss of step 3 is finite, and the gradient is not."""
    made = recipe(steps=3, **values)
    step, calls = torch.optim.Adam.step, []

    def broken(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            self.param_groups[0]["params"][0].grad.fill_(float("inf"))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", broken)
    with pytest.raises(TrainingError, match=r"weights of m became infinite or NaN by step 3\."):
        train(tmp_path / "m", made, save_seconds=0.0)
    assert [path.name for path in tmp_path.glob("m*") if path.is_dir()] == ["m.training"]
    state = torch.load(saved_state(tmp_path), weights_only=True)
    assert state["step"] == 2
    assert all(value.isfinite().all() for value in state["network"].values())


@pytest.mark.parametrize("finished", [True, False])
def test_another_recipe_is_refused_and_both_values_are_shown(tmp_path, every_step, finished):
    if finished:
        train(tmp_path / "m")
    else:
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "m", progress=stop_after(2))
    for attempt in (train, status):
        with pytest.raises(IdentityError, match=r"recipe\.learning_rate is 0\.001 there and 0\.5"):
            attempt(tmp_path / "m", recipe(learning_rate=0.5))
    assert status(tmp_path / "m").step == (6 if finished else 2)


def test_keys_that_recipes_did_not_have_yet_count_as_their_defaults(tmp_path):
    train(tmp_path / "m")
    path = tmp_path / "m" / "training.json"
    record = json.loads(path.read_text())
    del record["identity"]["recipe"]["warmup"]
    path.write_text(json.dumps(record))
    assert status(tmp_path / "m").step == 6
    with pytest.raises(IdentityError, match=r"recipe\.warmup is 0 there and 3"):
        status(tmp_path / "m", recipe(warmup=3))


def test_a_kept_checkpoint_is_not_taken_for_the_finished_model(tmp_path):
    made = recipe(checkpoints=(2,))
    train(tmp_path / "m", made)
    shutil.rmtree(tmp_path / "m")
    shutil.copytree(tmp_path / "m@2", tmp_path / "m")
    with pytest.raises(IdentityError, match=r"after step 2 of its training\. That after step 6"):
        status(tmp_path / "m", made)


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "m").mkdir()
    with pytest.raises(IdentityError, match=r"has no training\.json"):
        train(tmp_path / "m")
    assert list((tmp_path / "m").iterdir()) == []


@pytest.mark.parametrize("damage", ["cut", "flip", "delete", "no step", "no object"])
def test_a_damaged_state_is_an_error_that_keeps_it(tmp_path, every_step, damage):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "m", progress=stop_after(2))
    state, progress = saved_state(tmp_path), tmp_path / "m.training" / "progress.json"
    content = bytearray(state.read_bytes())
    if damage == "delete":
        state.unlink()
    elif damage == "cut":
        state.write_bytes(content[:1000])
    elif damage == "flip":
        content[len(content) // 2] ^= 1  # in the middle of the weights
        state.write_bytes(content)
    else:
        text = "{}" if damage == "no object" else progress.read_text().replace('"step"', '"stop"')
        progress.write_text(text)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(CorruptionError) as error:
        train(tmp_path / "m")
    assert "m.training" in str(error.value)
    assert len(str(error.value)) < 600
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_other_items_of_the_same_name_are_refused(tmp_path, every_step):
    other = items() * np.float32(0.5)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "m", progress=stop_after(2))
    with pytest.raises(IdentityError, match="on other items than those that were given"):
        train(tmp_path / "m", data=other)
    record = train(tmp_path / "m")
    with pytest.raises(IdentityError, match="on other items than those that were given"):
        train(tmp_path / "m", data=other)
    assert train(tmp_path / "m") == record


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_files_that_the_training_did_not_write_are_refused(tmp_path, name):
    train(tmp_path / "m")
    path = tmp_path / "m" / name
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    for attempt in (train, status):
        with pytest.raises(IdentityError, match=rf"{name} is not what its training wrote"):
            attempt(tmp_path / "m")
    path.unlink()
    with pytest.raises(IdentityError, match=rf"{name} is missing"):
        status(tmp_path / "m")


@pytest.mark.parametrize("key", ["parameters", "final_loss", "seconds", "identity"])
def test_a_record_without_what_tables_show_is_refused(tmp_path, key):
    train(tmp_path / "m")
    path = tmp_path / "m" / "training.json"
    record = json.loads(path.read_text())
    del record[key]
    path.write_text(json.dumps(record))
    with pytest.raises(CorruptionError, match="is not the record of a training") as error:
        status(tmp_path / "m")
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (items(0), "no training items"),
        (np.full((2, 1, 4, 4), np.nan, np.float32), "not finite"),
        (np.full((2, 1, 4, 4), 255, np.float32), "values from 255 to 255"),
        (np.zeros((2, 4, 4), np.float32), r"shape \(2, 4, 4\)"),
    ],
)
def test_items_that_cannot_be_trained_on_are_refused(tmp_path, data, message):
    with pytest.raises(DatasetError, match=message):
        train(tmp_path / "m", data=data)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_that_torch_takes_for_others_are_refused(tmp_path, seed):
    with pytest.raises(SpecError, match=rf"`trainer_seed` is {seed}\."):
        train(tmp_path / "m", seed=seed)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "values",
    [
        {"beta_end": 1.5},
        {"beta_schedule": "cubic"},
        {"beta_end": "a"},
        {"num_train_timesteps": 0},
        {"num_train_timesteps": 10, "trained_betas": [0.1] * 9},
        {"num_train_timesteps": 10, "trained_betas": [0.1] * 11},
    ],
)
def test_noise_schedules_that_are_none_are_refused(tmp_path, values):
    with pytest.raises(SpecError, match=r"`noise_schedule` is .* at most 1"):
        # As of a caller that has not validated its recipe.
        train(tmp_path / "m", recipe().model_copy(update={"noise_schedule": values}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU can do what is refused here")
@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ({"precision": "bfloat16"}, {}, "bfloat16"),
        ({}, {"device": "cuda"}, "finds no CUDA device"),
        ({}, {"device": "tpu"}, "'tpu' is not known"),
    ],
)
def test_what_this_machine_cannot_do_is_refused(tmp_path, values, options, message):
    with pytest.raises(SpecError, match=message):
        train(tmp_path / "m", recipe(**values), **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("trainable", ["attention", ("mid_block.*", "conv_out.bias"), "all"])
def test_only_the_chosen_parameters_are_fine_tuned(tmp_path, trainable):
    train(tmp_path / "start")
    train(tmp_path / "m", recipe(start_from="start", trainable=trainable, ema_decay=0.9))
    before, after = weights(tmp_path / "start"), weights(tmp_path / "m")
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    allowed = {
        "attention": lambda key: ".attentions." in key,
        "all": lambda key: True,
    }.get(trainable, lambda key: key.startswith("mid_block.") or key == "conv_out.bias")
    assert changed
    assert changed <= {key for key in before if allowed(key)}
    if trainable != "all":
        assert changed < set(before)


def test_a_fine_tuning_has_the_dropout_of_its_recipe_and_no_path(tmp_path):
    train(tmp_path / "start")
    train(tmp_path / "m", recipe(start_from="start", dropout=0.25))
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert config["dropout"] == 0.25
    assert str(tmp_path) not in json.dumps(config)
    train(tmp_path / "without", recipe(start_from="m"))
    assert json.loads((tmp_path / "without" / "config.json").read_text())["dropout"] == 0.0


def test_a_finished_fine_tuning_does_not_need_its_start(tmp_path):
    train(tmp_path / "start")
    made = recipe(start_from="start")
    train(tmp_path / "m", made)
    shutil.rmtree(tmp_path / "start")
    assert status(tmp_path / "m", made).step == 6
    with pytest.raises(IdentityError, match="learning_rate"):
        status(tmp_path / "m", recipe(start_from="start", learning_rate=0.1))
    with pytest.raises(NotFoundError):
        status(tmp_path / "new", made)


OBJECTIVES = ("epsilon", "edm", "flow")


@pytest.fixture(scope="module")
def starts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("starts")
    for objective in OBJECTIVES:
        train(folder / objective, recipe(objective=objective, steps=1))
    return folder


@pytest.mark.parametrize("start", OBJECTIVES)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_network_is_fine_tuned_under_its_own_objective_alone(starts, start, objective):
    made = recipe(start_from=start, objective=objective, steps=1)
    if start == objective:
        train(starts / f"{start}-again", made)
        return
    with pytest.raises(ModelError, match=rf"{start} was trained .* the recipe is for {objective}"):
        train(starts / f"{start}-{objective}", made)


def test_a_network_is_fine_tuned_under_its_own_sigma_data_alone(starts):
    made = recipe(start_from="edm", objective="edm", steps=1, sigma_data=1.0)
    with pytest.raises(ModelError, match=r"sigma_data = 0\.5, the recipe is .*sigma_data = 1\.0"):
        train(starts / "other", made)


def test_a_fine_tuning_knows_its_start_by_its_bytes(tmp_path):
    train(tmp_path / "start")
    train(tmp_path / "other", seed=1)
    made = recipe(start_from="start")
    train(tmp_path / "m", made)
    (tmp_path / "start").rename(tmp_path / "moved")
    assert status(tmp_path / "m", recipe(start_from="moved")).step == 6
    with pytest.raises(IdentityError, match=r"start_from"):
        status(tmp_path / "m", recipe(start_from="other"))


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ({"trainable": ("midblock.*",)}, SpecError, "'midblock.*'"),
        ({"objective": "v_prediction"}, ModelError, "trained for epsilon"),
        ({"noise_schedule": {"beta_end": 0.01}}, ModelError, "0.01"),
    ],
)
def test_a_fine_tuning_that_does_not_fit_its_start_is_refused(tmp_path, values, kind, message):
    train(tmp_path / "start")
    with pytest.raises(kind, match=message):
        train(tmp_path / "m", recipe(start_from="start", **values))
    assert [path.name for path in tmp_path.iterdir()] == ["start"]


def test_a_start_of_another_shape_is_refused(tmp_path):
    train(tmp_path / "start")
    with pytest.raises(ModelError, match=r"\(1, 4, 4\).*\(1, 8, 8\)"):
        train(tmp_path / "m", recipe(start_from="start"), np.zeros((3, 1, 8, 8), np.float32))
