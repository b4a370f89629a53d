"""Metrics of whole sets against their reference implementations, and where ties decide."""

import numpy as np
import pytest
import torch
from scipy import spatial, stats
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from torch_fidelity import metric_fid, metric_kid, metric_prc

from reprostore_analyses.kernels.copying import data_copying
from reprostore_analyses.kernels.frechet import frechet_distance
from reprostore_analyses.kernels.kernel_distance import kernel_distances, squared_discrepancy
from reprostore_analyses.kernels.kmeans import kmeans, nearest_center
from reprostore_analyses.kernels.manifold import manifold
from reprostore_analyses.kernels.vendi import vendi_score
from reprostore_analyses.statistics.subsampling import subsampling_margin


def normal(count, d, *, seed, shift=0.0, scale=1.0):
    return np.random.default_rng(seed).normal(shift, scale, (count, d))


def test_fd_far_from_the_origin_keeps_its_digits():
    """A shift of both sets changes nothing; covariances of float32 features would."""
    real, made = normal(120, 6, seed=0), normal(90, 6, seed=1, shift=0.2)
    expected = frechet_distance(real=real, generated=made)
    far = frechet_distance(real=real + 1e5, generated=made + 1e5)
    assert far == pytest.approx(expected, rel=1e-6)
    statistics = [metric_fid.fid_features_to_statistics(torch.tensor(x)) for x in (made, real)]
    (reference,) = metric_fid.fid_statistics_to_metric(*statistics, verbose=False).values()
    assert far == pytest.approx(reference, rel=1e-6)


def test_fd_of_covariances_that_do_not_commute():
    """In the plane, tr (ΣΣ')^½ = √(tr ΣΣ' + 2 √(det Σ det Σ'))."""
    real = normal(40, 2, seed=2) @ [[2.0, 0.5], [0.0, 1.0]]
    made = normal(50, 2, seed=3) @ [[1.0, 0.0], [-1.5, 0.7]] + 1
    s, t = np.cov(real.T), np.cov(made.T)
    assert not np.allclose(s @ t, t @ s, rtol=0.1)
    root = np.sqrt(np.trace(s @ t) + 2 * np.sqrt(np.linalg.det(s) * np.linalg.det(t)))
    mean = np.square(real.mean(0) - made.mean(0)).sum()
    expected = mean + np.trace(s) + np.trace(t) - 2 * root
    assert frechet_distance(real=real, generated=made) == pytest.approx(expected, rel=1e-10)


def test_kid_draws_what_torch_fidelity_draws_with_the_same_source():
    """All of it: subsets, kernel, unbiased estimate, mean and spread."""
    real, made = normal(120, 7, seed=4), normal(90, 7, seed=5, shift=0.4)
    expected = metric_kid.kid_features_to_metric(
        torch.tensor(real), torch.tensor(made), kid_subsets=12, kid_subset_size=45, rng_seed=3,
        verbose=False,
    )  # fmt: skip
    found = kernel_distances(
        real=real,
        generated=made,
        rng=np.random.RandomState(3),
        subsets=12,
    )
    assert found.mean() == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-9)
    assert found.std() == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-9)


def test_kid_of_sets_of_two_sizes_by_its_definition():
    """Two numbers against three, worked out: kernels (ab + 1)³."""
    x, y = np.array([[0.0], [1.0]]), np.array([[-1.0], [0.0], [2.0]])
    within_x = 1.0  # 0·1
    within_y = 2 * (1 + (-1) ** 3 + 1) / 6  # −1·0, −1·2, 0·2
    between = (1 + 1 + 1 + 0 + 1 + 27) / 6
    assert squared_discrepancy(x, y) == pytest.approx(within_x + within_y - 2 * between)


def counted(real, made, k, k_density):
    """Precision, recall, density and coverage by sums of squared differences."""

    def squared(a, b):
        return spatial.distance.cdist(a, b, "sqeuclidean")

    def radius(part, k):
        return np.sort(squared(part, part) + np.diag(np.full(len(part), -1.0)), axis=1)[:, k]

    between = squared(real, made)
    balls = radius(real, k_density)[:, None]
    return (
        (between <= radius(real, k)[:, None]).any(axis=0).mean(),
        (between <= radius(made, k)).any(axis=1).mean(),
        (between < balls).sum(axis=0).mean() / k_density,
        (between < balls).any(axis=1).mean(),
    )


