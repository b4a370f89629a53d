"""Distances from oracle and Gaussian, of stores in which every one of them is chosen."""

import importlib
import shutil

import numpy as np
import pytest
import xarray as xr
from analyzing import add_dataset, damage, open_tree
from scipy.stats import norm
from theorizing import SIGMA, add_path, checkered, grey

from reprostore.errors import CorruptionError, MissingDataError, PairingError, SpecError
from reprostore.specs import EncoderSpec, ModelSpec, Subset
from reprostore.store import create_store, open_store
from reprostore_analyses import theory_paths
from reprostore_analyses.context import Context
from reprostore_analyses.registry import ANALYSES
from reprostore_analyses.theory import TheoryOptions, theory, theory_rows
from reprostore_analyses.theory_tables import NOT_COMPARED

module = importlib.import_module("reprostore_analyses.theory")

# Grey levels between the network and the oracle at the five rows, and how such a seed leaves.
WAYS = {
    "never": [0, 1, 2, 3, 4],
    "start": [20, 30, 40, 50, 60],
    "middle": [1, 2, 20, 30, 40],
    "returns": [1, 20, 2, 3, 40],
}
DEPARTS = {"never": -1, "start": 0, "middle": 2, "returns": 4}


@pytest.fixture
def store(tmp_path):
    return create_store(tmp_path / "s.zarr")


def away(levels, seed):
    """Return x̂_0 at so many grey levels from `oracle(seed)`, (row, *shape)."""
    return np.stack([checkered(level, seed) for level in levels])


def oracle(seed, rows=5):
    return away([0] * rows, seed)


def compare(store, *, context=None, **options):
    return theory(context or Context(store), TheoryOptions(**options))


def at(result, run="net/s/none", reference="oracle"):
    return result.sel(run=run, reference=reference)


def row_of(result, reference="oracle", run="net/s/none"):
    rows = theory_rows(result, TheoryOptions())
    (row,) = [row for row in rows if (row["run"], row["reference"]) == (run, reference)]
    return row


def four_ways(store, repeat=3, gaussian=None):
    """Add a network whose seeds leave the oracle in the four ways, `repeat` seeds each."""
    ways = [way for way in WAYS for _ in range(repeat)]
    add_path(store, "net", {s: away(WAYS[way], s) for s, way in enumerate(ways)})
    add_path(store, "best", {s: oracle(s) for s in range(len(ways))}, source="oracle")
    if gaussian is not None:
        far = {s: away(gaussian, s) for s in range(len(ways))}
        add_path(store, "wiener", far, source="gaussian")
    return ways


def test_departures_and_distances_in_closed_form(store):
    ways = four_ways(store)
    result = compare(store)
    found = at(result)
    assert found["departure_row"].values.tolist() == [DEPARTS[way] for way in ways]
    expected = [SIGMA[DEPARTS[way]] if DEPARTS[way] > 0 else np.nan for way in ways]
    np.testing.assert_array_equal(found["departure_sigma_at"], expected)
    assert [float(found[name]) for name in ("left", "stayed", "never_near")] == [0.5, 0.25, 0.25]
    assert int(found["departures"]) == 6
    assert float(found["departure_sigma"]) == 1.0  # between 2.0 of three seeds and 0 of three
    assert (float(found["departure_sigma_low"]), float(found["departure_sigma_high"])) == (0, 2)
    np.testing.assert_array_equal(found["gone"], [0.25, 0.25, 0.5, 0.5, 0.75])
    levels = np.asarray([WAYS[way] for way in ways], dtype=float)
    np.testing.assert_allclose(found["path_mean"], levels.mean(axis=0), rtol=1e-5)
    for place, q in enumerate((0.05, 0.25, 0.5, 0.75, 0.95)):
        assert float(result["quantile"][place]) == q
        np.testing.assert_allclose(
            found["path_quantile"][place], np.quantile(levels, q, axis=0), rtol=1e-5
        )
    # ranks 3 and 10 of 12: P(Bin(12, 1/2) ≤ 2) = 79/4096 < .025 < P(Bin ≤ 3)
    ordered = np.sort(levels, axis=0)
    for bound, rank in (("low", 3), ("high", 10)):
        np.testing.assert_allclose(found[f"path_quantile_{bound}"][2], ordered[rank - 1], rtol=1e-5)
    np.testing.assert_array_equal(result.sel(run="net/s/none")["sigma"], SIGMA)
    np.testing.assert_array_equal(result.sel(run="net/s/none")["step"], range(5))
    np.testing.assert_allclose(found["rms"], levels[:, -1], rtol=1e-5)
    np.testing.assert_allclose(found["l2"], levels[:, -1] / 127.5 * 6, rtol=1e-5)
    # 8-bit pictures: every pixel is rounded once in each
    np.testing.assert_allclose(found["mae"], levels[:, -1], atol=1)
    assert float(found["near"]) == 0.25
    z = norm.ppf(0.975)
    for bound in (float(found["left_low"]), float(found["left_high"])):
        assert abs(0.5 - bound) == pytest.approx(z * np.sqrt(bound * (1 - bound) / 12))


