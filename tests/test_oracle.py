"""The closed-form denoisers against brute force and closed forms."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from reprostore.errors import DatasetError, ModelError, SpecError
from reprostore.images import from_uint8
from reprostore.models import items as items_module
from reprostore.models import oracle as oracle_module
from reprostore.models.closed import closed_form
from reprostore.models.gaussian import LARGEST, WienerDenoiser
from reprostore.models.items import Items
from reprostore.models.oracle import OptimalDenoiser
from reprostore.samplers import build_sampler
from reprostore.specs import SamplerSpec

CPU = torch.device("cpu")
SHAPE = (1, 4, 4)


def items_of(values):
    values = np.asarray(values, dtype=np.float32)
    return Items(len(values), values.shape[1:], lambda start, stop: values[start:stop], "d")


def random_items(count, shape=SHAPE, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, *shape)).astype(np.float32)


def brute_force(x, sigma, values):
    """Softmax over −‖x − y_i‖²/2σ², every difference on its own, in float64."""
    y = np.asarray(values, np.float64).reshape(len(values), -1)
    flat = x.numpy().reshape(len(x), -1).astype(np.float64)
    logits = -((flat[:, None] - y) ** 2).sum(2) / (2 * sigma.numpy()[:, None] ** 2)
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return ((weights / weights.sum(1, keepdims=True)) @ y).reshape(x.shape)


def noisy(values, sigma, seed=0):
    rng = np.random.default_rng(seed)
    chosen = values[rng.integers(len(values), size=len(sigma))].astype(np.float64)
    return torch.from_numpy(
        chosen + sigma.numpy().reshape(-1, 1, 1, 1) * rng.normal(size=chosen.shape)
    )


SIGMAS = torch.tensor([1e-3, 2e-3, 0.01, 0.1, 0.3, 1.0, 3.0, 20.0, 80.0, 157.0, 1e3]).double()


@pytest.mark.parametrize("count", [1, 2, 50, 333])
def test_the_oracle_is_the_brute_force_softmax_at_every_noise_level(monkeypatch, count):
    """In blocks of a few rows: 333 items are 14 blocks."""
    monkeypatch.setattr(items_module, "BLOCK_VALUES", 25 * 16)
    values = random_items(count)
    x = noisy(values, SIGMAS)
    found = OptimalDenoiser(items_of(values), CPU)(x, SIGMAS)
    np.testing.assert_allclose(found.numpy(), brute_force(x, SIGMAS, values), rtol=0, atol=1e-7)


def test_the_oracle_is_exact_for_large_images_and_near_duplicates():
    """3×32×32, pairs of items 1e-3 apart: logits of both count at small σ."""
    values = random_items(40, (3, 32, 32))
    nearly = values + np.float32(2e-5) * random_items(40, (3, 32, 32), seed=1)
    both = np.concatenate([values, nearly])
    x = noisy(both, SIGMAS[1:])
    found = OptimalDenoiser(items_of(both), CPU)(x, SIGMAS[1:])
    truth = brute_force(x, SIGMAS[1:], both)
    np.testing.assert_allclose(found.numpy(), truth, rtol=0, atol=1e-5)


TINY = torch.tensor([1e-4, 3e-4, 1e-3, 2e-3, 0.01, 0.03, 0.1]).double()


def exact_pair(x, sigma, first, second):
    """The oracle of two items in rational arithmetic, up to the last exponential."""
    point = [Fraction(float(value)) for value in x.ravel()]

    def squared(item):
        pairs = zip(point, item.ravel().tolist(), strict=True)
        return sum((a - Fraction(b)) ** 2 for a, b in pairs)

    odds = float((squared(second) - squared(first)) / (2 * Fraction(sigma) ** 2))
    weight = 1 / (1 + np.exp(-odds))
    return weight * first.astype(np.float64) + (1 - weight) * second.astype(np.float64)


@pytest.mark.parametrize("shape", [SHAPE, (3, 32, 32)])
@pytest.mark.parametrize("apart", [2.0, 1e-3])
def test_items_at_nearly_the_same_distance_are_weighed_exactly(monkeypatch, shape, apart):
    """The squared distances differ by up to 24 σ², of norms that are up to 1e11 σ²."""
    monkeypatch.setattr(items_module, "BLOCK_VALUES", 3 * int(np.prod(shape)))
    monkeypatch.setattr(oracle_module, "_PAIR_VALUES", 1)
    rng = np.random.default_rng(3)
    first = rng.uniform(-1, 1, shape)
    second = (first + apart * rng.uniform(-0.5, 0.5, shape)).astype(np.float32)
    first = first.astype(np.float32)
    others = (first + 3 * rng.choice([-1, 1], (9, *shape))).astype(np.float32)
    values = np.concatenate([others[:4], first[None], others[4:], second[None]])
    between = second.astype(np.float64) - first
    length = np.sqrt((between**2).sum())
    far = 0.5  # x stays between these two, and far from all others
    odds = np.array([0.7, -1.5, 12, -12, 5, -0.7, 3])
    steps = np.clip(odds * TINY.numpy() ** 2 / length, -far, far)
    shift = steps[:, None, None, None] * between / length
    x = torch.from_numpy((first.astype(np.float64) + second) / 2 + shift)
    found = OptimalDenoiser(items_of(values), CPU)(x, TINY).numpy()
    for k, sigma in enumerate(TINY.tolist()):
        expected = exact_pair(x[k].numpy(), sigma, first, second)
        np.testing.assert_allclose(found[k], expected, rtol=0, atol=2e-6)


def test_without_noise_the_nearest_items_share_the_weight():
    """Four corners around x are equally near, a fifth item is farther by less than 1e-6.

    So are two images from the point between them.
    """
    corners = np.zeros((5, *SHAPE), np.float32)
    corners[:4, 0, 0, :2] = [[1, 1], [1, -1], [-1, 1], [-1, -1]]
    corners[4, 0, 1, 0] = np.nextafter(np.sqrt(np.float32(2)), np.float32(2))
    x = torch.zeros(3, *SHAPE, dtype=torch.float64)
    for sigma in (0.0, 1e-30, 1e-9, 1e-5):
        found = OptimalDenoiser(items_of(corners), CPU)(x, torch.full((3,), sigma).double())
        np.testing.assert_allclose(found.numpy(), 0, rtol=0, atol=1e-15)
        images = random_items(5, (3, 32, 32))
        middle = torch.from_numpy(images[:2]).double().mean(0, keepdim=True)
        found = OptimalDenoiser(items_of(images), CPU)(middle, torch.tensor([sigma]).double())
        np.testing.assert_allclose(found.numpy(), middle.numpy(), rtol=0, atol=1e-15)


def test_a_sample_does_not_depend_on_the_noise_levels_beside_it():
    values = random_items(200)
    x = noisy(values, SIGMAS)
    denoiser = OptimalDenoiser(items_of(values), CPU)
    together = denoiser(x, SIGMAS)
    for k, sigma in enumerate(SIGMAS):
        alike = denoiser(x, sigma.expand(len(x)))
        assert torch.equal(alike[k], together[k])


def test_what_is_not_finite_stays_so():
    values = random_items(9)
    x = torch.zeros(3, *SHAPE, dtype=torch.float64)
    x[0, 0, 0, 0], x[1, 0, 0, 0] = torch.nan, torch.inf
    for sigma in (1e-3, 1.0):
        found = OptimalDenoiser(items_of(values), CPU)(x, torch.full((3,), sigma).double())
        assert found.isfinite().all(dim=(1, 2, 3)).tolist() == [False, False, True]


def test_eight_bit_items_are_the_same_however_they_are_kept(monkeypatch):
    """Read once and kept in float32, read once and kept as they are, or read for every call."""
    images = np.random.default_rng(0).integers(0, 256, (120, *SHAPE), np.uint8)
    x = noisy(from_uint8(images), SIGMAS)
    expected = OptimalDenoiser(items_of(from_uint8(images)), CPU)(x, SIGMAS)
    truth = brute_force(x, SIGMAS, from_uint8(images))
    np.testing.assert_allclose(expected.numpy(), truth, atol=1e-7)
    for limit, again in ((images.size * 4, 0), (images.size * 4 - 1, 0), (images.size - 1, 1)):
        monkeypatch.setattr(items_module, "IN_MEMORY", limit)
        reads = []

        def read(start, stop, reads=reads):
            reads.append((start, stop))
            return images[start:stop]

        denoiser = OptimalDenoiser(Items(120, SHAPE, read, itemsize=1), CPU)
        assert torch.equal(denoiser(x, SIGMAS), expected)
        before = len(reads)
        denoiser(x, SIGMAS)
        assert len(reads) - before == again


def test_one_item_is_returned_and_a_vanishing_noise_gives_the_nearest():
    values = random_items(30)
    x = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0)).double()
    one = OptimalDenoiser(items_of(values[:1]), CPU)
    for sigma in (1e-4, 1.0, 1e3, float("inf")):
        level = torch.full((5,), sigma, dtype=torch.float64)
        np.testing.assert_allclose(one(x, level).numpy(), values[:1].repeat(5, 0), atol=1e-12)
    found = OptimalDenoiser(items_of(values), CPU)(x, torch.full((5,), 1e-4, dtype=torch.float64))
    flat = x.numpy().reshape(5, 1, -1) - values.reshape(1, 30, -1)
    nearest = (flat**2).sum(2).argmin(1)
    np.testing.assert_allclose(found.numpy(), values[nearest], atol=1e-12)


def test_equal_items_share_their_weight_and_pure_noise_gives_the_mean():
    values = random_items(7)
    twice = np.concatenate([values, values[:1]])
    x = noisy(values, SIGMAS)
    found = OptimalDenoiser(items_of(twice), CPU)(x, SIGMAS)
    np.testing.assert_allclose(found.numpy(), brute_force(x, SIGMAS, twice), atol=1e-7)
    infinite = torch.full((len(x),), torch.inf, dtype=torch.float64)
    for form in (OptimalDenoiser, WienerDenoiser):
        mean = form(items_of(twice), CPU)(x, infinite)
        np.testing.assert_allclose(mean.numpy(), np.broadcast_to(twice.mean(0), x.shape), atol=1e-6)


def test_items_that_do_not_fit_into_memory_are_streamed(monkeypatch):
    values = random_items(100)
    reads = []

    def read(start, stop):
        reads.append((start, stop))
        return values[start:stop]

    monkeypatch.setattr(items_module, "IN_MEMORY", 1000)
    monkeypatch.setattr(items_module, "BLOCK_VALUES", 16 * 30)
    denoiser = OptimalDenoiser(Items(100, SHAPE, read), CPU)
    x = noisy(values, SIGMAS)
    first = denoiser(x, SIGMAS)
    assert max(stop - start for start, stop in reads) == 30
    before = len(reads)
    assert torch.equal(denoiser(x, SIGMAS), first)
    assert len(reads) == before + 4
    np.testing.assert_allclose(first.numpy(), brute_force(x, SIGMAS, values), atol=1e-7)


@pytest.mark.parametrize(("count", "rank"), [(300, 16), (10, 9), (1, 0)])
def test_the_wiener_filter_is_that_of_mean_and_covariance(count, rank):
    """Of 10 items the covariance is singular; the formula is solved directly, not by axes."""
    values = random_items(count)
    flat = values.reshape(count, -1).astype(np.float64)
    mean = flat.mean(0)
    covariance = (flat - mean).T @ (flat - mean) / count
    assert np.linalg.matrix_rank(covariance, tol=1e-9) == rank
    x = noisy(values, SIGMAS[2:])
    found = WienerDenoiser(items_of(values), CPU)(x, SIGMAS[2:]).numpy().reshape(len(x), -1)
    for k, sigma in enumerate(SIGMAS[2:].tolist()):
        shift = x[k].numpy().ravel() - mean
        expected = mean + covariance @ np.linalg.solve(covariance + sigma**2 * np.eye(16), shift)
        np.testing.assert_allclose(found[k], expected, atol=1e-8)


def sample(model, spec, seeds):
    sampler = build_sampler(spec, model)
    noise = torch.stack(
        [torch.randn(model.sample_shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
    )
    *_, last = sampler.sample(noise, [torch.Generator() for _ in seeds])
    return noise, last.sample.double().numpy()


BETAS = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear", "clip_sample": False}


@pytest.mark.parametrize("scheduler", ["ddim", "edm-euler", "edm-heun", "flow-euler", "euler"])
def test_samples_of_the_oracle_are_training_items(scheduler):
    values = random_items(20)
    model = closed_form("oracle", items_of(values), CPU, torch.float32, BETAS)
    _, found = sample(model, SamplerSpec(scheduler=scheduler, steps=40), range(30))
    distance = np.abs(found[:, None] - values).max((2, 3, 4))
    assert distance.min(1).max() < 1e-3
    assert len(set(distance.argmin(1).tolist())) > 5


@pytest.mark.parametrize(("scheduler", "order"), [("edm-euler", 1), ("edm-heun", 2)])
def test_the_gaussian_follows_its_probability_flow_with_the_solvers_order(scheduler, order):
    """x(0) = μ + C^½ (C + σ_max²)^-½ (x(σ_max) − μ), for a covariance of full rank."""
    values = random_items(400)
    flat = values.reshape(400, -1).astype(np.float64)
    mean, covariance = flat.mean(0), np.cov(flat.T, bias=True)
    variances, axes = np.linalg.eigh(covariance)
    model = closed_form("gaussian", items_of(values), CPU, torch.float64, None)
    errors = []
    for steps in (32, 64):
        spec = SamplerSpec(
            scheduler=scheduler, steps=steps, options={"sigma_min": 1e-3, "sigma_max": 10.0}
        )
        noise, found = sample(model, spec, range(8))
        start = 10.0 * noise.numpy().reshape(8, -1).astype(np.float64) - mean
        gain = np.sqrt(variances / (variances + 100.0))
        truth = mean + (start @ axes * gain) @ axes.T
        errors.append(np.abs(found.reshape(8, -1) - truth).max())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35)


def test_the_gaussian_is_not_clipped_unless_it_is_asked_for():
    """Normal samples go beyond [-1, 1]; diffusers' DDIM clips estimates by default."""
    values = items_of(random_items(60))
    largest = {}
    for clip in (None, False, True):
        betas = {key: value for key, value in BETAS.items() if key != "clip_sample"}
        given = betas if clip is None else betas | {"clip_sample": clip}
        model = closed_form("gaussian", values, CPU, torch.float32, given)
        _, found = sample(model, SamplerSpec(scheduler="ddim", steps=20), range(20))
        largest[clip] = np.abs(found).max()
    assert largest[None] == largest[False] > 1.2
    assert largest[True] <= 1 + 1e-6