def means(found):
    return [part.mean() for part in found]


@pytest.mark.parametrize("seed", range(4))
def test_balls_on_a_grid_where_edges_are_met_exactly(seed):
    """Integers: every distance is exact, and a good part of them equals a radius."""
    rng = np.random.default_rng(seed)
    real, made = rng.integers(0, 4, (60, 5)), rng.integers(0, 5, (45, 5))
    found = manifold(real=real.astype(np.float32), generated=made.astype(np.float32))
    np.testing.assert_allclose(means(found), counted(real, made, 3, 5), rtol=1e-12)


@pytest.mark.parametrize("d", [2, 16, 300])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_copies_of_the_real_items_have_density_one(d, offset):
    """Each ball holds its item and the k − 1 nearest others; the k-th lies on its edge."""
    real = normal(150, d, seed=6, shift=offset).astype(np.float32)
    found = manifold(real=real, generated=real.copy())
    np.testing.assert_allclose(means(found), 1.0, rtol=1e-12)


def test_items_on_edges_in_blocks_of_any_size(monkeypatch):
    real = normal(70, 9, seed=7)
    made = np.concatenate([real[::2], normal(20, 9, seed=8)])
    whole = manifold(real=real, generated=made)
    for values in (1, 500, 10**6):
        monkeypatch.setattr("reprostore_analyses.kernels.manifold.BLOCK_VALUES", values)
        for part, expected in zip(manifold(real=real, generated=made), whole, strict=True):
            np.testing.assert_array_equal(part, expected)


def test_an_outlier_among_the_samples_changes_no_other():
    """It widens what counts as rounding; what is then computed again is the same."""
    real, made = normal(80, 6, seed=9), normal(60, 6, seed=10)
    far = made.copy()
    far[7] = 1e7
    others = np.arange(60) != 7
    near, moved = (manifold(real=real, generated=part) for part in (made, far))
    np.testing.assert_array_equal(moved.precise[others], near.precise[others])
    np.testing.assert_array_equal(moved.density[others], near.density[others])
    assert moved.density[7] == 0


def test_precision_and_recall_of_copies_are_those_of_torch_fidelity():
    real = normal(60, 4, seed=11)
    made = np.concatenate([real[:20], normal(30, 4, seed=12, shift=1.5)])
    expected = metric_prc.prc_features_to_metric(
        torch.tensor(made), torch.tensor(real), prc_neighborhood=3, prc_batch_size=100,
        save_cpu_ram=False, verbose=False,
    )  # fmt: skip
    found = manifold(real=real, generated=made)
    assert found.precise.mean() == pytest.approx(expected["precision"])
    assert found.recalled.mean() == pytest.approx(expected["recall"])
    assert found.precise.mean() < 1


def test_density_and_coverage_are_those_of_prdc(capsys):
    prdc = pytest.importorskip("prdc")
    real, made = normal(70, 5, seed=13), normal(50, 5, seed=14, shift=0.5)
    expected = prdc.compute_prdc(real, made, nearest_k=5)
    found = manifold(real=real, generated=made, k=5)
    assert found.density.mean() == pytest.approx(expected["density"])
    assert found.covered.mean() == pytest.approx(expected["coverage"])
    capsys.readouterr()


@pytest.mark.parametrize("shape", [(40, 7), (7, 40)])
def test_the_vendi_score_is_that_of_its_authors(shape):
    vendi = pytest.importorskip("vendi_score.vendi")
    vectors = normal(*shape, seed=15, shift=0.3)
    assert vendi_score(vectors) == pytest.approx(vendi.score_dual(vectors), rel=1e-9)


def test_the_vendi_score_of_unequal_kinds():
    """Shares 1/2, 1/4, 1/4 of three orthogonal kinds: an entropy of 1.5 ln 2."""
    kinds = np.eye(5)[[0, 0, 1, 2, 0, 0, 1, 2]] * [[1], [9], [2], [3], [4], [1], [5], [7]]
    assert vendi_score(kinds) == pytest.approx(2**1.5, rel=1e-12)
    opposite = np.array([[1.0, 0.0], [-3.0, 0.0]])  # K = [[1, −1], [−1, 1]]: one direction
    assert vendi_score(opposite) == pytest.approx(1, rel=1e-12)