def test_similarity_and_chance_are_those_of_plain_numpy(store):
    ways = four_ways(store)
    n = len(ways)
    a = np.stack([checkered(WAYS[way][-1], s) for s, way in enumerate(ways)]).reshape(n, -1)
    b = np.stack([grey(0, s) for s in range(n)]).reshape(n, -1)
    result = compare(store, threshold=0.8)
    found = at(result)

    def cosines(x, y):
        x, y = (np.rint((v.astype(np.float64) + 1) * 127.5) for v in (x, y))
        x, y = (v - v.mean(axis=1, keepdims=True) for v in (x, y))
        return (x * y).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)

    truth = cosines(a, b)
    np.testing.assert_allclose(found["similarity"], truth, atol=1e-6)
    assert float(found["rp"]) == np.mean(truth > 0.8)
    assert 0 < float(found["rp"]) < 1
    shifts = range(1, n)
    chance = np.mean([cosines(a, np.roll(b, -s, axis=0)) > 0.8 for s in shifts])
    assert float(found["chance"]) == pytest.approx(chance)
    rp = float(found["rp"])
    assert float(found["corrected"]) == pytest.approx((rp - chance) / (1 - chance))
    far = [np.sqrt(np.mean((a - np.roll(b, -s, axis=0)) ** 2, axis=1)) * 127.5 for s in shifts]
    assert float(found["chance_rms"]) == pytest.approx(np.median(far), rel=1e-5)
    assert float(found["near_chance"]) == np.mean(np.asarray(far) < 15)
    assert result.attrs["shifts"] == 20
    for name in ("rms", "similarity"):
        values = found[name].values
        assert float(found[f"{name}_mean"]) == pytest.approx(values.mean())
        low, high = (float(found[f"{name}_mean_{bound}"]) for bound in ("low", "high"))
        spread = norm.ppf(0.975) * values.std() / np.sqrt(n)
        assert high - low == pytest.approx(2 * spread, rel=0.15)
        np.testing.assert_allclose(
            found[f"{name}_quantile"], np.quantile(values, result["quantile"]), rtol=1e-12
        )


def test_the_tolerance_is_not_reached_by_what_equals_it(store):
    # 255/2 · 2⁻³ = 15.9375 exactly, in float32 and float64
    half = np.full((1, 4, 4), 0.125, np.float32)
    add_path(store, "net", {0: np.stack([0 * half, half, half, half, half])})
    add_path(store, "best", {0: np.stack([0 * half] * 5)}, source="oracle")
    found = at(compare(store, tolerance=15.9375))
    assert found["rms"].values.tolist() == [15.9375]
    assert found["departure_row"].values.tolist() == [1]
    assert float(found["near"]) == 0
    found = at(compare(store, tolerance=15.93751))
    assert found["departure_row"].values.tolist() == [-1]
    assert float(found["near"]) == 1


