"""Processes killed at random moments, round after round, while others work in the same store."""

import contextlib
import random
import shutil
import signal
import time

import pytest
from fault_workers import (
    SECONDS,
    assert_kept,
    damage,
    generate_from,
    opens_in_xarray,
    received,
    shape_of,
    wait_until,
    written_states,
)
from generating import CONTEXT, FINAL, PATH, arrays, child, leftovers, small_units, study

from reprostore.store import open_store
from reprostore.studies import generate_study
from reprostore.testing.models import tiny_checkpoint

SAMPLERS = {"final": FINAL, "path": PATH}
ROUNDS_OF_A_STORE = 10
SEEDS_OF_A_ROUND = (3, 14)
DEATHS = 0.6
"""Of the rounds, at least; a process may be faster than its killer."""


@pytest.fixture(autouse=True)
def _small_units():
    with small_units():
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny_checkpoint(folder / "net")
    return folder


def reference(base, seeds):
    """Return what one process that nothing disturbs writes, with its states."""
    loaded = study(base, f"0-{seeds - 1}", SAMPLERS)
    with small_units():
        generate_study(loaded)
    return arrays(loaded), written_states(loaded.store_path)


def shortest_life(base):
    """Return the seconds from start to end of a process that has as little to do as any here."""
    loaded = study(base, f"0-{SEEDS_OF_A_ROUND[0] - 1}", SAMPLERS, store="alone.zarr")
    barrier = CONTEXT.Barrier(2)
    process, connection = child(generate_from, loaded, barrier)
    barrier.wait(SECONDS)
    started = time.monotonic()
    received(connection)
    lived = time.monotonic() - started
    process.join(SECONDS)
    shutil.rmtree(loaded.store_path)
    return lived


def one_round(loaded, rng, lifetime):
    """Start two processes and kill one or both at a random moment of their lives.

    They share all units, or have a part each.

    Returns
    -------
    died, meant : int
        How many were killed while they lived, and how many were to be.
    complete : bool
        Whether the one that was left had all units, and so has finished the study.
    """
    barrier = CONTEXT.Barrier(3)
    parts = rng.choice([[None, None], ["1/2", "2/2"]])
    children = [child(generate_from, loaded, barrier, part) for part in parts]
    victims = rng.choice([[0], [1], [0, 1]])
    barrier.wait(SECONDS)
    started = time.monotonic()
    for victim in victims:
        wait_until(started + rng.uniform(0, lifetime))
        with contextlib.suppress(ProcessLookupError):  # it came to its end just now
            children[victim][0].kill()
    for number, (process, connection) in enumerate(children):
        if number not in victims:
            received(connection)
        process.join(SECONDS)
        connection.close()
        assert process.exitcode in ((0, -signal.SIGKILL) if number in victims else (0,))
    died = sum(process.exitcode == -signal.SIGKILL for process, _ in children)
    return died, len(victims), parts[0] is None and len(victims) == 1


def check_same_as_alone(loaded, whole, count):
    """Compare a complete store of `count` seeds with that of an undisturbed process."""
    found = arrays(loaded)
    assert found.keys() == whole.keys()
    for name, values in found.items():
        expected = whole[name] if len(whole[name]) == len(values) else whole[name][:count]
        assert values.tobytes() == expected.tobytes(), name


def kill_for(rounds, base, folder, whole, states):
    """Kill for so many rounds, and for more where processes came to their end before.

    Returns
    -------
    rounds, deaths, grown : int
        How many rounds there were, how many processes died, and after how many rounds a run was
        left half lengthened.
    shapes : set
        The states that were seen.
    """
    rng, deaths, grown, shapes = random.Random(rounds), 0, 0, set()
    lifetime, of_a_store = shortest_life(base) / 2, min(rounds, ROUNDS_OF_A_STORE)
    for number in range(10 * rounds):
        path = folder / f"{number // of_a_store}.zarr"
        if number % of_a_store == 0:
            if number >= rounds and deaths >= DEATHS * number:
                return number, deaths, grown, shapes
            count, before = 0, {}
        count += rng.randint(*SEEDS_OF_A_ROUND)
        loaded = study(base, f"0-{count - 1}", SAMPLERS, store=path)
        died, meant, complete = one_round(loaded, rng, lifetime)
        deaths += died
        lifetime *= 1.1 if died == meant else 0.8  # follows what a round takes on this machine
        shapes.add(shape_of(path))
        after = written_states(path)
        assert_kept(before, after)
        assert_kept(after, states)
        assert not complete or len(after) == 2 * count
        if path.exists():
            if any(run.is_half_grown() for run in open_store(path).runs()):
                grown += 1
                assert {kind for _, kind, _, _ in damage(path)} == {"length"}
            opens_in_xarray(path)  # which opens it for writing where a run is half lengthened
            assert damage(path) == []
            assert_kept(after, written_states(path))
        before = after
        if number % of_a_store == of_a_store - 1:
            generate_study(loaded)
            check_same_as_alone(loaded, whole, count)
            assert leftovers(loaded) == []
            assert damage(path) == []
    pytest.fail(f"{deaths} deaths in {number + 1} rounds")


@pytest.mark.parametrize("rounds", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_what_was_written_outlives_every_kill(base, tmp_path, rounds, record_property):
    whole, states = reference(base, min(rounds, ROUNDS_OF_A_STORE) * SEEDS_OF_A_ROUND[1])
    done, deaths, grown, shapes = kill_for(rounds, base, tmp_path, whole, states)
    record_property("rounds", done)
    record_property("deaths", deaths)
    record_property("states", len(shapes))
    record_property("half_lengthened", grown)
    assert len(shapes) >= min(rounds, 20) - 1  # the kills came at different moments
