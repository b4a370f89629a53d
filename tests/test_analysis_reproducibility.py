"""RP and MAE scores of stores whose samples are chosen so that every score is known."""

import importlib
import itertools
import shutil

import numpy as np
import pytest
import xarray as xr
from analyzing import (
    add_dataset,
    add_run,
    cosine,
    damage,
    levels,
    open_tree,
    pictures,
    subset,
)

from reprostore.errors import CorruptionError, MissingDataError, PairingError, SpecError
from reprostore.specs import EncoderSpec, ModelSpec
from reprostore.store import create_store, open_store
from reprostore_analyses import vectors
from reprostore_analyses.context import Context
from reprostore_analyses.kernels import (
    chance_level,
    chance_threshold,
    cyclic_shifts,
    fine_thresholds,
    rowwise_cosine,
)
from reprostore_analyses.relations import RELATIONS
from reprostore_analyses.reproducibility import (
    ReproducibilityOptions,
    reproducibility,
    reproducibility_rows,
)
from reprostore_analyses.reproducibility_chance import beyond_chance

# The package's own name for it is the function.
module = importlib.import_module("reprostore_analyses.reproducibility")


@pytest.fixture
def store(tmp_path):
    return create_store(tmp_path / "s.zarr")


def score(store, *, context=None, **options):
    return reproducibility(context or Context(store), ReproducibilityOptions(**options))


def pair(result, a="a/s/none", b="b/s/none"):
    return result.sel(run_a=a, run_b=b)


def only_row(result, **options):
    (row,) = reproducibility_rows(result, ReproducibilityOptions(**options))
    return row


def stripes(turned):
    """Return an image of vertical or horizontal stripes: their cosine is 0."""
    rows, columns = np.indices((4, 4))
    return np.where((rows if turned else columns) % 2, 200, 50).astype(np.uint8)[None]


def test_scores_in_closed_form(store):
    # 12 seeds: the runs agree but for 3 seeds, where stripes of the one lie across the other's.
    turned_a = [seed % 2 for seed in range(12)]
    turned_b = [value ^ (seed in (2, 5, 11)) for seed, value in enumerate(turned_a)]
    add_run(store, "a", {seed: stripes(t) for seed, t in enumerate(turned_a)})
    add_run(store, "b", {seed: stripes(t) for seed, t in enumerate(turned_b)})
    result = score(store)
    at = pair(result)
    hits = sum(a == b for a, b in itertools.product(turned_a, turned_b))
    chance = (hits - 9) / (12 * 11)  # all 11 shifts: every pair of different seeds once
    assert float(at["rp"]) == 9 / 12
    assert float(at["chance"]) == pytest.approx(chance, abs=1e-12)
    assert float(at["corrected"]) == pytest.approx((0.75 - chance) / (1 - chance), abs=1e-12)
    np.testing.assert_allclose(
        at["similarity"], [float(a == b) for a, b in zip(turned_a, turned_b, strict=True)],
        atol=1e-12,
    )  # fmt: skip
    # Wilson's bounds solve |p̂ − p| = z √(p (1 − p)/n).
    for bound in (float(at["rp_low"]), float(at["rp_high"])):
        z = abs(0.75 - bound) / np.sqrt(bound * (1 - bound) / 12)
        assert z == pytest.approx(1.959964, abs=1e-5)
    assert float(at["rp_all_low"]) <= float(at["rp_low"]) < 0.75 < float(at["rp_all_high"])
    row = only_row(result)
    assert (row["seeds"], row["checked"], row["drift"]) == (12, True, False)
    assert (row["rp"], row["encoder"], row["threshold"]) == (0.75, "pixel", 0.6)


def test_equality_is_no_agreement_also_where_a_user_compares_the_stored_similarity(store):
    # (3, 4, -3, -4) and (5, 0, -5, 0): the cosine is 30/50, exactly the threshold.
    a, b = (np.asarray(v).reshape(1, 2, 2) for v in ([3, 4, -3, -4], [5, 0, -5, 0]))
    add_run(store, "a", {0: (a + 128).astype(np.uint8), 1: (b + 128).astype(np.uint8)})
    add_run(store, "b", {0: (b + 128).astype(np.uint8), 1: (b + 128).astype(np.uint8)})
    at = pair(score(store, threshold=0.6))
    assert float(at["rp"]) == 0.5
    assert int((at["similarity"] > 0.6).sum()) == 1
    assert float(at["curve"].sel(threshold=0.6)) == 0.5
    assert float(at["curve"].sel(threshold=0.595)) == 1.0
    assert float(pair(score(store, threshold=0.599))["rp"]) == 1.0