def test_the_nearer_closed_form_along_sigma(store):
    # Distances along one direction: the Gaussian 20 levels beyond the oracle.
    four_ways(store, gaussian=[20] * 5)
    result = compare(store)
    one = result.sel(run="net/s/none")
    levels = np.asarray([WAYS[way] for way in WAYS for _ in range(3)], dtype=float)
    np.testing.assert_allclose(one["oracle_nearer"], (levels < 10).mean(axis=0))
    np.testing.assert_allclose(one["gaussian_nearer"], (levels > 10).mean(axis=0))
    assert (one["oracle_nearer_low"] <= one["oracle_nearer"]).all()
    np.testing.assert_allclose(one["between_mean"], 20, rtol=1e-5)
    np.testing.assert_allclose(one["between_quantile"], 20, rtol=1e-5)
    far = at(result, reference="gaussian")
    np.testing.assert_allclose(far["path_mean"], np.abs(levels - 20).mean(axis=0), rtol=1e-5)


def test_equal_distances_are_nearer_to_neither(store):
    add_path(store, "net", {s: oracle(s) for s in range(3)})
    add_path(store, "best", {s: oracle(s) for s in range(3)}, source="oracle")
    add_path(store, "wiener", {s: oracle(s) for s in range(3)}, source="gaussian")
    one = compare(store).isel(run=0)
    assert (one["oracle_nearer"] == 0).all()
    assert (one["gaussian_nearer"] == 0).all()
    assert (one["path_mean"] == 0).all()
    assert float(one["rp"][0]) == 1


def test_a_missing_counterpart_is_a_reason(store):
    four_ways(store)
    result = compare(store)
    row = row_of(result, "gaussian")
    assert np.isnan([row["rp"], row["rms"], row["near"], row["departure_sigma"]]).all()
    assert (row["seeds"], row["departures"], row["reference_run"]) == (0, 0, "")
    assert row["reason"] == (
        "Against the gaussian: There are no samples of a model with source = 'gaussian' trained "
        "on items, index 0-9."
    )
    assert row_of(result)["reference_run"] == "best/s/none"
    one = result.sel(run="net/s/none")
    assert np.isnan(one["oracle_nearer"]).all()
    assert np.isnan(one["between_mean"]).all()
    assert (at(result, reference="gaussian")["departure_row"] == NOT_COMPARED).all()


def test_rows_per_run_whatever_their_steps_and_seeds(store):
    four_ways(store)
    sigma = (5.0, 1.0, 0.0)
    paths = {s: np.stack([checkered(v, s) for v in (0, 0, 30)]) for s in (2, 7, 50)}
    add_path(store, "other", paths, sampler="t", sigma=sigma, index="10-19")
    add_path(store, "its", {s: oracle(s, 3) for s in (50, 2)}, sampler="t", sigma=sigma,
             index="10-19", source="oracle")  # fmt: skip
    result = compare(store)
    assert result["run"].values.tolist() == ["net/s/none", "other/t/none"]
    other = at(result, "other/t/none")
    one = result.sel(run="other/t/none")
    np.testing.assert_array_equal(one["sigma"], [*sigma, np.nan, np.nan])
    np.testing.assert_array_equal(one["step"], [2, 3, 4, -1, -1])
    assert int(other["seeds"]) == 2
    np.testing.assert_array_equal(result["seed"], [*range(12), 50])
    rms = dict(zip(result["seed"].values.tolist(), other["rms"].values.tolist(), strict=True))
    assert {seed for seed, value in rms.items() if not np.isnan(value)} == {2, 50}
    assert rms[50] == pytest.approx(30, rel=1e-5)
    left = dict(zip(result["seed"].values.tolist(), other["departure_row"].values, strict=True))
    assert (left[2], left[50], left[7], left[0]) == (2, 2, NOT_COMPARED, NOT_COMPARED)
    np.testing.assert_allclose(other["path_mean"], [0, 0, 30, np.nan, np.nan], rtol=1e-5)
    assert float(other["departure_sigma"]) == 0
    assert len(theory_rows(result, TheoryOptions())) == 4
    xr.testing.assert_equal(
        at(compare(store, models=("net",))).drop_vars("seed"),
        at(result.sel(seed=slice(0, 11))).drop_vars("seed"),
    )


