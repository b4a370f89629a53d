"""Sweeps: which models one table stands for, and which tables are refused."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from reprostore.recipe import RecipeSpec
from reprostore.seeds import check_ranges, format_ranges, parse_ranges
from reprostore.specs import ModelSpec, Subset
from reprostore.subsets import count, first_common, first_outside
from reprostore.sweeps import SweepSpec, noise_schedule, sweep_models

RECIPE = RecipeSpec(width=64, steps=300, checkpoints=(100, 200))


def sweep(**keys):
    return SweepSpec(**({"recipe": "r", "dataset": "d", "sizes": (16, 32)} | keys))


def test_models_of_a_sweep():
    models = sweep_models(
        "s",
        sweep(
            first=100,
            held_out="0-99",
            widths=(16, 32),
            trainer_seeds=(0, 7),
            source="runs",
            samplers=("ddim",),
        ),
        RECIPE,
    )
    assert list(models) == [
        f"s-w{width}-n{size}-s{seed}" for size in (16, 32) for width in (16, 32) for seed in (0, 7)
    ]
    assert models["s-w32-n16-s7"] == ModelSpec(
        source="runs/s-w32-n16-s7",
        recipe="r",
        trained_on=Subset(dataset="d", index="100-115"),
        held_out="0-99",
        family="unet",
        width=32,
        training_step=300,
        trainer_seed=7,
        samplers=("ddim",),
    )


def test_a_name_has_all_parts_so_that_more_may_be_added():
    assert list(sweep_models("s", sweep(sizes=(1,)), RECIPE)) == ["s-w64-n1-s0"]
    few = sweep_models("s", sweep(), RECIPE)
    many = sweep_models(
        "s", sweep(sizes=(8, 16, 32, 64), widths=(64, 128), trainer_seeds=(1, 0)), RECIPE
    )
    assert few.items() <= many.items()


def test_kept_checkpoints_come_before_the_model_that_they_lead_to():
    models = sweep_models("s", sweep(sizes=(4,), training_steps=(100, 200)), RECIPE)
    assert [(name, spec.source, spec.training_step) for name, spec in models.items()] == [
        ("s-w64-n4-s0@100", "checkpoints/s-w64-n4-s0@100", 100),
        ("s-w64-n4-s0@200", "checkpoints/s-w64-n4-s0@200", 200),
        ("s-w64-n4-s0", "checkpoints/s-w64-n4-s0", 300),
    ]


def test_closed_forms_are_one_for_each_subset():
    models = sweep_models("s", sweep(oracle=True, gaussian=True, widths=(16, 32)), RECIPE)
    plain = {name: spec for name, spec in models.items() if spec.recipe is None}
    assert list(plain) == ["s-oracle-n16", "s-gaussian-n16", "s-oracle-n32", "s-gaussian-n32"]
    oracle = plain["s-oracle-n32"]
    assert (oracle.source, oracle.trained_on) == ("oracle", Subset(dataset="d", index="0-31"))
    assert (oracle.width, oracle.family, oracle.trainer_seed) == (None, None, None)
    assert oracle.noise_schedule == {
        "num_train_timesteps": 1000,
        "beta_schedule": "linear",
        "beta_start": 1e-4,
        "beta_end": 0.02,
        "clip_sample": False,
        "prediction_type": "epsilon",
    }


@pytest.mark.parametrize("objective", ["edm", "flow"])
def test_closed_forms_have_no_discrete_schedule_where_the_networks_have_none(objective):
    recipe = RecipeSpec(steps=1, objective=objective)
    assert sweep_models("s", sweep(oracle=True), recipe)["s-oracle-n16"].noise_schedule is None


def test_the_schedule_is_that_of_the_recipe():
    own = {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 500}
    recipe = RecipeSpec(steps=1, objective="v_prediction", noise_schedule=own)
    assert own.items() <= noise_schedule(recipe).items()
    assert noise_schedule(recipe)["prediction_type"] == "v_prediction"


def test_a_fine_tuned_network_has_no_width_of_its_own():
    recipe = RecipeSpec(steps=1, start_from="checkpoints/a")
    (name, spec), *_ = sweep_models("s", sweep(sizes=(16,)), recipe).items()
    assert (name, spec.width, spec.family) == ("s-n16-s0", None, None)


def test_subsets_instead_of_sizes():
    models = sweep_models("s", sweep(sizes=(), subsets=("5", "0-3,5", "0-9")), RECIPE)
    assert [(name, spec.trained_on.index) for name, spec in models.items()] == [
        ("s-w64-n1-s0", "5"),
        ("s-w64-n5-s0", "0-3,5"),
        ("s-w64-n10-s0", "0-9"),
    ]


@given(
    st.lists(st.integers(1, 5000), min_size=1, max_size=6, unique=True).map(sorted),
    st.integers(0, 1000),
)
def test_subsets_of_sizes_are_nested_and_have_their_size(sizes, first):
    items = [set(parse_ranges(i, "index")) for i in sweep(sizes=sizes, first=first).indices()]
    assert [len(each) for each in items] == sizes
    assert all(a < b for a, b in itertools.pairwise(items))
    assert min(items[-1]) == first


sets = st.sets(st.integers(0, 30), min_size=1, max_size=12).map(sorted)


@given(sets, sets)
def test_ranges_against_sets(a, b):
    one, other = (check_ranges(format_ranges(numbers), "index") for numbers in (a, b))
    assert first_outside(one, other) == min(set(a) - set(b), default=None)
    assert first_common(one, other) == min(set(a) & set(b), default=None)
    assert count(format_ranges(a)) == len(a)


@given(st.permutations(range(12)), st.permutations(range(3, 9)))
def test_ranges_in_any_order(a, b):
    one, other = (check_ranges(format_ranges(list(n)), "index") for n in (a, b))
    assert (first_outside(one, other), first_outside(other, one)) == (0, None)


@given(st.lists(sets, min_size=2, max_size=3))
def test_subsets_are_accepted_exactly_when_they_are_nested(subsets):
    nested = all(set(a) < set(b) for a, b in itertools.pairwise(subsets))
    try:
        sweep(sizes=(), subsets=[format_ranges(numbers) for numbers in subsets])
    except ValidationError:
        assert not nested
    else:
        assert nested


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"sizes": (32, 16)}, "16 follows 32."),
        ({"sizes": (16, 16)}, "16 follows 16."),
        ({"sizes": ()}, "Neither `sizes` nor `subsets` has an item."),
        ({"subsets": ("0-3",)}, "`sizes` and `subsets` are both given."),
        ({"sizes": (), "subsets": ("0-15", "1-31")}, "'1-31' lacks item 0 of '0-15'"),
        ({"sizes": (), "subsets": ("0-15", "0-7,20-40")}, "lacks item 8 of '0-15'"),
        (
            {"sizes": (), "subsets": ("0-3", "2-3,0-1")},
            "has no more items than '0-3', which it follows.",
        ),
        ({"sizes": (), "subsets": ("all",)}, "'all' in the index 'all' is no number or range"),
        ({"sizes": (), "subsets": ("0-3",), "first": 1}, "`first` stands beside `subsets`."),
        ({"first": 2**32 - 8}, "The last item would be 4294967319."),
        ({"widths": (16, 16)}, "16 stands twice."),
        ({"trainer_seeds": (0, 1, 0)}, "0 stands twice."),
        ({"held_out": "31-40"}, "Item 31 is held out ('31-40') and trained on."),
        ({"held_out": "all", "first": 3}, "Item 3 is held out ('all') and trained on."),
        ({"sizes": (0, 16)}, "greater than 0"),
        ({"widths": ()}, "at least 1 item"),
        ({"trainer_seeds": ()}, "at least 1 item"),
    ],
    ids=str,
)  # fmt: skip
def test_refused(keys, said):
    with pytest.raises(ValidationError) as caught:
        sweep(**keys)
    assert said in str(caught.value)


def test_held_out_items_next_to_the_subset_are_accepted():
    assert sweep(held_out="32-99").held_out == "32-99"
