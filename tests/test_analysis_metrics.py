"""Memorization, fidelity, distances and duplicates over a store, against plain NumPy."""

import numpy as np
import pytest
from analyzing import add_dataset, add_run, pictures, subset
from commands import Repro
from scipy import stats

from reprostore.errors import DatasetError, MissingDataError, PairingError, SpecError
from reprostore.specs import DatasetSpec
from reprostore.store import create_store
from reprostore_analyses.context import Context
from reprostore_analyses.distances import DistancesOptions, distances, distances_rows
from reprostore_analyses.duplicates import DuplicatesOptions, duplicates, duplicates_rows
from reprostore_analyses.fidelity import FidelityOptions, fidelity, fidelity_rows
from reprostore_analyses.kernels.frechet import frechet_distance
from reprostore_analyses.memorization import memorization, memorization_rows
from reprostore_analyses.memorization_options import MemorizationOptions
from reprostore_analyses.metric_scores import _no_more_than_real
from reprostore_analyses.metrics.base import share
from reprostore_analyses.metrics.evidence import Space

SHAPE = (1, 12, 12)
ITEMS = pictures(90, seed=9, shape=SHAPE)
ITEMS[7] = ITEMS[3]  # an exact duplicate, and a near one
ITEMS[8] = ITEMS[3]
ITEMS[8].flat[0] ^= 16
SEEDS = [5, 3, 9, 4, 8, 2, 7, 11]  # slots are not in the order of the seeds


def made(kind):
    if kind == "copies":
        samples = ITEMS[[3, 3, 1, 0, 2, 6, 9, 15]].copy()
        samples[:, 0, 5, 5] ^= 1
        return samples
    if kind == "mixed":
        return np.concatenate([made("copies")[:4], pictures(4, 30, SHAPE)])
    return pictures(8, 31, SHAPE)


@pytest.fixture
def store(tmp_path):
    store = create_store(tmp_path / "s.zarr")
    add_dataset(store, tmp_path, ITEMS, held_out="50-89")
    for model, index, kind in (
        ("a", "0-19", "copies"), ("b", "0-39", "mixed"), ("c", "20-39", "fresh"),
    ):  # fmt: skip
        samples = dict(zip(SEEDS, made(kind), strict=True))
        add_run(store, model, samples, trained_on=subset(index), family="net")
    return store


def flat(images):
    return images.reshape(len(images), -1) / 255.0


def table(queries, corpus):
    return np.linalg.norm(flat(queries)[:, None] - flat(corpus)[None], axis=-1)


def value(result, run, metric, comparison="generated|train", part="value"):
    at = result.sel(run=f"{run}/s/none", metric=metric, comparison=comparison)
    return float(at[part])


