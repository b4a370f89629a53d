"""What holds for all metrics of the registry, whatever they measure."""

import dataclasses

import numpy as np
import pytest

from reprostore.errors import DatasetError, SpecError
from reprostore_analyses.fidelity import FidelityOptions
from reprostore_analyses.kernels import (
    generalization_score,
    mean_absolute_error,
    memorized_fraction,
    rowwise_cosine,
    threshold_curve,
)
from reprostore_analyses.memorization_options import MemorizationOptions
from reprostore_analyses.metrics import PAIR_METRICS, RUN_METRICS
from reprostore_analyses.metrics.evidence import Evidence, Space
from reprostore_analyses.metrics.pairs import mean_over_shifts
from reprostore_analyses.statistics import calibrated_fraction

SHAPE = (1, 12, 12)
SIZE = 144
OPTIONS = {
    "memorization": MemorizationOptions(
        resamples=50, clique_samples=60, clique_size=3, clique_threshold=0.3, neighbors=20
    ),
    "fidelity": FidelityOptions(subsamples=8, kid_subsets=5),
}
RUN = pytest.mark.parametrize("name", list(RUN_METRICS))
PAIR = pytest.mark.parametrize("name", list(PAIR_METRICS))


def pictures(count, seed=0):
    """Smooth random pictures: a few waves, as 8-bit images."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:12, :12] / 12
    waves = np.stack([np.sin(2 * np.pi * (a * x + b * y)) for a in range(3) for b in range(3)])
    values = np.einsum("nw,wyx->nyx", rng.normal(size=(count, 9)), waves)
    return np.clip(128 + 50 * values, 0, 255).astype(np.uint8)[:, None]


def evidence(generated, train, held_out, *, cosine=True, project=None, rng_seed=0, k=20):
    flat = [part.reshape(len(part), -1).astype(np.float32) / 255 for part in
            (generated, train, held_out)]  # fmt: skip
    axes = np.random.default_rng(9).normal(size=(SIZE, 10)).astype(np.float32)
    vectors = [part @ (axes if project is None else project) for part in flat]
    return Evidence(
        encoder=Space(*vectors, k=k),
        pixels=Space(*flat, k=k),
        cosine=cosine,
        item_shape=SHAPE,
        rng=lambda: np.random.default_rng(rng_seed),
    )


def data(generated=60, train=50, held_out=60):
    items = pictures(train, 1)
    made = pictures(generated, 2)
    made[: generated // 3] = items[: generated // 3] ^ 1  # copies, one grey level off
    return made, items, pictures(held_out, 3)


def score(metric, given, comparison=None):
    who, against = metric.comparisons[0] if comparison is None else comparison
    return metric.compute(given, who, against, OPTIONS[metric.analysis])


def close(a, b, tolerance=1e-9):
    np.testing.assert_allclose(a[:3], b[:3], rtol=tolerance, atol=tolerance)


class TestRunMetrics:
    @RUN
    def test_every_comparison_has_a_value_in_bounds_inside_its_interval(self, name):
        metric, given = RUN_METRICS[name], evidence(*data())
        for comparison in metric.comparisons:
            found = score(metric, given, comparison)
            assert metric.bounds[0] <= found.value <= metric.bounds[1]
            if name == "ct" and comparison[0] == "held_out":
                assert found.value == 0  # with the range that C_T has without copying
                assert 0 < found.high == -found.low
            elif metric.interval == "none":
                assert np.isnan([found.low, found.high]).all()
            elif name == "coverage" and found.value == 1:  # as in every subsample
                assert "no interval" in found.reason
            else:
                assert metric.bounds[0] <= found.low <= found.value
                if not found.reason:  # few items have no upper bound of a high quantile
                    assert found.value <= found.high <= metric.bounds[1]

    @RUN
    def test_the_order_of_samples_does_not_matter(self, name):
        metric = RUN_METRICS[name]
        made, items, unseen = data()
        order = np.random.default_rng(0).permutation(len(made))
        found, shuffled = (
            score(metric, evidence(part, items, unseen)) for part in (made, made[order])
        )
        if name == "kid":  # a mean over random subsets, whose members change
            assert abs(found.value - shuffled.value) < 0.2 * (found.high - found.low) + 1e-3
        else:
            assert shuffled.value == pytest.approx(found.value, rel=1e-6, abs=1e-9)

    @RUN
    def test_blocks_do_not_matter(self, name, monkeypatch):
        metric, sets = RUN_METRICS[name], data()
        found = score(metric, evidence(*sets))
        monkeypatch.setattr("reprostore_analyses.metrics.evidence.BLOCK_BYTES", 5 * 4 * SIZE)
        monkeypatch.setattr("reprostore_analyses.kernels.manifold.BLOCK_VALUES", 100)
        monkeypatch.setattr("reprostore_analyses.kernels.ratio_rule._BLOCK_VALUES", 300)
        close(score(metric, evidence(*sets)), found)

    @RUN
    def test_the_same_again_gives_the_same(self, name):
        metric, sets = RUN_METRICS[name], data()
        given = evidence(*sets)
        for other in RUN_METRICS.values():  # whatever was computed before
            if other.analysis == metric.analysis:
                score(other, given)
        close(score(metric, given), score(metric, evidence(*sets)), 0)

    @RUN
    def test_copies_count_as_copies(self, name):
        """All samples are training items: what measures copying is at its extreme."""
        metric = RUN_METRICS[name]
        if name.startswith("cliques"):
            pytest.skip("each item is copied once here, and a clique takes many copies of one")
        _, items, unseen = data(train=150, held_out=150)
        found = score(metric, evidence(items.copy(), items, unseen))
        fresh = score(metric, evidence(pictures(150, 7), items, unseen))
        if metric.higher == "more copying":
            assert found.value >= fresh.value
        elif metric.higher == "less copying" or metric.higher == "farther":
            assert found.value < fresh.value
        elif name == "density":  # k balls hold a copy, as many as hold new items on average
            assert found.value == pytest.approx(1)
        elif metric.higher == "closer":
            assert found.value >= fresh.value

    @RUN
    def test_of_copies_alone(self, name):
        _, items, unseen = data()
        found = score(RUN_METRICS[name], evidence(items.copy(), items, unseen))
        expected = {
            "ratio": 1, "ratio_distinct": 1, "adaptive": 1, "adaptive_item": 1, "extracted": 1,
            "replicated": 1, "similarity_mean": 1, "similarity_std": 0, "matched_items": 50,
            "authpct": 0, "fd": 0, "precision": 1, "recall": 1, "density": 1, "coverage": 1,
        }  # fmt: skip
        if name in expected:
            assert found.value == pytest.approx(expected[name], abs=1e-5)

    @RUN
    @pytest.mark.parametrize("count", [1, 2])
    def test_too_few_samples_or_items_give_a_number_or_a_reason(self, name, count):
        metric = RUN_METRICS[name]
        made, items, unseen = data()
        for sets in ((made[:count], items, unseen), (made, items[:count], unseen)):
            found = score(metric, evidence(*sets))
            assert np.isfinite(found.value) or found.reason

    @RUN
    def test_constant_pictures_give_a_number_or_a_reason(self, name):
        flat = np.full((30, *SHAPE), 77, dtype=np.uint8)
        for sets in ((flat, flat, flat), (flat, pictures(30), pictures(30, 1))):
            found = score(RUN_METRICS[name], evidence(*sets))
            assert np.isfinite(found.value) or found.reason

    @RUN
    def test_nan_is_refused(self, name):
        metric = RUN_METRICS[name]
        given = evidence(*data())
        for space in (given.encoder, given.pixels):
            spoiled = np.array(space.generated)
            spoiled[3, 2] = np.nan
            space.generated = spoiled
        with pytest.raises((SpecError, DatasetError)):
            score(metric, given)

    @RUN
    def test_without_a_cosine_what_needs_one_says_so(self, name):
        found = score(RUN_METRICS[name], evidence(*data(), cosine=False))
        needs = name.startswith("similarity") or name in ("replicated", "matched_items", "vendi")
        assert np.isnan(found.value) == needs
        assert ("cosine" in found.reason) == needs

    @RUN
    def test_it_says_how_it_is_read(self, name):
        metric = RUN_METRICS[name]
        assert all(metric.described().values())
        assert metric.name == name
        assert metric.analysis in OPTIONS


def pair_inputs(metric, count=30, seed=5):
    if metric.space == "images":
        return pictures(count, seed), pictures(count, seed + 1)
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, 10)).astype(np.float32) for _ in range(2))


class TestPairMetrics:
    @PAIR
    def test_identical_runs(self, name):
        metric = PAIR_METRICS[name]
        a, _ = pair_inputs(metric)
        np.testing.assert_array_equal(metric.measure(a, a.copy()), metric.identical)
        mean = np.asarray(metric.measure(a, a.copy()).mean())
        assert metric.summarize(mean) == metric.identical

    @PAIR
    def test_symmetry_and_the_order_of_seeds(self, name):
        metric = PAIR_METRICS[name]
        a, b = pair_inputs(metric)
        values = metric.measure(a, b)
        np.testing.assert_allclose(metric.measure(b, a), values, rtol=1e-12)
        order = np.random.default_rng(0).permutation(len(a))
        np.testing.assert_array_equal(metric.measure(a[order], b[order]), values[order])

    @PAIR
    def test_seeds_one_by_one(self, name):
        metric = PAIR_METRICS[name]
        a, b = pair_inputs(metric, 4)
        single = [metric.measure(a[i : i + 1], b[i : i + 1])[0] for i in range(4)]
        np.testing.assert_allclose(metric.measure(a, b), single, rtol=1e-12)

    @PAIR
    def test_chance_is_that_of_other_seeds(self, name):
        """With no more seeds than shifts, it is the mean over all pairs of different seeds."""
        metric = PAIR_METRICS[name]
        a, b = pair_inputs(metric, 6)
        pairs = [metric.measure(a[i : i + 1], b[j : j + 1])[0]
                 for i in range(6) for j in range(6) if i != j]  # fmt: skip
        assert mean_over_shifts(a, b, metric.measure) == pytest.approx(np.mean(pairs), rel=1e-9)
        assert np.isnan(mean_over_shifts(a[:1], b[:1], metric.measure))

    @PAIR
    def test_shuffled_seeds_are_farther_than_equal_ones(self, name):
        metric = PAIR_METRICS[name]
        a, _ = pair_inputs(metric)
        b = np.where(np.random.default_rng(0).random(a.shape) < 0.9, a, a[::-1]).astype(a.dtype)
        same, chance = metric.measure(a, b).mean(), mean_over_shifts(a, b, metric.measure)
        assert (same > chance) == (metric.higher == "closer")

    @PAIR
    def test_nan_and_other_shapes_are_refused(self, name):
        metric = PAIR_METRICS[name]
        a, b = (np.array(part, dtype=np.float64) for part in pair_inputs(metric))
        with pytest.raises(SpecError):
            metric.measure(a[:-1], b)
        a[2].flat[1] = np.nan
        with pytest.raises(SpecError):
            metric.measure(a, b)


def test_names_are_unique_and_specs_frozen():
    assert not set(RUN_METRICS) & set(PAIR_METRICS)
    with pytest.raises(dataclasses.FrozenInstanceError):
        RUN_METRICS["fd"].name = "fid"


def _vectors(count, seed):
    return np.random.default_rng(seed).normal(size=(count, 10))


def _rp(a, b):
    return float(threshold_curve(rowwise_cosine(a, b), 0.3))


def _mae_score(a, b):
    return float(threshold_curve(mean_absolute_error(a, b), 60, side="below"))


SCORES = {"rp": (_rp, _vectors), "mae_score": (_mae_score, pictures)}
"""What `reproducibility` shows of two runs, from the same kernels."""


@pytest.mark.parametrize("name", list(SCORES))
class TestScoresOfPairs:
    def test_identical_shuffled_permuted_and_exchanged(self, name):
        score_of, make = SCORES[name]
        a, b = make(80, 1), make(80, 2)
        a[:40] = b[:40]
        order = np.random.default_rng(0).permutation(80)
        assert score_of(a, a.copy()) == 1
        assert score_of(a, b) == score_of(b, a) == score_of(a[order], b[order])
        assert 0.5 <= score_of(a, b) < 1
        assert score_of(a, b[order]) < score_of(a, b)

    def test_one_seed_none_and_nan(self, name):
        score_of, make = SCORES[name]
        a = make(3, 1)
        assert score_of(a[:1], a[:1]) == 1
        assert np.isnan(score_of(a[:0], a[:0]))
        spoiled = a.astype(np.float64)
        spoiled.flat[4] = np.nan
        with pytest.raises(SpecError):
            score_of(spoiled, a)


class TestScoresOfCopies:
    """GL, copies and the calibrated threshold, of similarities to the nearest training item."""

    def test_order_bounds_and_complement(self):
        rng = np.random.default_rng(0)
        made, real = rng.uniform(-1, 1, 200), rng.uniform(-1, 1, 300)
        order = rng.permutation(200)
        copies = float(memorized_fraction(made, 0.6))
        assert copies == float(memorized_fraction(made[order], 0.6)) == np.mean(made > 0.6)
        assert float(generalization_score(made, 0.6)) == 1 - copies
        found, shuffled = (
            calibrated_fraction(
                generated=part, held_out=real, rng=np.random.default_rng(1), q=0.05, resamples=50
            )
            for part in (made, made[order])
        )
        assert float(found.threshold.value) == np.quantile(real, 0.95)
        np.testing.assert_array_equal(found.fraction[:3], shuffled.fraction[:3])
        assert found.threshold.low <= found.threshold.value <= found.threshold.high

    def test_copies_alone_none_and_nan(self):
        assert memorized_fraction([1.0, 1.0], 0.6) == 1
        assert memorized_fraction([0.6], 0.6) == 0  # strictly
        assert np.isnan(memorized_fraction([], 0.6))
        with pytest.raises(SpecError):
            memorized_fraction([np.nan], 0.6)
        few = calibrated_fraction(
            generated=[0.5], held_out=[0.1, 0.2], rng=np.random.default_rng(0)
        )
        assert np.isnan(few.fraction.value)
        assert "needs at least 100" in few.fraction.reason
