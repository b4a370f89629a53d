"""Specs: JSON round trips, what a fingerprint depends on, and states that cannot exist."""

import hashlib
import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from reprostore.canonical import canonical_json, fingerprint, to_jsonable
from reprostore.specs import (
    ConditionSpec,
    DatasetSpec,
    EncoderSpec,
    ModelSpec,
    RunSpec,
    SamplerSpec,
    Subset,
    is_name,
)

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,8}", fullmatch=True).filter(
    lambda text: text != "zarr.json"
)
words = st.text(min_size=1, max_size=8)
finite = st.floats(allow_nan=False, allow_infinity=False)
index = st.sampled_from(["all", "0-63", "5", "0-3,9"])
scalars = st.none() | st.booleans() | st.integers() | finite | words
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3)
)

datasets = st.builds(
    DatasetSpec,
    source=words,
    labels=st.none() | words,
    shuffle=st.none() | st.integers(0, 2**64),
    value_range=st.none() | st.tuples(finite, finite).filter(lambda pair: pair[0] != pair[1]),
    held_out=st.none() | index,
)
models = st.builds(
    ModelSpec,
    source=words,
    trained_on=st.builds(Subset, dataset=names, index=index),
    held_out=st.none() | index,
    noise_schedule=st.none() | st.dictionaries(words, json_values, max_size=3),
    family=st.none() | words,
    parameters=st.none() | st.integers(1),
    training_step=st.none() | st.integers(0),
    trainer_seed=st.none() | st.integers(),
    samplers=st.none() | st.lists(names, max_size=2).map(tuple),
)


@st.composite
def samplers(draw):
    steps = draw(st.integers(1, 1000))
    states = st.lists(st.integers(0, steps), max_size=4).map(tuple)
    return SamplerSpec(
        scheduler=draw(words),
        steps=steps,
        record=draw(st.sampled_from(["final", "all"]) | states),
        denoised=draw(st.booleans()),
        dtype=draw(st.sampled_from(["float32", "float16"])),
        eta=draw(st.floats(0, 1)),
        options=draw(st.dictionaries(words, scalars, max_size=3)),
    )


@st.composite
def runs(draw):
    shape = draw(st.lists(st.integers(1, 512), min_size=1, max_size=4))
    return RunSpec(
        model=draw(names),
        sampler=draw(names),
        condition=draw(names),
        kind=draw(st.sampled_from(["image", "trajectory", "sequence"])),
        sample_dims=tuple(f"d{axis}" for axis in range(len(shape))),
        sample_shape=tuple(shape),
        model_spec=draw(models),
        sampler_spec=draw(samplers()),
        weights=draw(st.dictionaries(words, words, max_size=2)),
        scheduler=draw(st.dictionaries(words, json_values, max_size=3)),
        noise=draw(st.sampled_from(["cpu-torch-normal-v1", "unknown"])),
        noise_scale=draw(finite),
        compute_dtype=draw(st.sampled_from(["float32", "float16", "bfloat16", "float64"])),
        stored_dtype=draw(st.sampled_from(["float32", "float16", "uint8"])),
        steps=tuple(sorted(draw(st.sets(st.integers(0, 1000), min_size=1, max_size=4)))),
        batch_size=draw(st.integers(1, 1024)),
    )


@given(datasets | models | samplers() | runs())
def test_specs_survive_json(spec):
    assert type(spec).model_validate_json(spec.model_dump_json()) == spec
    stored = json.loads(json.dumps(to_jsonable(spec.model_dump(mode="json")), allow_nan=False))
    assert type(spec).model_validate(stored) == spec


@given(runs())
def test_runs_keep_their_fingerprint_through_json(run):
    again = RunSpec.model_validate_json(run.model_dump_json())
    assert again.fingerprint == run.fingerprint
    assert len(run.fingerprint) == 32


