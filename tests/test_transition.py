"""The analysis `transition` on a store whose samples are chosen, against plain NumPy."""

import importlib
import io
import math

import numpy as np
import pytest
from analyzing import add_dataset, add_run, cosine, pictures, subset
from rich.console import Console

from reprostore.errors import MissingDataError, SpecError
from reprostore.specs import ModelSpec
from reprostore.store import create_store, open_store
from reprostore_analyses.asked import options_of
from reprostore_analyses.computing import Computed
from reprostore_analyses.context import Context
from reprostore_analyses.kernels import fit_sigmoid
from reprostore_analyses.registry import ANALYSES
from reprostore_analyses.statistics import wilson_interval
from reprostore_analyses.transition_options import TransitionOptions
from reprostore_analyses.transition_rows import transition_rows
from reprostore_cli.tables import analysis_tables

module = importlib.import_module("reprostore_analyses.transition")

ITEMS = pictures(100, seed=9)
COMMON = pictures(20, seed=1)
SEEDS = range(20)
WIDTHS = {"n0": (16, 0), "n1": (16, 1), "w0": (32, 0)}
COPIES = {4: {"n0": 20, "n1": 19, "w0": 20}, 8: {"n0": 12, "n1": 8, "w0": 10},
          16: {"n0": 1, "n1": 0, "w0": 2}}  # fmt: skip
AGREEING = {"n0": 18, "n1": 16, "w0": 17}
"""Seeds below this give every model's own picture of that seed, unless it is a copy."""


def samples_of(model, size):
    """Copies first, then pictures that all models draw, then those of one model alone."""
    own = pictures(20, seed=100 * size + list(WIDTHS).index(model))
    return {
        seed: ITEMS[seed % size] if seed < COPIES[size][model]
        else COMMON[seed] if seed < AGREEING[model] else own[seed]
        for seed in SEEDS
    }  # fmt: skip


SAMPLES = {(model, size): samples_of(model, size) for size in COPIES for model in WIDTHS}
ORACLE = {size: {seed: ITEMS[seed % size] for seed in SEEDS} for size in COPIES}
OTHER = dict(enumerate(pictures(20, seed=77)))
GAUSSIAN = dict(enumerate(pictures(20, seed=78)))


def build(folder):
    store = create_store(folder / "s.zarr")
    add_dataset(store, folder, ITEMS, held_out="90-99")
    for (model, size), samples in SAMPLES.items():
        width, trainer_seed = WIDTHS[model]
        known = {"family": "unet", "width": width, "parameters": width**2}
        known |= {"trained_on": subset(f"0-{size - 1}"), "trainer_seed": trainer_seed}
        add_run(store, f"{model}-{size}", samples, **known)
    for size, samples in ORACLE.items():
        known = {"source": "oracle", "trained_on": subset(f"0-{size - 1}")}
        add_reference(store, f"oracle-{size}", samples, **known)
    add_reference(
        store, "gauss-16", GAUSSIAN, source="gaussian", trained_on=subset("0-14,15")
    )  # the same items, written differently
    add_run(store, "other-8", OTHER, trained_on=subset("40-47"), family="unet", width=16,
            parameters=256, trainer_seed=3)  # fmt: skip
    return store


