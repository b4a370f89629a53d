"""Metrics of whole sets of vectors against torch-fidelity, SciPy and plain loops."""

import itertools

import numpy as np
import pytest
import torch
from scipy import linalg
from torch_fidelity import metric_fid, metric_kid, metric_prc

from reprostore.errors import SpecError
from reprostore_analyses.kernels.frechet import frechet_distance
from reprostore_analyses.kernels.kernel_distance import kernel_distances, squared_discrepancy
from reprostore_analyses.kernels.manifold import manifold
from reprostore_analyses.kernels.vendi import vendi_score
from reprostore_analyses.statistics.subsampling import subsampling_margin


def sets(real=90, generated=70, d=8, seed=0):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(d, d))
    return rng.normal(size=(real, d)) @ mix, (rng.normal(0.3, 1.2, (generated, d))) @ mix


@pytest.mark.parametrize("d", [3, 8])
def test_fd_is_that_of_torch_fidelity(d):
    real, made = sets(d=d)
    statistics = [metric_fid.fid_features_to_statistics(torch.tensor(x)) for x in (made, real)]
    expected = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
    (value,) = expected.values()
    assert frechet_distance(real=real, generated=made) == pytest.approx(value, rel=1e-6)
    assert frechet_distance(real=made, generated=real) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(("real", "made"), [(5, 7), (5, 60), (60, 5), (2, 2)])
def test_fd_of_fewer_vectors_than_dimensions(real, made):
    a, b = sets(real, made, d=12, seed=1)
    spread = [np.cov(x, rowvar=False) for x in (a, b)]
    root = linalg.sqrtm(linalg.sqrtm(spread[0]) @ spread[1] @ linalg.sqrtm(spread[0]))
    mean = np.square(a.mean(0) - b.mean(0)).sum()
    expected = mean + np.trace(spread[0]) + np.trace(spread[1]) - 2 * np.trace(root).real
    assert frechet_distance(real=a, generated=b) == pytest.approx(expected, rel=1e-5)


def test_fd_of_two_normal_distributions_on_a_line():
    """(μ − μ')² + (σ − σ')²."""
    a, b = np.array([[1.0], [3.0], [5.0]]), np.array([[0.0], [1.0], [2.0]])
    assert frechet_distance(real=a, generated=b) == pytest.approx(2.0**2 + (2.0 - 1.0) ** 2)
    assert frechet_distance(real=a, generated=a) == pytest.approx(0, abs=1e-12)
    assert np.isnan(frechet_distance(real=a[:1], generated=b))


def test_kid_is_that_of_torch_fidelity():
    real, made = sets()
    subset = [x[:40] for x in (made, real)]
    expected = metric_kid.kernel_mmd(*subset)
    assert squared_discrepancy(subset[1], subset[0]) == pytest.approx(expected, rel=1e-9)


def test_kid_by_plain_loops():
    x, y = (part[:6] for part in sets())

    def k(a, b):
        return (a @ b / 8 + 1) ** 3

    pairs = list(itertools.permutations(range(6), 2))
    expected = sum(k(x[i], x[j]) + k(y[i], y[j]) for i, j in pairs) / 30
    expected -= 2 * sum(k(a, b) for a in x for b in y) / 36
    assert squared_discrepancy(x, y) == pytest.approx(expected, rel=1e-9)


def test_subsets_of_kid_are_drawn_without_replacement():
    real, made = sets()
    found = kernel_distances(
        real=real[:30], generated=made, rng=np.random.default_rng(0), subsets=7, subset_size=30
    )
    assert len(found) == 7
    assert len(set(np.round(found, 9))) == 7  # the samples differ, the real ones are always all
    whole = kernel_distances(
        real=real, generated=made[:20], rng=np.random.default_rng(0), subsets=5
    )
    assert len(whole) == 5
    few = kernel_distances(real=real[:3], generated=made, rng=np.random.default_rng(0))
    assert len(few) == 0


def test_equal_distributions_have_no_kernel_distance_on_average():
    rng = np.random.default_rng(8)
    found = [
        squared_discrepancy(rng.normal(size=(50, 4)), rng.normal(size=(50, 4))) for _ in range(300)
    ]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(300)


@pytest.mark.parametrize("seed", range(3))
def test_precision_and_recall_are_those_of_torch_fidelity(seed):
    real, made = sets(seed=seed)
    expected = metric_prc.prc_features_to_metric(
        torch.tensor(made), torch.tensor(real), prc_neighborhood=3, prc_batch_size=16,
        save_cpu_ram=False, verbose=False,
    )  # fmt: skip
    found = manifold(real=real, generated=made, k=3)
    assert found is not None
    assert found.precise.mean() == pytest.approx(expected["precision"])
    assert found.recalled.mean() == pytest.approx(expected["recall"])


