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
import json, resource, sys
import numpy as np
import reprostore
from reprostore.store.units import UnitWriter
from reprostore.testing.store import run_spec, step_table

folder, side, batch, old = sys.argv[1], *map(int, sys.argv[2:])
def spec(model, side, batch):
    return run_spec(model, sample_shape=(3, side, side), steps=range(51), batch_size=batch,
                    denoised=True)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def write(run, states, rows):
    unit = run.missing_units()[0]
    writer = UnitWriter(run, unit, 1)
    for slots in writer.batches(run.spec.batch_size):
        for row in range(rows):
            part = states[: len(slots)]
            part[:, 0, 0, 0] = row
            writer.put(slots, row, part, part)
    if rows == len(run.spec.steps):
        writer.finish()

store = reprostore.create_store(folder)
small = spec("warm-up", 4, 1)  # loads what is imported late and starts the threads
write(store.add_run(small, step_table(small), range(1)), np.zeros((1, 3, 4, 4), np.float32), 51)

large = spec("large", side, batch)
rng = np.random.default_rng(0)
states = rng.standard_normal((batch, 3, side, side), dtype=np.float32)
run = store.add_run(large, step_table(large), range(old or batch))
rows = run.array("sample").shards[1]
if old:
    write(run, states, 51)
    run.grow(range(batch))
    # The peak counts from the start of the process: what was written must have taken less.
before = peak()
write(run, states, 51 if old else min(51, 2 * rows))
print(json.dumps({"extra": peak() - before, "shards": run.array("sample").shards}))
"""


def extra_memory(tmp_path, side, batch, old=0):
    """Measure, in a process of its own, what writing a unit takes above the batch itself."""
    command = [sys.executable, "-c", _WRITE, str(tmp_path / "a.zarr"), *map(str, (side, batch, old))]
    root = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def limit(side, batch):
    layout = RunLayout(batch, STEPS, (3, side, side), "float32", denoised=True)
    state = 3 * side * side * 4
    return 4 * layout.shard[0] * layout.shard[1] * state + 2 * batch * state
