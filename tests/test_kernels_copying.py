"""Kernels of memorization against brute force, SciPy, scikit-learn and numbers by hand."""

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn.cluster import KMeans

from reprostore.errors import SpecError
from reprostore_analyses.kernels.cliques import in_cliques, tiled_distances
from reprostore_analyses.kernels.copying import data_copying
from reprostore_analyses.kernels.duplicates import near_duplicates
from reprostore_analyses.kernels.extraction import adaptive_ratio, normalized_distance, within
from reprostore_analyses.kernels.kmeans import kmeans, nearest_center
from reprostore_analyses.kernels.rank_test import mann_whitney
from reprostore_analyses.kernels.ratio_rule import (
    distance_ratio,
    effective_capacity,
    equal_items,
    nearest_distinct,
)


def test_ratios_by_hand():
    ratio = distance_ratio([1.0, 2.0, 0.0, 0.0, 3.0], [4.0, 2.0, 5.0, 0.0, np.nan])
    np.testing.assert_array_equal(ratio, [0.25, 1.0, 0.0, 0.0, np.nan])
    assert (distance_ratio([1.0], [3.0]) < 1 / 3).tolist() == [False]  # strictly


@pytest.mark.parametrize(
    ("first", "second"), [([2.0], [1.0]), ([-1.0], [1.0]), ([np.nan], [1.0]), ([1.0, 2.0], [3.0])]
)
def test_distances_that_are_none_are_refused(first, second):
    with pytest.raises(SpecError):
        distance_ratio(first, second)


def test_a_duplicate_of_the_nearest_item_is_not_the_second():
    """Items 0, 3 are equal, and so are 1, 2."""
    groups = np.array([0, 1, 1, 0])
    positions = np.array([[0, 3, 1], [1, 2, 0], [0, 3, 3]])
    distances = [[1.0, 1.0, 4.0], [2.0, 2.0, 5.0], [1.0, 1.0, 1.0]]
    first, second = nearest_distinct(distances, groups[positions])
    np.testing.assert_array_equal(first, [1.0, 2.0, 1.0])
    np.testing.assert_array_equal(second, [4.0, 5.0, np.nan])


def test_equal_items_over_blocks(monkeypatch):
    items = np.array([[1, 2], [3, 4], [1, 2], [1, 3], [3, 4], [1, 2]], dtype=np.float32)
    whole = equal_items(items)
    monkeypatch.setattr("reprostore_analyses.kernels.ratio_rule._BLOCK_VALUES", 2)
    assert whole.tolist() == equal_items(items).tolist() == [0, 1, 0, 3, 1, 0]


def test_the_capacity_is_the_largest_size_that_is_memorized_by_the_best_snapshot():
    sizes = [64, 64, 128, 128, 256, 512]
    found = effective_capacity(sizes, [1.0, 0.2, 0.5, 0.9, 0.89, 0.1])
    assert (found.size, found.next_size, found.reason) == (128, 256, "")
    assert effective_capacity(sizes, [1.0] * 6).size == 512
    assert "up to the largest" in effective_capacity(sizes, [1.0] * 6).reason
    none = effective_capacity(sizes, [0.5] * 6)
    assert np.isnan(none.size)
    assert none.next_size == 64
    assert np.isnan(effective_capacity([64], [np.nan]).size)
    # Beyond a size that fails, a larger one may pass: the largest counts, as it is defined.
    assert effective_capacity([1, 2, 3], [1.0, 0.0, 1.0]).size == 3


def test_adaptive_ratios_by_hand():
    ratio = adaptive_ratio([1.0, 0.0, 3.0], [[1.0, 5.0], [0.0, 0.0], [3.0, 3.0]], alpha=0.5)
    np.testing.assert_allclose(ratio, [1 / 1.5, 0.0, 2.0])
    assert adaptive_ratio([2.0], [[0.0, 0.0]]).tolist() == [np.inf]
    with pytest.raises(SpecError):
        adaptive_ratio([1.0], [[]])


def test_the_normalized_distance_is_the_root_mean_square():
    a, b = np.random.default_rng(0).random((2, 48))
    expected = np.sqrt(np.mean((a - b) ** 2))
    assert normalized_distance([np.linalg.norm(a - b)], 48)[0] == pytest.approx(expected, 1e-12)
    assert within([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], 0.2).tolist() == [2.0, 0.0]