def _shuffled(value, random):
    if isinstance(value, dict):
        items = [(key, _shuffled(item, random)) for key, item in value.items()]
        random.shuffle(items)
        return dict(items)
    return [_shuffled(item, random) for item in value] if isinstance(value, list) else value


@given(runs(), st.randoms(use_true_random=False))
def test_order_of_keys_does_not_matter(run, random):
    shuffled = RunSpec.model_validate(_shuffled(run.model_dump(mode="json"), random))
    assert shuffled.fingerprint == run.fingerprint


@given(runs(), names, st.integers(1, 4096), words)
def test_names_execution_and_grouping_do_not_matter(run, name, batch_size, family):
    model_spec = run.model_spec.model_copy(
        update={"family": family, "source": f"elsewhere/{family}", "samplers": (name,)}
    )
    other = run.model_copy(
        update={
            "model": name,
            "sampler": name,
            "condition": name,
            "batch_size": batch_size,
            "model_spec": model_spec,
        }
    )
    assert other.fingerprint == run.fingerprint


base = RunSpec(
    model="unet",
    sampler="ddim-50",
    sample_shape=(1, 8, 8),
    model_spec=ModelSpec(source="checkpoints/unet"),
    sampler_spec=SamplerSpec(scheduler="ddim", steps=50),
    weights={"unet.safetensors": "ab"},
    scheduler={"beta_schedule": "linear", "clip_sample": False},
    noise_scale=1.0,
    steps=(50,),
    batch_size=64,
)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "sequence"},
        {"sample_dims": ("channel", "x", "y")},
        {"sample_shape": (1, 8, 16)},
        {"weights": {"unet.safetensors": "ac"}},
        {"weights": {"other.safetensors": "ab"}},
        {"model_spec": ModelSpec(source="x", noise_schedule={"beta_end": 0.02})},
        {"sampler_spec": SamplerSpec(scheduler="ddim", steps=51)},
        {"sampler_spec": SamplerSpec(scheduler="ddim", steps=50, denoised=True)},
        {"sampler_spec": SamplerSpec(scheduler="ddim", steps=50, dtype="float16")},
        {"sampler_spec": SamplerSpec(scheduler="ddim", steps=50, eta=0.5)},
        {"sampler_spec": SamplerSpec(scheduler="ddim", steps=50, options={"rho": 7})},
        {"scheduler": {"beta_schedule": "linear", "clip_sample": True}},
        {"noise": "unknown"},
        {"noise_scale": math.nextafter(1.0, 2.0)},
        {"compute_dtype": "bfloat16"},
        {"stored_dtype": "float16"},
        {"steps": (0, 50)},
    ],
    ids=lambda change: "-".join(change),
)
def test_whatever_changes_samples_changes_the_fingerprint(change):
    assert base.model_copy(update=change).fingerprint != base.fingerprint


def test_the_changes_above_are_all_that_an_identity_holds():
    assert set(base.identity()) == {
        "kind", "sample_dims", "sample_shape", "weights", "noise_schedule", "sampler", "steps",
        "scheduler", "condition", "noise", "noise_scale", "compute_dtype", "stored_dtype",
    }  # fmt: skip
    assert set(base.identity()["sampler"]) == {"steps", "denoised", "dtype", "eta", "options"}


def test_schedulers_of_two_names_are_one_when_they_resolve_to_the_same_values():
    long = SamplerSpec(scheduler="DDIMScheduler", steps=50, record=(50,))
    assert base.model_copy(update={"sampler_spec": long}).fingerprint == base.fingerprint


def test_fingerprint_is_blake2b_of_the_canonical_json():
    text = '{"a":[1,2.5,null,true],"b":{"c":"é","d":"-inf"}}'
    value = {"b": {"d": -math.inf, "c": "é"}, "a": (1, np.float64(2.5), None, True)}
    assert canonical_json(value) == text
    assert fingerprint(value) == hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@given(json_values, json_values)
