"""Rules of memorization against brute force on sets with duplicates, and larger graphs."""

import itertools

import numpy as np
import pytest

from reprostore.errors import SpecError
from reprostore_analyses.kernels import cliques
from reprostore_analyses.kernels.cliques import in_cliques
from reprostore_analyses.kernels.duplicates import near_duplicates
from reprostore_analyses.kernels.ratio_rule import (
    distance_ratio,
    effective_capacity,
    equal_items,
    nearest_distinct,
)
from reprostore_analyses.kernels.replication import match_curves
from reprostore_analyses.memorization_options import MemorizationOptions
from reprostore_analyses.metrics import RUN_METRICS
from reprostore_analyses.metrics.evidence import Evidence, Space, without_itself

SHAPE = (1, 4, 4)


def table(queries, items, k):
    """Return the k nearest items by brute force, ties to the lower position."""
    distances = np.sqrt(((queries[:, None].astype(float) - items) ** 2).sum(axis=-1))
    positions = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, positions, axis=1), positions


def with_duplicates(rng, distinct=12, count=30):
    items = rng.integers(0, 4, (distinct, 6)).astype(np.float32)
    return items[rng.integers(0, distinct, count)]


class TestDistinctNeighbors:
    def test_of_samples_they_are_those_of_the_set_without_duplicates(self):
        rng = np.random.default_rng(0)
        items, samples = with_duplicates(rng), rng.normal(1.5, 1, (40, 6)).astype(np.float32)
        samples[:5] = items[:5]  # copies
        values, positions = table(samples, items, 30)
        first, second = nearest_distinct(values, equal_items(items)[positions])
        expected = table(samples, np.unique(items, axis=0), 2)[0]
        np.testing.assert_allclose(np.stack([first, second], axis=1), expected, rtol=1e-12)
        assert (distance_ratio(first, second)[:5] == 0).all()

    def test_of_items_they_leave_out_their_own_duplicates(self):
        rng = np.random.default_rng(1)
        items = with_duplicates(rng)
        near = without_itself(*table(items, items, 30))
        groups = equal_items(items)
        first, second = nearest_distinct(near.values, groups[near.positions], groups)
        unique, inverse = np.unique(items, axis=0, return_inverse=True)
        expected = table(unique, unique, 3)[0][inverse, 1:]
        np.testing.assert_allclose(np.stack([first, second], axis=1), expected, rtol=1e-12)

    def test_too_few_neighbors_have_no_second(self):
        values = [[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 1.0, 2.0]]
        groups = [[7, 7, 3], [7, 3, 3], [7, 3, 4]]
        first, second = nearest_distinct(values, groups, own=[7, 7, 7])
        np.testing.assert_array_equal(second, [np.nan, np.nan, 2.0])
        assert first[2] == 1.0
        assert np.isnan(distance_ratio(first, second)[:2]).all()
        assert np.isnan(nearest_distinct([[1.0]], [[0]])[1]).all()
        with pytest.raises(SpecError):
            nearest_distinct([[1.0, 2.0]], [[0]])


@pytest.mark.parametrize("hundredths", range(1, 100))
def test_the_capacity_counts_a_share_of_exactly_one_minus_epsilon(hundredths):
    exactly = (100 - hundredths) / 100
    found = effective_capacity([10, 20], [exactly, exactly - 1e-6], hundredths / 100)
    assert (found.size, found.next_size) == (10, 20)


def test_matches_against_counting_one_by_one():
    rng = np.random.default_rng(2)
    values, positions = np.round(rng.random(50), 1), rng.integers(3, 15, 50)
    grid = np.linspace(0, 1, 21)
    found = match_curves(values, positions, grid)
    for place, threshold in enumerate(grid):
        above = values > threshold
        assert found.share[place] == above.sum() / 50
        assert found.items[place] == len(set(positions[above].tolist()))
    assert found.items.dtype == np.int64
    nothing = match_curves([], np.empty(0, dtype=int), grid)
    assert np.isnan(nothing.share).all()
    assert (nothing.items == 0).all()
    with pytest.raises(SpecError):
        match_curves([0.5, np.nan], [1, 2], grid)


