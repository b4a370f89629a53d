"""What a unit takes, what it refuses, and what stays when the disk refuses."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from stores import add, finish, python

from reprostore.errors import (
    DriftError,
    ModelError,
    SpecError,
    StorageError,
)
from reprostore.store import create_store
from reprostore.store.run import WRITTEN
from reprostore.store.units import UnitWriter
from reprostore.testing.store import fake_states, run_spec, write_units


@pytest.fixture
def store(tmp_path):
    return create_store(tmp_path / "a.zarr", title="Digits", license="CC0-1.0", creators=["A. Lab"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample": np.zeros((2, 1, 2, 3), np.float32)}, r"shape \(2, 1, 2, 3\) and dtype float32"),
        ({"sample": np.zeros((1, 1, 2, 2), np.float32)}, r"have shape \(2, 1, 2, 2\)"),
        ({"sample": np.zeros((2, 1, 2, 2), np.float64)}, "dtype float64 .* dtype float32. Convert"),
        ({"denoised": np.zeros((2, 1, 2, 2), np.float64)}, "dtype float64 .* dtype float32."),
        ({"denoised": np.zeros((2, 1, 2, 3), np.float32)}, r"shape \(2, 1, 2, 3\)"),
        ({"denoised": None}, "arrays sample were put .* It records sample, denoised"),
        ({"row": 1}, "Row 1 of the seeds 0-1 was put after 0 rows"),
    ],
)
def test_states_of_another_form_are_refused(store, changes, message):
    run = add(store, run_spec(denoised=True), range(4))
    writer = UnitWriter(run, run.units()[0], 1)
    state = np.zeros((2, 1, 2, 2), np.float32)
    arguments = {"row": 0, "sample": state, "denoised": state, **changes}
    with pytest.raises(SpecError, match=message):
        writer.put(writer.batches(2)[0], **arguments)


@pytest.mark.parametrize(
    ("name", "value"), [("sample", np.nan), ("sample", np.inf), ("denoised", -np.inf)]
)
def test_states_that_are_not_finite_are_refused(store, name, value):
    run = add(store, run_spec("bad", denoised=True, dtype="float16"), [3, 8, 9])
    writer = UnitWriter(run, run.units()[0], 1)
    states = {key: np.zeros((2, 1, 2, 2), np.float16) for key in ("sample", "denoised")}
    states[name][1, 0, 1, 1] = value
    with pytest.raises(ModelError, match=f"bad gave {name} .* not finite for the seeds 8 after"):
        writer.put(writer.batches(2)[0], 0, **states)


def test_denoised_may_be_undefined(store):
    run = add(store, run_spec(denoised=True, steps=(2,)), [3])
    sample = np.zeros((1, 1, 2, 2), np.float32)
    writer = UnitWriter(run, run.units()[0], 1)
    writer.put(writer.batches(2)[0], 0, sample, np.full_like(sample, np.nan))
    writer.finish()
    assert np.isnan(store.samples()["denoised"].values).all()


def test_a_unit_is_not_finished_before_all_of_it_was_put(store):
    run = add(store, run_spec(), range(4))
    writer = UnitWriter(run, run.units()[0], 1)
    for row in range(3):
        writer.put(writer.batches(2)[0], row, np.zeros((2, 1, 2, 2), np.float32))
    with pytest.raises(SpecError, match=r"Unit 0 .* is finished too early"):
        writer.finish()
    assert not run.status.any()


def test_other_bits_of_a_written_sample_are_drift(store):
    spec = run_spec(batch_size=4)
    write_units(add(store, spec, [1, 2, 3]), 1)
    run = add(store, spec, [4])
    before = store.samples()["sample"].values

    def shaken(spec, seed, row):
        sample, _ = fake_states(spec, seed, row)
        return sample + np.float32(1e-6) * (seed == 2), None

    with pytest.raises(DriftError, match=r"The seeds 2 of the run .* with other bits"):
        write_units(run, 2, states=shaken)
    assert run.status.tolist() == [1, 1, 1, 0]
    [unit] = run.units()
    writer = UnitWriter(run, unit, 2, accept_drift=True)
    [slots] = writer.batches(4)
    for row in range(3):
        writer.put(slots, row, np.stack([shaken(spec, seed, row)[0] for seed in [1, 2, 3, 4]]))
    writer.finish()
    assert writer.drifted
    np.testing.assert_array_equal(store.samples()["sample"].values[..., :3, :, :, :, :], before)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("action", ["create", "add", "grow", "write"])
def test_a_refusing_disk_leaves_the_store_as_it_was(store, monkeypatch, code, action):
    spec = run_spec(denoised=True)
    run = add(store, spec, range(3))
    write_units(run, 1)
    run.grow([5]) if action == "write" else None
    digests, before = run.recorded("digest"), store.samples()["sample"].values
    length = len(run.seeds)
    replace = Path.replace
    actions = {
        "create": lambda: create_store(store.path.parent / "b.zarr"),
        "add": lambda: add(store, run_spec("more"), range(3)),
        "grow": lambda: run.grow([7, 8]),
        "write": lambda: write_units(run, 2),
    }
    writes = {"create": 1, "add": 9, "grow": 4, "write": 3}[action]

    def refusing(self, target):
        nonlocal writes
        writes -= 1
        if writes == 0:
            raise OSError(code, os.strerror(code), str(self))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refusing)
    with pytest.raises(StorageError, match=r"cannot be written: .*run the same command again"):
        actions[action]()
    assert writes <= 0
    monkeypatch.undo()
    assert store.run_paths() == [run.path]
    assert len(run.seeds) == length
    assert (run.recorded("digest") == digests).all()
    np.testing.assert_array_equal(store.samples()["sample"].values, before)
    xr.open_datatree(store.path, engine="zarr", chunks={}, consolidated=False)
    assert list(store.path.rglob("*.partial")) == []
    actions[action]()  # there is room again
    write_units(run, 3)
    assert (run.status == WRITTEN).all()


_LIMITED = """
import resource, signal, sys
from reprostore.store import open_store
from reprostore.errors import StorageError
from reprostore.testing.store import run_spec, step_table, write_units
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
run = open_store(sys.argv[1], mode="r+").run(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    write_units(run, 1)
except StorageError as error:
    print(error)
"""


def test_a_limit_on_file_sizes_is_a_clear_error(store):
    spec = run_spec(sample_shape=(3, 32, 32), steps=(0, 5))  # 24 KiB a seed
    run = add(store, spec, range(4))
    message = finish(python(_LIMITED, store.path, run.path))
    assert "a file would be larger than the file system or a limit allows" in message
    assert not run.status.any()
    write_units(run, 2)
    assert run.status.all()
    assert list(store.path.rglob("*.partial")) == []


def test_no_lock_folder_can_be_made(store, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StorageError, match=r"cannot be (written|taken)"):
        store.start_session({})