def test_the_start_of_clusters_finds_rare_ones():
    """k-means++ draws by squared distance: three points far away become a cell of their own."""
    points = np.concatenate([normal(200, 3, seed=16), normal(3, 3, seed=17, shift=50)])
    centers = kmeans(points, 2, np.random.default_rng(0))
    assert np.bincount(nearest_center(points, centers)).min() == 3
    reference = KMeans(5, n_init=20, random_state=0).fit(points)
    centers = kmeans(points, 5, np.random.default_rng(1))
    spread = np.square(points - centers[nearest_center(points, centers)]).sum()
    assert spread <= 1.02 * reference.inertia_


def separate_cells(count, d, seed, **options):
    """Three groups far from each other, so that any clustering finds the same cells."""
    return np.concatenate(
        [normal(n, d, seed=seed + i, **options) + 40 * i for i, n in enumerate(count)]
    )


def test_ct_with_the_tools_of_scikit_learn_and_scipy():
    """PCA, cells and ranks by other libraries; one cell with too few samples; exact copies."""
    train = separate_cells((90, 60, 50), 80, 20)
    test = separate_cells((40, 30, 25), 80, 30)
    made = separate_cells((50, 35, 20), 80, 40)
    made[:15] = train[:15]
    projection = PCA(64, svd_solver="full").fit(train)
    flat = [projection.transform(part) for part in (made, train, test)]
    cells = KMeans(3, n_init=5, random_state=0).fit(flat[1])
    made_cells, train_cells, test_cells = (cells.predict(part) for part in flat)
    scores, shares = [], []
    for cell in np.unique(train_cells):
        inside = flat[1][train_cells == cell]
        own, other = (
            spatial.distance.cdist(part[which == cell], inside).min(axis=1)
            for part, which in ((flat[0], made_cells), (flat[2], test_cells))
        )
        if len(own) <= 20:
            continue
        own[own < 1e-9] = 0  # copies, through the projection
        found = stats.mannwhitneyu(own, other, method="asymptotic", use_continuity=False)
        sign = np.sign(found.statistic - len(own) * len(other) / 2)
        scores.append(sign * stats.norm.isf(found.pvalue / 2))
        shares.append(len(other))
    assert len(shares) == 2
    found = data_copying(
        generated=made, train=train, test=test, rng=np.random.default_rng(0), cells=3
    )
    assert found.value == pytest.approx(np.average(scores, weights=shares), rel=1e-6)
    weights = np.asarray(shares) / np.sum(shares)
    assert found.deviation == pytest.approx(np.sqrt(np.square(weights).sum()))
    assert np.isnan(found.cells).sum() == 1


def test_ct_without_copying_has_the_deviation_that_it_states():
    rng = np.random.default_rng(18)
    found = [
        data_copying(
            generated=rng.normal(size=(120, 2)) + 40 * rng.integers(0, 3, (120, 1)),
            train=rng.normal(size=(90, 2)) + 40 * np.repeat(np.arange(3), 30)[:, None],
            test=rng.normal(size=(100, 2)) + 40 * rng.integers(0, 3, (100, 1)),
            rng=np.random.default_rng(0),
        )
        for _ in range(60)
    ]
    values = np.array([each.value for each in found]) / [each.deviation for each in found]
    assert 0.57 < np.mean([each.deviation for each in found]) < 0.65  # about 1/√3
    low, high = stats.chi2.ppf([0.001, 0.999], 59) / 59  # of the sample variance over the variance
    assert low < values.var(ddof=1) < high
    assert abs(values.mean()) < 3.3 / np.sqrt(60)


def test_a_coverage_of_one_in_all_subsamples_has_no_margin():
    """Zero would claim that the value is known exactly."""
    real, made = normal(40, 2, seed=19), normal(400, 2, seed=20)

    def both(a, b):
        return [1.0, a.mean() - b.mean()]

    margin = subsampling_margin(both, [real, made], rng=np.random.default_rng(0))
    assert np.isnan(margin[0])
    assert margin[1] > 0
