import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from reprostore.errors import ModelError, SpecError  # noqa: E402
from reprostore.noise import initial_noise, sample_generators  # noqa: E402
from reprostore.samplers import build_sampler  # noqa: E402
from reprostore.samplers.edm import edm_sigmas  # noqa: E402
from reprostore.specs import SamplerSpec  # noqa: E402
from reprostore.testing.models import (  # noqa: E402
    DDPM_CONFIG,
    gaussian_denoised,
    gaussian_denoiser,
    gaussian_flow,
    gaussian_network,
    timestep_noise_level,
)

MEAN = torch.tensor([[[0.3, -0.2], [0.0, 0.5]]], dtype=torch.float64)
VARIANCE = torch.tensor([[[0.25, 0.04], [1.0, 0.5]]], dtype=torch.float64)
SOLVERS = ["edm-euler", "edm-heun"]


def run(name, steps, model=None, seeds=range(3), **spec):
    model = model or gaussian_denoiser(MEAN, VARIANCE)
    spec = {"record": "all", "denoised": True} | spec
    sampler = build_sampler(SamplerSpec(scheduler=name, steps=steps, **spec), model)
    generators = sample_generators(seeds)
    return sampler, list(sampler.sample(initial_noise(generators, MEAN.shape), generators))


def reference(x, steps, denoise, *, heun, sigma_min=0.002, sigma_max=80, rho=7):
    """Transcribe ``edm_sampler`` of NVlabs/edm, generate.py, with S_churn = 0."""
    step_indices = torch.arange(steps, dtype=torch.float64)
    t_steps = (
        sigma_max ** (1 / rho)
        + step_indices / (steps - 1) * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))
    ) ** rho
    t_steps = torch.cat([t_steps, torch.zeros_like(t_steps[:1])])
    x_next = x.to(torch.float64) * t_steps[0]
    for i, (t_cur, t_next) in enumerate(itertools.pairwise(t_steps)):
        x_cur = x_next
        denoised = denoise(x_cur, t_cur)
        d_cur = (x_cur - denoised) / t_cur
        x_next = x_cur + (t_next - t_cur) * d_cur
        if heun and i < steps - 1:
            denoised = denoise(x_next, t_next)
            d_prime = (x_next - denoised) / t_next
            x_next = x_cur + (t_next - t_cur) * (0.5 * d_cur + 0.5 * d_prime)
    return x_next


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("options", [{}, {"sigma_min": 0.01, "sigma_max": 20, "rho": 3}])
def test_samples_equal_those_of_the_published_code(name, options):
    _, states = run(name, 18, options=options)
    noise = initial_noise(sample_generators(range(3)), MEAN.shape)
    expected = reference(
        noise, 18, lambda x, t: gaussian_denoised(x, t, MEAN, VARIANCE),
        heun=name == "edm-heun", **options,
    )  # fmt: skip
    torch.testing.assert_close(states[-1].sample, expected, rtol=0, atol=1e-12)


def test_sigmas_of_the_paper():
    sigmas = edm_sigmas(18, 0.002, 80.0, 7.0)
    assert sigmas.dtype == np.float64
    assert len(sigmas) == 19
    assert (sigmas[0], sigmas[-1]) == (80, 0)
    assert sigmas[-2] == pytest.approx(0.002, rel=1e-12)
    roots = sigmas[:-1] ** (1 / 7)
    np.testing.assert_allclose(np.diff(roots), np.diff(roots)[0], rtol=1e-9)
    assert edm_sigmas(1, 0.002, 80.0, 7.0).tolist() == [80, 0]


@pytest.mark.parametrize(("name", "order"), [("edm-euler", 1), ("edm-heun", 2)])
def test_order_of_convergence_to_the_exact_flow(name, order):
    errors = []
    for steps in (80, 160, 320):
        sampler, states = run(name, steps)
        # At σ_min: the last step to 0 is Euler's in both, with an error of its own.
        exact = gaussian_flow(states[0].sample, 80.0, sampler.sigma[-2], MEAN, VARIANCE)
        errors.append(float((states[-2].sample - exact).abs().max()))
    found = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(found, order, atol=0.15)


