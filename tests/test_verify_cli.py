"""`repro verify`: codes, tables and JSON; generate completes what was repaired to the same bits."""

import shutil

import pytest
from commands import RUNS, Repro, contents, write_study
from verifying import RUN, flip, found, make_run, zipped

from reprostore import layout


@pytest.fixture
def repro(capsys):
    return Repro(capsys)


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("intact") / "store.zarr")


@pytest.fixture
def path(intact, tmp_path):
    return shutil.copytree(intact, tmp_path / "store.zarr")


def damage(path):
    flip(path / RUN / "sample" / "c" / "1" / "0" / "0" / "0" / "0", 3)


def test_a_whole_store(repro, path):
    done = repro("verify", path)
    assert (done.code, done.err) == (0, "")
    assert "10 seeds of 1 runs" in done.out
    assert "Nothing is damaged." in done.out
    assert repro("verify", path, "--json").rows == []


def test_damage_is_listed_and_ends_with_3(repro, path):
    damage(path)
    before = contents(path)
    done = repro("verify", path)
    assert (done.code, done.err) == (3, "")
    (line,) = [line for line in done.out.splitlines() if RUN in line]
    assert line.split()[:3] == [f"{RUN}/sample", "20-21", "0"]
    done = repro("verify", path, "--json")
    assert done.code == 3
    (row,) = done.rows
    assert (row["group"], row["seeds"], row["steps"], row["damage"], row["repaired"]) == (
        RUN,
        "20-21",
        "0",
        True,
        False,
    )
    assert done.document["inputs"]["checked"]["seeds"] == 8
    assert contents(path) == before


def test_repair_ends_with_0_and_what_is_left_with_3(repro, path):
    damage(path)
    done = repro("verify", path, "--repair")
    assert done.code == 0
    assert "All of it is repaired." in done.out
    assert repro("verify", path).code == 0
    flip(path / RUN / "seed" / "c" / "0")
    done = repro("verify", path, "--repair", "--json")
    assert done.code == 3
    assert [(row["place"], row["repaired"]) for row in done.rows] == [(f"{RUN}/seed", False)]


def test_packed_and_absent_stores_and_what_is_none(repro, path, tmp_path):
    damage(path)
    packed = zipped(path, tmp_path / "store.zip")
    assert repro("verify", packed).code == 3
    done = repro("verify", packed, "--repair")
    assert done.code == 2
    assert "packed into one file" in done.err
    assert repro("verify", tmp_path / "absent.zarr").code == 2
    (tmp_path / "empty").mkdir()
    assert "is no sample store" in repro("verify", tmp_path / "empty").err


def test_generate_makes_again_what_was_repaired(repro, tmp_path, monkeypatch):
    """Two runs of real networks; every array but `session` is bit for bit what it was."""
    monkeypatch.setattr(layout, "UNIT_SEEDS", 4)
    study = write_study(tmp_path)
    assert repro("generate", study).code == 0
    store = tmp_path / "digits.zarr"
    before = contents(store / "runs")
    for unit, run in enumerate(RUNS):
        flip(store / "runs" / run / "sample" / "c" / str(unit) / "0" / "0" / "0" / "0", 40)
    assert [(kind, seeds) for kind, _, seeds, _ in found(store)] == [
        ("checksum", "0-3"),
        ("checksum", "4-7"),
    ]
    assert repro("verify", store, "--repair").code == 0
    assert [row["written"] for row in repro("generate", study, "--json").rows] == [4, 4]
    after = contents(store / "runs")
    changed = {key for key in before if before[key] != after.get(key)}
    assert changed <= {f"{run}/session/c/{unit}" for unit, run in enumerate(RUNS)}
    assert repro("verify", store).code == 0
