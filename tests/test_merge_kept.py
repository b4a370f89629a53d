"""Samples that stay in a merged store are read: what their digests say is no proof of them."""

import shutil

import pytest
from merging import by_seed, laboratory, run_of, small_units
from stores import content

from reprostore.errors import CorruptionError
from reprostore.sharing.merge import merge_stores
from reprostore.sharing.repair import repair_store
from reprostore.sharing.verify import verify_store
from reprostore.store import open_store

SPEC = run_of()


@pytest.fixture(autouse=True)
def _small_units(monkeypatch):
    small_units(monkeypatch)


@pytest.fixture
def stores(tmp_path):
    """Two stores with the seeds 0 to 11 and 4 to 15 of one run."""
    a = laboratory(tmp_path / "a.zarr", [(SPEC, range(12))])
    b = laboratory(tmp_path / "b.zarr", [(SPEC, range(4, 16))])
    return a.path, b.path


def cut(path, unit):
    """Cut a shard of a work unit in half."""
    shard = next(p for p in (path / "runs" / SPEC.path / "sample" / "c" / str(unit)).rglob("*")
                 if p.is_file())  # fmt: skip
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_damaged_sample_that_would_stay_is_an_error(stores, dry_run):
    a, b = stores
    cut(a, 2)
    before = content(a)
    with pytest.raises(CorruptionError) as error:
        merge_stores(a, [b], dry_run=dry_run)
    found, _, action = error.value.parts
    assert f"the run {SPEC.path} is damaged at the seeds 8-11" in found
    assert action == (
        f"Run `repro verify {a} --repair`, and merge again: these samples are then taken from b."
    )
    assert content(a) == before


def test_what_the_message_says_brings_the_samples_back(stores, tmp_path):
    a, b = stores
    whole = by_seed(shutil.copytree(a, tmp_path / "whole.zarr"), SPEC.path)
    cut(a, 2)
    store = open_store(a, mode="r+")
    assert repair_store(store, verify_store(store)) == []
    (row,) = (row for row in merge_stores(a, [b]) if row["kind"] == "run")
    assert (row["copied"], row["equal"]) == (8, 4)
    assert verify_store(open_store(a)).damage == []
    merged = by_seed(a, SPEC.path)
    assert {seed: merged[seed]["sample"] for seed in whole} == {
        seed: values["sample"] for seed, values in whole.items()
    }


def test_states_of_other_digests_that_would_stay_are_an_error(stores):
    a, b = stores
    run = open_store(a, mode="r+").run(SPEC.path)
    values = run.array("denoised")[...]
    values[5, 1] += 1
    run.array("denoised")[...] = values  # with a checksum of its own
    with pytest.raises(CorruptionError, match="at the seeds 5 are others than their digests say"):
        merge_stores(a, [b])


def test_samples_that_only_one_side_has_are_not_compared(stores):
    a, b = stores
    cut(a, 0)  # the seeds 0 to 3, of which the other side says nothing
    assert [row["copied"] for row in merge_stores(a, [b]) if row["kind"] == "run"] == [4]