def test_pairs_are_those_of_seeds_not_of_positions(store):
    rng = np.random.default_rng(1)
    levels = {s: [1 + s] * 5 for s in range(30)}
    orders = [rng.permutation(30)[:count].tolist() for count in (30, 21, 17)]
    add_path(store, "net", {s: away(levels[s], s) for s in orders[0]})
    add_path(store, "best", {s: oracle(s) for s in orders[1]}, source="oracle")
    add_path(store, "wiener", {s: away([100] * 5, s) for s in orders[2]}, source="gaussian")
    result = compare(store)
    common = sorted(orders[1])
    found = at(result).sel(seed=common)
    np.testing.assert_allclose(found["rms"], np.asarray(common) + 1, rtol=1e-5)
    np.testing.assert_allclose(found["path_mean"], np.mean(common) + 1, rtol=1e-5)
    assert int(found["seeds"]) == 21
    all_three = np.asarray(sorted({*orders[1]} & {*orders[2]}))
    one = result.sel(run="net/s/none")
    np.testing.assert_allclose(one["oracle_nearer"], np.mean(all_three + 1 < 50))
    np.testing.assert_allclose(one["between_mean"], 100, rtol=1e-5)
    assert at(result)["rms"].isnull().sum() == 9


def test_blocks_and_chunks_do_not_change_the_answer(tmp_path, monkeypatch):
    rng = np.random.default_rng(2)
    order = {name: rng.permutation(40).tolist() for name in ("net", "best", "wiener")}
    results = []
    for batch_size, block in ((2, 2**25), (2, 64), (40, 700), (7, 1)):
        store = create_store(tmp_path / f"{batch_size}-{block}.zarr")
        for name, source in (("net", None), ("best", "oracle"), ("wiener", "gaussian")):
            noise = np.random.default_rng(len(name)).normal(0, 30, (40, 5))
            paths = {s: away(noise[s], s) for s in order[name]}
            add_path(store, name, paths, source=source, batch_size=batch_size)
        monkeypatch.setattr(theory_paths, "BLOCK_BYTES", block)
        results.append(compare(store))
    for other in results[1:]:
        xr.testing.assert_equal(other, results[0])
        assert list(other.data_vars) == list(results[0].data_vars)


def test_memory_is_that_of_a_block(store, monkeypatch):
    four_ways(store)
    monkeypatch.setattr(theory_paths, "BLOCK_BYTES", 3 * 4 * 36)
    sizes = []
    read = theory_paths._read

    def spy(states, slots, row):
        sizes.append(len(slots))
        return read(states, slots, row)

    monkeypatch.setattr(theory_paths, "_read", spy)
    compare(store)
    assert max(sizes) == 3
    assert sum(sizes) == 2 * 5 * 12  # every estimate of both runs, once


class Spans:
    """States that remember how many slots were read at once."""

    shape, chunks = (1000, 5, 1), (10, 1, 1)

    def __init__(self):
        self.lengths = []

    def __getitem__(self, key):
        slots, row = key
        self.lengths.append(slots.stop - slots.start)
        return (np.arange(slots.start, slots.stop, dtype=np.float32) + 1000 * row)[:, None]


@pytest.mark.parametrize(
    ("slots", "lengths"),
    [
        ([7, 5, -1, 6], [3]),  # side by side: at once, whatever the chunks
        (list(range(95, 115)), [20]),
        ([990, -1, 3, 12, 8, 995], [6, 1, 6]),  # scattered: never more than a chunk
        ([-1, -1], []),
    ],
)
def test_scattered_slots_are_read_by_chunks(slots, lengths):
    states, slots = Spans(), np.asarray(slots)
    found = theory_paths._read(states, slots, 2)
    expected = np.where(slots < 0, np.nan, slots + 2000)[:, None]
    np.testing.assert_array_equal(found, expected)
    assert states.lengths == lengths


