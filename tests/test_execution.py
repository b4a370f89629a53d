"""A run is continued as it was begun, or with a permission that its results show."""

import numpy as np
import pytest
import torch
from generating import altered_outputs, arrays, files, sample_bits, small_units, study

import reprostore.generate
from reprostore import execution
from reprostore.errors import DriftError, ModelError
from reprostore.execution import COMPARED, check_execution, current_execution, drift, run_sessions
from reprostore.store import Run, create_store, open_store
from reprostore.studies import generate_study
from reprostore.testing.models import tiny_checkpoint
from reprostore.testing.store import run_spec, step_table, write_units

PATH = "net/final/none"


@pytest.fixture(autouse=True)
def _small_units():
    with small_units():
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny_checkpoint(folder / "net")
    return folder


@pytest.fixture
def make(base, tmp_path):
    def make(*args, **values):
        return study(base, *args, **({"store": tmp_path / "store.zarr"} | values))

    return make


def drift_of(loaded, path=PATH):
    store = open_store(loaded.store_path)
    return drift(store, store.run(path))


def sessions_of(loaded):
    store = open_store(loaded.store_path)
    return run_sessions(store, store.run(PATH))


OTHERS = {
    "threads": (1, 3),
    "tf32": (False, True),
    "device": ("cpu", "cuda"),
    "versions": (
        {"torch": "2.0.0", "diffusers": "0.1", "numpy": "1"},
        {"torch": "2.1.0", "diffusers": "0.1", "numpy": "1"},
    ),
}


def computing_with(patch, key, value):
    """Let this process describe itself by another value; tf32 is an option and no patch."""
    original = execution.current_execution

    def described(*args, **kwargs):
        return original(*args, **kwargs) | {key: value}

    patch.setattr(reprostore.generate, "current_execution", described)


@pytest.mark.parametrize("key", OTHERS)
def test_another_execution_is_refused_until_it_is_accepted(make, monkeypatch, key):
    first, second = OTHERS[key]
    with monkeypatch.context() as patch:
        computing_with(patch, key, first)
        generate_study(make("0-7"))
    loaded = make("0-12")
    before, old = files(loaded.store_path), sample_bits(loaded, PATH)
    with monkeypatch.context() as patch:
        computing_with(patch, key, second)
        with pytest.raises(DriftError) as caught:
            generate_study(loaded)
        assert str(caught.value) == (
            f"The run {PATH} was written with {key} = {first!r}, and would be continued with "
            f"{key} = {second!r}. "
            "A run is continued as it was begun, since another execution changes the last bits of "
            "its samples. "
            "Continue it as before, or pass --accept-drift: it is recorded, and every result made "
            "from the run shows it."
        )
        assert files(loaded.store_path) == before
        assert drift_of(loaded) == {}
        assert generate_study(loaded, accept_drift=True)[0]["written"] == 5
    assert drift_of(loaded) == {key: [first, second]}
    new = sample_bits(loaded, PATH)
    assert {seed: new[seed] for seed in old} == old
    sessions = arrays(loaded, but=())[f"{PATH}/session"]
    assert len(set(sessions[:8].tolist())) == len(set(sessions[8:].tolist())) == 1
    assert sessions[0] != sessions[8]
    # a mixed run agrees with neither
    with pytest.raises(DriftError):
        generate_study(make("0-20"))


