"""The store against a plain NumPy model, killed between any two changes of the file system."""

import shutil
import tempfile
import warnings
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from reprostore import layout
from reprostore.store import create_store, open_store
from reprostore.store.checked import CheckedArray
from reprostore.store.locks import lock_folder
from reprostore.store.reading import run_dataset
from reprostore.store.run import WRITTEN
from reprostore.store.units import digest_of
from reprostore.testing.faults import killed_after
from reprostore.testing.store import fake_probe, fake_states, run_spec, step_table, write_units

# With these limits the four runs have units of four seeds, and one shard per unit (wide),
# shards of all steps of a batch (path), shards of one step of half a batch (deep).
LIMITS = {"UNIT_SEEDS": 4, "SHARD_BYTES": 200}
SPECS = [
    run_spec("wide", sample_shape=(1, 2, 2), steps=(0, 1, 2), batch_size=2, denoised=True),
    run_spec(
        "path",
        kind="trajectory",
        sample_shape=(3, 2),
        steps=(0, 2, 3, 7, 9),
        batch_size=2,
        dtype="float16",
    ),
    run_spec("deep", sample_shape=(1, 4, 4), steps=(1, 5), batch_size=4, denoised=True),
    run_spec("seen", sample_shape=(3, 2, 2), steps=(50,), batch_size=3, dtype="uint8"),
]
EXPECTED_SHARDS = {"wide": (4, 3), "path": (2, 5), "deep": (2, 1), "seen": (6, 1)}
SEEDS = st.lists(st.integers(0, 15), min_size=1, max_size=7, unique=True)
KILL = st.none() | st.integers(0, 125)


@pytest.fixture(autouse=True)
def small_limits(monkeypatch):
    for name, value in LIMITS.items():
        monkeypatch.setattr(layout, name, value)


def states_of(spec, seed):
    """Return sample and denoised of one seed, stacked over steps; denoised may be None."""
    rows = [fake_states(spec, seed, row) for row in range(len(spec.steps))]
    sample = np.stack([row[0] for row in rows])
    return sample, np.stack([row[1] for row in rows]) if rows[0][1] is not None else None


class RunModel:
    """What a run should hold: its seeds in order, and for each written one its states."""

    def __init__(self, spec, seeds):
        self.spec = spec
        self.seeds = list(seeds)
        self.samples = {}
        self.denoised = {}
        self.sessions = {}

    def write(self, seed, session):
        if seed not in self.samples:
            self.samples[seed], self.denoised[seed] = states_of(self.spec, seed)
            self.sessions[seed] = session

    def units(self):
        length = layout.RunLayout.of(self.spec).unit
        return [self.seeds[a : a + length] for a in range(0, len(self.seeds), length)]


def check_run(run, model):
    """Compare all that is stored of a run with the model, bit by bit."""
    written = np.array([seed in model.samples for seed in model.seeds])
    assert run.seeds.tolist() == model.seeds
    assert (run.status == WRITTEN).tolist() == written.tolist()
    held = [seed for seed in model.seeds if seed in model.samples]
    for name, states in [("sample", model.samples), ("denoised", model.denoised)]:
        if name == "denoised" and not model.spec.sampler_spec.denoised:
            continue
        array = CheckedArray(run, name)
        assert array.dtype == np.dtype(model.spec.stored_dtype)
        stored = array[:, :]
        if held:
            expected = np.stack([states[seed] for seed in held])
            np.testing.assert_array_equal(stored[written], expected, strict=True)
    interleaved = {
        seed: [
            state
            for row in range(len(model.spec.steps))
            for state in (model.samples[seed][row], model.denoised[seed] is not None and model.denoised[seed][row])
            if state is not False
        ]
        for seed in held
    }  # fmt: skip
    digests = np.array([digest_of(*interleaved[seed]) for seed in held], dtype=np.uint64)
    assert (run.recorded("digest")[written] == digests).all()
    sessions = [model.sessions[seed] for seed in held]
    assert run.recorded("session")[written].tolist() == sessions
    np.testing.assert_array_equal(run.recorded("noise_probe")[written], fake_probe(held))