@pytest.fixture
def store(tmp_path):
    """A store of its own for tests that change it."""
    return build(tmp_path)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A store, and the result of the default options in it."""
    return build(tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="module")
def result(kept):
    return module.transition(Context(kept), options())


def add_reference(store, name, samples, **known):
    add_run(store, name, samples, spec={"model_spec": ModelSpec(**known)})


def options(**changed):
    return TransitionOptions(**{"threshold": 0.9, "resamples": 50, "dimension": "off", **changed})


def share(a, b, threshold=0.9):
    return np.mean([cosine(a[seed], b[seed]) > threshold for seed in SEEDS])


def test_pairs_of_equal_size_by_kind(result):
    assert result["line"].values.tolist() == [
        "unet 16 × unet 32", "unet 16, trainer seeds", "unet 16 × oracle", "unet 32 × oracle",
        "unet 16 × gaussian", "unet 32 × gaussian", "unet 16, disjoint",
        "unet 16 × unet 32, disjoint",
    ]  # fmt: skip
    assert result["size"].values.tolist() == [4, 8, 16]
    assert result["pairs"].values.tolist() == [
        [2, 2, 2], [1, 1, 1], [2, 2, 2], [1, 1, 1], [0, 0, 2], [0, 0, 1], [0, 2, 0], [0, 1, 0],
    ]  # fmt: skip
    for place, size in enumerate(COPIES):
        n0, n1, w0 = (SAMPLES[model, size] for model in WIDTHS)
        expected = [
            (share(n0, w0) + share(n1, w0)) / 2,
            share(n0, n1),
            (share(n0, ORACLE[size]) + share(n1, ORACLE[size])) / 2,
            share(w0, ORACLE[size]),
        ]
        assert result["rp"].values[:4, place] == pytest.approx(expected)
    assert result["rp"].values[0].tolist() == [0.975, 0.725, 0.75]  # counted by hand
    assert np.isnan(result["rp"].values[4:6, :2]).all()
    assert result["rp"].values[4:, :].tolist()[2][1] == 0  # models of other items do not agree


def test_single_pairs_have_wilson_intervals_and_their_own_rows(result):
    at = result.sel(line="unet 16, trainer seeds")
    for place, value in enumerate(at["rp"].values):
        low, high = wilson_interval(round(value * 20), 20)
        assert at["rp_low"].values[place] == pytest.approx(float(low))
        assert at["rp_high"].values[place] == pytest.approx(float(high))
    pair = result.sel(pair="n0-8/s/none | n1-8/s/none")
    assert float(pair["pair_rp"]) == at["rp"].values[1]
    assert result.attrs["kinds"][int(pair["pair_kind"])] == "trainer seeds"
    assert (result["pair_rp_all_low"] <= result["pair_rp_low"] + 1e-12).all()
    assert (result["pair_rp_all_high"] >= result["pair_rp_high"] - 1e-12).all()


def test_chance_is_that_of_the_pairs(result):
    n0, n1, w0 = (SAMPLES[model, 4] for model in WIDTHS)
    every = [  # of 20 seeds, all 19 shifts: every mismatched pair
        np.mean([cosine(a[i], b[j]) > 0.9 for i in SEEDS for j in SEEDS if i != j])
        for a, b in ((n0, w0), (n1, w0))
    ]
    at = result.isel(line=0, size=0)
    assert float(at["chance"]) == pytest.approx(np.mean(every))
    expected = (float(at["rp"]) - np.mean(every)) / (1 - np.mean(every))
    assert float(at["corrected"]) == pytest.approx(expected)


def test_probability_flow_distances_by_brute_force(result):
    n0, n1, w0 = (
        np.stack([SAMPLES[model, 8][seed] for seed in SEEDS]).reshape(20, -1) / 127.5
        for model in WIDTHS
    )
    squared = [((a - w0) ** 2).sum(axis=1).mean() for a in (n0, n1)]
    at = result.isel(line=0, size=1)
    assert float(at["pfd_pixel"]) == pytest.approx(math.sqrt(np.mean(squared)))
    assert float(at["pfd_pixel_low"]) < float(at["pfd_pixel"]) < float(at["pfd_pixel_high"])
    mismatched = [
        np.mean([((a[i] - w0[j]) ** 2).sum() for i in SEEDS for j in SEEDS if i != j])
        for a in (n0, n1)
    ]
    assert float(at["pfd_pixel_chance"]) == pytest.approx(math.sqrt(np.mean(mismatched)))
    centered = [x * 127.5 - (x * 127.5).mean(axis=1, keepdims=True) for x in (n0, n1, w0)]
    squared = [((a - centered[2]) ** 2).sum(axis=1).mean() for a in centered[:2]]
    scale = float(at["pfd_encoder"]) / math.sqrt(np.mean(squared))
    # the encoder's own units: grey levels of 8-bit samples
    assert scale == pytest.approx(1, rel=1e-6)


def test_gl_beside_held_out_items(result):
    assert result["architecture"].values.tolist() == ["unet 16", "unet 32"]
    for row, models in enumerate((("n0", "n1"), ("w0",))):
        for column, size in enumerate(COPIES):
            seen = [(SAMPLES[model, size], ITEMS[:size]) for model in models]
            if (row, size) == (0, 8):
                seen.append((OTHER, ITEMS[40:48]))
            novel = [
                np.mean([max(cosine(x[s], y) for y in items) <= 0.9 for s in SEEDS])
                for x, items in seen
            ]
            assert result["gl"].values[row, column] == pytest.approx(np.mean(novel))
            assert result["models"].values[row, column] == len(seen)
            unseen = np.mean([max(cosine(x, y) for y in ITEMS[:size]) <= 0.9 for x in ITEMS[90:]])
            assert result["held_out_gl"].values[row, column] == unseen == 1
    # the items of two sets of training items, each against ten held-out ones
    assert result["held_out_items"].values.tolist() == [[10, 20, 10], [10, 10, 10]]
    assert result["gl"].values[1].tolist() == [0, 0.5, 0.9]


def test_regimes_and_axes(kept):
    result = module.transition(Context(kept), options(r=0.7))
    names = result.attrs["regimes"]
    found = [[names[code] for code in row] for row in result["regime"].values]
    # GL of width 16 at N = 16 is .975 and RP .75; that of width 32 is .9, not above 1 - g.
    assert found == [["memorization", "between", "generalization"],
                     ["memorization", "between", "between"]]  # fmt: skip
    result = module.transition(Context(kept), options(r=0.75))
    assert result["regime"].values[0, 2] == names.index("between")
    axis = result["size_per_root_parameters"].values
    assert axis.tolist() == [[4 / 16, 8 / 16, 1], [4 / 32, 8 / 32, 0.5]]


def test_fits_take_every_model(result):
    # Width 16 has sizes with GL .025, .667 and .975: one of them is between .05 and .95.
    assert math.isnan(result["n50"].values[0])
    assert "1 of 3 sizes" in result.attrs["fit_reasons"]["unet 16"]
    assert (result["bracket_low"].values[0], result["bracket_high"].values[0]) == (4, 8)
    # Width 32 passes one half between 8, where it is .5, and 16, where it is .9.
    fit = fit_sigmoid([2, 3, 4], [0, 10, 18], [20] * 3)
    for name, value in (("n50", fit.midpoint), ("n50_low", fit.low), ("n50_high", fit.high)):
        assert float(result[name][1]) == pytest.approx(2**value, nan_ok=True)
    assert (result["slope"][1], result["dispersion"][1]) == (fit.slope, fit.dispersion)
    assert (result["bracket_low"].values[1], result["bracket_high"].values[1]) == (8, 16)


def test_thresholds_of_their_own(kept, result):
    asked = options(copy_threshold=-1.0, oracle_threshold=0.99)
    changed = module.transition(Context(kept), asked)
    assert (changed["gl"].values == 0).all()  # everything is above -1
    np.testing.assert_array_equal(changed["rp"][:2], result["rp"][:2])
    assert changed.attrs["oracle_threshold"] == 0.99
    reused = module.transition(Context(kept), options(oracle_threshold=-1.0))
    assert (reused.sel(line="unet 16 × oracle")["rp"].values == 1).all()
    assert reused.sel(line="unet 16 × unet 32")["rp"].values.tolist() == [0.975, 0.725, 0.75]


def test_a_similarity_at_the_threshold_is_no_copy(kept):
    exact = {"copy_threshold": 1.0, "models": ("n0-4", "n0-8", "n0-16")}
    at_one = module.transition(Context(kept), options(**exact))
    assert (at_one["gl"].values == 1).all()  # the cosine of a copy is 1, not above it
    assert (at_one["bracket_high"].values == 4).all()


def test_result_is_kept_and_made_again_when_what_is_said_changes(store, monkeypatch):
    first = module.transition(Context(store), options())
    reading = Context(open_store(store.path, mode="r"))
    with monkeypatch.context() as patch:
        patch.setattr(module, "_compute", lambda *_: pytest.fail("it was in the store"))
        again = module.transition(reading, options())
        assert again.equals(first)
        assert again.attrs["lines"] == first.attrs["lines"]
    spec = store.run("w0-8/s/none").spec.model_spec
    said = {"w0-8": spec.model_copy(update={"width": 64})}
    changed = module.transition(Context(store, models=said), options())
    assert "unet 64" in changed["architecture"].values


def test_one_size_and_no_reference(kept):
    names = ("n0-8", "n1-8", "w0-8")
    result = module.transition(Context(kept), options(models=names))
    assert result["rp"].values[:, 0].tolist() == [0.725, share(SAMPLES["n0", 8], SAMPLES["n1", 8])]
    assert np.isnan(result["n50"]).all()
    assert sorted(result.attrs["absent"]) == ["RP to the gaussian", "RP to the oracle"]
    alone = module.transition(Context(kept), options(models=("w0-8",)))
    assert alone.sizes["line"] == 0
    assert alone["gl"].values.tolist() == [[0.5]]
    assert alone["regime"].values.tolist() == [[0]]
    assert [row["table"] for row in transition_rows(alone, options())] == ["sizes", "fit"]


def test_copies_of_one_reference_count_once(store):
    add_reference(store, "oracle-8b", ORACLE[8], source="oracle", trained_on=subset("0-7"))
    result = module.transition(Context(store), options())
    assert result.sel(line="unet 16 × oracle")["pairs"].values.tolist() == [2, 2, 2]
    assert result.attrs["references"]["oracle"] == [f"oracle-{n}/s/none" for n in (4, 8, 16)]


def test_checkpoints_and_datasets_are_architectures_of_their_own(store, tmp_path):
    add_dataset(store, tmp_path, pictures(40, seed=3), name="more", held_out="30-39")
    add_run(store, "more-8", OTHER, trained_on=subset("0-7", "more"), family="unet", width=16,
            training_step=100)  # fmt: skip
    result = module.transition(Context(store), options(models=("n0-8", "w0-8", "more-8")))
    assert result["architecture"].values.tolist() == [
        "unet 16 (items)", "unet 16 (more)", "unet 32 (items)",
    ]  # fmt: skip
    kinds = {line["kind"] for line in result.attrs["lines"]}
    assert kinds == {"architectures", "unknown items"}


def test_mistakes_are_explained(store):
    add_run(store, "silent", OTHER, family="unet", width=16)
    with pytest.raises(MissingDataError, match=r"trained on by the models silent\..*trained_on = "):
        module.transition(Context(store), options())
    add_run(store, "bare", OTHER, trained_on=subset("0-7"))
    with pytest.raises(SpecError, match=r"architecture of the models bare\..*width = "):
        module.transition(Context(store), options(models=("n0-8", "bare")))
    with pytest.raises(MissingDataError, match="oracle-8 are references"):
        module.transition(Context(store), options(models=("oracle-8",)))
    add_run(store, "n0-8", OTHER, sampler="t", trained_on=subset("0-7"), family="unet", width=16)
    with pytest.raises(SpecError, match=r"runs with the samplers s, t\..*sampler = "):
        module.transition(Context(store), options(models=("n0-8", "w0-8")))
    chosen = options(models=("n0-8", "w0-8"), sampler="s")
    assert module.transition(Context(store), chosen).sizes["pair"] == 1
    with pytest.raises(MissingDataError, match="condition 'c' has no run"):
        module.transition(Context(store), options(models=("n0-8",), sampler="s", condition="c"))
    with pytest.raises(SpecError, match="cosine threshold is 2"):
        module.transition(Context(store), options(oracle_threshold=2.0, models=("n0-8",)))


def test_options_are_checked_where_they_are_written():
    with pytest.raises(SpecError, match="cosine threshold is 95"):
        options_of(ANALYSES["transition"], {"oracle_threshold": 95}, None)
    with pytest.raises(SpecError, match=r"option 'g'.*is not valid"):
        options_of(ANALYSES["transition"], {"g": 0.5}, None)


def test_seeds_that_differ_between_sizes(store):
    few = {seed: SAMPLES["n0", 16][seed] for seed in range(10)}
    add_run(store, "few-16", few, trained_on=subset("0-15"), family="unet", width=8)
    result = module.transition(Context(store), options())
    assert result["seeds"].values.max(axis=0).tolist() == [20, 20, 10]
    assert np.isnan(result["pair_rp_all_low"]).all()
    assert "same seeds at every N" in result.attrs["absent"]["simultaneous interval"]


def test_tables_fit_into_a_terminal_and_explain_themselves(kept):
    asked = options(dimension="twonn")
    result = module.transition(Context(kept), asked)
    computed = Computed(ANALYSES["transition"], asked, result)
    console = Console(file=io.StringIO(), width=100)
    for part in analysis_tables(computed):
        console.print(part)
    text = console.file.getvalue()
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    head = next(place for place, line in enumerate(lines) if line.startswith(" architecture   N"))
    assert lines[head + 2].split()[:5] == ["unet", "16", "4", "2", ".03"]
    cells = [line.split() for line in lines if line.startswith(" unet 16 × unet 32 ")]
    assert [line[5:8] for line in cells[:2]] == [["4", "2", ".97"], ["8", "2", ".72"]]
    assert "A dimension needs 50 distinct items; there are 16." in " ".join(text.split())
    rows = transition_rows(result, asked)
    first = next(row for row in rows if row["table"] == "pairs")
    assert first["runs"] == [f"{model}-4/s/none" for model in WIDTHS]