def test_the_mae_is_that_of_grey_levels_below_the_threshold(store):
    base = np.full((1, 4, 4), 100, dtype=np.uint8)
    distances = [0, 14, 15, 16, 14, 100]
    add_run(store, "a", dict.fromkeys(range(6), base))
    add_run(store, "b", {seed: base + np.uint8(d) for seed, d in enumerate(distances)})
    at = pair(score(store))
    np.testing.assert_array_equal(at["mae"], distances)
    assert float(at["mae_score"]) == 3 / 6  # 15 is not below 15
    # Under all shifts seed i of the first run, always the same, meets every other distance.
    assert float(at["mae_chance"]) == pytest.approx(3 / 6)
    assert float(at["mae_corrected"]) == pytest.approx(0, abs=1e-12)
    assert float(pair(score(store, mae_threshold=15.5))["mae_score"]) == 4 / 6
    assert float(at["rp"]) == 0  # constant images have no direction
    assert only_row(score(store))["mae_corrected"] == pytest.approx(0, abs=1e-12)


def test_the_score_beyond_chance_is_that_at_the_quantile_of_unrelated_pairs(store):
    """Pictures that all look alike: .6 says nothing of them, and the 1 % threshold does."""
    rng = np.random.default_rng(0)
    base = pictures(1, seed=4)[0].astype(float)
    own = [np.clip(base + rng.normal(0, 30, base.shape), 0, 255) for _ in range(40)]
    near = [np.clip(each + rng.normal(0, 10, base.shape), 0, 255) for each in own]
    a, b = ([np.rint(each).astype(np.uint8) for each in part] for part in (own, near))
    add_run(store, "a", dict(enumerate(a)))
    add_run(store, "b", dict(enumerate(b)))
    assert np.isnan(pair(score(store))["rp_beyond_chance"])  # 40 seeds do not tell 1 %
    at = pair(score(store, q=0.05))
    assert float(at["rp"]) == float(at["chance"]) == 1.0
    unrelated = [cosine(a[i], b[(i + s) % 40]) for s in cyclic_shifts(40) for i in range(40)]
    level = float(at["chance_threshold"])
    assert level == pytest.approx(np.quantile(unrelated, 0.95), abs=0.006)
    assert np.mean(np.asarray(unrelated) > level) <= 0.05
    assert np.mean(np.asarray(unrelated) > level - 0.005) > 0.05
    hits = [cosine(x, y) > level for x, y in zip(a, b, strict=True)]
    assert float(at["rp_beyond_chance"]) == np.mean(hits)
    assert 0.5 < np.mean(hits) <= 1
    assert float(at["rp_beyond_chance_low"]) < np.mean(hits)


def test_the_threshold_of_vectors_that_are_nearly_equal_is_found_near_one():
    """Cosines of .999 and more between all samples, and identical ones between the runs."""
    rng = np.random.default_rng(0)
    vectors = 30 + rng.normal(size=(200, 8))
    grid, fine = np.linspace(-1, 1, 401), fine_thresholds(np.linspace(-1, 1, 401))
    levels = chance_level(vectors, vectors, fine).by_shift
    found = chance_threshold(fine, levels, 0.01)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    shifted = np.concatenate(
        [(unit * np.roll(unit, -s, axis=0)).sum(axis=1) for s in cyclic_shifts(200)]
    )
    exact = np.quantile(shifted, 0.99)
    assert exact > 0.999
    assert exact <= float(found.value) < 1 - (1 - exact) * 0.6
    assert float(found.low) < float(found.value) < float(found.high)
    coarse = chance_threshold(grid, chance_level(vectors, vectors, grid).by_shift, 0.01)
    assert np.isnan(coarse.value)  # at the largest possible similarity nothing can be told