@pytest.mark.parametrize(("shape", "tiles"), [((2, 8, 8), 4), ((1, 9, 6), 4), ((3, 5, 7), 2)])
def test_tiled_distances_are_those_of_the_worst_tile(shape, tiles):
    images = np.random.default_rng(1).random((6, *shape)).astype(np.float32)
    rows, columns = (np.array_split(np.arange(side), tiles) for side in shape[1:])
    expected = np.zeros((6, 6))
    for i, j in itertools.product(range(6), repeat=2):
        expected[i, j] = max(
            np.sqrt(np.mean((images[i][:, y][:, :, x] - images[j][:, y][:, :, x]) ** 2))
            for y in rows
            for x in columns
        )
    np.testing.assert_allclose(tiled_distances(images, tiles), expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_cliques_against_all_subsets(seed):
    rng = np.random.default_rng(seed)
    near = rng.random((9, 9)) < rng.uniform(0.3, 0.9)
    near = near | near.T
    for size in (1, 2, 3, 4, 5):
        expected = np.zeros(9, dtype=bool)
        for nodes in itertools.combinations(range(9), size):
            if all(near[a, b] for a, b in itertools.combinations(nodes, 2)):
                expected[list(nodes)] = True
        found = in_cliques(near, size)
        assert found is not None
        np.testing.assert_array_equal(found, expected)


def test_too_many_cliques_are_given_up(monkeypatch):
    monkeypatch.setattr("reprostore_analyses.kernels.cliques.MOST_STEPS", 50)
    near = np.triu(np.random.default_rng(0).random((40, 40)) < 0.7)
    assert in_cliques(near | near.T, 12) is None


@pytest.mark.parametrize("ties", [False, True])
def test_the_rank_test_is_that_of_scipy(ties):
    rng = np.random.default_rng(2)
    a, b = rng.normal(0.3, 1, 40), rng.normal(0, 1, 60)
    if ties:
        a, b = np.round(a), np.round(b)
    expected = stats.mannwhitneyu(a, b, method="asymptotic", use_continuity=False)
    found = mann_whitney(a, b)
    assert found.u == expected.statistic
    assert 2 * stats.norm.sf(abs(found.z)) == pytest.approx(expected.pvalue, rel=1e-12)
    assert mann_whitney(b, a).z == pytest.approx(-found.z, rel=1e-12)
    assert np.isnan(mann_whitney([1.0, 1.0], [1.0]).z)
    assert np.isnan(mann_whitney([], [1.0]).u)


def test_clusters_are_as_good_as_those_of_scikit_learn():
    rng = np.random.default_rng(3)
    points = np.concatenate([rng.normal(c, 0.7, (60, 5)) for c in (0, 2, 5)])
    centers = kmeans(points, 3, np.random.default_rng(0))
    spread = np.square(points - centers[nearest_center(points, centers)]).sum()
    reference = KMeans(3, n_init=20, random_state=0).fit(points)
    assert spread == pytest.approx(reference.inertia_, rel=1e-6)
    np.testing.assert_array_equal(centers, kmeans(points, 3, np.random.default_rng(0)))
    assert len(kmeans(np.ones((7, 2)), 3, np.random.default_rng(0))) == 1


def _ct(generated, train, test, cells):
    """C_T by plain loops, with scipy's statistic."""
    centers = kmeans(train, cells, np.random.default_rng(0))
    score = weight = 0.0
    for cell in range(len(centers)):
        g, t, q = (
            part[np.argmin(((part[:, None] - centers) ** 2).sum(-1), axis=1) == cell]
            for part in (generated, train, test)
        )
        if len(g) <= 20:
            continue
        near = [((part[:, None] - t) ** 2).sum(-1).min(1) for part in (g, q)]
        found = stats.mannwhitneyu(*near, method="asymptotic", use_continuity=False)
        m, n = len(g), len(q)
        z = (found.statistic - m * n / 2) / np.sqrt(m * n * (m + n + 1) / 12)
        score, weight = score + z * n, weight + n
    return score / weight


def test_ct_against_plain_loops():
    rng = np.random.default_rng(4)
    train, test, generated = (rng.normal(size=(n, 6)) for n in (200, 150, 180))
    for made in (generated, train[:180] + 0.05 * generated, 2 * generated):
        found = data_copying(
            generated=made, train=train, test=test, rng=np.random.default_rng(0), cells=3
        )
        assert found.value == pytest.approx(_ct(made, train, test, 3), rel=1e-9)
    copies = train[:180] + 0.05 * generated
    found = data_copying(generated=copies, train=train, test=test, rng=np.random.default_rng(0))
    assert found.value < -5


def test_ct_in_many_dimensions_is_that_of_the_projection():
    rng = np.random.default_rng(5)
    sets = [rng.normal(size=(n, 100)) * np.linspace(3, 0.1, 100) for n in (150, 120, 130)]
    train, test, generated = sets
    _, _, axes = np.linalg.svd(train - train.mean(0), full_matrices=False)
    flat = [(part - train.mean(0)) @ axes[:64].T for part in sets]
    whole, projected = (
        data_copying(generated=g, train=a, test=b, rng=np.random.default_rng(0)).value
        for a, b, g in ((train, test, generated), flat)
    )
    assert whole == pytest.approx(projected, rel=1e-9)


def test_ct_of_too_few_samples_has_a_reason():
    rng = np.random.default_rng(6)
    found = data_copying(
        generated=rng.normal(size=(15, 3)),
        train=rng.normal(size=(50, 3)),
        test=rng.normal(size=(50, 3)),
        rng=rng,
    )
    assert np.isnan(found.value)
    assert "more than 20 generated" in found.reason


def test_near_duplicates_against_brute_force(monkeypatch):
    rng = np.random.default_rng(7)
    vectors = rng.normal(size=(30, 4)).astype(np.float32)
    vectors[5] = 0
    monkeypatch.setattr("reprostore_analyses.kernels.duplicates.BLOCK_VALUES", 100)
    for threshold in (0.7, 0.0, -0.5):
        counts, groups = near_duplicates(vectors, threshold)
        cosine = np.zeros((30, 30))
        for i, j in itertools.permutations(range(30), 2):
            norms = np.linalg.norm(vectors[i]) * np.linalg.norm(vectors[j])
            cosine[i, j] = -1 if norms == 0 else vectors[i].astype(float) @ vectors[j] / norms
        near = cosine > threshold
        np.fill_diagonal(near, val=False)
        assert counts.tolist() == near.sum(axis=1).tolist()
        reach = np.linalg.matrix_power(near.astype(float) + np.eye(30), 30) > 0
        assert groups.tolist() == reach.argmax(axis=1).tolist()
