"""Trainings that meet others: several processes for one model, those that wait, what they leave."""

import json
import logging
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import ranks
import torch
from commands import environment
from filelock import FileLock
from test_training_runs import recipe, same, saved_state, stop_after, train, weights

from reprostore.errors import ExhaustedError
from reprostore.memory import is_out_of_memory
from reprostore.training.devices import Devices
from reprostore.training.leftovers import clear_leftovers


@pytest.fixture
def every_step(monkeypatch):
    monkeypatch.setattr("reprostore.training.loop.REPORT_SECONDS", 0.0)


class Holder(threading.Thread):
    """Hold the lock of a model as another process would, and finish it once somebody waits."""

    def __init__(self, folder, made):
        super().__init__()
        self.folder, self.made = folder, made
        self.held, self.said, self.waited = threading.Event(), [], threading.Event()
        self.handler = logging.Handler()
        self.handler.emit = self.hear

    def hear(self, record):
        self.said.append(record.getMessage())
        self.waited.set()

    def run(self):
        with FileLock(self.folder.with_name(f"{self.folder.name}.training.lock")):
            self.held.set()
            self.waited.wait(60)
            time.sleep(0.3)  # a second process that does not wait would begin to train
            shutil.move(self.made, self.folder)

    def __enter__(self):
        logging.getLogger("reprostore").addHandler(self.handler)
        self.start()
        self.held.wait(10)
        return self.said

    def __exit__(self, *error):
        self.waited.set()
        self.join()
        logging.getLogger("reprostore").removeHandler(self.handler)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Models trained by two processes, of which one was finished by a third in the meantime."""
    folder, other = tmp_path_factory.mktemp("together"), tmp_path_factory.mktemp("other")
    second = subprocess.Popen(
        [sys.executable, ranks.__file__, "1", str(folder)],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        train(other / "finished", ranks.MODELS["finished"])
        with Holder(folder / "finished", other / "finished") as said:
            ranks.main(0, folder)
        assert second.communicate(timeout=60)[1] == ""
    finally:
        second.kill()
    assert second.returncode == 0
    assert said == ["Waiting for finished, which another process trains."]
    return folder


def test_processes_find_a_model_that_was_finished_while_the_first_waited(together):
    record = json.loads((together / "finished" / "training.json").read_text())
    assert [each["device"] for each in record["sessions"]] == ["cpu"]
    names = {path.name for path in together.iterdir() if path.is_dir()}
    assert names == set(ranks.MODELS)


def test_processes_train_together_what_one_trains(together, tmp_path):
    """Means of the gradients of two halves are those of the batch, up to the order of sums."""
    alone = train(tmp_path / "together", ranks.MODELS["together"])
    record = json.loads((together / "together" / "training.json").read_text())
    np.testing.assert_allclose(record["loss_curve"]["loss"], alone["loss_curve"]["loss"], rtol=1e-4)
    ours = weights(tmp_path / "together")
    for key, value in weights(together / "together").items():
        torch.testing.assert_close(value, ours[key], rtol=1e-2, atol=2e-4)


def test_each_process_has_the_dropout_of_its_own_part(together):
    first, second = (torch.load(together / f"masks-{rank}.pt") for rank in range(2))
    assert len(first) == len(second) >= 3
    assert all(0.3 < float(mask.float().mean()) < 0.7 for mask in (*first, *second))
    assert not any(torch.equal(a, b) for a in first for b in second if a.shape == b.shape)


def test_dropout_of_other_processes_follows_from_seed_process_and_step():
    def mask(rank, seed, step):
        devices = Devices()
        devices.rank = rank
        torch.manual_seed(11)
        devices.reseed(seed, step)
        return torch.nn.functional.dropout(torch.ones(64), 0.5)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        plain = torch.nn.functional.dropout(torch.ones(64), 0.5)
        assert torch.equal(mask(0, 5, 3), plain)
        made = [mask(*each) for each in ((0, 5, 3), (1, 5, 3), (2, 5, 3), (1, 6, 3), (1, 5, 4))]
        assert torch.equal(mask(1, 5, 3), made[1])
    assert not any(torch.equal(a, b) for k, a in enumerate(made) for b in made[:k])


def test_who_waits_says_so_once_and_finds_the_model(tmp_path):
    made = train(tmp_path / "made" / "m")
    told = []
    with Holder(tmp_path / "m", tmp_path / "made" / "m") as said:
        assert train(tmp_path / "m", progress=lambda *values: told.append(values)) == made
        train(tmp_path / "alone")
    assert said == ["Waiting for m, which another process trains."]
    assert told == []


@pytest.mark.parametrize("stays", ["nothing", "other", "damaged"])
def test_leftovers_of_a_finished_training_go_and_work_of_others_stays(tmp_path, every_step, stays):
    made = recipe(learning_rate=0.5) if stays == "other" else recipe()
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "m", made, progress=stop_after(2))
    state = saved_state(tmp_path)
    if stays == "damaged":
        (tmp_path / "m.training" / "progress.json").write_text("{")
    train(tmp_path / "made" / "m")
    shutil.move(tmp_path / "made" / "m", tmp_path / "m")
    record = train(tmp_path / "m")
    clear_leftovers(tmp_path / "m", record)
    assert state.exists() == (stays != "nothing")
    (tmp_path / "m.training.lock").touch()
    clear_leftovers(tmp_path / "m", record)
    assert (tmp_path / "m.training.lock").exists() == (stays == "damaged")
    assert (tmp_path / "m" / "training.json").exists()


def cannot(*shape):
    """Return torch's own words for what no machine has."""
    with pytest.raises((RuntimeError, TypeError)) as caught:
        torch.empty(shape)
    return caught.value


