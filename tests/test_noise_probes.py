"""First values of the noise without torch, against torch itself."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from reprostore.noise_probes import seed_probes

SEEDS = [0, 1, 2, 12345, 2**31, 2**32 - 1]


@pytest.mark.parametrize("count", [*range(1, 50), 64, 3072])
def test_they_are_those_that_torch_draws(count):
    expected = np.full((len(SEEDS), 8), np.nan, dtype=np.float32)
    for row, seed in zip(expected, SEEDS, strict=True):
        drawn = torch.randn(count, generator=torch.Generator("cpu").manual_seed(seed))[:8]
        row[: len(drawn)] = drawn.numpy()
    found = seed_probes(SEEDS, (count,))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


def test_only_the_number_of_values_matters():
    np.testing.assert_array_equal(seed_probes([7], (3, 2, 3)), seed_probes([7], (18,)))
    for shape in [(2,), (17,), (3, 4, 4)]:
        assert seed_probes([], shape).shape == (0, 8)


def test_torch_is_not_loaded():
    code = "import sys, reprostore.noise_probes; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
