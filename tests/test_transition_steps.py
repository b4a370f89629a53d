"""Kept checkpoints in the analysis `transition`: one training agrees with itself anyway."""

import importlib

import numpy as np
import pytest
from analyzing import add_dataset, add_run, pictures, subset

from reprostore.store import create_store
from reprostore_analyses.context import Context
from reprostore_analyses.transition_options import TransitionOptions

module = importlib.import_module("reprostore_analyses.transition")

SEEDS = range(20)
ALIKE, OTHER, THIRD = (dict(enumerate(pictures(20, seed=seed))) for seed in (1, 2, 3))
HALF = {seed: (ALIKE if seed < 10 else THIRD)[seed] for seed in SEEDS}


def build(folder, models):
    """Networks of 16 items that copy none of them: samples, width, step and trainer seed."""
    store = create_store(folder / "s.zarr")
    add_dataset(store, folder, pictures(40, seed=9), held_out="30-39")
    for name, (samples, width, step, seed) in models.items():
        add_run(store, name, samples, family="unet", width=width, training_step=step,
                trainer_seed=seed, trained_on=subset("0-15"))  # fmt: skip
    return store


def found(store):
    result = module.transition(
        Context(store), TransitionOptions(threshold=0.9, resamples=20, dimension="off")
    )
    names = result.attrs["regimes"]
    regimes = [names[code] if code >= 0 else "unknown" for code in result["regime"].values[:, 0]]
    rows = zip(
        result["architecture"].values.tolist(),
        result["regime_rp"].values[:, 0].tolist(),
        regimes,
        strict=True,
    )
    lines = {
        str(line): (described["kind"], float(value))
        for line, described, value in zip(
            result["line"].values, result.attrs["lines"], result["rp"].values[:, 0], strict=True
        )
    }
    return {name: (rp, regime) for name, rp, regime in rows}, lines, result


def test_two_checkpoints_of_one_training_are_no_two_architectures(tmp_path):
    models = {"n@100": (ALIKE, 16, 100, 0), "n": (ALIKE, 16, 200, 0), "w": (OTHER, 32, 200, 0)}
    regimes, lines, result = found(build(tmp_path, models))
    # The widths agree on no seed; with the checkpoints among the pairs the mean would be 1/2.
    assert regimes == {
        "unet 16 @100": (0.0, "between"),
        "unet 16 @200": (0.0, "between"),
        "unet 32": (0.0, "between"),
    }
    assert lines == {
        "unet 16 @100 × unet 32": ("architectures", 0.0),
        "unet 16 @200 × unet 32": ("architectures", 0.0),
        "unet 16 @100 × unet 16 @200, training steps": ("training steps", 1.0),
    }
    kinds = [result.attrs["kinds"][code] for code in result["pair_kind"].values]
    assert sorted(kinds) == ["architectures", "architectures", "training steps"]


def test_a_training_alone_has_no_regime_of_generalization(tmp_path):
    models = {"n@100": (ALIKE, 16, 100, 0), "n": (ALIKE, 16, 200, 0)}
    regimes, _, result = found(build(tmp_path, models))
    assert all(np.isnan(rp) and regime == "unknown" for rp, regime in regimes.values())
    assert "RP across architectures" in result.attrs["absent"]


def test_trainer_seeds_of_one_step_remain_the_ceiling(tmp_path):
    models = {
        f"n{seed}@{step}": (samples, 16, step, seed)
        for seed, step, samples in (
            (0, 100, ALIKE), (1, 100, OTHER), (0, 200, ALIKE), (1, 200, HALF),
        )
    }  # fmt: skip
    regimes, lines, _ = found(build(tmp_path, models))
    # Seeds 0 and 0 agree on all samples, 0 and 1 on half of them or none, 1 and 1 on none.
    assert lines == {
        "unet 16 @100, trainer seeds": ("trainer seeds", 0.0),
        "unet 16 @200, trainer seeds": ("trainer seeds", 0.5),
        "unet 16 @100 × unet 16 @200, training steps": ("training steps", pytest.approx(1.5 / 4)),
    }
    assert regimes == {"unet 16 @100": (0.0, "between"), "unet 16 @200": (0.5, "generalization")}


def test_one_model_under_two_names_is_one_model(tmp_path):
    models = {"n": (ALIKE, 16, 200, 0), "m": (HALF, 16, 200, 1), "w": (OTHER, 32, 200, 0)}
    store = build(tmp_path, models)
    weights = store.run("n/s/none").spec.weights
    add_run(store, "again", ALIKE, family="unet", width=16, training_step=200, trainer_seed=2,
            trained_on=subset("0-15"), spec={"weights": weights})  # fmt: skip
    regimes, lines, result = found(store)
    assert result.attrs["left_out"] == {
        "n/s/none": "Its model has the weights of again/s/none."
    } or result.attrs["left_out"] == {"again/s/none": "Its model has the weights of n/s/none."}
    assert result["models"].sel(architecture="unet 16").values.tolist() == [2]
    assert ("trainer seeds", 0.5) in lines.values()
    assert regimes["unet 16"][0] == 0.0  # the other width agrees on no seed