@pytest.mark.parametrize(
    ("last_sigma", "fills", "mean"),
    [
        (0.0, {}, [1, 1, 1, 1, 1]),
        (0.3, {}, [1, 1, 1, 1, np.nan]),  # the model was not called on the last state
        (0.0, {0: np.nan}, [np.nan, 1, 1, 1, 1]),
        (0.0, {2: np.nan}, [1, 1, np.nan, 1, 1]),
    ],
)
def test_rows_without_estimates_are_not_used(store, last_sigma, fills, mean):
    sigma = (np.inf, *SIGMA[1:-1], last_sigma)
    final = {s: grey(0, s) for s in range(4)}
    paths = {s: away([1, 1, 1, 1, 1], s) for s in range(4)}
    if last_sigma:
        for path in paths.values():
            path[-1] = np.nan
    for row, value in fills.items():
        paths[3][row] = value
    add_path(store, "net", paths, sigma=sigma, last=final)
    add_path(store, "best", {s: oracle(s) for s in range(4)}, sigma=sigma, source="oracle")
    result = compare(store, tolerance=0.5)
    assert ("not finite" in row_of(result)["reason"]) == bool(fills)
    found = at(result)
    np.testing.assert_allclose(found["path_mean"], mean, rtol=1e-4)
    assert found["departure_row"].values.tolist() == [0] * 4
    found = at(compare(store, tolerance=1.5))
    assert found["departure_row"].values.tolist() == [-1] * 4


def test_a_departure_after_an_unused_row_is_at_its_own_row(store):
    paths = {s: away([0, 0, 0, 40, 40], s) for s in range(2)}
    paths[0][1] = np.nan
    add_path(store, "net", paths)
    add_path(store, "best", {s: oracle(s) for s in range(2)}, source="oracle")
    found = at(compare(store))
    assert found["departure_row"].values.tolist() == [3, 3]
    assert found["departure_sigma_at"].values.tolist() == [SIGMA[3]] * 2
    np.testing.assert_array_equal(found["gone"], [0, np.nan, 0, 1, 1])
    assert "not finite at the steps 1." in row_of(compare(store))["reason"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"record_denoised": False}, 'not recorded. Sample all of them with record = "all"'),
        ({"sigma": (0.0,)}, "x̂_0 is known at 1 of the recorded steps"),
    ],
)
def test_without_estimates_only_final_samples_are_compared(store, fields, reason):
    rows = len(fields.get("sigma", SIGMA))
    add_path(store, "net", {s: away([20] * rows, s) for s in range(8)}, **fields)
    add_path(store, "best", {s: oracle(s, rows) for s in range(8)}, source="oracle", **fields)
    result = compare(store)
    row = row_of(result)
    assert reason in row["reason"]
    assert row["rms"] == pytest.approx(20, rel=1e-5)
    assert np.isnan([row["left"], row["stayed"], row["departure_sigma"]]).all()
    assert np.isnan(at(result)["path_mean"]).all()
    assert (at(result)["departure_row"] == NOT_COMPARED).all()


def test_items_are_compared_as_sets(store, tmp_path):
    items = np.random.default_rng(0).integers(0, 256, (10, 1, 6, 6), dtype=np.uint8)
    add_dataset(store, tmp_path, items)
    for name, index in (("net", "0-9"), ("two", "3-4")):
        add_path(store, name, {s: oracle(s) for s in range(6)}, index=index)
    for name, index in (("all", "all"), ("half", "4,3"), ("less", "0-8"), ("more", "5-9")):
        add_path(store, name, {s: oracle(s) for s in range(6)}, index=index, source="oracle")
    add_path(store, "elsewhere", {s: oracle(s) for s in range(6)},
             trained_on=Subset(dataset="others", index="0-9"))  # fmt: skip
    result = compare(store)
    assert result.attrs["references"] == {
        "net/s/none": {"oracle": "all/s/none"},
        "two/s/none": {"oracle": "half/s/none"},
    }
    assert "trained on others, index 0-9" in result.attrs["left_out"]["elsewhere/s/none"]
    # the nearest of the model's own items, by brute force on the mean-removed cosine
    flat = items.reshape(10, -1).astype(float)
    flat -= flat.mean(axis=1, keepdims=True)
    shown = np.stack([np.rint((grey(0, s).astype(float) + 1) * 127.5).ravel() for s in range(6)])
    shown -= shown.mean(axis=1, keepdims=True)
    cosines = shown @ flat.T / np.linalg.norm(shown, axis=1)[:, None] / np.linalg.norm(flat, axis=1)
    np.testing.assert_array_equal(result["train_index"][0], cosines.argmax(axis=1))
    np.testing.assert_allclose(result["train_similarity"][0], cosines.max(axis=1), atol=1e-6)
    np.testing.assert_array_equal(result["train_index"][1], 3 + cosines[:, 3:5].argmax(axis=1))