def test_samples_of_the_gaussian_have_the_moments_of_the_items():
    """To sampling error, which is variance·√(2/n) for a variance; the solver's is below 1 %."""
    values = random_items(60)
    flat = values.reshape(60, -1).astype(np.float64)
    model = closed_form("gaussian", items_of(values), CPU, torch.float32, None)
    _, found = sample(model, SamplerSpec(scheduler="edm-heun", steps=150), range(4000))
    drawn = found.reshape(4000, -1)
    spread = np.sqrt(np.diag(np.cov(flat.T, bias=True)))
    np.testing.assert_allclose(drawn.mean(0), flat.mean(0), atol=4.5 * spread.max() / 4000**0.5)
    covariance = np.cov(flat.T, bias=True)
    np.testing.assert_allclose(
        np.cov(drawn.T), covariance, atol=4.5 * covariance.max() * (2 / 4000) ** 0.5
    )


@pytest.mark.parametrize("source", ["oracle", "gaussian"])
def test_what_a_closed_form_cannot_do_is_refused(source):
    values = items_of(random_items(3))
    with pytest.raises(SpecError, match="float16"):
        closed_form(source, values, CPU, torch.float16, None)
    with pytest.raises(DatasetError, match="0 items"):
        closed_form(source, items_of(random_items(0)), CPU, torch.float32, None)
    model = closed_form(source, values, CPU, torch.float32, None)
    with pytest.raises(ModelError, match="noise schedule"):
        build_sampler(SamplerSpec(scheduler="ddim", steps=5), model)


def test_a_gaussian_that_cannot_be_diagonalized_is_refused():
    large = Items(LARGEST + 1, (1, 200, 200), lambda start, stop: np.zeros(0, np.float32))
    with pytest.raises(ModelError, match=f"{LARGEST + 1} rows"):
        closed_form("gaussian", large, CPU, torch.float32, None)
    wide = Items(10_000, (3, 256, 256), lambda start, stop: np.zeros(0, np.float32))
    with pytest.raises(ModelError, match="10000 rows, and 10000 axes"):
        closed_form("gaussian", wide, CPU, torch.float32, None)
