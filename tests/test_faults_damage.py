"""Damaged files of a generated store: found exactly, repaired, and generated again to the bit."""

import itertools
import shutil

import pytest
from commands import Repro
from fault_workers import assert_kept, opens_in_xarray, written_states
from generating import (
    FINAL,
    PATH,
    arrays,
    assert_same_arrays,
    files,
    leftovers,
    small_units,
    study,
)

from reprostore.errors import CorruptionError, FormatError
from reprostore.sharing.checks.run_forms import STEP_ARRAYS
from reprostore.store import open_store
from reprostore.store.run import SEED_ARRAYS
from reprostore.studies import generate_study
from reprostore.testing.models import tiny_checkpoint

SAMPLERS = {"final": FINAL, "path": PATH}
SEEDS = "0-28"  # units of eight seeds
RUN, OTHER = "net/path/none", "net/final/none"
SHARD = f"runs/{RUN}/sample/c/1/0/0/0/0"  # seeds 4-7, steps 0-3
DENOISED = f"runs/{RUN}/denoised/c/2/1/0/0/0"  # seeds 8-11, steps 2-3
LAST = f"runs/{OTHER}/sample/c/3/0/0/0/0"  # seeds 24-28, step 3


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
def whole(base):
    loaded = study(base, SEEDS, SAMPLERS)
    with small_units():
        generate_study(loaded)
    return loaded.store_path, arrays(loaded), written_states(loaded.store_path)


@pytest.fixture
def loaded(base, tmp_path, whole):
    return study(base, SEEDS, SAMPLERS, store=shutil.copytree(whole[0], tmp_path / "s.zarr"))


@pytest.fixture
def repro(capsys):
    return Repro(capsys)


DAMAGES = {
    "truncated": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "empty": lambda file: file.write_bytes(b""),
    "deleted": lambda file: file.unlink(),
}


def damaged_rows(repro, loaded, code, *options):
    """Return the damage that `repro verify` lists."""
    done = repro("verify", loaded.store_path, "--json", *options)
    assert done.code == code, done.err
    return [row for row in done.rows if row["damage"]]


def check_repaired(repro, loaded, whole, lost, written):
    """Repair a store, then generate it; nothing else may be lost in between."""
    damaged_rows(repro, loaded, 0, "--repair")
    assert damaged_rows(repro, loaded, 0) == []
    opens_in_xarray(loaded.store_path)
    kept = written_states(loaded.store_path)
    assert len(kept) == len(whole[2]) - len(lost)
    assert_kept(whole[2], kept, but=lost)
    rows = generate_study(loaded)
    assert sum(row["written"] for row in rows) == written
    assert_same_arrays(arrays(loaded), whole[1])
    assert leftovers(loaded) == []
    assert damaged_rows(repro, loaded, 0) == []


SHARDS = {
    "sample": (SHARD, RUN, "4-7", "0-3", range(4, 8)),
    "denoised": (DENOISED, RUN, "8-11", "2-3", range(8, 12)),
    "last": (LAST, OTHER, "24-28", "3", range(24, 29)),
}


def some(*usual, of):
    """Try a few combinations in the usual run, and all among the slow tests."""
    marks = {case: () if case in usual else pytest.mark.slow for case in of}
    assert set(usual) <= set(marks)
    return [pytest.param(*case, marks=marks[case], id="-".join(case)) for case in marks]


@pytest.mark.parametrize(
    ("where", "how"),
    some(
        ("sample", "truncated"),
        ("denoised", "deleted"),
        ("last", "zeros"),
        of=itertools.product(SHARDS, DAMAGES),
    ),
)
def test_a_damaged_shard(repro, loaded, whole, where, how):
    key, run, seeds, steps, lost = SHARDS[where]
    DAMAGES[how](loaded.store_path / key)
    (row,) = damaged_rows(repro, loaded, 3)
    assert (row["group"], row["seeds"], row["steps"]) == (f"runs/{run}", seeds, steps)
    assert row["repairable"]
    check_repaired(repro, loaded, whole, {(run, seed) for seed in lost}, len(lost))


@pytest.mark.parametrize(
    ("array", "how"),
    some(("digest", "zeros"), of=itertools.product(["digest", "session", "noise_probe"], DAMAGES)),
)
def test_a_damaged_file_beside_the_states(repro, loaded, whole, array, how):
    key = f"runs/{RUN}/{array}/c/1" + ("/0" if array == "noise_probe" else "")
    DAMAGES[how](loaded.store_path / key)
    (row,) = damaged_rows(repro, loaded, 3)
    assert (row["group"], row["seeds"]) == (f"runs/{RUN}", "8-15")
    check_repaired(repro, loaded, whole, {(RUN, seed) for seed in range(8, 16)}, 8)


