"""The store against a plain NumPy model, killed between any two changes of the file system."""

import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from store_model import EXPECTED_SHARDS, LIMITS, SPECS, RunModel, check_run, check_tree, leftovers

from reprostore import layout
from reprostore.store import create_store, open_store
from reprostore.store.reading import run_dataset
from reprostore.store.run import WRITTEN
from reprostore.testing.faults import killed_after
from reprostore.testing.store import step_table, write_units

SEEDS = st.lists(st.integers(0, 15), min_size=1, max_size=7, unique=True)
KILL = st.none() | st.integers(0, 125)


@pytest.fixture(autouse=True)
def small_limits(monkeypatch):
    for name, value in LIMITS.items():
        monkeypatch.setattr(layout, name, value)


class StoreMachine(RuleBasedStateMachine):
    """Create, add runs, write units in any order, grow, kill, reopen, read."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "store.zarr"
        self.models = {}
        self.sessions = 0

    @initialize(after=st.none() | st.integers(0, 12))
    def create(self, after):
        self.run_or_kill(after, lambda: create_store(self.path, title="test"))
        self.store = create_store(self.path, title="test")  # the same, where it stands already

    def run_or_kill(self, after, action):
        """Do something, killing it after so many changes; say whether it was killed."""
        with killed_after(self.folder, 10**9 if after is None else after) as fault:
            action()
        return fault.killed

    @rule(index=st.integers(0, 3), seeds=SEEDS, after=KILL)
    def add(self, index, seeds, after):
        spec = SPECS[index]
        killed = self.run_or_kill(after, lambda: self.store.add_run(spec, step_table(spec), seeds))
        old = self.models.get(spec.path)
        new = RunModel(spec, [])
        if old is not None:
            new.__dict__.update(old.__dict__)
        new.seeds = new.seeds + [seed for seed in seeds if seed not in new.seeds]
        if not killed:
            self.models[spec.path] = new
            return
        if old is None:  # a new run is there whole or not at all, also before any recovery
            check_tree(self.path, self.models)
        self.reopen()
        if spec.path in self.store.run_paths():
            length = len(self.store.run(spec.path).seeds)
            assert length in {len(new.seeds), len(old.seeds) if old else len(new.seeds)}
            self.models[spec.path] = new if length == len(new.seeds) else old
        else:
            assert old is None

    @precondition(lambda self: self.unfinished())
    @rule(data=st.data(), after=KILL)
    def write(self, data, after):
        path, index = data.draw(st.sampled_from(self.unfinished()))
        run, model = self.store.run(path), self.models[path]
        self.sessions += 1
        unit = run.units()[index]
        killed = self.run_or_kill(after, lambda: write_units(run, self.sessions, [unit]))
        if killed:
            check_tree(self.path, self.models)
            self.reopen()
            finished = (self.store.run(path).status[unit.start : unit.stop] == WRITTEN).all()
        if not killed or finished:
            for seed in model.units()[index]:
                model.write(seed, self.sessions)

    def unfinished(self):
        return [
            (path, index)
            for path, model in sorted(self.models.items())
            for index, seeds in enumerate(model.units())
            if not all(seed in model.samples for seed in seeds)
        ]

    @rule()
    def reopen(self):
        self.store = open_store(self.path, mode="r+")

    @precondition(lambda self: self.models)
    @rule(data=st.data())
    def read(self, data):
        path = data.draw(st.sampled_from(sorted(self.models)))
        model = self.models[path]
        dataset = run_dataset(open_store(self.path).run(path))
        assert dataset["seed"].values.tolist() == [s for s in model.seeds if s in model.samples]
        for seed in dataset["seed"].values.tolist():
            np.testing.assert_array_equal(
                dataset["sample"].sel(seed=seed).values, model.samples[seed], strict=True
            )

    @invariant()
    def equals_the_model(self):
        store = open_store(self.path)
        assert store.run_paths() == sorted(self.models)
        for path, model in self.models.items():
            check_run(store.run(path), model)

    def teardown(self):
        try:
            if hasattr(self, "store"):
                self.complete()
        finally:
            shutil.rmtree(self.folder)

    def complete(self):
        self.reopen()
        for path, model in self.models.items():
            run = self.store.run(path)
            with run.locked():
                pass
            write_units(run, 999)
            for seed in model.seeds:
                model.write(seed, 999)
        self.equals_the_model()
        check_tree(self.path, self.models)
        assert leftovers(self.path) == []


def run_machine(examples, steps):
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_runs_of_this_test_cover_all_kinds_of_shards():
    found = {spec.model: layout.RunLayout.of(spec).shard for spec in SPECS}
    assert found == EXPECTED_SHARDS


def test_store_against_model():
    run_machine(examples=10, steps=10)


@pytest.mark.slow
def test_store_against_model_long():
    run_machine(examples=100, steps=20)
