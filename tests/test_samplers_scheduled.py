import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from reprostore.models import load_model  # noqa: E402
from reprostore.models.checkpoint import quiet_diffusers  # noqa: E402
from reprostore.noise import initial_noise, sample_generators  # noqa: E402
from reprostore.samplers import TESTED, build_sampler  # noqa: E402
from reprostore.specs import ModelSpec, SamplerSpec  # noqa: E402
from reprostore.testing.models import (  # noqa: E402
    DDPM_CONFIG,
    gaussian_denoised,
    gaussian_denoiser,
    gaussian_flow,
    gaussian_network,
    timestep_noise_level,
    tiny_checkpoint,
)

DIFFUSERS = [name for name, it in TESTED.items() if it.library == "diffusers" and not it.flow]
STOCHASTIC = [name for name in DIFFUSERS if TESTED[name].stochastic]
DETERMINISTIC = [name for name in DIFFUSERS if not TESTED[name].stochastic]
MEAN = torch.tensor([[[0.3, -0.2], [0.0, 0.5]]], dtype=torch.float64)
VARIANCE = torch.tensor([[[0.25, 0.04], [1.0, 0.5]]], dtype=torch.float64)
PREDICTIONS = ["epsilon", "v_prediction", "sample"]
DEFINED = [
    (name, prediction)
    for name in DIFFUSERS
    for prediction in PREDICTIONS
    if prediction in TESTED[name].prediction_types
]


def run(scheduler, model, steps=10, seeds=range(4), **spec):
    spec = {"record": "all", "denoised": True} | spec
    sampler = build_sampler(SamplerSpec(scheduler=scheduler, steps=steps, **spec), model)
    generators = sample_generators(seeds)
    noise = initial_noise(generators, model.sample_shape)
    return sampler, noise, list(sampler.sample(noise, generators))


def own_levels(name, steps, **config):
    """Read σ of every timestep off a scheduler that is built here, without our code."""
    keys = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule")
    schedule = {key: DDPM_CONFIG[key] for key in keys}
    with quiet_diffusers():
        scheduler = getattr(diffusers, name)(**schedule, **config)
        scheduler.set_timesteps(steps)
    timesteps = scheduler.timesteps.tolist()
    if hasattr(scheduler, "sigmas"):
        levels = scheduler.sigmas.double().tolist()
    else:
        levels = [math.sqrt((1 - a) / a) for a in scheduler.alphas_cumprod[timesteps].tolist()]
    return dict(zip(timesteps, levels, strict=False))


@pytest.mark.parametrize("kind", ["network", "denoiser"])
@pytest.mark.parametrize(("name", "prediction"), DEFINED)
def test_denoised_is_the_closed_form_at_every_row(name, prediction, kind):
    if kind == "network":
        levels = own_levels(name, 10, timestep_spacing="linspace")
        model = gaussian_network(MEAN, VARIANCE, levels.__getitem__, prediction)
    else:
        config = {**DDPM_CONFIG, "prediction_type": prediction}
        model = gaussian_denoiser(MEAN, VARIANCE, config)
    sampler, noise, states = run(name, model, options={"timestep_spacing": "linspace"})
    assert [state.step for state in states] == list(range(11))
    assert torch.equal(states[0].sample, noise.double() * sampler.noise_scale)
    for state, alpha, sigma in zip(states[:-1], sampler.alpha, sampler.sigma, strict=False):
        x = state.sample / alpha
        if TESTED[name].scaled:
            # diffusers divides by √(σ² + 1) in float32, even in float64: the model sees this x.
            x = x / (torch.tensor(sigma).float() ** 2 + 1) ** 0.5 * math.sqrt(1 + sigma**2)
        expected = gaussian_denoised(x, float(sigma), MEAN, VARIANCE)
        torch.testing.assert_close(state.denoised, expected, rtol=0, atol=1e-10)
    assert sampler.sigma[-1] == 0
    assert torch.equal(states[-1].denoised, states[-1].sample)