class TestCliques:
    @pytest.mark.parametrize("seed", range(4))
    def test_against_all_maximal_cliques_of_networkx(self, seed):
        networkx = pytest.importorskip("networkx")
        rng = np.random.default_rng(seed)
        near = np.triu(rng.random((60, 60)) < 0.5, 1)
        planted = rng.choice(60, 11, replace=False)
        near[np.ix_(planted, planted)] = True
        near = near | near.T
        graph = networkx.from_numpy_array(near & ~np.eye(60, dtype=bool))
        for size in (2, 6, 7, 8, 11, 12):
            expected = np.zeros(60, dtype=bool)
            for clique in networkx.find_cliques(graph):
                if len(clique) >= size:
                    expected[clique] = True
            np.testing.assert_array_equal(in_cliques(near, size), expected)

    def test_of_no_nodes_and_of_nodes_alone(self):
        assert in_cliques(np.zeros((0, 0), dtype=bool), 3).shape == (0,)
        alone = np.zeros((5, 5), dtype=bool)
        assert in_cliques(alone, 1).all()
        assert not in_cliques(alone, 2).any()

    def test_what_is_dense_is_no_hard_case(self):
        assert in_cliques(np.ones((400, 400), dtype=bool), 10).all()
        # 3^12 maximal cliques of 12 nodes each, none of 13.
        near = ~np.kron(np.eye(12, dtype=bool), np.ones((3, 3), dtype=bool))
        assert in_cliques(near, 12).all()
        assert not in_cliques(near, 13).any()

    def test_a_search_that_is_given_up_says_nothing(self, monkeypatch):
        near = np.triu(np.random.default_rng(0).random((40, 40)) < 0.7)
        near = near | near.T
        steps = [10, 1000, 10_000, 10**7]
        found = []
        for most in steps:
            monkeypatch.setattr(cliques, "MOST_STEPS", most)
            found.append(in_cliques(near, 12))
        assert found[0] is None
        known = [each for each in found if each is not None]
        assert known
        for each in known:
            np.testing.assert_array_equal(each, known[-1])


class Slices:
    """Vectors that are read by slices alone, and no more than so many at a time."""

    def __init__(self, values, most):
        self._values, self._most = values, most
        self.shape, self.dtype = values.shape, values.dtype

    def __getitem__(self, part):
        assert isinstance(part, slice)
        assert part.stop - part.start <= self._most
        return self._values[part]


class TestNearDuplicates:
    @pytest.mark.parametrize("block", [16, 100, 400, 2**22])
    def test_blocks_and_scale_do_not_matter(self, block, monkeypatch):
        rng = np.random.default_rng(3)
        centers = rng.normal(size=(9, 4))
        vectors = centers[rng.integers(0, 9, 45)] + rng.normal(0, 0.15, (45, 4))
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        near = unit @ unit.T > 0.98
        np.fill_diagonal(near, val=False)
        reach = np.linalg.matrix_power(near + np.eye(45), 45) > 0
        assert len({len(set(row.nonzero()[0])) for row in reach}) > 3  # groups of several sizes
        monkeypatch.setattr("reprostore_analyses.kernels.duplicates.BLOCK_VALUES", block)
        scaled = vectors * rng.uniform(0.1, 9, (45, 1))
        counts, groups = near_duplicates(Slices(scaled, max(1, block // 4)), 0.98)
        np.testing.assert_array_equal(counts, near.sum(axis=1))
        np.testing.assert_array_equal(groups, reach.argmax(axis=1))

    def test_a_chain_is_one_group_whatever_its_order(self):
        angles = np.arange(60) * 0.1
        order = np.random.default_rng(4).permutation(60)
        vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)[order]
        counts, groups = near_duplicates(vectors, np.cos(0.15))
        assert (groups == 0).all()
        ends = (order == 0) | (order == 59)
        assert (counts == np.where(ends, 1, 2)).all()

    def test_a_vector_without_direction_is_similar_to_nothing(self):
        vectors = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [2.0, 0.0]])
        counts, groups = near_duplicates(vectors, -1.0)
        assert counts.tolist() == [0, 1, 0, 1]
        assert groups.tolist() == [0, 1, 2, 1]

    @pytest.mark.parametrize("vectors", [np.full((3, 2), np.nan), np.ones(3)])
    def test_what_is_refused(self, vectors):
        with pytest.raises(SpecError):
            near_duplicates(vectors, 0.5)