@pytest.mark.parametrize(
    ("of_network", "of_oracle", "message"),
    [
        ({}, {"sampler": "t"}, r"The oracle best has no samples under s/none, but under t/none"),
        ({}, {"sampler_spec": {"eta": 0.5}}, r"not sampled alike: eta is 0\.0 and 0\.5"),
        ({}, {"spec": {"noise_scale": 2.0}}, r"noise_scale is 1\.0 and 2\.0"),
        ({}, {"sigma": (80.0, 10.0, 3.0, 0.5, 0.0)}, "sigma is 2 and 3 at step 2"),
        ({"scheduler": {"class": "X", "config": {"beta_end": 0.02}}},
         {"scheduler": {"class": "X", "config": {"beta_end": 0.012}}},
         r"beta_end is 0\.02 and 0\.012"),
        ({}, {"index": "0-8"}, "source = 'oracle' trained on items, index 0-9"),
    ],
)  # fmt: skip
def test_only_runs_of_one_solver_are_compared(store, of_network, of_oracle, message):
    add_path(store, "net", {s: oracle(s) for s in range(4)}, **of_network)
    add_path(store, "best", {s: oracle(s) for s in range(4)}, source="oracle", **of_oracle)
    with pytest.raises(MissingDataError, match=message) as error:
        compare(store)
    assert '[models.oracle] with source = "oracle" and trained_on = { dataset = "items", ' in str(
        error.value
    )


def test_what_a_network_predicts_is_not_the_solver(store):
    configs = [
        {"class": "X", "config": {"prediction_type": kind, "clip_sample": clip, "beta_end": 0.02}}
        for kind, clip in (("epsilon", False), ("sample", True))
    ]
    add_path(store, "net", {s: oracle(s) for s in range(6)}, scheduler=configs[0])
    for name, source in (("best", "oracle"), ("wiener", "gaussian")):
        add_path(store, name, {s: oracle(s) for s in range(6)}, source=source,
                 scheduler=configs[1])  # fmt: skip
    result = compare(store)
    assert result.attrs["references"]["net/s/none"] == {"oracle": "best/s/none"}
    # clipping acts on what leaves [-1, 1], which means of items never do
    assert "clip_sample is False and True" in row_of(result, "gaussian")["reason"]


def test_other_noise_is_no_pair(store):
    add_path(store, "net", {s: oracle(s) for s in range(4)})
    add_path(store, "best", {s: oracle(s) for s in range(4)}, source="oracle",
             probe=lambda probe: probe + np.asarray([[0], [0], [1], [0]]))  # fmt: skip
    with pytest.raises(PairingError, match="different noise at the seeds 2"):
        compare(store, allow_unchecked=True)


def test_unknown_noise_is_marked(store):
    four_ways(store)
    add_path(store, "late", {s: oracle(s) for s in range(6)}, spec={"noise": "unknown"})
    with pytest.raises(PairingError, match="noise of late/s/none is not known"):
        compare(store)
    result = compare(store, allow_unchecked=True)
    for run, checked in (("net", True), ("late", False)):
        assert row_of(result, run=f"{run}/s/none")["checked"] is checked
    assert list(result.attrs["unchecked"]) == ["late/s/none | best/s/none"]


