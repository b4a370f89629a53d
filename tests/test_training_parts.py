"""What a training is made of, against formulas and diffusers."""

import json
import math
from pathlib import Path

import pytest
import torch
from diffusers import EDMEulerScheduler, FlowMatchEulerDiscreteScheduler
from safetensors.torch import load_file

from reprostore.errors import SpecError
from reprostore.recipe import RecipeSpec
from reprostore.training.draws import Draws, LearningRate
from reprostore.training.networks import new_unet
from reprostore.training.objectives import edm_example, flow_example, objective_of, vp_example

DIGITS = Path(__file__).parents[1] / "examples" / "digits" / "checkpoints"


def batch(seed, shape=(6, 1, 4, 4)):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))


@pytest.mark.parametrize("folder", sorted(path.name for path in DIGITS.iterdir()))
def test_the_networks_are_those_of_the_digits_study(folder):
    """Every committed checkpoint, by its configuration and by the tensors in its file."""
    width = 32 if "wide" in folder else 16
    network = new_unet(RecipeSpec(width=width, steps=1), (1, 8, 8))
    stored = json.loads((DIGITS / folder / "config.json").read_text())
    ours = json.loads(json.dumps(dict(network.config)))
    assert {k: v for k, v in ours.items() if not k.startswith("_")} == {
        k: v for k, v in stored.items() if not k.startswith("_")
    }
    weights = load_file(DIGITS / folder / "diffusion_pytorch_model.safetensors")
    assert {k: v.shape for k, v in weights.items()} == {
        k: v.shape for k, v in network.state_dict().items()
    }
    assert sum(p.numel() for p in network.parameters()) == {16: 163_985, 32: 651_041}[width]


def test_levels_have_the_channels_and_the_attention_of_the_recipe():
    recipe = RecipeSpec(width=8, depth=3, multipliers=(1, 2, 2), attention=(1,), steps=1)
    network = new_unet(recipe, (3, 8, 16))
    assert network.config["block_out_channels"] == (8, 16, 16)
    assert network.config["sample_size"] == (8, 16)
    assert [type(block).__name__ for block in network.down_blocks] == [
        "DownBlock2D",
        "AttnDownBlock2D",
        "DownBlock2D",
    ]
    x = torch.zeros(2, 3, 8, 16)
    assert network(x, torch.tensor([1, 2])).sample.shape == x.shape


@pytest.mark.parametrize("shape", [(1, 6, 8), (1, 8, 6)])
def test_a_shape_that_cannot_be_halved_is_refused(shape):
    with pytest.raises(SpecError, match=r"`depth` is 3.*\(1, \d, \d\).*multiples of 4"):
        RecipeSpec(depth=3, steps=1).check_shape(shape)


@pytest.mark.parametrize("objective", ["epsilon", "v_prediction", "sample"])
def test_variance_preserving_examples_follow_the_closed_form(objective):
    """Up to 1e-5: diffusers keeps the noise schedule in float32."""
    recipe = RecipeSpec(objective=objective, steps=1)
    clean, noise = batch(0)
    timesteps = torch.tensor([0, 1, 10, 500, 998, 999])
    made = vp_example(objective_of(recipe).scheduler, clean, noise, timesteps)
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    kept = torch.cumprod(1 - betas, 0)[timesteps].view(-1, 1, 1, 1)
    signal, spread = kept.sqrt(), (1 - kept).sqrt()
    target = {
        "epsilon": noise,
        "v_prediction": signal * noise - spread * clean,
        "sample": clean,
    }[objective]
    torch.testing.assert_close(made.inputs, signal * clean + spread * noise, rtol=0, atol=1e-5)
    torch.testing.assert_close(made.target, target, rtol=0, atol=1e-5)
    assert torch.equal(made.timestep, timesteps)


