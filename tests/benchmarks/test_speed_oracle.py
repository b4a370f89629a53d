"""Speed and memory of the oracle, each against its measure in the same run.

Set REPROSTORE_MNIST to an .npz file with `x_train`, (60000, 28, 28) uint8, to measure with MNIST;
random images of that shape stand for it otherwise.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import zarr
from sides import compare

from reprostore.models.items import Items
from reprostore.models.oracle import OptimalDenoiser

BATCH = 64


def mnist():
    path = os.environ.get("REPROSTORE_MNIST")
    if path is None:
        return np.random.default_rng(0).integers(0, 256, (60_000, 28, 28), np.uint8)
    return np.load(path)["x_train"]


def images(name):
    if name == "3x32x32":
        shape = (10_000, 3, 32, 32)
        return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    return (mnist()[:, None] / 127.5 - 1).astype(np.float32)


def oracle(values):
    items = Items(len(values), values.shape[1:], lambda start, stop: values[start:stop])
    return OptimalDenoiser(items, torch.device("cpu"))


def inputs(values, sigma):
    noise = torch.randn(BATCH, *values.shape[1:], dtype=torch.float64)
    x = torch.from_numpy(values[:BATCH]).double() + sigma * noise
    return x, torch.full((BATCH,), sigma, dtype=torch.float64)


@pytest.mark.parametrize("sigma", [0.01, 3.0])
@pytest.mark.parametrize("name", ["3x32x32", "mnist"])
def test_against_the_two_matrix_products_that_it_needs(benchmark, name, sigma):
    """At most 2 times the products of float64: batch by items, and weights by items."""
    values = images(name)
    denoiser, (x, levels) = oracle(values), inputs(values, sigma)
    flat = torch.from_numpy(values.reshape(len(values), -1)).double()
    weights = torch.rand(BATCH, len(values), dtype=torch.float64)
    compare(
        benchmark,
        lambda: denoiser(x, levels),
        lambda: (torch.mm(x.flatten(1), flat.T), torch.mm(weights, flat)),
    )


def test_against_the_broadcast_evaluation(benchmark):
    """At most 1/50 of (batch, block, pixels) in float64; 200 items stand for all 10,000."""
    values = images("3x32x32")
    denoiser, (x, levels) = oracle(values), inputs(values, 3.0)
    block = torch.from_numpy(values[:200].reshape(200, -1)).double()

    def broadcast():
        logits = -(x.flatten(1)[:, None] - block).square().sum(2) / (2 * levels[:, None] ** 2)
        return (torch.softmax(logits, 1)[:, :, None] * block).sum(1)

    compare(
        benchmark,
        lambda: denoiser(x, levels),
        broadcast,
        repeats=5,
        times=len(values) // len(block),
    )


MEASURE = """
import pathlib, sys, numpy, torch, zarr
from reprostore.models.items import Items
from reprostore.models.oracle import OptimalDenoiser

def memory(kind):
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split(kind + ":")[1].split()[0]) / 1024

stored, count = zarr.open_array(sys.argv[1], mode="r"), int(sys.argv[2])
read = lambda start, stop: stored[start:stop]
x, sigma = torch.randn(64, *stored.shape[1:]), torch.ones(64)
few = Items(64, stored.shape[1:], read)
OptimalDenoiser(few, torch.device("cpu"))(x, sigma)
before = memory("VmRSS")
OptimalDenoiser(Items(count, stored.shape[1:], read), torch.device("cpu"))(x, sigma)
print(memory("VmHWM") - before)
"""


def test_memory_of_items_that_are_streamed(benchmark, tmp_path):
    """Four times as many items, 1.3 GB, take about the same: memory is bounded by the block."""
    array = zarr.create_array(
        tmp_path / "items.zarr", shape=(107_520, 3, 32, 32), chunks=(1024, 3, 32, 32), dtype="f4"
    )
    for start in range(0, array.shape[0], 10_240):
        part = np.random.default_rng(start).uniform(-1, 1, array[start : start + 10_240].shape)
        array[start : start + 10_240] = part.astype("f4")

    def measure():
        for key, count in (
            ("extra_mib_quarter", array.shape[0] // 4),
            ("extra_mib", array.shape[0]),
        ):
            command = [sys.executable, "-c", MEASURE, str(tmp_path / "items.zarr"), str(count)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            benchmark.extra_info[key] = float(done.stdout)

    benchmark.pedantic(measure)