class TestMemorization:
    OPTIONS = MemorizationOptions(neighbors=10, clique_size=2, resamples=50)

    def test_rules_by_brute_force(self, store):
        result = memorization(Context(store), self.OPTIONS)
        for run, index, kind in (("a", slice(20), "copies"), ("b", slice(40), "mixed")):
            items = ITEMS[index]
            for who, images in (("generated", made(kind)), ("held_out", ITEMS[50:])):
                near = np.sort(table(images, items), axis=1)
                at = f"{who}|train"
                assert value(result, run, "ratio", at) == (near[:, 0] / near[:, 1] < 1 / 3).mean()
                adaptive = near[:, 0] / (0.5 * near[:, :10].mean(axis=1)) < 1
                assert value(result, run, "adaptive", at) == adaptive.mean()
                extracted = near[:, 0] / 12 <= 0.15
                assert value(result, run, "extracted", at) == extracted.mean()
                nearest = table(images, items).argmin(axis=1)
                own = np.sort(table(items, items), axis=1)[:, 1:]
                item = near[:, 0] / (0.5 * own[nearest][:, :10].mean(axis=1)) < 1
                assert value(result, run, "adaptive_item", at) == item.mean()
                low, high = stats.binomtest(int(extracted.sum()), len(images)).proportion_ci(
                    method="wilson"
                )
                assert value(result, run, "extracted", at, "low") == pytest.approx(low)
                assert value(result, run, "extracted", at, "high") == pytest.approx(high)

    def test_an_exact_duplicate_hides_a_copy_from_the_ratio_rule(self, store):
        """Two of eight samples copy item 3, of which item 7 is a duplicate and item 8 nearly."""
        result = memorization(Context(store), self.OPTIONS)
        assert value(result, "a", "ratio") == 6 / 8
        # Without duplicates the second nearest is item 8, one pixel away: still no ratio of 1/3.
        assert value(result, "a", "ratio_distinct") == 1.0 - 0.25 * (1 / 16 >= 1 / 3)

    def test_copies_of_one_item_form_a_clique(self, store):
        result = memorization(Context(store), self.OPTIONS)
        assert value(result, "a", "cliques") == 2 / 8
        assert value(result, "a", "cliques_extracted") == 2 / 8
        assert value(result, "c", "cliques") == 0

    def test_per_seed_values_are_those_of_the_seed(self, store):
        result = memorization(Context(store), self.OPTIONS)
        at = result.sel(run="a/s/none")
        for seed, sample in zip(SEEDS, made("copies"), strict=True):
            near = table(sample[None], ITEMS[:20])[0]
            here = at.sel(seed=seed)
            assert int(here["train_index"]) == near.argmin()
            assert float(here["pixel_distance"]) == pytest.approx(near.min() / 12, rel=1e-5)
        items = at["similar_index"].values
        assert float(at["unique_curve"].sel(threshold=0.995)) == len(np.unique(items))
        assert float(at["match_curve"].sel(threshold=0.995)) == 1.0
        assert value(result, "a", "matched_items") == len(np.unique(items))

    def test_items_of_another_part_are_named_by_their_own_numbers(self, store):
        result = memorization(Context(store), self.OPTIONS)
        found = result["train_index"].sel(run="c/s/none").values
        assert set(found) <= set(range(20, 40))

    def test_capacity_over_the_models_of_one_group(self, store):
        result = memorization(Context(store), MemorizationOptions(neighbors=10, epsilon=0.4))
        rows = memorization_rows(result, self.OPTIONS)
        (row,) = [row for row in rows if row["table"] == "capacity"]
        assert (row["emm"], row["next_size"], row["models"]) == (20, 40, 3)

    def test_the_control_of_one_run_is_not_that_of_another(self, store, tmp_path):
        """The range of C_T without copying depends on the samples, too few of which have none."""
        many = dict(enumerate(pictures(60, 5, SHAPE)))
        add_run(store, "many", many, trained_on=subset("0-19"))
        options = MemorizationOptions(metrics=("ct",), models=("a", "many"))
        result = memorization(Context(store), options)
        alone = memorization(Context(store), MemorizationOptions(metrics=("ct",), models=("many",)))
        assert np.isnan(value(result, "a", "ct", "held_out|train", "high"))
        for part in ("low", "high"):
            control = value(result, "many", "ct", "held_out|train", part)
            assert control == value(alone, "many", "ct", "held_out|train", part)
            assert abs(control) > 0.5

    def test_real_items_are_searched_once_for_all_runs_of_them(self, store, monkeypatch):
        add_run(store, "twin", dict(zip(SEEDS, made("fresh"), strict=True)),
                trained_on=subset("0-19"))  # fmt: skip
        alone = memorization(Context(store), self.OPTIONS.model_copy(update={"models": ("twin",)}))
        searches, search = [], Space._search

        def counted(space, who, metric):
            searches.append(who)
            return search(space, who, metric)

        monkeypatch.setattr(Space, "_search", counted)
        both = self.OPTIONS.model_copy(update={"models": ("a", "twin")})
        result = memorization(Context(store), both)
        assert searches.count("train") == searches.count("held_out") == 3  # pixels, cosine and L2
        assert searches.count("generated") == 6
        for name in ("value", "low", "high"):
            shared = result[name].sel(run="twin/s/none")
            np.testing.assert_array_equal(shared, alone[name].sel(run="twin/s/none"))

    def test_items_that_were_trained_on_are_no_control(self, store):
        spec = store.run("a/s/none").spec.model_spec.model_copy(update={"held_out": "10-60"})
        for compute, options in (
            (memorization, self.OPTIONS), (fidelity, FidelityOptions(subsamples=2)),
        ):  # fmt: skip
            with pytest.raises(DatasetError, match=r"10 items .* both held out .* and trained on"):
                compute(
                    Context(store, models={"a": spec}),
                    options.model_copy(update={"models": ("a",)}),
                )

    def test_closed_forms_and_unnamed_models_have_no_capacity(self, tmp_path):
        store = create_store(tmp_path / "t.zarr")
        add_dataset(store, tmp_path, ITEMS, held_out="50-89")
        for model, index, known in (
            ("a", "0-19", {"family": "net", "width": 8}),
            ("b", "0-39", {"family": "net", "width": 8}),
            ("wide", "0-39", {"family": "net", "width": 16}),
            ("x", "0-19", {}),
            ("y", "0-39", {}),
        ):
            samples = dict(zip(SEEDS, made("copies"), strict=True))
            add_run(store, model, samples, trained_on=subset(index), **known)
        result = memorization(Context(store), self.OPTIONS)
        assert list(result.attrs["capacity"]) == ["net 8 on items under s"]

    def test_rows_name_what_does_not_exceed_unseen_items(self, store):
        rows = memorization_rows(memorization(Context(store), self.OPTIONS), self.OPTIONS)
        marks = {
            (row["run"][0], row["metric"]): row["no_more_than_real"]
            for row in rows
            if row["table"] == ""
        }
        assert marks["a", "ratio"] is False
        assert marks["c", "ratio"] is True
        assert marks["c", "authpct"] is True
        assert marks["a", "cliques"] is None  # without an interval nothing can be told
        assert marks["a", "similarity_std"] is None

    def test_a_difference_that_a_test_finds_is_no_lack_of_evidence(self):
        """80 and 55 of 1,000: the intervals overlap, that of the difference is above 0."""
        options = MemorizationOptions()
        hits = {"generated_train": 80, "held_out_train": 55}
        row = {"higher": "more copying"}
        for name, count in hits.items():
            found = share(np.arange(1000) < count, options)
            row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        assert row["generated_train_low"] < row["held_out_train_high"]
        assert _no_more_than_real(row) is False
        few = share(np.arange(20) < 2, options)
        row |= {"held_out_train": few.value, "held_out_train_low": few.low,
                "held_out_train_high": few.high}  # fmt: skip
        assert _no_more_than_real(row) is True

    def test_without_a_control(self, tmp_path):
        store = create_store(tmp_path / "t.zarr")
        add_dataset(store, tmp_path, ITEMS)
        add_run(store, "a", dict(enumerate(made("copies"))), trained_on=subset("0-19"))
        with pytest.raises(SpecError, match=r"no held-out items.*\[analyses\.memorization\]"):
            memorization(Context(store), self.OPTIONS)
        options = self.OPTIONS.model_copy(update={"control": False})
        result = memorization(Context(store), options)
        assert np.isnan(value(result, "a", "ratio", "held_out|train"))
        assert result.attrs["reasons"]["a/s/none"]["ct|generated|train"].startswith("C_T compares")

    def test_held_out_items_that_the_study_withdraws_are_no_control(self, store):
        """The store recorded them when the dataset was read in."""
        study = {"items": DatasetSpec(source="items.npy")}
        context = Context(store, base=store.path.parent, datasets=study)
        with pytest.raises(SpecError, match="no held-out items"):
            memorization(context, self.OPTIONS)

    def test_a_distance_of_exactly_delta_counts(self, tmp_path):
        """All pixels differ by 51 of 255, .2 in [0, 1], which floats only come near."""
        items = np.full((3, *SHAPE), 100, dtype=np.uint8)
        items[1:] += np.uint8([[[[20]]], [[[30]]]])
        store = create_store(tmp_path / "t.zarr")
        add_dataset(store, tmp_path, items)
        sample = np.full(SHAPE, 100 - 51, dtype=np.uint8)
        add_run(store, "a", {0: sample}, trained_on=subset("0-2"))
        for delta, share_of in ((0.2, 1.0), (0.1999, 0.0)):
            options = MemorizationOptions(metrics=("extracted",), control=False, delta=delta)
            assert value(memorization(Context(store), options), "a", "extracted") == share_of

    def test_unknown_metrics_are_refused(self, store):
        with pytest.raises(SpecError, match="has no metric 'fid'"):
            memorization(Context(store), MemorizationOptions(metrics=("ratio", "fid")))
        with pytest.raises(SpecError, match=r"`metrics` .* is empty"):
            memorization(Context(store), MemorizationOptions(metrics=()))
        result = memorization(Context(store), MemorizationOptions(metrics=("authpct",)))
        assert result["metric"].values.tolist() == ["authpct"]

    def test_it_is_made_again_when_what_it_is_made_from_changes(self, store):
        first = memorization(Context(store), self.OPTIONS)
        again = memorization(Context(store), self.OPTIONS)
        assert first.attrs["made_from_fingerprint"] == again.attrs["made_from_fingerprint"]
        spec = store.run("a/s/none").spec.model_spec.model_copy(
            update={"trained_on": subset("20-39")}
        )
        moved = memorization(Context(store, models={"a": spec}), self.OPTIONS)
        assert value(moved, "a", "extracted") < value(first, "a", "extracted")


