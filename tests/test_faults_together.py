"""Eight processes at work in one store: on the same runs, on different ones, and in parts."""

import subprocess
import sys

import pytest
from commands import environment, subrepro
from fault_workers import SECONDS, all_at_once, damage
from generating import (
    CONTEXT,
    FINAL,
    PATH,
    arrays,
    assert_same_arrays,
    leftovers,
    small_units,
    study,
)

from reprostore.store import open_store
from reprostore.studies import generate_study
from reprostore.study import load_study
from reprostore.testing.models import tiny_checkpoint

SAMPLERS = {"final": FINAL, "path": PATH}
SEEDS = "0-28"  # four units of each run
NAMES = tuple("abcdefgh")


@pytest.fixture(autouse=True)
def _small_units():
    with small_units():
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(NAMES):
        tiny_checkpoint(folder / name, seed=seed)
    return folder


@pytest.fixture(scope="module")
def alone(base):
    """Return all arrays but `session` of a store that one process has made."""
    loaded = study(base, SEEDS, SAMPLERS, NAMES)
    with small_units():
        generate_study(loaded)
    return arrays(loaded)


def check_complete(loaded, alone, rows):
    """Everything is there once, with the bits of one process, and nothing else."""
    found = arrays(loaded)
    assert_same_arrays(found, {name: alone[name] for name in found})
    for path in open_store(loaded.store_path).run_paths():
        assert sum(r["written"] for own in rows for r in own if r["run"] == path) == 29
    assert leftovers(loaded) == []
    assert damage(loaded.store_path) == []


@pytest.mark.parametrize("count", [pytest.param(2, marks=pytest.mark.slow), 8])
def test_processes_on_the_same_runs(base, tmp_path, alone, count):
    loaded = study(base, SEEDS, SAMPLERS, ("a",), store=tmp_path / "s.zarr")
    rows = all_at_once(CONTEXT, [loaded] * count)
    check_complete(loaded, alone, rows)
    assert len(open_store(loaded.store_path).run_paths()) == 2


@pytest.mark.parametrize("count", [pytest.param(2, marks=pytest.mark.slow), 8])
def test_processes_on_different_runs_of_a_store_that_does_not_exist_yet(
    base, tmp_path, alone, count
):
    store = tmp_path / "s.zarr"
    own = [study(base, SEEDS, SAMPLERS, (name,), store=store) for name in NAMES[:count]]
    rows = all_at_once(CONTEXT, own)
    check_complete(own[0], alone, rows)
    assert len(open_store(store).run_paths()) == 2 * count
    assert [[row["written"] for row in each] for each in rows] == [[29, 29]] * count


def test_eight_parts_at_once(base, tmp_path, alone):
    loaded = study(base, SEEDS, SAMPLERS, NAMES[:3], store=tmp_path / "s.zarr")
    rows = all_at_once(CONTEXT, [loaded] * 8, [f"{k}/8" for k in range(1, 9)])
    check_complete(loaded, alone, rows)
    assert len(open_store(loaded.store_path).run_paths()) == 6
    # 24 units, of 8, 8, 8 and 5 seeds in each run: three to each part
    assert [sum(row["written"] for row in own) for own in rows] == [24, 21, 21, 21] * 2


STUDY = """\
store = "s.zarr"
seeds = "0-1100"
batch_size = 128
[models.a]
source = "a"
[models.b]
source = "b"
[samplers.ddim1]
scheduler = "ddim"
steps = 1
"""


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 8])
def test_a_job_array_of_the_command_gives_the_store_of_one_command(tmp_path, count):
    for seed, name in enumerate("ab"):
        tiny_checkpoint(tmp_path / name, seed=seed)
    path, whole = tmp_path / "study.toml", tmp_path / "whole.toml"
    path.write_text(STUDY, encoding="utf-8")
    whole.write_text(STUDY.replace("s.zarr", "whole.zarr"), encoding="utf-8")
    commands = [
        [
            sys.executable,
            "-m",
            "reprostore_cli",
            "generate",
            path,
            "--part",
            f"{k}/{count}",
            "--json",
        ]
        for k in range(1, count + 1)
    ]
    jobs = [
        subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for command in commands
    ]
    ends = [job.communicate(timeout=SECONDS) for job in jobs]
    assert [(job.returncode, err) for job, (_, err) in zip(jobs, ends, strict=True)] == [
        (0, "")
    ] * count
    alone = subrepro("generate", whole, "--json")
    assert (alone.code, alone.err) == (0, "")
    assert_same_arrays(arrays(load_study(path)), arrays(load_study(whole)))
    assert damage(tmp_path / "s.zarr") == []