def test_a_deleted_file_of_status_makes_its_seeds_missing(loaded, whole):
    """Only status says what is written, so that this is no damage; the bits come out the same."""
    (loaded.store_path / f"runs/{RUN}/status/c/2").unlink()
    kept = written_states(loaded.store_path)
    assert_kept(whole[2], kept, but={(RUN, seed) for seed in range(16, 24)})
    assert [row["written"] for row in generate_study(loaded)] == [0, 8]
    assert_same_arrays(arrays(loaded), whole[1])


@pytest.mark.parametrize(
    "array",
    some(("sample",), ("status",), of=[(name,) for name in (*SEED_ARRAYS, *STEP_ARRAYS)]),
)
def test_a_deleted_zarr_json_of_an_array(repro, loaded, whole, array):
    (loaded.store_path / f"runs/{RUN}/{array}/zarr.json").unlink()
    rows = damaged_rows(repro, loaded, 3)
    assert {row["group"] for row in rows} == {f"runs/{RUN}"}
    assert f"runs/{RUN}/{array}" in {row["place"] for row in rows}
    check_repaired(repro, loaded, whole, set(), 0)


@pytest.mark.parametrize(
    "group", some(("runs/net",), of=[("runs",), ("runs/net",), ("runs/net/path",), ("sessions",)])
)
def test_a_deleted_zarr_json_of_a_group_on_the_way(repro, loaded, whole, group):
    (loaded.store_path / group / "zarr.json").unlink()
    (row,) = damaged_rows(repro, loaded, 3)
    assert row["place"] == group
    assert len(written_states(loaded.store_path)) == 58
    check_repaired(repro, loaded, whole, set(), 0)


def test_a_deleted_session(repro, loaded, whole):
    (session,) = (loaded.store_path / "sessions").glob("*/")
    shutil.rmtree(session)
    rows = damaged_rows(repro, loaded, 3)
    assert {row["kind"] for row in rows} == {"session"}
    check_repaired(repro, loaded, whole, set(), 0)


def test_a_run_without_its_zarr_json_is_told_and_made_again_when_its_folder_is_deleted(
    repro, loaded, whole
):
    """What the run is stands nowhere else, so that nothing in the store can be put in its place."""
    folder = loaded.store_path / "runs" / RUN
    (folder / "zarr.json").unlink()
    before = files(loaded.store_path)
    (row,) = damaged_rows(repro, loaded, 3)
    assert (row["group"], row["repairable"]) == (f"runs/{RUN}", False)
    assert "delete" in row["action"]
    (row,) = damaged_rows(repro, loaded, 3, "--repair")
    with pytest.raises(CorruptionError, match=r"cannot be read .* from a copy, or delete") as error:
        generate_study(loaded)
    assert str(folder) in str(error.value)
    assert files(loaded.store_path) == before
    shutil.rmtree(folder)
    assert [row["written"] for row in generate_study(loaded)] == [0, 29]
    assert_same_arrays(arrays(loaded), whole[1])
    assert damaged_rows(repro, loaded, 0) == []


def test_a_store_without_its_zarr_json_is_left_alone(repro, loaded, whole):
    (loaded.store_path / "zarr.json").unlink()
    before = files(loaded.store_path)
    with pytest.raises(FormatError, match=r"has no zarr\.json with a reprostore entry"):
        generate_study(loaded)
    assert repro("verify", loaded.store_path).code == 2
    assert files(loaded.store_path) == before
    shutil.copy(whole[0] / "zarr.json", loaded.store_path)
    assert [row["written"] for row in generate_study(loaded)] == [0, 0]
    assert open_store(loaded.store_path).run_paths() == [OTHER, RUN]


def test_damage_is_no_obstacle_to_other_runs_of_the_study(loaded, whole):
    """`generate` of a damaged store does not touch what is damaged, nor call it written anew."""
    file = loaded.store_path / SHARD
    DAMAGES["zeros"](file)
    shutil.rmtree(loaded.store_path / "runs" / OTHER)
    damaged = file.read_bytes()
    assert [row["written"] for row in generate_study(loaded)] == [29, 0]
    assert file.read_bytes() == damaged