@pytest.mark.parametrize("name", DIFFUSERS)
def test_the_network_is_called_with_the_timestep_of_the_row(name):
    model = gaussian_network(MEAN, VARIANCE, timestep_noise_level(DDPM_CONFIG))
    sampler, _, _ = run(name, model, steps=9)
    calls = model.network.timesteps
    evaluations = TESTED[name].evaluations
    assert len(calls) == 9 * evaluations - (evaluations - 1)
    assert calls[::evaluations] == sampler.timestep[:-1].tolist()
    assert np.isnan(sampler.timestep[-1])


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_states_follow_the_exact_flow_of_their_rows(name):
    model = gaussian_denoiser(MEAN, VARIANCE, DDPM_CONFIG)
    sampler, _, states = run(name, model, steps=200, denoised=False)
    start = states[0].sample / sampler.alpha[0]
    # First-order solvers are off by 1 % after 200 steps; a row off by one step is off by some 5 %
    # of σ times the largest ε, which is above 2.
    for state, alpha, sigma in zip(states[1:], sampler.alpha[1:], sampler.sigma[1:], strict=True):
        exact = gaussian_flow(start, float(sampler.sigma[0]), float(sigma), MEAN, VARIANCE)
        tolerance = 0.02 * max(1, float(sigma))
        torch.testing.assert_close(state.sample / alpha, exact, rtol=0, atol=tolerance)
        assert state.denoised is None


@pytest.mark.parametrize("name", STOCHASTIC)
def test_states_of_stochastic_solvers_have_the_moments_of_their_rows(name):
    mean, variance = torch.full((4000,), 0.5), torch.full((4000,), 0.25)
    model = gaussian_denoiser(mean, variance, DDPM_CONFIG)
    sampler, _, states = run(name, model, steps=200, seeds=[1, 2], denoised=False)
    for step in (50, 100, 150, 190, 200):
        x = (states[step].sample / sampler.alpha[step]).flatten()
        expected = math.sqrt(0.25 + sampler.sigma[step] ** 2)
        # 8000 values: standard errors 1.1 % of the deviation; 200 steps: about 1 % of it.
        assert float(x.mean()) == pytest.approx(0.5, abs=0.05 * expected)
        assert float(x.std()) == pytest.approx(expected, rel=0.05)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def tiny(folder):
    return load_model(ModelSpec(source=str(folder)), folder, "cpu", "float32")


def by_pipeline(pipeline, seeds, **arguments):
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    images = pipeline(
        batch_size=len(seeds), generator=generators, output_type="np", **arguments
    ).images
    return torch.from_numpy(images).permute(0, 3, 1, 2)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("seeds", [[7], [3, 0, 2**32 - 1]])
@pytest.mark.parametrize(("name", "eta"), [("ddim", 0.0), ("ddim", 0.5), ("ddpm", 0.0)])
def test_samples_equal_those_of_the_diffusers_pipelines(tmp_path, name, eta, seeds, clip):
    folder = tiny_checkpoint(tmp_path, scheduler={**DDPM_CONFIG, "clip_sample": clip})
    model = load_model(ModelSpec(source=str(folder)), folder, "cpu", "float32")
    _, _, states = run(name, model, steps=12, seeds=seeds, eta=eta, record="final")
    unet = diffusers.UNet2DModel.from_pretrained(folder)
    scheduler = diffusers.DDPMScheduler.from_pretrained(folder)
    if name == "ddim":
        pipeline = diffusers.DDIMPipeline(unet=unet, scheduler=scheduler)
        expected = by_pipeline(pipeline, seeds, num_inference_steps=12, eta=eta)
    else:
        pipeline = diffusers.DDPMPipeline(unet=unet, scheduler=scheduler)
        expected = by_pipeline(pipeline, seeds, num_inference_steps=12)
    ours = (states[-1].sample / 2 + 0.5).clamp(0, 1)
    assert float(expected.std()) > 0.01  # not all clamped away
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", DIFFUSERS)
def test_a_sample_depends_on_nothing_but_its_seed(tiny, name):
    first = run(name, tiny, steps=5, seeds=[1, 2, 3, 4])[2]
    second = run(name, tiny, steps=5, seeds=[9, 8, 2, 2])[2]
    for one, two in zip(first, second, strict=True):
        assert torch.equal(one.sample[1], two.sample[2])
        assert torch.equal(one.sample[1], two.sample[3])
        assert torch.equal(one.denoised[1], two.denoised[2])
        assert not torch.equal(one.sample[1], one.sample[2])


@pytest.mark.parametrize("name", DIFFUSERS)
def test_what_is_recorded_changes_nothing(tiny, name):
    everything = run(name, tiny, steps=5)[2]
    sampler, _, some = run(name, tiny, steps=5, record=[0, 3])
    final = run(name, tiny, steps=5, record="final", denoised=False)[2]
    assert [state.step for state in some] == list(sampler.steps) == [0, 3, 5]
    for state in some:
        assert torch.equal(state.sample, everything[state.step].sample)
        assert torch.equal(state.denoised, everything[state.step].denoised)
    assert len(final) == 1
    assert torch.equal(final[0].sample, everything[-1].sample)
    assert sampler.sigma.shape == sampler.alpha.shape == sampler.timestep.shape == (3,)