@pytest.mark.parametrize("name", SOLVERS)
def test_rows_are_levels_of_the_denoiser(name):
    calls = []
    model = gaussian_denoiser(MEAN, VARIANCE)
    inner = model.denoise

    def spy(x, sigma):
        assert sigma.shape == (len(x),)
        assert len(set(sigma.tolist())) == 1
        calls.append(float(sigma[0]))
        return inner(x, sigma)

    object.__setattr__(model, "denoise", spy)
    sampler, states = run(name, 6, model)
    per_step = 2 if name == "edm-heun" else 1
    assert calls[::per_step] == sampler.timestep[:-1].tolist() == sampler.sigma[:-1].tolist()
    assert len(calls) == 6 * per_step - (per_step - 1)
    assert sampler.alpha.tolist() == [1] * 7
    assert np.isnan(sampler.timestep[-1])
    assert (sampler.noise_scale, sampler.stochastic) == (80, False)
    for state, sigma in zip(states[:-1], sampler.sigma, strict=False):
        expected = gaussian_denoised(state.sample, float(sigma), MEAN, VARIANCE)
        torch.testing.assert_close(state.denoised, expected, rtol=0, atol=1e-12)
    assert torch.equal(states[-1].denoised, states[-1].sample)


LEVEL = timestep_noise_level(DDPM_CONFIG)


def log_linear_level(timestep):
    """σ of a continuous timestep by log-linear interpolation, written out again."""
    low = min(int(timestep), 998)
    first, second = np.log(LEVEL(low)), np.log(LEVEL(low + 1))
    return float(np.exp(first + (timestep - low) * (second - first)))


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_a_network_under_edm_solvers_equals_the_denoiser(name, prediction):
    model = gaussian_network(MEAN, VARIANCE, log_linear_level, prediction)
    options = {"sigma_min": 0.02}  # above the lowest level of the schedule, 0.01
    sampler, states = run(name, 12, model, options=options)
    _, expected = run(name, 12, options=options)
    for state, other in zip(states, expected, strict=True):
        torch.testing.assert_close(state.sample, other.sample, rtol=0, atol=1e-9)
        torch.testing.assert_close(state.denoised, other.denoised, rtol=0, atol=1e-9)
    per_step = 2 if name == "edm-heun" else 1
    assert model.network.timesteps[::per_step] == sampler.timestep[:-1].tolist()
    assert sampler.identity["noise_schedule"]["beta_end"] == 0.02


def test_below_the_lowest_level_the_timestep_is_zero():
    model = gaussian_network(MEAN, VARIANCE, log_linear_level)
    sampler, _ = run("edm-euler", 18, model)
    below = sampler.sigma[:-1] < 0.01
    assert 0 < below.sum() < 18
    assert (sampler.timestep[:-1][below] == 0).all()
    assert (sampler.timestep[:-1][~below] > 0).all()


def test_more_noise_than_a_network_has_seen_is_refused():
    model = gaussian_network(MEAN, VARIANCE, log_linear_level)
    message = r"sigma_max = 200; the network was trained up to 157\.4.*Set sigma_max = 157\.4"
    with pytest.raises(SpecError, match=message):
        run("edm-heun", 18, model, options={"sigma_max": 200})
    assert run("edm-heun", 4, options={"sigma_max": 200})[0].noise_scale == 200


def test_a_network_without_noise_schedule_is_refused():
    model = gaussian_network(MEAN, VARIANCE, log_linear_level)
    object.__setattr__(model, "scheduler_config", None)
    with pytest.raises(ModelError, match="has no noise schedule"):
        run("edm-heun", 18, model)


@pytest.mark.parametrize("name", SOLVERS)
def test_states_are_float32_for_float32_models_and_independent_of_the_batch(name):
    model = gaussian_denoiser(MEAN.float(), VARIANCE.float())
    _, first = run(name, 8, model, seeds=[1, 2])
    _, second = run(name, 8, model, seeds=[7, 2])
    _, final = run(name, 8, model, seeds=[1, 2], record="final", denoised=False)
    assert first[0].sample.dtype == first[0].denoised.dtype == torch.float32
    for one, two in zip(first, second, strict=True):
        assert torch.equal(one.sample[1], two.sample[1])
    assert torch.equal(first[-1].sample, final[0].sample)
    assert final[0].denoised is None
