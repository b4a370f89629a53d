"""What goes wrong while generating: the store stays whole, and the next call completes it."""

import errno
import resource
import threading

import numpy as np
import pytest
import torch
from generating import (
    FINAL,
    PATH,
    altered_outputs,
    arrays,
    assert_same_arrays,
    child,
    files,
    leftovers,
    sample_bits,
    small_units,
    study,
)

import reprostore.generate
from reprostore.background import BackgroundWriter
from reprostore.errors import DriftError, ModelError, ReprostoreError, StorageError
from reprostore.store.arrays import ReplacingStore
from reprostore.studies import generate_study
from reprostore.testing.models import tiny_checkpoint

SAMPLERS = {"final": FINAL, "path": PATH}
SEEDS = "0-20"


@pytest.fixture(autouse=True)
def _small_units():
    with small_units():
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny_checkpoint(folder / "net", channels=3)
    return folder


@pytest.fixture(scope="module")
def undisturbed(base):
    loaded = study(base, SEEDS, SAMPLERS)
    with small_units():
        generate_study(loaded)
    return arrays(loaded)


@pytest.fixture
def make(base, tmp_path):
    def make(*args, **values):
        return study(base, *args, **({"store": tmp_path / "store.zarr"} | values))

    return make


def check_whole(loaded, undisturbed, written):
    """Check which seeds of each run are written, and that their bits are right."""
    for path, seeds in written.items():
        bits = sample_bits(loaded, path)
        assert sorted(bits) == sorted(seeds), path
        expected = undisturbed[f"{path}/sample"]
        assert all(bits[seed] == expected[seed].tobytes() for seed in seeds)
    assert leftovers(loaded) == []


def poison(call, position, value):
    """Alter one sample of the network's output at one call."""

    def alter(output, number):
        if number == call:
            output = output.clone()
            output[position] = value
        return output

    return alter


# an estimate of x_0 may be NaN where it is not defined, so that NaN shows in the next state
@pytest.mark.parametrize(
    ("value", "what"),
    [
        (torch.nan, "sample states that are not finite for the seeds 13 after step 2"),
        (torch.inf, "denoised states that are not finite for the seeds 13 after step 1"),
    ],
)
def test_a_model_that_gives_nan_is_named_with_seeds_and_step(
    make, monkeypatch, undisturbed, value, what
):
    loaded = make(SEEDS, {"path": PATH})
    with monkeypatch.context() as patch:
        altered_outputs(patch, poison(10, 1, value))  # the calls 9 to 11 are the seeds 12 to 15
        with pytest.raises(ModelError) as caught:
            generate_study(loaded)
    assert str(caught.value) == (
        f"The model net gave {what}. "
        "States are finite numbers that fit into float32. "
        "Check the checkpoint and the noise schedule, or choose float32 as dtype."
    )
    check_whole(loaded, undisturbed, {"net/path/none": range(8)})
    # `caught` still holds the traceback: nothing in it may keep the unit's lock
    assert generate_study(loaded)[0]["written"] == 13
    check_whole(loaded, undisturbed, {"net/path/none": range(21)})


class PromptWriter(BackgroundWriter):
    """Waits for every job, so that its error surfaces at the next one."""

    def submit(self, job, nbytes=0):
        ran = threading.Event()
        super().submit(lambda: (job(), ran.set()), nbytes)
        while self._error is None and not ran.wait(0.001):
            pass


def test_a_unit_that_failed_is_free_although_its_error_is_kept(make, monkeypatch):
    monkeypatch.setattr(reprostore.generate, "BackgroundWriter", PromptWriter)
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("the unit is held"))
    generate_study(make("0-5", {"path": PATH}))
    with monkeypatch.context() as patch:
        altered_outputs(patch, lambda output, call: output + 1e-3)
        with pytest.raises(DriftError) as caught:  # its traceback lives on, as in a notebook
            generate_study(make("0-7", {"path": PATH}))
    assert generate_study(make("0-7", {"path": PATH}))[0]["written"] == 2
    assert "4-5" in str(caught.value)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_images_that_are_not_finite_are_refused(make, monkeypatch, value):
    loaded = make(SEEDS, {"image": {**FINAL, "dtype": "uint8"}})
    with monkeypatch.context() as patch:
        altered_outputs(patch, poison(8, 3, value))  # the last call for the seeds 8 to 11
        with pytest.raises(ModelError) as caught:
            generate_study(loaded)
    assert str(caught.value) == (
        "The model gave samples that are not finite for the seeds 11 after step 3. "
        "Images that are stored as uint8 are finite numbers. "
        "Check the checkpoint and the noise schedule."
    )
    assert set(sample_bits(loaded, "net/image/none")) <= set(range(8))
    generate_study(loaded)
    assert len(sample_bits(loaded, "net/image/none")) == 21


