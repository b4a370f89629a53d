"""Killed processes, and two at work in one run."""

import os
import random
import signal
import time

import numpy as np
import pytest
from generating import (
    CONTEXT,
    FINAL,
    PATH,
    arrays,
    assert_same_arrays,
    child,
    counted_batches,
    files,
    generate_reporting,
    leftovers,
    sample_bits,
    small_units,
    study,
)

import reprostore.generate
from reprostore.store import open_store
from reprostore.studies import generate_study
from reprostore.testing.models import tiny_checkpoint

SECONDS = 120
SAMPLERS = {"final": FINAL, "path": PATH}
SEEDS = "0-28"  # four units of each run, the last one short and with a padded batch
BATCHES = 16


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
    """Return all arrays but `session` of a run that nothing interrupted."""
    loaded = study(base, SEEDS, SAMPLERS)
    with small_units():
        generate_study(loaded)
    return arrays(loaded)


def received(connection):
    assert connection.poll(SECONDS)
    return connection.recv()


def kill_at_random(loaded, rng):
    """Generate in a child that is killed after a random batch and a moment; say if it still ran."""
    process, reports = child(generate_reporting, loaded)
    try:
        batches = rng.randrange(1, BATCHES)
        for batch in range(batches):
            received(reports)
            if batch == 0:  # which takes longer than others
                started = time.monotonic()
            reports.send("go on")
        time.sleep(rng.uniform(0, 1) * (time.monotonic() - started) / batches)
        os.kill(process.pid, signal.SIGKILL)
    except EOFError:  # it has come to its end
        pass
    finally:
        process.join(SECONDS)
        reports.close()
    return process.exitcode == -signal.SIGKILL


def state_of(loaded):
    """Return which files there are, in a form that equal moments of a kill have in common."""
    found = files(loaded.store_path)
    return frozenset(
        path.split(".")[0] + ".partial" if ".partial" in path else path
        for path in found
        if not path.startswith("sessions/")
    )


def check_killed(loaded, undisturbed):
    """Look at a store right after the kill: what is there is whole, and has the right bits."""
    store = open_store(loaded.store_path)
    for run in store.runs():
        status = run.status
        for unit in run.units():
            assert len(set(status[unit.start : unit.stop].tolist())) == 1
        for name in ("sample", "denoised") if "path" in run.path else ("sample",):
            expected = undisturbed[f"{run.path}/{name}"]
            for seed, bits in sample_bits(loaded, run.path, name).items():
                assert bits == expected[seed].tobytes()