class TestFidelity:
    def test_the_control_is_of_as_many_items_as_the_run_has_samples(self, store):
        """Runs of the same items and of 8 and 60 samples have different controls."""
        many = dict(enumerate(pictures(60, 5, SHAPE)))
        add_run(store, "many", many, trained_on=subset("0-19"))
        options = FidelityOptions(metrics=("fd", "vendi"), subsamples=2, models=("a", "many"))
        both = fidelity(Context(store), options)
        assert both["compared"].values.tolist() == [8, 40]
        for model in ("a", "many"):
            alone = fidelity(Context(store), options.model_copy(update={"models": (model,)}))
            for metric, comparison in (("fd", "held_out|train"), ("vendi", "held_out|held_out")):
                control = value(both, model, metric, comparison)
                assert control == value(alone, model, metric, comparison)
        assert value(both, "a", "vendi", "held_out|held_out") < 8
        assert value(both, "many", "vendi", "held_out|held_out") > 8

    def test_samples_and_unseen_items_are_compared_in_equal_numbers(self, tmp_path):
        """Both are of one distribution, and 60 against 20: neither shows more variety."""
        store = create_store(tmp_path / "t.zarr")
        add_dataset(store, tmp_path, pictures(80, 3, SHAPE), held_out="60-79")
        many = dict(enumerate(pictures(60, 5, SHAPE)))
        add_run(store, "a", many, trained_on=subset("0-59"))
        options = FidelityOptions(metrics=("coverage", "vendi", "fd"), subsamples=4)
        result = fidelity(Context(store), options)
        assert result["compared"].values.tolist() == [20]
        assert value(result, "a", "vendi", "generated|generated") < 20
        own, real = (
            value(result, "a", "coverage", f"{who}|train") for who in ("generated", "held_out")
        )
        assert abs(own - real) < 0.25
        own, real = (value(result, "a", "fd", f"{who}|train") for who in ("generated", "held_out"))
        assert own == pytest.approx(real, rel=0.3)

    def test_distances_to_what_was_seen_and_what_was_not(self, store):
        options = FidelityOptions(metrics=("fd", "precision", "vendi"), subsamples=4, models=("a",))
        spec = store.run("a/s/none").spec.model_spec.model_copy(update={"held_out": "50-57"})
        result = fidelity(Context(store, models={"a": spec}), options)  # as many as samples
        vectors = [flat(x) - flat(x).mean(axis=1, keepdims=True)
                   for x in (made("copies"), ITEMS[:20], ITEMS[50:58])]  # fmt: skip
        for comparison, real, generated in (
            ("generated|train", 1, 0), ("generated|held_out", 2, 0), ("held_out|train", 1, 2),
        ):  # fmt: skip
            expected = frechet_distance(real=vectors[real], generated=vectors[generated])
            assert value(result, "a", "fd", comparison) == pytest.approx(expected, rel=1e-4)
        assert value(result, "a", "precision") == 1
        assert np.isnan(value(result, "a", "vendi"))
        assert value(result, "a", "vendi", "generated|generated") < 8
        tables = {row["table"] for row in fidelity_rows(result, options)}
        assert tables == {"", "variety"}