def test_no_common_seed(store):
    add_path(store, "net", {s: oracle(s) for s in range(4)})
    add_path(store, "best", {s: oracle(s) for s in range(4, 8)}, source="oracle")
    with pytest.raises(MissingDataError, match="best/s/none have no written seed in common"):
        compare(store)


def test_requests_that_cannot_be_met(store, tmp_path):
    four_ways(store)
    with pytest.raises(SpecError, match="model 'best' is itself of the kind 'oracle'"):
        compare(store, models=("net", "best"))
    add_path(store, "lonely", {s: oracle(s) for s in range(4)}, index="50-59")
    assert list(compare(store).attrs["left_out"]) == ["lonely/s/none"]
    with pytest.raises(MissingDataError, match="Beside the run lonely/s/none stands no closed"):
        compare(store, models=("net", "lonely"))
    add_path(store, "unknown", {s: oracle(s) for s in range(4)}, trained_on=None)
    assert compare(store).attrs["skipped"] == ["unknown/s/none"]
    with pytest.raises(MissingDataError, match="None of the runs unknown/s/none"):
        compare(store, models=("unknown",))
    with pytest.raises(SpecError, match="cosine"):
        compare(store, threshold=1.5)
    walk = {s: np.zeros((5, 4, 2), np.float32) for s in range(4)}
    add_path(store, "walk", walk)
    with pytest.raises(SpecError, match="samples of walk/s/none are trajectory data"):
        compare(store)


def test_what_the_study_says_counts(store):
    add_path(store, "net", {s: oracle(s) for s in range(6)}, trained_on=None)
    four = {s: oracle(s) for s in range(6)}
    add_path(store, "best", four, source="oracle")
    add_path(store, "hidden", four, source="gaussian")
    spec = ModelSpec(source="x", trained_on=Subset(dataset="items", index="0-9"))
    context = Context(store, models={"net": spec}, run_paths=("net/s/none", "best/s/none"))
    result = compare(store, context=context)
    assert result.attrs["references"] == {"net/s/none": {"oracle": "best/s/none"}}


def test_an_answer_is_kept_until_what_it_was_made_from_changes(store, monkeypatch):
    four_ways(store, gaussian=[20] * 5)
    first = compare(store)
    monkeypatch.setattr(module, "compare_all", None)
    again = compare(open_store(store.path))
    xr.testing.assert_identical(again, first)
    monkeypatch.undo()
    add_path(store, "best", {s: oracle(s) for s in range(13)}, source="oracle")
    add_path(store, "net", {s: oracle(s) for s in range(13)})
    later = compare(store)
    assert int(at(later)["seeds"]) == 13
    assert later.attrs["made_from_fingerprint"] != first.attrs["made_from_fingerprint"]
    assert open_tree(store)["results/theory"].children


def test_a_store_for_reading_gives_the_same(store):
    four_ways(store, gaussian=[20] * 5)
    kept = compare(store)
    shutil.rmtree(store.path / "results")
    xr.testing.assert_identical(compare(open_store(store.path)), kept)


def test_damage_is_an_error(store):
    four_ways(store)
    damage(store.path / "runs/best/s/none/denoised", "flip")
    with pytest.raises(CorruptionError, match="denoised array of the run best/s/none"):
        compare(store)


def test_progress_counts_the_steps(store):
    four_ways(store)
    seen = []
    context = Context(store, progress=lambda *state: seen.append(state))
    compare(store, context=context)
    assert [state for state in seen if state[0].startswith("x̂_0")] == [
        ("x̂_0 of net/s/none", done, 5) for done in range(1, 6)
    ]


def test_an_encoder_without_cosine_is_refused(store):
    four_ways(store)
    context = Context(store, encoders={"pixel": EncoderSpec(kind="pixel")})
    with pytest.raises(SpecError, match="encoder 'other' is not defined"):
        compare(store, context=context, encoder="other")


def test_it_is_among_the_analyses():
    assert ANALYSES["theory"].compute is theory
    assert ANALYSES["theory"].options is TheoryOptions