def test_different_values_have_different_fingerprints(one, other):
    assume(json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True))
    assert fingerprint(one) != fingerprint(other)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(3), 3),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.float32("nan"), "nan"),
        (math.inf, "inf"),
        (np.dtype("float32"), "float32"),
        ({1: "a"}, {"1": "a"}),
        (set("qwertyuiop"), list("eiopqrtuwy")),  # the order of a set changes from run to run
    ],
)
def test_plain_json_types(value, plain):
    assert to_jsonable(value) == plain
    assert type(to_jsonable(value)) is type(plain)


@given(st.text(max_size=12))
def test_names_are_single_path_parts(text):
    safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+@-"
    expected = bool(text) and all(c in safe for c in text) and text[0].isalnum()
    assert is_name(text) == (expected and text != "zarr.json")


@pytest.mark.parametrize("text", ["zarr.json", "", ".", "..", "a/b", "-a", "a b", "é", "a\n"])
def test_what_is_no_name(text):
    assert not is_name(text)
    with pytest.raises(ValidationError, match=r"is no valid name\. Names are letters, digits"):
        Subset(dataset=text)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("final", (4,)),
        ("all", (0, 1, 2, 3, 4)),
        ((0, 2), (0, 2, 4)),
        ((4, 1, 1), (1, 4)),
        ((), (4,)),
    ],
)
def test_recorded_steps_end_with_the_sample(record, expected):
    assert SamplerSpec(scheduler="ddim", steps=4, record=record).recorded_steps() == expected


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SamplerSpec(scheduler="ddim", steps=4, record=(5,)), "the state after step 5"),
        (lambda: SamplerSpec(scheduler="d", steps=4, dtype="uint8", denoised=True), "image"),
        (lambda: SamplerSpec(scheduler="d", steps=4, dtype="uint8", record="all"), "8 bits"),
        (lambda: SamplerSpec(scheduler="d", steps=0), "greater than 0"),
        (lambda: SamplerSpec(scheduler="d", steps=4, eta=1.5), "less than or equal to 1"),
        (lambda: SamplerSpec(scheduler="d", steps=4, options={"rho": math.inf}), "finite"),
        (lambda: DatasetSpec(source="x", value_range=(1, 1)), "two different numbers"),
        (lambda: DatasetSpec(source="x", value_range=(0, math.nan)), "finite"),
        (lambda: DatasetSpec(source="x", held_out="9-1"), "runs backwards"),
        (lambda: ModelSpec(source="x", held_out="0"), "stands without `trained_on`"),
        (lambda: EncoderSpec(kind="pixels"), "'dinov2' or 'python'"),
        (lambda: EncoderSpec(kind="pixel", size=3), "Extra inputs are not permitted"),
        (lambda: RunSpec(**{**base.model_dump(), "sample_shape": (8, 8)}), "as many names"),
        (lambda: RunSpec(**{**base.model_dump(), "steps": (3, 1)}), "increasing order"),
        (lambda: RunSpec(**{**base.model_dump(), "steps": ()}), "at least 1 item"),
    ],
)  # fmt: skip
def test_impossible_states_are_refused(make, message):
    with pytest.raises(ValidationError, match=message):
        make()


def test_specs_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        base.batch_size = 1
    with pytest.raises(ValidationError, match="frozen"):
        ConditionSpec().kind = "none"


def test_values_of_a_spec_are_its_own():
    config = {"betas": [0.1]}
    spec = ModelSpec(source="x", noise_schedule=config)
    config["betas"].append(0.2)
    assert spec.noise_schedule == {"betas": [0.1]}


def test_a_whole_number_is_one_value_however_it_is_written():
    assert fingerprint({"rho": 7}) == fingerprint({"rho": 7.0}) != fingerprint({"rho": 7.5})
    assert fingerprint([1, [2.0]]) == fingerprint([1.0, [2]]) != fingerprint([True, [2]])