@pytest.mark.parametrize("rounds", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_and_run_again_gives_the_bits_of_an_undisturbed_run(
    base, tmp_path, undisturbed, rounds
):
    rng = random.Random(rounds)
    states, killed = set(), 0
    for number in range(rounds):
        loaded = study(base, SEEDS, SAMPLERS, store=tmp_path / f"{number}.zarr")
        for _ in range(rng.choice([1, 1, 2])):
            killed += kill_at_random(loaded, rng)
            check_killed(loaded, undisturbed)
            states.add(state_of(loaded))
        generate_study(loaded)
        assert_same_arrays(arrays(loaded), undisturbed)
        assert leftovers(loaded) == []
    assert killed >= 0.8 * rounds  # a child may have been faster than its killer
    assert len(states) >= min(rounds, 10) - 1  # the kills came at different moments


def holds_its_first_unit(connection, loaded, held, go_on):
    """Generate, stopping in the first batch until told to go on; send the batches' seeds."""
    with pytest.MonkeyPatch.context() as patch:
        batches = counted_batches(patch)
        counted = reprostore.generate.sampled_batch

        def held_up(*args):
            if not batches:
                held.set()
                assert go_on.wait(SECONDS)
            return counted(*args)

        patch.setattr(reprostore.generate, "sampled_batch", held_up)
        rows = generate_study(loaded)
    connection.send((batches, rows))


def skips_what_is_held(connection, loaded, waits):
    """Generate, telling when there is nothing left to do but wait; send the batches' seeds."""
    with pytest.MonkeyPatch.context() as patch:
        batches = counted_batches(patch)
        sleep = time.sleep

        def waiting(seconds):
            waits.set()
            sleep(0.01)

        patch.setattr(reprostore.generate.time, "sleep", waiting)
        rows = generate_study(loaded)
        complete = bool(open_store(loaded.store_path).run("net/path/none").status.all())
    connection.send((batches, rows, complete))


def test_a_held_unit_is_skipped_and_waited_for_at_the_end(base, tmp_path, undisturbed):
    loaded = study(base, SEEDS, {"path": PATH}, store=tmp_path / "store.zarr")
    held, waits = CONTEXT.Event(), CONTEXT.Event()
    # the one goes on when the other has done all the rest, and has nothing to do but wait
    first, from_first = child(holds_its_first_unit, loaded, held, waits)
    assert held.wait(SECONDS)
    second, from_second = child(skips_what_is_held, loaded, waits)
    mine, my_rows = received(from_first)
    others, other_rows, complete = received(from_second)
    first.join(SECONDS)
    second.join(SECONDS)
    assert complete
    assert mine == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert others == [list(range(a, min(a + 4, 29))) for a in range(8, 29, 4)]
    assert (my_rows[0]["written"], other_rows[0]["written"]) == (8, 21)
    sessions = arrays(loaded, but=())["net/path/none/session"]
    assert len(set(sessions[:8].tolist())) == len(set(sessions[8:].tolist())) == 1
    assert sessions[0] != sessions[8]
    found = arrays(loaded)
    assert_same_arrays(found, {name: undisturbed[name] for name in found})
    assert leftovers(loaded) == []


def generates_with_another(connection, loaded, barrier):
    with pytest.MonkeyPatch.context() as patch:
        batches = counted_batches(patch)
        barrier.wait(SECONDS)
        rows = generate_study(loaded)
    connection.send((batches, rows))


def test_two_processes_at_once_write_every_unit_once(base, tmp_path, undisturbed):
    loaded = study(base, SEEDS, SAMPLERS, store=tmp_path / "store.zarr")
    barrier = CONTEXT.Barrier(2)
    children = [child(generates_with_another, loaded, barrier) for _ in range(2)]
    results = [received(connection) for _, connection in children]
    for process, _ in children:
        process.join(SECONDS)
        assert process.exitcode == 0
    seeds = np.concatenate([np.concatenate(batches) for batches, _ in results if batches])
    values, counts = np.unique(seeds, return_counts=True)
    assert values.tolist() == list(range(29))
    assert set(counts.tolist()) == {2}  # once in each of the two runs
    for index in range(2):
        assert sum(rows[index]["written"] for _, rows in results) == 29
    assert_same_arrays(arrays(loaded), undisturbed)
    assert leftovers(loaded) == []


def grows_with_another(connection, loaded, barrier):
    barrier.wait(SECONDS)
    connection.send(generate_study(loaded))


def test_two_processes_that_add_different_seeds_lose_nothing(base, tmp_path):
    store = tmp_path / "store.zarr"
    generate_study(study(base, "0-5", {"path": PATH}, store=store))
    barrier = CONTEXT.Barrier(2)
    lists = ["0-5,10-21", "0-5,30-43"]
    children = [
        child(grows_with_another, study(base, seeds, {"path": PATH}, store=store), barrier)
        for seeds in lists
    ]
    for process, connection in children:
        received(connection)
        process.join(SECONDS)
        assert process.exitcode == 0
    loaded = study(base, "0-5,10-21,30-43", {"path": PATH}, store=store)
    assert generate_study(loaded)[0]["written"] == 0
    order = arrays(loaded)["net/path/none/seed"].tolist()
    assert sorted(order) == [*range(6), *range(10, 22), *range(30, 44)]
    seeds = ",".join(map(str, order))
    whole = study(base, seeds, {"path": PATH}, store=tmp_path / "whole.zarr")
    generate_study(whole)
    assert_same_arrays(arrays(loaded), arrays(whole))
