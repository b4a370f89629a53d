"""Memory of neighbors and AuthPct at the size of CIFAR-10, measured in a process of its own."""

import sys

import numpy as np
import pytest
from commands import subpython

CODE = """
import sys
import numpy as np
from reprostore_analyses.memorization_options import MemorizationOptions
from reprostore_analyses.metrics import RUN_METRICS
from reprostore_analyses.metrics.evidence import Evidence, Space

folder, samples, items = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

def rows(name, count):
    return np.memmap(f"{folder}/{name}", mode="r", dtype=np.float32, shape=(count, 512))

def peak():  # of this program: ru_maxrss begins with that of the process which started it
    with open("/proc/self/status") as status:
        [line] = [line for line in status if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024

space = Space(rows("generated", samples), rows("train", items), k=50)
evidence = Evidence(encoder=space, pixels=space, cosine=True, item_shape=(1, 16, 32),
                    rng=lambda: np.random.default_rng(0))
import faiss
before = peak()
metric = RUN_METRICS["authpct"]
score = metric.compute(evidence, "generated", "train", MemorizationOptions())
print(score.value, before, peak())
"""


@pytest.mark.slow
def test_authpct_of_10_000_samples_against_60_000_items_in_1_5_gb(tmp_path):
    rng = np.random.default_rng(0)
    for name, count in (("generated", 10_000), ("train", 60_000)):
        target = np.memmap(tmp_path / name, mode="w+", dtype=np.float32, shape=(count, 512))
        for start in range(0, count, 5000):
            target[start : start + 5000] = rng.normal(size=(5000, 512))
        target.flush()
    done = subpython("-c", CODE, tmp_path, 10_000, 60_000, timeout=1200)
    assert done.code == 0, done.err
    value, before, after = (float(text) for text in done.out.split())
    sys.stderr.write(
        f"AuthPct {value}, {before / 1e6:.0f} MB before, {after / 1e6:.0f} MB at most\n"
    )
    assert 0 < value < 100
    assert after < 1.5e9
