"""Writing large samples takes at most 4 shards and 2 batches of memory, and growing does too."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reprostore.layout import RunLayout

STEPS = 51  # 50 solver steps and the noise before them

_WRITE = """
import json, sys
import numpy as np
import reprostore
from reprostore.store.units import UnitWriter
from reprostore.testing.store import run_spec, step_table

folder, side, batch, seeds, rows = sys.argv[1], *map(int, sys.argv[2:])

def peak():  # of this program: ru_maxrss begins with that of the process which started it
    with open("/proc/self/status") as status:
        [line] = [line for line in status if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024

def write(model, states, seeds, rows):
    spec = run_spec(model, sample_shape=states.shape[1:], steps=range(51), batch_size=batch,
                    denoised=True)
    run = store.add_run(spec, step_table(spec), range(seeds))
    before = peak()
    writer = UnitWriter(run, run.missing_units()[0], 1)
    [slots] = writer.batches(batch)
    for row in range(rows):
        states[:, 0, 0, 0] = row
        writer.put(slots, row, states[:seeds], states[:seeds])
    if rows == 51:
        writer.finish()
    return {"extra": peak() - before, "shard": run.array("sample").shards[:2]}

store = reprostore.create_store(folder)
# A small run first: it loads what is imported late and starts the threads.
write(f"warm-up-{seeds}", np.zeros((batch, 3, 4, 4), np.float32), seeds, 51)
rng = np.random.default_rng(0)
states = rng.standard_normal((batch, 3, side, side), dtype=np.float32)
print(json.dumps(write("large", states, seeds, rows)))
"""


def write_unit(folder, side, batch, seeds, rows):
    """Put rows of a unit in a process of its own; return shard and extra peak memory in bytes.

    The values are noise, which hardly compresses. The batch itself is not counted.
    """
    arguments = [str(folder / "a.zarr"), *map(str, (side, batch, seeds, rows))]
    root = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", _WRITE, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def limit(side, batch, shard):
    """Return 4 shards and 2 batches, where a batch is one state of each of its samples."""
    state = 3 * side * side * 4
    return 4 * shard[0] * shard[1] * state + 2 * batch * state


SIZES = [
    pytest.param(side, batch, marks=[] if (side, batch) == (512, 1) else pytest.mark.slow)
    for side in (512, 1024)
    for batch in (1, 4, 8)
]


@pytest.mark.parametrize(("side", "batch"), SIZES)
def test_writing_takes_at_most_four_shards_and_two_batches(tmp_path, side, batch):
    shard = RunLayout(batch, STEPS, (3, side, side), "float32", denoised=True).shard
    rows = min(STEPS, 2 * shard[1])  # two shards of `sample` where there are two
    used = write_unit(tmp_path, side, batch, seeds=batch, rows=rows)
    assert used["shard"] == list(shard)
    assert used["extra"] > shard[0] * shard[1] * 3 * side * side * 4  # a shard is held: no 0
    assert used["extra"] <= limit(side, batch, shard)


@pytest.mark.slow
@pytest.mark.parametrize("old", [1, 7])
def test_rewriting_the_last_unit_takes_no_more(tmp_path, old):
    side, batch = 512, 8
    write_unit(tmp_path, side, batch, seeds=old, rows=STEPS)
    used = write_unit(tmp_path, side, batch, seeds=batch, rows=STEPS)
    assert used["extra"] <= limit(side, batch, used["shard"])