def test_the_number_of_threads_and_tf32_are_those_of_torch(make, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    generate_study(make("0-3"), tf32=True)
    (session,) = sessions_of(make())
    assert (session["threads"], session["tf32"]) == (7, True)
    assert torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32
    with pytest.raises(DriftError, match="tf32 = True, and would be continued with tf32 = False"):
        generate_study(make("0-7"))
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32


def test_a_session_says_how_it_computed(make):
    generate_study(make("0-3"))
    (session,) = sessions_of(make())
    assert set(COMPARED) <= session.keys()
    assert session["batch_size"] == 4
    assert session["device"] == "cpu"
    assert session["threads"] == torch.get_num_threads()
    assert session["versions"]["torch"] == torch.__version__.split("+")[0]
    assert session["versions"]["numpy"] == np.__version__
    assert session["compute_dtype"] == "float32"
    assert {"host", "machine", "python", "started"} <= session.keys()


def test_another_batch_size(make):
    generate_study(make("0-9"))
    loaded = make("0-20", batch_size=3)
    before, old = files(loaded.store_path), sample_bits(loaded, PATH)
    with pytest.raises(
        DriftError, match="batch_size = 4, and would be continued with batch_size = 3"
    ):
        generate_study(loaded)
    assert files(loaded.store_path) == before
    generate_study(loaded, accept_drift=True)
    assert drift_of(loaded)["batch_size"] == [4, 3]
    new = sample_bits(loaded, PATH)
    assert new.keys() == set(range(21))
    assert {seed: new[seed] for seed in old} == old


def test_a_run_that_was_begun_without_a_finished_unit_keeps_its_batch_size(make, monkeypatch):
    with monkeypatch.context() as patch:
        altered_outputs(patch, lambda output, call: output.fill_(torch.nan))
        with pytest.raises(ModelError):
            generate_study(make("0-9"))
    assert sessions_of(make()) == []
    with pytest.raises(
        DriftError, match="batch_size = 4, and would be continued with batch_size = 5"
    ):
        generate_study(make("0-9", batch_size=5))
    assert generate_study(make("0-9"))[0]["written"] == 10


def test_written_samples_that_come_out_with_other_bits(make, monkeypatch):
    generate_study(make("0-5"))
    loaded = make("0-19")
    old = sample_bits(loaded, PATH)
    digests = arrays(loaded)[f"{PATH}/digest"]
    with monkeypatch.context() as patch:
        altered_outputs(patch, lambda output, call: output + 1e-3)  # as on another processor
        with pytest.raises(DriftError) as caught:
            generate_study(loaded)
        assert str(caught.value).startswith(
            f"The seeds 4-5 of the run {PATH}, computed again beside new ones, came out with other "
            "bits than those stored. "
        )
        assert sample_bits(loaded, PATH) == old
        assert drift_of(loaded) == {}
        assert generate_study(loaded, accept_drift=True)[0]["written"] == 14
    new = sample_bits(loaded, PATH)
    assert new.keys() == set(range(20))
    assert {seed: new[seed] for seed in old} == old
    np.testing.assert_array_equal(arrays(loaded)[f"{PATH}/digest"][:6], digests)
    assert drift_of(loaded) == {"reproduced": [True, False]}
    sessions = arrays(loaded, but=())[f"{PATH}/session"]
    assert len(set(sessions[:6].tolist())) == len(set(sessions[6:8].tolist())) == 1
    assert sessions[0] != sessions[6]


def test_accepting_without_a_difference_records_none(make):
    generate_study(make("0-5"))
    loaded = make("0-9")
    assert generate_study(loaded, accept_drift=True)[0]["written"] == 4
    assert drift_of(loaded) == {}
    assert len(sessions_of(loaded)) == 2


def test_sessions_are_those_that_wrote_the_run_and_in_the_order_of_their_start(
    tmp_path, monkeypatch
):
    store = create_store(tmp_path / "store.zarr")
    spec = run_spec(batch_size=2)
    times = iter(["2024-01-03", "2024-01-01", "2024-01-02", "2024-01-04"])
    monkeypatch.setattr("reprostore.store.root.now", lambda: next(times))
    numbers = {threads: store.start_session({"threads": threads}) for threads in (1, 2, 3, 4)}
    run = store.add_run(spec, step_table(spec), range(24))
    for unit, threads in zip(run.units(), (3, 1, 2), strict=True):
        write_units(run, numbers[threads], [unit])
    assert [session["threads"] for session in run_sessions(store, run)] == [2, 3, 1]
    assert drift(store, run) == {"threads": [2, 3, 1]}


def test_equal_executions_pass(tmp_path):
    store = create_store(tmp_path / "store.zarr")
    spec = run_spec(batch_size=2)
    run = store.add_run(spec, step_table(spec), range(4))
    here = current_execution("cpu", 1, 2, tf32=False)
    check_execution(store, run, here)
    write_units(run, store.start_session(here))
    check_execution(store, run, here | {"host": "another", "python": "3.99"})
    with pytest.raises(DriftError, match="threads = 1, and would be continued with threads = 2"):
        check_execution(store, run, here | {"threads": 2})


def test_a_unit_that_is_finished_while_sessions_are_read_is_no_error(make, monkeypatch):
    loaded = make("0-9")
    generate_study(loaded)
    store = open_store(loaded.store_path)
    run = store.run(PATH)
    whole = run.status
    early = whole.copy()
    early[8:] = 0  # what a reader saw before the last unit was finished
    seen = iter([early])
    monkeypatch.setattr(Run, "status", property(lambda self: next(seen, whole)))
    assert len(run_sessions(store, run)) == 1
