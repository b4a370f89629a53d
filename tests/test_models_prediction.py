import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from reprostore.models.prediction import (  # noqa: E402
    PREDICTION_TYPES,
    NoiseLevel,
    denoised_from_output,
    output_from_denoised,
    vp_sigmas,
    vp_timestep,
)


def case(sigma):
    """Return x_0, ε and x_t with its level, in float64."""
    generator = torch.Generator().manual_seed(0)
    clean, epsilon = torch.randn((2, 3, 4), generator=generator, dtype=torch.float64)
    alpha = 1 / math.sqrt(1 + sigma**2)
    return clean, epsilon, alpha, alpha * sigma, alpha * (clean + sigma * epsilon)


@pytest.mark.parametrize("sigma", [1e-3, 0.5, 1.0, 157.4])
@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_denoised_and_output_follow_the_definitions(sigma, prediction_type):
    clean, epsilon, alpha, noise, x = case(sigma)
    definition = {
        "epsilon": epsilon,
        "v_prediction": alpha * epsilon - noise * clean,
        "sample": clean,
    }[prediction_type]
    level = NoiseLevel(sigma)
    found = denoised_from_output(prediction_type, x, definition, level)
    # Recovering x_0 from ε magnifies rounding by σ; recovering ε from x_0 by 1/σ.
    torch.testing.assert_close(found, clean, rtol=0, atol=1e-14 * max(1, sigma) * 10)
    back = output_from_denoised(prediction_type, x, clean, level)
    torch.testing.assert_close(back, definition, rtol=0, atol=1e-14 * max(1, 1 / sigma) * 10)


def test_levels_at_both_ends():
    assert (NoiseLevel(0.0).alpha, NoiseLevel(0.0).noise) == (1, 0)
    assert (NoiseLevel(math.inf).alpha, NoiseLevel(math.inf).noise) == (0, 1)
    assert NoiseLevel(0.75).noise == pytest.approx(0.6, rel=1e-15)
    assert NoiseLevel(0.75).alpha == pytest.approx(0.8, rel=1e-15)


def test_timesteps_interpolate_log_sigma_and_clamp_below():
    sigmas = vp_sigmas(torch.tensor([0.5, 0.2, 0.1], dtype=torch.float64))
    np.testing.assert_allclose(sigmas, [1, 2, 3], rtol=1e-15)
    assert vp_timestep(2.0, sigmas) == pytest.approx(1, abs=1e-12)
    assert vp_timestep(math.sqrt(6), sigmas) == pytest.approx(1.5, abs=1e-12)
    assert vp_timestep(0.5, sigmas) == 0


def test_zero_terminal_snr_is_infinite_noise():
    assert vp_sigmas(torch.tensor([0.5, 0.0])).tolist() == [1, math.inf]