def test_intervals_beyond_chance_hold_as_often_as_they_say():
    """Two runs with a common part: the truth is that of very many seeds."""
    rng = np.random.default_rng(0)
    grid = np.linspace(-1, 1, 401)
    fine = fine_thresholds(grid)

    def runs(count):
        common = rng.normal(size=(count, 6))
        return (common + rng.normal(0, 0.8, common.shape) for _ in range(2))

    def beyond(a, b):
        levels = chance_level(a, b, fine).by_shift[None]
        found = beyond_chance(
            rowwise_cosine(a, b)[None], levels, grid, ReproducibilityOptions(), mismatched=len(a)
        )
        return [float(found[f"rp_beyond_chance{end}"][0]) for end in ("", "_low", "_high")]

    truth = beyond(*runs(20_000))[0]
    found = [beyond(*runs(150)) for _ in range(60)]
    assert np.mean([low <= truth <= high for _, low, high in found]) >= 0.9


def test_the_chance_level_does_not_depend_on_one_shuffle(store):
    # 40 seeds in two classes of 20: most shifts are balanced, 20 of 39 are taken.
    turned = np.random.default_rng(3).permutation(np.arange(40) % 2)
    of = {seed: stripes(t) for seed, t in enumerate(turned)}
    add_run(store, "a", of)
    add_run(store, "b", of)
    shifts = np.rint(np.linspace(1, 39, 20)[:10]).astype(int)
    shifts = [*shifts, *(40 - shifts)]
    truth = np.mean([np.mean(turned == np.roll(turned, -s)) for s in shifts])
    result = score(store)
    assert float(pair(result)["chance"]) == pytest.approx(truth, abs=1e-12)
    assert result.attrs["shifts"] == 20


def test_runs_are_paired_by_seed_and_not_by_position(store):
    images = dict(zip(range(9), pictures(9), strict=True))
    others = dict(zip(range(9), pictures(9, seed=1), strict=True))
    orders = {"a": [5, 1, 8, 2, 0, 4], "b": [2, 7, 0, 5, 8, 1], "c": [8, 0, 1, 3, 2, 5]}
    add_run(store, "a", {seed: images[seed] for seed in orders["a"]})
    add_run(store, "b", {seed: images[seed] for seed in orders["b"]})
    add_run(store, "c", {seed: others[seed] for seed in orders["c"]})
    result = score(store)
    common = [0, 1, 2, 5, 8]
    np.testing.assert_array_equal(result["seed"], common)
    np.testing.assert_allclose(pair(result)["similarity"], 1.0)
    truth = [cosine(images[seed], others[seed]) for seed in common]
    for a in "ab":
        at = pair(result, f"{a}/s/none", "c/s/none")
        np.testing.assert_allclose(at["similarity"], truth, atol=1e-6)
        maes = [np.abs(images[s].astype(float) - others[s]).mean() for s in common]
        np.testing.assert_allclose(at["mae"], maes, atol=1e-12)
    xr.testing.assert_equal(
        result["rp"], result["rp"].transpose("run_b", "run_a").rename(run_a="run_b", run_b="run_a")
    )
    assert np.isnan(np.diagonal(result["rp"].values)).all()
    assert int(result["pairs"].values[0, 1]) == 5


def test_runs_without_a_common_seed_or_a_second_run_are_refused(store):
    add_run(store, "a", dict(enumerate(pictures(2))))
    with pytest.raises(MissingDataError, match=r"one run with samples, a/s/none"):
        score(store)
    add_run(store, "b", {7: pictures(1)[0]})
    with pytest.raises(MissingDataError, match="no written seed in common"):
        score(store)


def shifted(rows):
    def change(probe):
        probe[rows] += 0.01
        return probe

    return change


def test_different_noise_is_refused_and_its_seeds_are_named(store):
    of = dict(zip([3, 4, 5, 9], pictures(4), strict=True))
    add_run(store, "a", of)
    add_run(store, "b", of, probe=shifted([1, 2]))
    for allowed in (False, True):
        with pytest.raises(PairingError, match=r"different noise at the seeds 4-5\."):
            score(store, allow_unchecked=allowed)
    assert not (store.path / "embeddings").exists()