class TestRulesOnPixels:
    """Whole rules on 8-bit pictures, by loops over all distances."""

    OPTIONS = MemorizationOptions(neighbors=5, eidetic=2, delta=0.12, alpha=0.7, ratio=0.4)

    @pytest.fixture
    def sets(self):
        rng = np.random.default_rng(5)
        train = rng.integers(60, 190, (20, 16))
        train[[3, 7, 11]] = train[0]
        train[5] = np.clip(train[1] + rng.integers(-8, 9, 16), 0, 255)
        made = rng.integers(60, 190, (24, 16))
        spread = rng.integers(1, 70, (14, 1))
        noise = rng.integers(-spread, spread + 1, (14, 16))
        made[:14] = np.clip(train[rng.permutation(20)[:14]] + noise, 0, 255)
        made[14] = train[0]
        return [(part / 255).astype(np.float32) for part in (made, train)]

    def score(self, name, sets, who="generated"):
        space = Space(*sets, k=12)
        given = Evidence(space, space, True, SHAPE, lambda: np.random.default_rng(0))
        found = RUN_METRICS[name].compute(given, who, "train", self.OPTIONS)
        assert found.low <= found.value <= found.high
        return found.value

    def test_ratio_among_items_with_and_without_duplicates(self, sets):
        _, train = sets
        every = table(train, train, 20)[0]
        plain = [d[1] == 0 or d[1] / d[2] < 0.4 for d in every]
        assert self.score("ratio", sets, "train") == np.mean(plain)
        unique = np.unique(train, axis=0)
        alone = table(unique, unique, 3)[0]
        expected = np.mean(alone[:, 1] / alone[:, 2] < 0.4)
        assert self.score("ratio_distinct", sets, "train") == expected
        assert 0 < expected < np.mean(plain)  # exact duplicates count in the one alone

    def test_ratio_of_samples(self, sets):
        made, train = sets
        unique = np.unique(train, axis=0)
        expected = [d[0] / d[1] < 0.4 for d in table(made, unique, 2)[0]]
        assert self.score("ratio_distinct", sets) == np.mean(expected)
        assert 0 < np.mean(expected) < 1

    def test_adaptive_rule_in_both_readings(self, sets):
        made, train = sets
        near, positions = table(made, train, 5)
        sample = [d[0] < 0.7 * d.mean() for d in near]
        item = []
        for row, nearest in enumerate(positions[:, 0]):
            others = np.delete(train, nearest, axis=0)  # the item is no neighbor of itself
            item.append(near[row, 0] < 0.7 * table(train[[nearest]], others, 5)[0].mean())
        assert self.score("adaptive", sets) == np.mean(sample)
        assert self.score("adaptive_item", sets) == np.mean(item)
        assert 0 < np.mean(sample) < 1
        assert 0 < np.mean(item) < 1

    def test_extracted_and_eidetic(self, sets):
        made, train = sets
        rms = np.sqrt(np.mean((made[:, None].astype(float) - train) ** 2, axis=-1))
        among = np.sqrt(np.mean((train[:, None].astype(float) - train) ** 2, axis=-1))
        close = rms.min(axis=1) <= 0.12
        seen = (among <= 0.12).sum(axis=1)[rms.argmin(axis=1)]  # itself, too
        assert self.score("extracted", sets) == np.mean(close)
        assert self.score("eidetic", sets) == np.mean(close & (seen <= 2))
        assert np.mean(close & (seen <= 2)) < np.mean(close) < 1


def test_neighbors_without_itself_where_duplicates_fill_the_table():
    """Of six equal items, the search for three neighbors does not find the later ones."""
    items = np.concatenate([np.zeros((6, 2)), [[1.0, 0.0], [5.0, 0.0]]])
    near = without_itself(*table(items, items, 3))
    assert near.values.shape == (8, 2)
    for row, (values, positions) in enumerate(zip(near.values, near.positions, strict=True)):
        assert row not in positions
        distances = np.sort(np.linalg.norm(np.delete(items, row, axis=0) - items[row], axis=1))
        np.testing.assert_array_equal(values, distances[:2])
    assert all(len(set(row)) == 2 for row in near.positions.tolist())
    pairs = itertools.combinations(range(8), 2)
    assert sum(np.array_equal(items[a], items[b]) for a, b in pairs) == 15