class TestDistances:
    def test_means_over_equal_seeds(self, store):
        result = distances(Context(store), DistancesOptions(resamples=50))
        at = result.sel(pair="a/s/none | b/s/none")
        a, b = (made(kind).astype(float) for kind in ("copies", "mixed"))
        mae = np.abs(a - b).mean(axis=(1, 2, 3))
        assert float(at["value"].sel(metric="mae")) == pytest.approx(mae.mean())
        order = np.argsort(SEEDS)
        np.testing.assert_allclose(at["per_seed"].sel(metric="mae"), mae[order])
        pfd = np.sqrt((((a - b) / 127.5) ** 2).sum(axis=(1, 2, 3)).mean())
        assert float(at["value"].sel(metric="pfd_pixel")) == pytest.approx(pfd)
        assert float(at["value"].sel(metric="ssim")) < 1
        low, high = (float(at[name].sel(metric="pfd_pixel")) for name in ("low", "high"))
        assert low < pfd < high
        pairs = [np.abs(a[i] - b[j]).mean() for i in range(8) for j in range(8) if i != j]
        assert float(at["chance"].sel(metric="mae")) == pytest.approx(np.mean(pairs))
        assert np.isnan(at["value"].sel(metric="distance"))
        reasons = result.attrs["reasons"]["a/s/none | b/s/none"]
        assert reasons == {"distance": "the encoder compares vectors by cosine"}
        rows = distances_rows(result, DistancesOptions())
        assert {row["metric"] for row in rows} == {"mae", "ssim", "pfd_pixel", "similarity", "pfd"}
        first = next(row for row in rows if row["metric"] == "ssim")
        assert (first["run_a"], first["run_b"]) == ("a/s/none", "b/s/none")

    @pytest.mark.parametrize("seeds", [1, 5])
    def test_equal_runs_and_a_single_seed_have_values_without_an_interval(self, tmp_path, seeds):
        store = create_store(tmp_path / "t.zarr")
        for model in "ab":
            add_run(store, model, dict(enumerate(pictures(seeds, 4, SHAPE))))
        result = distances(Context(store), DistancesOptions(resamples=10)).isel(pair=0)
        for metric, identical in (("pfd", 0), ("pfd_pixel", 0), ("mae", 0), ("ssim", 1)):
            at = result.sel(metric=metric)
            assert float(at["value"]) == identical
            assert np.isnan([at["low"], at["high"]]).all()
            assert np.isnan(at["chance"]) == (seeds == 1)

    def test_small_pictures_have_no_ssim(self, tmp_path):
        store = create_store(tmp_path / "t.zarr")
        for model in "ab":
            add_run(store, model, dict(enumerate(pictures(4, seed=ord(model)))))
        result = distances(Context(store), DistancesOptions(resamples=10))
        reason = result.attrs["reasons"]["a/s/none | b/s/none"]["ssim"]
        assert reason == "images are smaller than SSIM's window of 11 × 11"

    def test_other_noise_is_refused(self, tmp_path):
        store = create_store(tmp_path / "t.zarr")
        add_run(store, "a", dict(enumerate(pictures(4))))
        add_run(store, "b", dict(enumerate(pictures(4))), probe=lambda probe: probe + 1)
        with pytest.raises(PairingError):
            distances(Context(store), DistancesOptions())

    def test_one_run_is_no_pair(self, tmp_path):
        store = create_store(tmp_path / "t.zarr")
        add_run(store, "a", dict(enumerate(pictures(4))))
        with pytest.raises(MissingDataError, match="no two runs"):
            distances(Context(store), DistancesOptions())


