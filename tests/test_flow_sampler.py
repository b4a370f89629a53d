"""diffusers' solver of flow matching as a sampler, against its own loop and closed forms."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from test_flow_network import COVARIANCE, FLOW, MEAN, gaussian_flow_model, run  # noqa: E402

from reprostore.canonical import to_jsonable  # noqa: E402
from reprostore.errors import ModelError, SpecError  # noqa: E402
from reprostore.models import load_model  # noqa: E402
from reprostore.models.base import Denoiser  # noqa: E402
from reprostore.noise import initial_noise, sample_generators  # noqa: E402
from reprostore.samplers import build_sampler  # noqa: E402
from reprostore.specs import ModelSpec, SamplerSpec  # noqa: E402
from reprostore.testing.models import (  # noqa: E402
    DDPM_CONFIG,
    gaussian_denoiser,
    tiny_checkpoint,
)

NAME = "FlowMatchEulerDiscreteScheduler"


def wiener(x, sigma):
    """D of N(MEAN, COVARIANCE); at σ = ∞ the mean."""
    if math.isinf(sigma):
        return MEAN.expand(len(x), -1)
    gain = COVARIANCE @ torch.linalg.inv(COVARIANCE + sigma**2 * torch.eye(3).double())
    return MEAN + (x - MEAN) @ gain.T


def gaussian_model(kind):
    """Return the same data as a velocity network, or as a denoiser that has no velocity."""
    if kind == "network":
        return gaussian_flow_model()
    return Denoiser(
        denoise=lambda x, sigma: wiener(x, float(sigma[0])),
        sigma_max=math.inf,
        sample_shape=(3,),
        device=torch.device("cpu"),
        dtype=torch.float64,
    )


def load(folder, **spec):
    return load_model(ModelSpec(source=str(folder), **spec), folder, "cpu", "float32")


def build(model=None, steps=10, **spec):
    model = model or gaussian_denoiser(torch.zeros(1, 2, 2), torch.ones(1, 2, 2))
    return build_sampler(SamplerSpec(scheduler="flow-euler", steps=steps, **spec), model)


@pytest.mark.parametrize(
    ("config", "options"),
    [
        ({}, {}),
        ({"shift": 3.0}, {}),
        ({"shift": 3.0}, {"shift": 0.35}),
        ({"num_train_timesteps": 500}, {"use_karras_sigmas": True}),
        ({"shift_terminal": 0.05}, {"use_exponential_sigmas": True}),
    ],
)
def test_states_equal_those_of_the_loop_of_diffusers(tmp_path, config, options):
    folder = tiny_checkpoint(tmp_path / "flow", channels=2, scheduler=FLOW | config)
    sampler, noise, states = run(load(folder), NAME, 7, options=options)
    network = diffusers.UNet2DModel.from_pretrained(folder)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler.from_pretrained(folder, **options)
    scheduler.set_timesteps(7)
    x = noise
    for step, timestep in enumerate(scheduler.timesteps):
        assert torch.equal(states[step].sample, x)
        assert sampler.timestep[step] == float(timestep)
        with torch.inference_mode():
            velocity = network(x, timestep).sample
        t = float(scheduler.sigmas[step])
        torch.testing.assert_close(states[step].denoised, x - t * velocity, rtol=0, atol=1e-6)
        x = scheduler.step(velocity, timestep, x, return_dict=False)[0]
    assert torch.equal(states[7].sample, x)
    assert torch.equal(states[7].denoised, x)
    assert sampler.identity["config"]["shift"] == (config | options).get("shift", 1.0)


def test_rows_worked_out_by_hand():
    # diffusers takes the times 1, 2/3 + 1/3000, 1/3 + 2/3000, 1/1000 in four steps.
    sampler, noise, states = run(gaussian_model("network"), "flow-euler", 4)
    times = np.array([1, 0.667, 0.334, 0.001, 0])
    np.testing.assert_allclose(sampler.alpha, 1 - times, atol=1e-7)
    expected = [math.inf, 0.667 / 0.333, 0.334 / 0.666, 1 / 999, 0]
    np.testing.assert_allclose(sampler.sigma, expected, rtol=1e-5)
    np.testing.assert_allclose(sampler.timestep, [1000, 667, 334, 1, np.nan], rtol=1e-6)
    assert (sampler.noise_scale, sampler.stochastic) == (1.0, False)
    assert torch.equal(states[0].sample, noise.double())


@pytest.mark.parametrize("kind", ["network", "denoiser"])
@pytest.mark.parametrize("shift", [1.0, 0.15])
def test_denoised_is_the_closed_form_at_every_row(kind, shift):
    model = gaussian_model(kind)
    sampler, _, states = run(model, "flow-euler", 9, options={"shift": shift})
    assert sampler.sigma[0] == math.inf
    for state, alpha, sigma in zip(states[:-1], sampler.alpha, sampler.sigma, strict=False):
        x = state.sample / alpha if alpha else state.sample
        # The network is called with diffusers' timestep, 1000 t rounded to float32.
        tolerance = 1e-12 if kind == "denoiser" else 1e-5
        expected = wiener(x, float(sigma))
        torch.testing.assert_close(state.denoised, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", ["network", "denoiser"])
def test_it_converges_to_the_exact_flow_with_order_one(kind):
    # The probability flow takes ε to mean + √C ε: σ → ∞ at t = 1, in
    # mean + √(C (C + σ²)⁻¹) (σ ε − mean).
    values, vectors = torch.linalg.eigh(COVARIANCE)
    errors = []
    for steps in (40, 80, 160):
        _, noise, states = run(gaussian_model(kind), "flow-euler", steps, denoised=False)
        exact = MEAN + noise.double() @ vectors * values.sqrt() @ vectors.T
        errors.append(float((states[-1].sample - exact).abs().max()))
    order = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(order, 1, atol=0.15)
    assert errors[-1] < 0.02


def test_states_follow_the_exact_flow_of_their_rows():
    values, vectors = torch.linalg.eigh(COVARIANCE)
    sampler, noise, states = run(gaussian_model("denoiser"), "flow-euler", 300, denoised=False)
    for state, alpha in zip(states[1:], sampler.alpha[1:], strict=True):
        # x_t has the mean α m and, of every eigenvalue λ, the variance α² λ + (1 − α)².
        scale = torch.sqrt(alpha**2 * values + (1 - alpha) ** 2)
        exact = alpha * MEAN + noise.double() @ vectors * scale @ vectors.T
        torch.testing.assert_close(state.sample, exact, rtol=0, atol=0.01)


@pytest.mark.parametrize("kind", ["network", "denoiser"])
def test_one_step_leads_to_the_mean(kind):
    _, _, states = run(gaussian_model(kind), "flow-euler", 1)
    torch.testing.assert_close(states[1].sample, MEAN.expand(3, 3), rtol=0, atol=1e-6)


def stochastic_gaussian(size=4000):
    """N(1/2, 1/4) with a config that asks for the stochastic variant."""
    model = gaussian_denoiser(torch.full((size,), 0.5), torch.full((size,), 0.25))
    config = {"_class_name": NAME, "stochastic_sampling": True}
    return dataclasses.replace(model, scheduler_config=config)


def test_the_stochastic_variant_is_for_models_that_ask_for_it():
    plain = gaussian_denoiser(torch.zeros(4), torch.ones(4))
    with pytest.raises(SpecError, match=r"stochastic_sampling = true.*half of the variance"):
        build(plain, options={"stochastic_sampling": True})
    assert not build(plain, options={"stochastic_sampling": False}).stochastic
    model = stochastic_gaussian(4)
    assert build(model).stochastic
    assert build(model, options={"stochastic_sampling": True}).stochastic
    assert not build(model, options={"stochastic_sampling": False}).stochastic


def test_the_stochastic_variant_loses_half_of_the_variance():
    deviations = []
    for steps in (50, 400):
        sampler = build(stochastic_gaussian(), steps)
        generators = sample_generators([1, 2])
        *_, last = sampler.sample(initial_noise(generators, (4000,)), generators)
        deviations.append(float(last.sample.std()))
    # From time t to s: x̂_0 has the gain c (1 − t)/((1 − t)² c + t²), and the next state the
    # variance (1 − s)² gain² V + s²; that of the last x̂_0 tends to c/2, not to c.
    times = [*torch.linspace(1, 1 / 1000, 400).tolist(), 0.0]
    variance = 1.0
    for t, s in itertools.pairwise(times):
        gain = 0.25 * (1 - t) / ((1 - t) ** 2 * 0.25 + t**2)
        variance = (1 - s) ** 2 * gain**2 * variance + s**2
    assert deviations[1] == pytest.approx(math.sqrt(variance), rel=0.02)
    assert deviations == pytest.approx([0.5 / math.sqrt(2)] * 2, rel=0.05)


def test_the_stochastic_variant_keeps_the_mean_and_depends_on_the_seed_alone():
    model = stochastic_gaussian()
    sampler = build(model, 200, record=[100, 190, 200])
    assert sampler.stochastic

    def states(seeds):
        generators = sample_generators(seeds)
        return list(sampler.sample(initial_noise(generators, model.sample_shape), generators))

    first, second = states([1, 2]), states([5, 2])
    for one, two, alpha in zip(first, second, sampler.alpha, strict=True):
        assert torch.equal(one.sample[1], two.sample[1])
        expected = math.sqrt(alpha**2 * 0.25 + (1 - alpha) ** 2)
        assert float(one.sample.mean()) == pytest.approx(0.5 * alpha, abs=0.02)
        # Rebuilding x_t from E[x_0] and fresh noise loses the spread of x_0: it is no sampler of
        # the data, only what diffusers calls so. Here only that noise and mean are in place.
        assert float(one.sample.std()) <= expected * 1.02


def test_a_sample_depends_on_nothing_but_its_seed_and_may_be_interleaved(tmp_path):
    model = load(tiny_checkpoint(tmp_path / "flow", scheduler=FLOW))
    sampler = build(model, 4, record="all")

    def start(seeds):
        generators = sample_generators(seeds)
        return sampler.sample(initial_noise(generators, model.sample_shape), generators)

    for one, two in zip(start([1, 2]), start([9, 2]), strict=True):
        assert torch.equal(one.sample[1], two.sample[1])
        assert not torch.equal(one.sample[0], two.sample[0])


def test_every_resolved_value_is_in_the_identity():
    identity = to_jsonable(build(options={"shift": 2.5}).identity)
    assert identity["class"] == NAME
    assert identity["config"]["shift"] == 2.5
    assert identity["config"]["num_train_timesteps"] == 1000
    assert identity["config"]["use_dynamic_shifting"] is False
    assert not any(key.startswith("_") for key in identity["config"])


def test_a_denoiser_may_bring_a_config_and_ignores_betas():
    mean = torch.zeros(1, 2, 2)
    shifted = gaussian_denoiser(mean, mean + 1, FLOW | {"shift": 3.0})
    assert build(shifted).identity["config"]["shift"] == 3.0
    vp = build(gaussian_denoiser(mean, mean + 1, DDPM_CONFIG))
    assert vp.identity == build().identity


def test_networks_under_betas_are_refused(tmp_path):
    model = load(tiny_checkpoint(tmp_path / "vp"))
    with pytest.raises(ModelError, match=r"not defined for a network under a variance-pres.*ddim"):
        build(model)


def test_a_denoiser_without_limit_is_refused():
    model = Denoiser(
        denoise=lambda x, sigma: x, sample_shape=(1,), device=torch.device("cpu"),
        dtype=torch.float32,
    )  # fmt: skip
    message = r"σ = inf; the denoiser is defined up to any finite noise level.*sigma_max=math\.inf"
    with pytest.raises(ModelError, match=message):
        build(model)


@pytest.mark.parametrize("key", ["use_dynamic_shifting", "invert_sigmas"])
def test_configs_that_shift_otherwise_are_refused(tmp_path, key):
    model = load(tiny_checkpoint(tmp_path / "flow", scheduler=FLOW | {key: True}))
    with pytest.raises(ModelError, match=rf"has {key} = true"):
        build(model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shfit": 2}, r"no option 'shfit'. Did you mean 'shift'"),
        ({"num_train_timesteps": 10}, r"no option 'num_train_timesteps'"),
        ({"use_dynamic_shifting": True}, r"no option 'use_dynamic_shifting'"),
        ({"shift": 0}, r"has shift = 0\. shift is a number above 0"),
        ({"shift": True}, r"has shift = True"),
        ({"shift": "a"}, r"has shift = 'a'"),
        ({"use_karras_sigmas": True, "use_beta_sigmas": True}, r"refuses its configuration"),
        ({"shift_terminal": 1.5}, r"goes through the times 1, .* in 10 steps"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(SpecError, match=message):
        build(options=options)


def test_steps_that_do_not_move_are_refused():
    with pytest.raises(SpecError, match=r"goes through the times 1, 1, 1, … to 0 in 3 steps"):
        build(steps=3, options={"shift": 1e9})