@pytest.mark.parametrize("name", DIFFUSERS)
def test_a_sampler_may_be_used_again_and_interleaved(tiny, name):
    sampler = build_sampler(SamplerSpec(scheduler=name, steps=4, record="all"), tiny)

    def start():
        generators = sample_generators([5, 6])
        return sampler.sample(initial_noise(generators, tiny.sample_shape), generators)

    expected = [state.sample for state in start()]
    for one, two, x in zip(start(), start(), expected, strict=True):
        assert torch.equal(one.sample, x)
        assert torch.equal(two.sample, x)


@pytest.mark.parametrize("name", DIFFUSERS)
def test_one_step_is_possible(tiny, name):
    sampler, _, states = run(name, tiny, steps=1)
    assert [state.step for state in states] == [0, 1]
    assert sampler.sigma[1] == 0
    if TESTED[name].stochastic:
        return
    # With one step to σ = 0 every deterministic solver returns x̂_0.
    torch.testing.assert_close(states[1].sample, states[0].denoised, rtol=1e-4, atol=1e-4)


def test_denoised_is_not_clipped_where_the_solver_clips(folder):
    spec = ModelSpec(source=str(folder))
    model = load_model(spec, folder, "cpu", "float32")
    options = {"clip_sample": True}
    _, _, states = run("ddim", model, options=options)
    assert float(states[0].denoised.abs().max()) > 1.5
    assert float(states[-1].sample.abs().max()) <= 1


def test_the_sde_variant_of_dpmsolver_is_stochastic_and_reproducible(tiny):
    options = {"algorithm_type": "sde-dpmsolver++"}
    sampler, _, first = run("dpmsolver", tiny, steps=5, seeds=[1, 2], options=options)
    assert sampler.stochastic
    second = run("dpmsolver", tiny, steps=5, seeds=[8, 2], options=options)[2]
    assert torch.equal(first[-1].sample[1], second[-1].sample[1])
    plain, _, ode = run("dpmsolver", tiny, steps=5, seeds=[1, 2])
    assert not plain.stochastic
    assert not torch.allclose(first[-1].sample, ode[-1].sample, atol=0.1)


@pytest.mark.parametrize(
    ("scheduler", "options"),
    [
        ("dpmsolver", {"final_sigmas_type": "sigma_min"}),
        ("euler", {"final_sigmas_type": "sigma_min", "timestep_spacing": "trailing"}),
        ("ddim", {"set_alpha_to_one": False}),
    ],
)
def test_where_noise_is_left_in_the_sample_its_denoised_is_nan(tiny, scheduler, options):
    sampler, _, states = run(scheduler, tiny, options=options)
    # The lowest level of linear betas: √(1e-4/(1 − 1e-4)).
    assert sampler.sigma[-1] == pytest.approx(0.0100005, rel=1e-4)
    assert torch.isnan(states[-1].denoised).all()
    assert torch.isfinite(states[-1].sample).all()


def test_ddim_with_spacing_that_does_not_divide_ends_where_diffusers_ends(tiny):
    # T // 7 = 142 = the last timestep, so the last step leads to timestep 0 and not to ᾱ = 1.
    sampler, _, _ = run("ddim", tiny, steps=7, options={"timestep_spacing": "trailing"})
    assert sampler.timestep[-2] == 142
    assert sampler.sigma[-1] == pytest.approx(0.0100005, rel=1e-4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_keeps_the_state_in_float32(folder, tiny, dtype):
    half = load_model(ModelSpec(source=str(folder)), folder, "cpu", dtype)
    for name in DIFFUSERS:
        states = run(name, half, steps=4)[2]
        exact = run(name, tiny, steps=4)[2]
        for state, other in zip(states, exact, strict=True):
            assert state.sample.dtype == state.denoised.dtype == torch.float32
            scale = 1 + float(other.sample.abs().max())
            torch.testing.assert_close(state.sample, other.sample, rtol=0, atol=0.05 * scale)
        assert torch.equal(states[0].sample, exact[0].sample)


def test_rounded_timesteps_that_coincide_are_steps_of_their_own():
    config = {**DDPM_CONFIG, "beta_schedule": "squaredcos_cap_v2"}
    model = gaussian_denoiser(MEAN, VARIANCE, config)
    options = {"use_karras_sigmas": True}
    sampler, _, states = run("unipc", model, steps=200, options=options)
    assert sampler.timestep[0] == sampler.timestep[1]
    assert sampler.sigma[0] > sampler.sigma[1]
    middle = states[100].sample / sampler.alpha[100]
    exact = gaussian_flow(middle, float(sampler.sigma[100]), 0.0, MEAN, VARIANCE)
    torch.testing.assert_close(states[-1].sample, exact, rtol=0, atol=0.005)
