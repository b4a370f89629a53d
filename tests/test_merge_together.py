"""Merging in every layout, and while other processes write into the same store."""

import numpy as np
import pytest
from merging import by_seed, laboratory, open_tree, run_of, shifted, small_units
from store_model import EXPECTED_SHARDS, SPECS, leftovers
from stores import add, finish, python

from reprostore.errors import IdentityError
from reprostore.sharing.merge import merge_stores
from reprostore.sharing.merging.runs import MergedRun
from reprostore.sharing.merging.states import States
from reprostore.store import create_store, open_store
from reprostore.store.checked import CheckedArray
from reprostore.testing.store import write_units


@pytest.fixture(autouse=True)
def _small_units(monkeypatch):
    small_units(monkeypatch)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.model)
def test_every_layout_of_shards(tmp_path, spec):
    a = laboratory(tmp_path / "a.zarr", [(spec, [11, 3, 4, 9, 0])])
    b = laboratory(tmp_path / "b.zarr", [(spec, [8, 0, 7, 1, 11, 2, 5, 30])])
    assert a.runs()[0].array("sample").shards[:2] == EXPECTED_SHARDS[spec.model]
    expected = by_seed(b.path, spec.path) | by_seed(a.path, spec.path)
    merge_stores(a.path, [b.path])
    assert by_seed(a.path, spec.path) == expected
    run = open_store(a.path).run(spec.path)
    assert run.seeds.tolist() == [11, 3, 4, 9, 0, 8, 7, 1, 2, 5, 30]
    for name in ["sample", "denoised"] if spec.sampler_spec.denoised else ["sample"]:
        assert CheckedArray(run, name)[:, :].shape[:2] == (11, len(spec.steps))
    open_tree(a.path)
    assert leftovers(a.path) == []


def test_scattered_slots_are_read_in_the_order_asked_for(tmp_path):
    spec = SPECS[2]
    run = laboratory(tmp_path / "a.zarr", [(spec, range(13))]).runs()[0]
    slots = np.asarray([12, 0, 5, 6, 1, 11])
    for name in ("sample", "denoised"):
        for row in range(2):
            whole = CheckedArray(run, name)[:, row]
            np.testing.assert_array_equal(States(run).read(name, slots, row), whole[slots])
            assert States(run).read(name, slots[:0], row).shape == (0, 1, 4, 4)


def test_seeds_are_found_whatever_their_order():
    merged = MergedRun(SPECS[0], None, [], on_disk=False, withheld=False)
    asked = np.asarray([5, 2**32 - 1, 0, 7])
    assert merged.positions(asked).tolist() == [-1] * 4
    merged.seeds = np.asarray([7, 0, 2**32 - 1, 4])
    assert merged.positions(asked).tolist() == [-1, 2, 1, 0]


@pytest.mark.parametrize("by", [0.0, 0.5])
def test_seeds_that_were_generated_while_stores_were_merged(tmp_path, by):
    spec = run_of()
    a = create_store(tmp_path / "a.zarr")
    b = laboratory(tmp_path / "b.zarr", [(spec, range(12))])

    def generate(name, done, total):
        if done == 4:
            run = open_store(a.path, mode="r+").run(spec.path)
            write_units(run, a.start_session({}), run.units()[2:], states=shifted(by))

    if by:
        with pytest.raises(IdentityError, match="seeds 8-11 of the run unet/"):
            merge_stores(a.path, [b.path], progress=generate)
        return
    merge_stores(a.path, [b.path], progress=generate)
    found, expected = by_seed(a.path, spec.path), by_seed(b.path, spec.path)
    for seed, values in expected.items():
        assert found[seed] | {"session": 0} == values | {"session": 0}


MERGE = """
import sys
from pathlib import Path
from reprostore import layout
layout.UNIT_SEEDS, layout.SHARD_BYTES = 4, 200
from reprostore.sharing.merge import merge_stores
sys.stdin.readline()
merge_stores(Path(sys.argv[1]), [Path(sys.argv[2])])
"""


@pytest.mark.slow  # two processes that import the package
def test_two_processes_merge_into_one_store(tmp_path):
    spec, own = run_of(), run_of("own", weights="1" * 64)
    target = laboratory(tmp_path / "c.zarr", [(spec, [100])])
    parts = {
        "a": laboratory(tmp_path / "a.zarr", [(spec, range(8)), (own, range(9))]),
        "b": laboratory(tmp_path / "b.zarr", [(spec, range(4, 12)), (own, range(9))]),
    }
    processes = [python(MERGE, target.path, store.path) for store in parts.values()]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        finish(process)
    expected = {}
    for store in parts.values():
        for seed, values in by_seed(store.path, spec.path).items():
            expected[seed] = {**values, "session": 0}
    found = by_seed(target.path, spec.path)
    assert sorted(found) == [*range(12), 100]
    for seed, values in expected.items():
        assert {**found[seed], "session": 0} == values
    open_tree(target.path)
    assert add(open_store(target.path, mode="r+"), own, range(9)).missing_units() == []