def test_noise_that_differs_in_the_last_bits_is_the_same(store):
    of = dict(enumerate(pictures(4)))
    add_run(store, "a", of)
    add_run(store, "b", of, probe=lambda probe: probe + np.float32(0.0009))
    assert bool(pair(score(store))["checked"])


@pytest.mark.parametrize("both", [True, False])
def test_a_probe_that_is_no_number_shows_nothing(store, both):
    of = dict(enumerate(pictures(4)))

    def lost(probe):
        probe[2] = np.nan
        return probe

    add_run(store, "a", of, probe=lost)
    add_run(store, "b", of, probe=lost if both else None)
    with pytest.raises(PairingError, match=r"different noise at the seeds 2\."):
        score(store)


def test_padding_beyond_a_small_sample_is_the_same(store):
    def padded(probe):
        probe[:, 4:] = np.nan
        return probe

    of = dict(enumerate(pictures(4, shape=(1, 2, 2))))
    add_run(store, "a", of, probe=padded)
    add_run(store, "b", of, probe=padded)
    assert float(pair(score(store))["rp"]) == 1.0


def test_a_lost_file_of_probes_is_damage(store):
    of = dict(enumerate(pictures(4)))
    for model in "ab":
        run = add_run(store, model, of)
        damage(store.path / run.group / "noise_probe", "delete")
    with pytest.raises(CorruptionError, match="noise_probe of the run a/s/none"):
        score(store)


def test_noise_of_other_shapes_is_never_called_the_same(store):
    add_run(store, "a", dict(enumerate(pictures(4))))
    add_run(store, "b", dict(enumerate(pictures(4, shape=(1, 6, 6)))))  # its probes coincide
    with pytest.raises(PairingError, match=r"samples have shape \(1, 5, 5\) and \(1, 6, 6\)"):
        score(store)
    with pytest.raises(SpecError, match=r"vectors of 25 numbers for a/s/none and of 36"):
        score(store, allow_unchecked=True)


def test_an_encoder_of_any_size_compares_shapes_where_allowed(store, tmp_path, monkeypatch):
    class Corner:
        metric, dimension, batch_size = "cosine", 4, 8

        def encode(self, images):
            return images[:, 0, :2, :2].reshape(-1, 4).astype(np.float32)

    (tmp_path / "w.pt").write_bytes(b"w")
    monkeypatch.setattr(
        "reprostore.embed.handle.load_encoder", lambda *arguments, **options: Corner()
    )
    small, large = pictures(4), pictures(4, shape=(1, 6, 6))
    large[:, :, :2, :2] = small[:, :, :2, :2]
    add_run(store, "a", dict(enumerate(small)))
    add_run(store, "b", dict(enumerate(large)))
    encoder = EncoderSpec(kind="torchscript", weights="w.pt", preprocessing="none")
    context = Context(store, base=tmp_path, encoders={"corner": encoder})
    result = score(store, context=context, encoder="corner", allow_unchecked=True)
    at = pair(result)
    assert float(at["rp"]) == 1.0
    assert np.isnan(at["mae"]).all()
    for name in ("mae_score", "mae_score_low", "mae_chance", "mae_corrected"):
        assert np.isnan(float(at[name])), name
    assert not bool(at["checked"])
    (text, reason), = result.attrs["unchecked"].items()  # fmt: skip
    assert text == "a/s/none | b/s/none"
    assert "(1, 6, 6)" in reason


def test_unknown_noise_is_refused_and_marked_where_allowed(store):
    of = dict(enumerate(pictures(4)))
    add_run(store, "a", of)
    add_run(store, "b", of, spec={"noise": "unknown"})
    add_run(store, "c", of)
    with pytest.raises(PairingError, match="the noise of b/s/none is not known"):
        score(store)
    result = score(store, allow_unchecked=True)
    assert set(result.attrs["unchecked"]) == {"a/s/none | b/s/none", "b/s/none | c/s/none"}
    checked = {(r["run_a"], r["run_b"]): r["checked"]
               for r in reproducibility_rows(result, ReproducibilityOptions())}  # fmt: skip
    assert checked == {
        ("a/s/none", "b/s/none"): False,
        ("b/s/none", "c/s/none"): False,
        ("a/s/none", "c/s/none"): True,
    }


