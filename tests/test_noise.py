import numpy as np
import pytest
import torch

from reprostore.errors import SpecError
from reprostore.noise import PROBE_LENGTH, initial_noise, noise_probe, sample_generators

SEEDS = [0, 5, 2**32 - 1]


def test_noise_is_torch_randn_of_one_cpu_generator_per_sample():
    noise = initial_noise(sample_generators(SEEDS), (3, 4, 4))
    assert noise.dtype == torch.float32
    assert noise.device.type == "cpu"
    for seed, each in zip(SEEDS, noise, strict=True):
        expected = torch.randn((3, 4, 4), generator=torch.Generator("cpu").manual_seed(seed))
        assert torch.equal(each, expected)


def test_noise_is_that_of_a_diffusers_pipeline():
    randn_tensor = pytest.importorskip("diffusers.utils.torch_utils").randn_tensor
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in SEEDS]
    expected = randn_tensor((3, 1, 8, 8), generator=generators, dtype=torch.float32)
    assert torch.equal(initial_noise(sample_generators(SEEDS), (1, 8, 8)), expected)


def test_noise_does_not_touch_or_use_the_global_generator():
    before = torch.random.get_rng_state()
    first = initial_noise(sample_generators([3]), (8,))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(1)
    assert torch.equal(initial_noise(sample_generators([3]), (8,)), first)


def test_seeds_may_be_numpy_integers():
    seeds = np.array([1, 2], dtype=np.int64)
    ours = initial_noise(sample_generators(seeds), (9,))
    assert torch.equal(ours, initial_noise(sample_generators([1, 2]), (9,)))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_out_of_range_are_refused(seed):
    with pytest.raises(SpecError, match=rf"seed {seed} is out of range.*0 to 4294967295"):
        sample_generators([0, seed])


def test_torch_ignores_high_bits_of_a_seed_which_is_why_they_are_refused():
    low, high = (torch.Generator("cpu").manual_seed(seed) for seed in (5, 5 + 2**32))
    assert torch.equal(torch.randn(9, generator=low), torch.randn(9, generator=high))


@pytest.mark.parametrize("shape", [(1, 28, 28), (4, 64, 64), (2, 3), (1,)])
def test_probe_holds_the_first_values_padded_with_nan(shape):
    noise = initial_noise(sample_generators([1, 2]), shape)
    probe = noise_probe(noise)
    assert probe.shape == (2, PROBE_LENGTH)
    assert probe.dtype == np.float32
    count = min(PROBE_LENGTH, int(np.prod(shape)))
    np.testing.assert_array_equal(probe[:, :count], noise.numpy().reshape(2, -1)[:, :count])
    assert np.isnan(probe[:, count:]).all()