def test_errors_that_speak_of_memory():
    class OutOfMemoryError(RuntimeError):
        """Named as that of torch on a GPU."""

    spoken = [cannot(2**55), cannot(2**40, 2**40), cannot(2**70), MemoryError(), OutOfMemoryError()]
    assert all(is_out_of_memory(error) for error in spoken)
    with pytest.raises(MemoryError) as caught:
        np.empty(2**55)
    assert is_out_of_memory(caught.value)
    others = [RuntimeError("shapes cannot be multiplied"), ValueError("can't allocate memory")]
    assert not any(is_out_of_memory(error) for error in others)


@pytest.mark.parametrize("width", [2**30, 2**40, 2**70])
def test_a_network_that_no_memory_holds_is_told_with_what_to_lower(tmp_path, width):
    with pytest.raises(ExhaustedError) as caught:
        train(tmp_path / "m", recipe(width=width))
    said = str(caught.value)
    assert (
        f"to train m with `batch_size` 4, `width` {width}, and items of the shape (1, 4, 4)."
        in said
    )
    assert "Lower `batch_size`, `width` or the resolution" in said
    assert list(tmp_path.iterdir()) == []


def test_memory_that_ends_in_a_step_keeps_the_saved_state(tmp_path, monkeypatch):
    error, calls, draw = cannot(2**55), [], torch.randn

    def randn(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 4:
            raise error
        return draw(*arguments, **options)

    monkeypatch.setattr("reprostore.training.draws.torch.randn", randn)
    with pytest.raises(ExhaustedError, match="a state that was saved is kept"):
        train(tmp_path / "m", save_seconds=0.0)
    monkeypatch.undo()
    assert json.loads((tmp_path / "m.training" / "progress.json").read_text())["step"] == 3
    train(tmp_path / "m")
    train(tmp_path / "whole")
    assert same(weights(tmp_path / "m"), weights(tmp_path / "whole"))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_losses_on_a_gpu_are_those_on_the_cpu(tmp_path, precision):
    """The draws are the CPU's; sums differ in their order, and in bfloat16 have 8 bits."""
    pytest.importorskip("accelerate")
    values = {"steps": 20, "augmentation": ("flip",), "learning_rate": 1e-4}
    cpu = train(tmp_path / "cpu", recipe(**values), device="cpu")
    gpu = train(tmp_path / "gpu", recipe(**values, precision=precision), device="cuda")
    assert [each["device"] for each in gpu["sessions"]] == ["cuda"]
    np.testing.assert_allclose(
        gpu["loss_curve"]["loss"],
        cpu["loss_curve"]["loss"],
        rtol=1e-3 if precision == "float32" else 3e-2,
    )