def test_edm_examples_are_preconditioned_as_diffusers_does():
    """A network that hits the target makes diffusers' denoised sample the clean one."""
    clean, noise = batch(1)
    sigma = torch.tensor([0.002, 0.1, 0.5, 1.0, 20.0, 80.0], dtype=torch.float64)
    made = edm_example(0.5, clean, noise, sigma)
    scheduler = EDMEulerScheduler(sigma_data=0.5)
    for k, level in enumerate(sigma):
        noisy = clean[k] + level * noise[k]
        theirs = scheduler.precondition_inputs(noisy, level)
        torch.testing.assert_close(made.inputs[k], theirs, rtol=1e-12, atol=1e-12)
        assert float(made.timestep[k]) == pytest.approx(float(scheduler.precondition_noise(level)))
        denoised = scheduler.precondition_outputs(noisy, made.target[k], level)
        torch.testing.assert_close(denoised, clean[k], rtol=0, atol=1e-10)
    level = 20.0
    weight = (level**2 + 0.25) / (level * 0.5) ** 2  # λ(σ), which makes D's error that of F
    guess = made.target[4] + 0.1
    denoised = scheduler.precondition_outputs(clean[4] + level * noise[4], guess, sigma[4])
    error = weight * ((denoised - clean[4]) ** 2).mean()
    assert float(error) == pytest.approx(0.01)


def test_flow_examples_are_those_of_diffusers_flow_matching():
    clean, noise = batch(2)
    t = torch.tensor([0.001, 0.1, 0.4, 0.5, 0.9, 1.0], dtype=torch.float64)
    made = flow_example(clean, noise, t)
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000)
    assert objective_of(RecipeSpec(objective="flow", steps=1)).scheduler.config == scheduler.config
    torch.testing.assert_close(made.timestep, 1000 * t)
    for k in range(6):
        torch.testing.assert_close(made.inputs[k], (1 - t[k]) * clean[k] + t[k] * noise[k])
        torch.testing.assert_close(made.inputs[k] - t[k] * made.target[k], clean[k])


def test_noise_levels_have_the_distributions_of_their_papers():
    generator = torch.Generator().manual_seed(0)
    timesteps = objective_of(RecipeSpec(steps=1)).levels(20_000, generator)
    assert (timesteps.min(), timesteps.max()) == (0, 999)
    logs = objective_of(RecipeSpec(objective="edm", steps=1)).levels(20_000, generator).log()
    assert float(logs.mean()) == pytest.approx(-1.2, abs=0.05)
    assert float(logs.std()) == pytest.approx(1.2, abs=0.05)
    t = objective_of(RecipeSpec(objective="flow", steps=1)).levels(20_000, generator)
    assert float(t.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(t.var()) == pytest.approx(1 / 12, abs=0.005)


@pytest.mark.parametrize(("count", "size"), [(10, 4), (3, 8), (5, 5), (1, 4)])
def test_every_epoch_has_every_item_once(count, size):
    draws = Draws(count, seed=0)
    drawn = torch.cat([draws.items(size) for _ in range(3 * count)])
    epochs = drawn[: len(drawn) // count * count].view(-1, count)
    assert torch.equal(epochs.sort(1).values, torch.arange(count).expand_as(epochs))
    if count > 3:
        assert not torch.equal(epochs[0], epochs[1])


def test_draws_go_on_from_a_state():
    draws = Draws(10, seed=3)
    draws.items(4)
    state = {key: value.clone() for key, value in draws.state().items()}
    expected = [draws.items(4), draws.noise((2, 2)), draws.flips(5), draws.items(4)]
    other = Draws(10, seed=99)
    other.restore(state)
    again = [other.items(4), other.noise((2, 2)), other.flips(5), other.items(4)]
    assert all(torch.equal(a, b) for a, b in zip(expected, again, strict=True))


def test_learning_rates_are_those_of_torch():
    parameter = torch.nn.Parameter(torch.zeros(1))
    for schedule, theirs in (
        ("linear", lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, total_iters=40)),
        ("cosine", lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 40)),
    ):
        optimizer = torch.optim.Adam([parameter], lr=0.1)
        scheduler = theirs(optimizer)
        for step in range(40):
            ours = LearningRate(0.1, schedule, 0, 40).at(step)
            assert ours == pytest.approx(scheduler.get_last_lr()[0], abs=1e-12)
            optimizer.step()
            scheduler.step()


def test_the_warmup_rises_to_the_maximum_and_the_schedule_follows():
    rate = LearningRate(0.1, "cosine", 5, 25)
    assert [rate.at(step) for step in range(5)] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])
    assert rate.at(5) == pytest.approx(0.1)
    assert rate.at(15) == pytest.approx(0.05)
    assert rate.at(24) == pytest.approx(0.05 * (1 + math.cos(math.pi * 19 / 20)))
    assert {LearningRate(0.1, "constant", 0, 9).at(step) for step in range(9)} == {0.1}