def test_different_conditions_are_not_compared(store):
    of = dict(enumerate(pictures(4)))
    add_run(store, "a", of)
    add_run(store, "b", of, spec={"condition": "other"})
    with pytest.raises(MissingDataError, match="a condition each of their own"):
        score(store)
    add_run(store, "c", of, spec={"condition": "other"})
    result = score(store)
    row = only_row(result)
    assert (row["run_a"], row["run_b"]) == ("b/s/other", "c/s/other")
    assert int(pair(result, "a/s/none", "b/s/other")["relation"]) == -1
    assert np.isnan(float(pair(result, "a/s/none", "b/s/other")["rp"]))


def test_floating_samples_are_compared_as_the_png_they_would_be(store):
    exact = pictures(5)
    nudge = np.random.default_rng(0).uniform(-0.4, 0.4, exact.shape)
    add_run(store, "a", dict(enumerate(exact)))
    of = {s: levels(np.clip(exact[s] + nudge[s], 0, 255)) for s in range(5)}
    add_run(store, "b", of, dtype="float32")
    at = pair(score(store))
    np.testing.assert_array_equal(at["mae"], 0)
    np.testing.assert_array_equal(at["similarity"], 1)


def test_blocks_and_temporary_files_change_nothing(store, monkeypatch):
    order = np.random.default_rng(0).permutation(23)
    for number, model in enumerate("abc"):
        images = pictures(23, seed=number // 2)  # a and b are the same
        add_run(store, model, {int(s): images[s] for s in (order if number else range(23))})
    first = score(store)
    shutil.rmtree(store.path / "results")
    shutil.rmtree(store.path / "embeddings")
    monkeypatch.setattr(vectors, "BLOCK_SEEDS", 4)
    monkeypatch.setattr(vectors, "BLOCK_BYTES", 0)
    monkeypatch.setattr(vectors, "MEMORY_BYTES", 0)
    monkeypatch.setattr("reprostore_analyses.kernels.checks.BLOCK_VALUES", 60)
    monkeypatch.setattr("reprostore_analyses.kernels.shifted._BLOCK_VALUES", 60)
    spec = EncoderSpec(kind="pixel", batch_size=3)
    again = score(store, context=Context(store, encoders={"pixel": spec}))
    xr.testing.assert_identical(again, first)
    assert float(pair(first)["rp"]) == 1.0


def refuse(*arguments, **options):
    raise AssertionError("computed again")


def test_a_repeated_call_computes_nothing_and_gives_the_same(store, monkeypatch):
    for number, model in enumerate("ab"):
        add_run(store, model, dict(enumerate(pictures(6, seed=number))))
    made = {}
    compute = module.reproducibility_scores
    monkeypatch.setattr(
        module, "reproducibility_scores", lambda *a: made.setdefault("result", compute(*a))
    )  # fmt: skip
    first = score(store)
    monkeypatch.setattr(module, "reproducibility_scores", refuse)
    again = score(open_store(store.path))
    xr.testing.assert_identical(again, first)
    xr.testing.assert_equal(again[list(made["result"].data_vars)], made["result"])
    score(open_store(store.path), compare=(("a", "b"),))  # says only what the table shows
    open_tree(store).close()


def test_a_read_only_store_gives_the_same_without_keeping_it(store):
    for number, model in enumerate("ab"):
        add_run(store, model, dict(enumerate(pictures(6, seed=number))))
    first = score(store)
    shutil.rmtree(store.path / "results")
    xr.testing.assert_identical(score(open_store(store.path)), first)
    assert not (store.path / "results").exists()


@pytest.mark.parametrize("kind", ["flip", "delete"])
def test_a_damaged_result_is_computed_again(store, kind):
    for number, model in enumerate("ab"):
        add_run(store, model, dict(enumerate(pictures(6, seed=number))))
    first = score(store)
    damage(next((store.path / "results/reproducibility").glob("*/rp")), kind)
    xr.testing.assert_identical(score(store), first)


def test_whatever_it_is_made_from_makes_it_again(store, tmp_path, monkeypatch):
    class Fake:
        metric, dimension, batch_size = "cosine", 25, 8

        def encode(self, images):
            return images.reshape(len(images), -1).astype(np.float32)

    monkeypatch.setattr(
        "reprostore.embed.handle.load_encoder", lambda *arguments, **options: Fake()
    )
    (tmp_path / "w.pt").write_bytes(b"w")
    encoder = EncoderSpec(kind="torchscript", weights="w.pt", preprocessing="none")
    counted = []
    compute = module.reproducibility_scores
    monkeypatch.setattr(
        module, "reproducibility_scores", lambda *a: counted.append(1) or compute(*a)
    )

    def times(**options):
        context = Context(store, base=tmp_path, encoders={"net": encoder}, models=options.pop(
            "models_known", {}))  # fmt: skip
        before = len(counted)
        score(store, context=context, encoder="net", **options)
        return len(counted) - before

    images = pictures(8)
    for model in "ab":
        add_run(store, model, dict(enumerate(images[:6])))
    assert (times(), times()) == (1, 0)
    for options in ({"threshold": 0.5}, {"mae_threshold": 14.0}, {"confidence": 0.9},
                    {"rng_seed": 1}, {"allow_unchecked": True}):  # fmt: skip
        assert (times(**options), times(**options)) == (1, 0), options
    (tmp_path / "w.pt").write_bytes(b"other")
    assert (times(), times()) == (1, 0)
    for model in "ab":
        add_run(store, model, dict(enumerate(images)))  # more seeds
    assert (times(), times()) == (1, 0)
    known = {
        model: ModelSpec(source="m", trained_on=subset(index))
        for model, index in (("a", "0-3"), ("b", "4-5"))
    }
    assert (times(models_known=known), times(models_known=known)) == (1, 0)  # another relation
    assert times() == 1
    add_run(store, "c", dict(enumerate(images)))
    assert (times(), times()) == (1, 0)
    assert times(models=("a", "b")) == 0  # computed above, before there was a third
    assert (times(models=("a", "c")), times(models=("a", "c"))) == (1, 0)


def test_a_run_that_was_computed_in_differing_ways_says_so(store):
    images = pictures(8)
    add_run(store, "a", dict(enumerate(images)))
    add_run(store, "b", dict(enumerate(images[:4])))
    add_run(store, "b", dict(enumerate(images)), session={"device": "cuda"})
    result = score(store)
    assert result.attrs["drift"] == {"b/s/none": {"device": ["cpu", "cuda"]}}
    assert only_row(result)["drift"] is True


def test_relations_of_models(store, tmp_path):
    of = dict(enumerate(pictures(4)))
    add_dataset(store, tmp_path, pictures(10))
    recipe = {"family": "unet", "width": 16}
    known = {
        "a": {"trained_on": subset("0-3"), "trainer_seed": 0, **recipe},
        "other-seed": {"trained_on": subset("0-3"), "trainer_seed": 1, **recipe},
        "other-width": {"trained_on": subset("3,0-2"), "trainer_seed": 1, "family": "unet",
                        "width": 32},
        "no-seed": {"trained_on": subset("0-3"), **recipe},
        "overlap": {"trained_on": subset("3-6")},
        "disjoint": {"trained_on": subset("4-6")},
        "all": {"trained_on": subset("all")},
        "written-all": {"trained_on": subset("0-9")},
        "other-set": {"trained_on": subset("0-3", "others")},
        "unknown": {},
    }  # fmt: skip
    for model, fields in known.items():
        add_run(store, model, of, **fields)
    add_run(store, "copy", of, spec={"weights": store.run("a/s/none").spec.weights})
    result = score(store)

    def related(first, second):
        at = pair(result, f"{first}/s/none", f"{second}/s/none")
        return RELATIONS[int(at["relation"])]

    assert related("a", "copy") == "same weights"
    assert related("a", "other-seed") == "same recipe, other trainer seed"
    assert related("a", "other-width") == "same training items"
    assert related("a", "no-seed") == "same training items"
    assert related("a", "overlap") == "overlapping training items"
    assert related("a", "all") == "overlapping training items"
    assert related("all", "written-all") == "same training items"
    assert related("a", "disjoint") == "disjoint training items"
    assert related("a", "unknown") == "unknown training items"
    # Another data set may hold the same images.
    assert related("a", "other-set") == "unknown training items"
    assert result.attrs["relations"] == list(RELATIONS)


def test_trainer_seeds_of_recipes_of_which_nothing_is_said_are_no_ceiling(store):
    of = dict(enumerate(pictures(4)))
    for number, model in enumerate("ab"):
        add_run(store, model, of, trained_on=subset("0-3"), trainer_seed=number)
    assert only_row(score(store))["relation"] == "same training items"
    assert score(store).attrs["ceiling"] is None


def test_the_ceiling_is_the_score_of_one_recipe_with_itself(store):
    images, others = pictures(8), pictures(8, seed=1)
    known = {"trained_on": subset("0-3"), "family": "unet", "width": 16}
    add_run(store, "a0", dict(enumerate(images)), trainer_seed=0, **known)
    mixed = {s: images[s] if s < 6 else others[s] for s in range(8)}
    add_run(store, "a1", mixed, trainer_seed=1, **known)
    mixed = {s: images[s] if s < 3 else others[s] for s in range(8)}
    add_run(store, "b", mixed, trainer_seed=0, **{**known, "width": 32})
    add_run(store, "c", dict(enumerate(others)), trained_on=subset("4-5"))
    # The same weights under another solver: what solvers change is no ceiling of models.
    add_run(store, "a0", dict(enumerate(others)), sampler="t",
            spec={"scheduler": {"name": "other"}}, trainer_seed=0, **known)  # fmt: skip
    result = score(store, samplers=("s",))
    assert result.attrs["ceiling"] == {"a0/s/none | a1/s/none": 0.75}
    rows = {
        (row["run_a"][:2], row["run_b"][:2]): row["ceiling"]
        for row in reproducibility_rows(result, ReproducibilityOptions())
    }
    assert rows["a0", "b/"] == rows["a1", "c/"] == 0.75
    assert np.isnan(rows["a0", "a1"])
    assert np.isnan(rows["b/", "c/"])
    every = score(store)
    assert int(pair(every, "a0/s/none", "a0/t/none")["relation"]) == RELATIONS.index("same weights")
    assert set(every.attrs["ceiling"]) == {"a0/s/none | a1/s/none"}


def test_rows_are_those_of_the_pairs_asked_for_by_falling_score(store):
    images, others = pictures(4), pictures(4, seed=1)
    for model, count in (("a", 4), ("b", 4), ("c", 2)):
        add_run(store, model, {s: images[s] if s < count else others[s] for s in range(4)})
    options = ReproducibilityOptions(compare=(("c", "a"), ("b", "a")))
    result = reproducibility(Context(store), options)
    rows = reproducibility_rows(result, options)
    assert [(r["run_a"], r["run_b"], r["rp"]) for r in rows] == [
        ("a/s/none", "b/s/none", 1.0), ("a/s/none", "c/s/none", 0.5),
    ]  # fmt: skip
    assert len(reproducibility_rows(result, ReproducibilityOptions())) == 3


def test_one_common_seed_gives_a_score_without_a_chance_level(store):
    for model in "ab":
        add_run(store, model, {3: pictures(1)[0]})
    at = pair(score(store))
    assert float(at["rp"]) == 1.0
    assert np.isnan(float(at["chance"]))
    assert np.isnan(float(at["corrected"]))


def test_thresholds_beyond_their_scale_are_refused(store):
    with pytest.raises(SpecError, match=r"cosine threshold is 1\.5"):
        score(store, threshold=1.5)
    with pytest.raises(SpecError, match="MAE threshold is 256"):
        score(store, mae_threshold=256)


def test_samples_that_runs_gain_meanwhile_wait_for_the_next_time(store, monkeypatch):
    images = pictures(6)
    few = {seed: images[seed] for seed in (4, 1)}
    compute = module.reproducibility_scores

    def growing(*arguments):
        for model in "ab":
            add_run(store, model, {**few, 2: images[2]})
        return compute(*arguments)

    for model in "ab":
        add_run(store, model, few)
    monkeypatch.setattr(module, "reproducibility_scores", growing)
    np.testing.assert_array_equal(score(store)["seed"], [1, 4])
    monkeypatch.undo()
    np.testing.assert_array_equal(score(store)["seed"], [1, 2, 4])