def test_what_does_not_fit_into_float16_is_refused(make, monkeypatch):
    loaded = make("0-3", {"half": {**FINAL, "dtype": "float16"}})
    altered_outputs(monkeypatch, lambda output, call: output * 1e5)
    with pytest.raises(ModelError, match=r"seeds 0-3 after step 3\..* fit into float16"):
        generate_study(loaded)
    assert sample_bits(loaded, "net/half/none") == {}
    other = make("0-3", {"full": FINAL})
    generate_study(other)
    full = arrays(other)["net/full/none/sample"]
    assert np.isfinite(full).all()
    assert np.abs(full).max() > np.finfo(np.float16).max


@pytest.mark.parametrize("batch", [0, 3])
def test_an_interrupt_leaves_whole_units(make, undisturbed, batch):
    loaded = make(SEEDS, SAMPLERS)
    calls = iter(range(100))

    def progress(path, done, total):
        if next(calls) == batch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_study(loaded, progress=progress)
    written = sorted(sample_bits(loaded, "net/final/none"))
    assert written in [[], list(range(8))][: batch // 2 + 1]
    check_whole(loaded, undisturbed, {"net/final/none": written})
    generate_study(loaded)
    assert_same_arrays(arrays(loaded), undisturbed)


@pytest.mark.parametrize("write", [0, 1, 2, 5])
def test_no_space_left(make, monkeypatch, undisturbed, write):
    loaded = make(SEEDS, SAMPLERS)
    original, calls = ReplacingStore.set, iter(range(1000))

    async def full(self, key, value, *args, **kwargs):
        if next(calls) == write:
            raise OSError(errno.ENOSPC, "No space left on device")
        await original(self, key, value, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(ReplacingStore, "set", full)
        with pytest.raises(StorageError, match="no space is left on the device") as caught:
            generate_study(loaded)
    assert "Nothing that was finished is lost: make room" in str(caught.value)
    # the run `final` has one shard a unit, and `path` several
    final = [0, 8, 16, 21][min(write, 3)]
    written = {"net/final/none": range(final)}
    if write == 5:  # the third write of the first unit
        written["net/path/none"] = range(0)
    check_whole(loaded, undisturbed, written)
    rows = generate_study(loaded)
    assert rows[0]["written"] == 21 - final
    assert_same_arrays(arrays(loaded), undisturbed)


def generate_with_small_files(connection, loaded, limit):
    """Generate; from the third batch on no file may be larger than a limit."""
    calls = iter(range(1000))

    def progress(path, done, total):
        if next(calls) == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    try:
        generate_study(loaded, progress=progress)
    except ReprostoreError as error:
        connection.send((type(error).__name__, str(error)))


def test_files_that_may_not_grow(make, undisturbed, base):
    loaded = make(SEEDS, {"path": PATH})
    whole = files(base / "store.zarr" / "runs" / "net" / "path" / "none")
    shards = [len(content) for path, (_, content) in whole.items() if "/c/" in path[:12]]
    others = [len(content) for path, (_, content) in whole.items() if path.endswith(".json")]
    limit = 6000
    assert max(others) < limit < max(shards)
    process, connection = child(generate_with_small_files, loaded, limit)
    assert connection.poll(120)
    name, message = connection.recv()
    process.join(120)
    assert name == "StorageError"
    assert "a file would be larger than the file system or a limit allows" in message
    written = set(sample_bits(loaded, "net/path/none"))
    assert written in (set(), set(range(8)))
    check_whole(loaded, undisturbed, {"net/path/none": written})
    assert generate_study(loaded)[0]["written"] == 21 - len(written)
    check_whole(loaded, undisturbed, {"net/path/none": range(21)})