def test_density_and_coverage_by_plain_loops(monkeypatch):
    real, made = sets(40, 30)
    distance = np.linalg.norm(real[:, None] - made[None], axis=-1)
    own = np.sort(np.linalg.norm(real[:, None] - real[None], axis=-1), axis=1)
    radius = own[:, 5]  # column 0 is the item itself
    monkeypatch.setattr("reprostore_analyses.kernels.manifold.BLOCK_VALUES", 90)
    found = manifold(real=real, generated=made, k_density=5)
    assert found is not None
    expected = (distance < radius[:, None]).sum(axis=0) / 5
    np.testing.assert_allclose(found.density, expected)
    np.testing.assert_array_equal(found.covered, distance.min(axis=1) < radius)


def test_copies_are_precise_and_recall_what_they_copy():
    """An exact copy lies in every ball around its item, even of radius 0, where ≤ counts."""
    real = np.repeat(np.random.default_rng(0).normal(size=(10, 5)) * 1e3, 8, axis=0)
    found = manifold(real=real, generated=real + 0, k=3)
    assert found is not None
    assert found.precise.all()
    assert found.recalled.all()
    assert not found.covered.any()  # every ball has radius 0, and < does not count
    assert manifold(real=real[:5], generated=real) is None
    away = manifold(real=real, generated=real + 1e4, k=3)
    assert away is not None
    assert not np.concatenate([away.precise, away.recalled, away.covered]).any()


def test_the_vendi_score_counts_kinds():
    kinds = np.eye(6)[[0, 0, 1, 1, 2, 2]]
    assert vendi_score(kinds) == pytest.approx(3)
    assert vendi_score(np.eye(5) * [[1], [2], [3], [4], [5]]) == pytest.approx(5)
    assert vendi_score(np.ones((7, 3))) == pytest.approx(1)
    assert vendi_score(np.zeros((4, 3))) == pytest.approx(1)
    assert vendi_score(np.concatenate([np.zeros((3, 3)), np.eye(3)])) < 4
    assert np.isnan(vendi_score(np.empty((0, 3))))


@pytest.mark.parametrize("shape", [(30, 6), (6, 30)])
def test_the_vendi_score_is_the_entropy_of_all_eigenvalues(shape):
    vectors = np.random.default_rng(0).normal(size=shape)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    weights = linalg.eigvalsh(unit @ unit.T / len(unit))
    weights = weights[weights > 1e-12]
    expected = np.exp(-(weights * np.log(weights)).sum())
    assert vendi_score(vectors) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(bad):
    real, made = sets(20, 20)
    made[3, 2] = bad
    for call in (
        lambda: frechet_distance(real=real, generated=made),
        lambda: kernel_distances(real=real, generated=made, rng=np.random.default_rng(0)),
        lambda: manifold(real=real, generated=made),
        lambda: vendi_score(made),
    ):
        with pytest.raises(SpecError):
            call()
    with pytest.raises(SpecError, match="one d"):
        frechet_distance(real=real[:, :3], generated=real)


def test_the_margin_of_a_mean_is_that_of_its_standard_error():
    """Subsampling without replacement is exact for a mean: z σ/√n, whatever m."""
    values = np.random.default_rng(1).normal(size=400)
    margin = subsampling_margin(
        np.mean, [values], rng=np.random.default_rng(0), subsamples=4000, confidence=0.95
    )
    expected = 1.959964 * values.std(ddof=1) / np.sqrt(400)
    assert margin == pytest.approx(expected, rel=0.05)
    large = np.random.default_rng(1).normal(size=5000)  # where m is 1,000 and not n/2
    margin = subsampling_margin(
        np.mean, [large], rng=np.random.default_rng(0), subsamples=4000, confidence=0.95
    )
    assert margin == pytest.approx(1.959964 * large.std(ddof=1) / np.sqrt(5000), rel=0.05)


def test_intervals_of_the_distance_cover_it_and_are_not_biased_by_copies():
    """FD of n normal vectors varies about its own mean, which the margin has to reach."""
    rng = np.random.default_rng(2)
    draws, values = [], []
    for _ in range(120):
        real, made = rng.normal(size=(200, 3)), rng.normal(0.5, 1, (200, 3))
        values.append(frechet_distance(real=real, generated=made))
        margin = subsampling_margin(
            lambda a, b: frechet_distance(real=a, generated=b),
            [real, made],
            rng=rng,
            subsamples=20,
        )
        draws.append(float(margin))
    inside = np.abs(np.asarray(values) - np.mean(values)) <= draws
    assert 0.88 <= inside.mean() <= 1.0


def test_margins_of_several_numbers_and_of_too_few_items():
    values = np.random.default_rng(3).normal(size=(50, 2))
    margin = subsampling_margin(lambda x: x.mean(axis=0), [values], rng=np.random.default_rng(0))
    assert margin.shape == (2,)
    assert np.isnan(subsampling_margin(np.mean, [values[:3]], rng=np.random.default_rng(0)))
    undefined = subsampling_margin(lambda x: np.nan, [values], rng=np.random.default_rng(0))
    assert np.isnan(undefined)