class TestDuplicates:
    def test_counts_of_copied_items_and_of_others(self, store):
        options = DuplicatesOptions(threshold=0.9)
        result = duplicates(Context(store), options)
        rows = {row["run"][0]: row for row in duplicates_rows(result, options)}
        # Items 3, 7, 8 are a group; 3 and 7 are equal. Samples copy 3 (twice), 1, 0, 2, 6, 9, 15:
        # 7 of the 18 groups, and 7 and 8 do not count as items that nobody copied.
        assert (rows["a"]["exact"], rows["a"]["near"]) == (2, 3)
        assert (rows["a"]["groups"], rows["a"]["copied"]) == (18, 7)
        copied, others = [2, 0, 0, 0, 0, 0, 0], [0] * 11
        assert rows["a"]["copied_mean"] == pytest.approx(2 / 7)
        assert rows["a"]["other_mean"] == 0
        expected = stats.mannwhitneyu(copied, others, method="asymptotic", use_continuity=False)
        assert rows["a"]["p"] == pytest.approx(expected.pvalue, rel=1e-9)
        assert result["copies"].sel(run="a/s/none", item=3) == 2
        assert (result["count"].sel(run="a/s/none").values[20:] == -1).all()
        assert rows["c"]["reason"] == "no item is copied"


@pytest.mark.parametrize("name", ["memorization", "fidelity", "distances", "duplicates"])
def test_the_command_shows_and_draws(store, tmp_path, name, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    repro = Repro(capsys)
    arguments = ["analyze", name, "--store", store.path]
    if name == "fidelity":
        arguments += ["--option", "subsamples=3"]
    shown = repro(*arguments)
    assert (shown.code, shown.err) == (0, "")
    files = [path.name for path in (tmp_path / "s.figures").iterdir() if path.suffix == ".png"]
    assert files
    for file in files:
        assert file.startswith(name)
        assert file in shown.out
    rows = repro(*arguments, "--json", "--no-figures").rows
    assert {row["analysis"] for row in rows} == {name}
