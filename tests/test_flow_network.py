"""Networks trained with flow matching, as denoisers, against closed forms."""

import math
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from reprostore.errors import ModelError  # noqa: E402
from reprostore.models import load_model  # noqa: E402
from reprostore.models.base import Denoiser  # noqa: E402
from reprostore.models.preconditioned import preconditioned_model  # noqa: E402
from reprostore.noise import initial_noise, sample_generators  # noqa: E402
from reprostore.resolve import with_parameters  # noqa: E402
from reprostore.samplers import build_sampler  # noqa: E402
from reprostore.samplers.schedule import reference_scheduler  # noqa: E402
from reprostore.specs import ModelSpec, SamplerSpec  # noqa: E402
from reprostore.testing.models import tiny_checkpoint  # noqa: E402

FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000}
MEAN = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)
ROOT = torch.tensor([[0.6, 0, 0], [0.3, 0.4, 0], [-0.1, 0.2, 0.1]], dtype=torch.float64)
COVARIANCE = ROOT @ ROOT.T
EYE = torch.eye(3, dtype=torch.float64)


def velocity_network(timesteps=1000):
    """E[ε − x_0 | x_t], by conditioning the joint Gaussian of x_t = (1−t) x_0 + t ε and ε − x_0."""

    def network(x, timestep):
        t = float(timestep.reshape(-1)[0]) / timesteps
        network.times.append(t)
        network.inputs.append(x)
        cross = t * EYE - (1 - t) * COVARIANCE
        gain = cross @ torch.linalg.inv((1 - t) ** 2 * COVARIANCE + t**2 * EYE)
        return SimpleNamespace(sample=(x - (1 - t) * MEAN) @ gain.T - MEAN)

    network.times, network.inputs = [], []
    return network


def gaussian_flow_model(**config):
    config = FLOW | config
    return preconditioned_model(
        velocity_network(config["num_train_timesteps"]), config, "config", sample_shape=(3,),
        device=torch.device("cpu"), dtype=torch.float64, noise_schedule=None,
    )  # fmt: skip


def load(folder, dtype="float32", **spec):
    return load_model(ModelSpec(source=str(folder), **spec), folder, "cpu", dtype)


def run(model, scheduler, steps, **spec):
    spec = {"record": "all", "denoised": True} | spec
    sampler = build_sampler(SamplerSpec(scheduler=scheduler, steps=steps, **spec), model)
    generators = sample_generators(range(3))
    noise = initial_noise(generators, model.sample_shape)
    return sampler, noise, list(sampler.sample(noise, generators))


@pytest.mark.parametrize("timesteps", [1000, 250])
@pytest.mark.parametrize("sigma", [0.002, 0.05, 1.0, 80.0, 1e5])
def test_the_ideal_velocity_of_gaussian_data_gives_the_wiener_denoiser(sigma, timesteps):
    model = gaussian_flow_model(num_train_timesteps=timesteps)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).double() * (1 + sigma)
    gain = COVARIANCE @ torch.linalg.inv(COVARIANCE + sigma**2 * EYE)
    expected = MEAN + (x - MEAN) @ gain.T
    torch.testing.assert_close(model(x, sigma), expected, rtol=0, atol=1e-10)
    assert model.network.times[-1] == pytest.approx(sigma / (1 + sigma), rel=1e-12)


def test_at_pure_noise_it_gives_the_mean_of_the_data():
    model = gaussian_flow_model()
    noise = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).double()
    assert model.reaches(math.inf)
    torch.testing.assert_close(model(noise, math.inf), MEAN.expand(5, 3), rtol=0, atol=1e-12)
    assert model.network.times[-1] == 1
    assert torch.equal(model.network.inputs[-1], noise)


def test_under_edm_heun_it_follows_the_exact_flow():
    """From σ = 80 to the last level before 0, in closed form; Heun's order is 2."""
    values, vectors = torch.linalg.eigh(COVARIANCE)
    errors = []
    for steps in (100, 200):
        sampler, _, states = run(gaussian_flow_model(), "edm-heun", steps)
        final = float(sampler.sigma[-2])
        scale = torch.sqrt((values + final**2) / (values + 80.0**2))
        exact = MEAN + (states[0].sample - MEAN) @ vectors * scale @ vectors.T
        errors.append(float((states[-2].sample - exact).abs().max()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.3)
    assert errors[1] < 1e-3


def test_a_folder_becomes_a_denoiser_with_its_parameters(tmp_path):
    folder = tiny_checkpoint(tmp_path / "flow", channels=2, scheduler=FLOW | {"shift": 3.0})
    model = load(folder)
    assert isinstance(model, Denoiser)
    network = diffusers.UNet2DModel.from_pretrained(folder)
    assert with_parameters(ModelSpec(source="f"), model).parameters == network.num_parameters()
    x = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        velocity = network(x, torch.tensor(250.0)).sample
    # t = 1/4 is σ = 1/3, and x = x_t/(1 − t).
    torch.testing.assert_close(model(x / 0.75, 1 / 3), x - velocity / 4, rtol=0, atol=1e-5)
    identity = run(model, "edm-heun", 3)[0].identity["model"]
    assert identity == {"class": FLOW["_class_name"], "num_train_timesteps": 1000}


def test_a_vp_solver_follows_the_schedule_of_the_study(tmp_path):
    folder = tiny_checkpoint(tmp_path / "flow", scheduler=FLOW)
    schedule = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}
    plain = load(folder)
    sampler, _, states = run(load(folder, noise_schedule=schedule), "euler", 6)
    for state, sigma in zip(states[:-1], sampler.sigma, strict=False):
        expected = plain(state.sample, float(sigma))
        # diffusers divides by √(σ² + 1) in float32 and x is of order σ = 157.
        torch.testing.assert_close(state.denoised, expected, rtol=0, atol=2e-4)
    with pytest.raises(ModelError, match=r"no variance-preserving noise schedule"):
        reference_scheduler(plain)
    with pytest.raises(ModelError, match=r"no variance-preserving.*edm-heun or flow-euler|flow-e"):
        run(plain, "heun", 5)


def test_a_half_precision_network_leaves_the_state_alone(tmp_path):
    folder = tiny_checkpoint(tmp_path / "flow", scheduler=FLOW)
    half, exact = load(folder, "bfloat16"), load(folder)
    x = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8)
    torch.testing.assert_close(half(x, 0.002), exact(x, 0.002), rtol=0, atol=1e-4)
