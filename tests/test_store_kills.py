"""Every action on a store, killed between any two changes of the file system."""

import shutil

import pytest
from store_model import LIMITS, SPECS, RunModel, check_run, check_tree, leftovers, open_tree

from reprostore import layout
from reprostore.store import create_store, open_store
from reprostore.store.run import WRITTEN
from reprostore.testing.faults import killed_after
from reprostore.testing.store import step_table, write_units


@pytest.fixture(autouse=True)
def small_limits(monkeypatch):
    for name, value in LIMITS.items():
        monkeypatch.setattr(layout, name, value)


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