def open_tree(path):
    """Open the store as somebody without this package would; a warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xr.open_datatree(path, engine="zarr", chunks={}, consolidated=False) as tree:
            return {node.path.removeprefix("/runs/"): node.to_dataset() for node in tree.leaves}


def check_tree(path, models):
    tree = open_tree(path)
    for name, model in models.items():
        dataset = tree[name]
        shape = (len(model.seeds), len(model.spec.steps), *model.spec.sample_shape)
        assert dataset["sample"].shape == shape
        assert dataset["sample"].dims == ("seed", "step", *model.spec.sample_dims)
        assert dataset["sample"].dtype == np.dtype(model.spec.stored_dtype)
        assert dataset["seed"].values.tolist() == model.seeds
        assert dataset["step"].values.tolist() == list(model.spec.steps)


def leftovers(path):
    """Return temporary files in the store and unfinished groups beside it."""
    staged = [p for p in (lock_folder(path) / "staging").glob("*") if p.suffix != ".lock"]
    return [*path.rglob("*.partial"), *staged]


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
        killed = self.run_or_kill(
            after, lambda: self.store.add_run(spec, step_table(spec), seeds)
        )
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
    run_machine(examples=150, steps=25)


def kill_everywhere(tmp_path, prepare, action, check, stride=1):
    """Kill an action after 0, 1, 2, … changes, until it comes through; check after each kill.

    `prepare` makes a folder's state once; every trial starts from a copy of it.
    """
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    prepare(prepared / "store.zarr")
    for after in range(0, 10_000, stride):
        folder = tmp_path / f"killed-{after}"
        shutil.copytree(prepared, folder)
        with killed_after(folder, after) as fault:
            action(folder / "store.zarr")
        check(folder / "store.zarr", fault.killed)
        shutil.rmtree(folder)
        if not fault.killed:
            assert after > 5  # else the kills missed the store's folder
            return


def test_killed_while_creating_a_store(tmp_path):
    def check(path, killed):
        store = create_store(path)
        assert store.attributes["format"] == 1
        assert store.run_paths() == []
        assert leftovers(path) == []
        if path.exists():
            open_tree(path)

    kill_everywhere(tmp_path, lambda path: None, create_store, check)


def strides(usual):
    """Try every so many changes in the usual run, and all of them among the slow tests."""
    return pytest.mark.parametrize("stride", [usual, pytest.param(1, marks=pytest.mark.slow)])


@strides(23)
def test_killed_while_adding_a_run(tmp_path, stride):
    spec = SPECS[0]

    def action(path):
        open_store(path, mode="r+").add_run(spec, step_table(spec), range(5))

    def check(path, killed):
        open_tree(path)  # at once, without any recovery
        store = open_store(path, mode="r+")
        exists = spec.path in store.run_paths()
        assert exists or killed
        run = store.add_run(spec, step_table(spec), range(5))
        assert len(run.missing_units()) == 2
        assert leftovers(path) == []

    kill_everywhere(tmp_path, create_store, action, check, stride)


@strides(5)
@pytest.mark.parametrize("spec", [SPECS[0], SPECS[2]], ids=lambda spec: spec.model)
def test_killed_while_writing_a_unit(tmp_path, spec, stride):
    seeds = [9, 3, 4, 1, 8, 2, 5]

    def prepare(path):
        run = create_store(path).add_run(spec, step_table(spec), seeds)
        write_units(run, 1, run.units()[:1])

    def action(path):
        run = open_store(path, mode="r+").run(spec.path)
        write_units(run, 2, run.units()[1:2])

    def check(path, killed):
        run = open_store(path, mode="r+").run(spec.path)
        model = RunModel(spec, seeds)
        for seed in model.units()[0]:
            model.write(seed, 1)
        finished = bool((run.status[run.units()[1].start :] == WRITTEN).all())
        assert finished or killed
        for seed in model.units()[1] if finished else []:
            model.write(seed, 2)
        check_run(run, model)
        check_tree(path, {spec.path: model})
        write_units(run, 3)
        for seed in seeds:
            model.write(seed, 3)
        check_run(run, model)
        assert leftovers(path) == []

    kill_everywhere(tmp_path, prepare, action, check, stride)


@strides(4)
@pytest.mark.parametrize("write", [False, True], ids=["resizing", "rewriting"])
def test_killed_while_growing(tmp_path, write, stride):
    spec, old, new = SPECS[0], [9, 3, 4, 1, 8], [2, 9, 5, 0, 7]
    grown = [9, 3, 4, 1, 8, 2, 5, 0, 7]

    def prepare(path):
        run = create_store(path).add_run(spec, step_table(spec), old)
        write_units(run, 1)
        if write:
            run.grow(new)

    def action(path):
        run = open_store(path, mode="r+").run(spec.path)
        if write:
            write_units(run, 2, run.units()[1:2])
        else:
            run.grow(new)

    def check(path, killed):
        run = open_store(path, mode="r+").run(spec.path)  # recovers
        model = RunModel(spec, old if len(run.seeds) == len(old) else grown)
        assert killed or model.seeds == grown
        for seed in old:
            model.write(seed, 1)
        if write and (run.status[4:8] == WRITTEN).all():
            for seed in grown[4:8]:
                model.write(seed, 2)
        check_run(run, model)
        check_tree(path, {spec.path: model})
        run.grow(new)
        write_units(run, 3)
        model.seeds = grown
        for seed in grown:
            model.write(seed, 3)
        check_run(run, model)
        assert leftovers(path) == []

    kill_everywhere(tmp_path, prepare, action, check, stride)
