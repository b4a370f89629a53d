"""Agreement and copies side by side: the numbers of their sources, at the right models."""

import itertools

import numpy as np
import pytest
from analyzing import add_dataset, add_run, pictures, subset

from reprostore.errors import MissingDataError, SpecError
from reprostore.store import create_store
from reprostore_analyses.agreement import AgreementOptions, agreement, agreement_rows
from reprostore_analyses.context import Context
from reprostore_analyses.generalization import GeneralizationOptions, generalization
from reprostore_analyses.reproducibility import ReproducibilityOptions, reproducibility

ITEMS = pictures(60, seed=9)


@pytest.fixture
def store(tmp_path):
    """Three models on items of their own, which copy 1, 2 and 5 of them on 8 seeds."""
    store = create_store(tmp_path / "s.zarr")
    add_dataset(store, tmp_path, ITEMS, held_out="40-59")
    common = pictures(8, seed=1)
    for place, (model, copies) in enumerate((("c", 1), ("a", 2), ("b", 5))):
        own = range(10 * place, 10 * place + copies)
        of = {seed: ITEMS[own[seed]] if seed < copies else common[seed] for seed in range(8)}
        index = f"{10 * place}-{10 * place + 9 - place}"
        add_run(store, model, of, trained_on=subset(index))
    return store


def test_numbers_are_those_of_the_sources_at_the_right_members(store):
    context = Context(store)
    compare = (("b", "a"), ("c", "b"), ("a", "c"))
    options = AgreementOptions(compare=compare, threshold=0.7, copy_threshold=0.8)
    result = agreement(context, options)
    agreeing = reproducibility(context, ReproducibilityOptions(threshold=0.7))
    copying = generalization(context, GeneralizationOptions(threshold=0.8))
    for row, (a, b) in zip(agreement_rows(result, options), compare, strict=True):
        assert (row["model_a"], row["model_b"]) == (a, b)
        at = agreeing.sel(run_a=f"{a}/s/none", run_b=f"{b}/s/none")
        for name in ("rp", "rp_low", "rp_high", "chance", "corrected"):
            assert row[name] == float(at[name]), name
        for side, model in (("a", a), ("b", b)):
            own = copying.sel(run=f"{model}/s/none")
            for name in ("memorized", "memorized_low", "memorized_high", "held_out_memorized",
                         "held_out_memorized_low", "held_out_memorized_high", "train_size",
                         "held_out_size"):  # fmt: skip
                assert row[f"{name}_{side}"] == float(own[name]), name
        assert row["relation"] == "disjoint training items"
        assert row["seeds"] == 8


def test_scores_in_closed_form(store):
    compare = (("b", "a"), ("c", "b"), ("a", "c"))
    options = AgreementOptions(compare=compare, threshold=0.9, copy_threshold=0.9)
    rows = agreement_rows(agreement(Context(store), options), options)
    copies = {"c": 1, "a": 2, "b": 5}
    sizes = {"c": 10, "a": 9, "b": 8}
    for row, (a, b) in zip(rows, compare, strict=True):
        assert row["rp"] == 1 - max(copies[a], copies[b]) / 8
        assert (row["memorized_a"], row["memorized_b"]) == (copies[a] / 8, copies[b] / 8)
        assert (row["train_size_a"], row["train_size_b"]) == (sizes[a], sizes[b])
    assert all(row["held_out_memorized_a"] == 0 for row in rows)


def test_positions_point_at_the_runs_in_the_sources(store):
    compare = (("b", "a"), ("c", "b"))
    result = agreement(Context(store), AgreementOptions(compare=compare))
    runs = [f"{model}/s/none" for model in "abc"]  # in both sources, in the order of the store
    for variable, place in itertools.product(("run", "reproducibility_run"), range(2)):
        named = [runs[position] for position in result[variable].values[place]]
        assert named == [f"{model}/s/none" for model in compare[place]], variable
    np.testing.assert_array_equal(result["pair"], ["b × a", "c × b"])


def test_a_model_is_not_compared_with_itself(store):
    for compare in ((("a", "a"),), (("a", "b"), ("b", "b"))):
        with pytest.raises(SpecError, match="is compared with itself"):
            agreement(Context(store), AgreementOptions(compare=compare))


def test_several_samplers_need_a_choice(store):
    of = dict(enumerate(pictures(8, seed=1)))
    for model, index in (("a", "10-18"), ("b", "20-27")):
        add_run(store, model, of, sampler="t", trained_on=subset(index))
    with pytest.raises(SpecError, match=r"model 'a' has 2 runs.*a/s/none, a/t/none.*sampler"):
        agreement(Context(store), AgreementOptions(compare=(("a", "b"),)))
    options = AgreementOptions(compare=(("a", "b"),), sampler="t")
    (row,) = agreement_rows(agreement(Context(store), options), options)
    assert row["rp"] == 1.0
    with pytest.raises(MissingDataError, match="sampler 'u' has no run"):
        agreement(Context(store), AgreementOptions(compare=(("a", "b"),), sampler="u"))


def test_models_without_known_items_or_of_other_conditions_are_refused(store):
    of = dict(enumerate(pictures(8, seed=1)))
    add_run(store, "d", of)
    with pytest.raises(SpecError, match=r"model 'd' has 0 runs.*none.*trained_on"):
        agreement(Context(store), AgreementOptions(compare=(("a", "d"),)))
    with pytest.raises(MissingDataError, match="model 'e' has no run"):
        agreement(Context(store), AgreementOptions(compare=(("a", "e"),)))
    add_run(store, "f", of, spec={"condition": "other"}, trained_on=subset("30-33"))
    with pytest.raises(SpecError, match="runs of a and f have different conditions"):
        agreement(Context(store), AgreementOptions(compare=(("a", "f"), ("a", "b"))))
