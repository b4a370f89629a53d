"""`repro verify --regenerate`: what it shows, and what it refuses."""

import json
import shutil

import pytest
from analyzing import damage
from commands import RUNS, Repro, contents, edit, write_study

from reprostore.testing.models import tiny_checkpoint


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("template")
    study = write_study(folder)
    edit(study, 'seeds = "0-7"', 'seeds = "0-5"')
    from reprostore.studies import generate_study
    from reprostore.study import load_study

    generate_study(load_study(study))
    return folder


@pytest.fixture
def study(template, tmp_path):
    shutil.copytree(template, tmp_path / "s")
    return tmp_path / "s" / "study.toml"


@pytest.fixture
def repro(capsys):
    return Repro(capsys)


def test_the_floor_of_a_study_is_shown_and_kept(repro, study):
    done = repro("verify", study, "--regenerate", "50%", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.document["inputs"]["regenerate"] == "50%"
    assert (done.document["inputs"]["rng_seed"], done.document["inputs"]["kept"]) == (0, True)
    assert [(row["kind"], row["run"]) for row in done.rows] == [("floor", run) for run in RUNS]
    for row in done.rows:
        assert (row["seeds"], row["identical"], row["difference"], row["differs"]) == (3, 3, 0, {})
        assert row["encoders"] == {"pixel": {"similarity": 1, "distance": None}}
    store = study.parent / "digits.zarr"
    text = repro("verify", store, "--study", study, "--regenerate", "2", "--batch-size", "3").out
    assert "Nothing is damaged." in text
    lines = [line.split() for line in text.splitlines() if RUNS[0] in line]
    assert lines[0][:3] == [RUNS[0], "2", "0"]
    assert "batch_size 4 → 3" in text
    listed = repro("status", store, "--json").rows
    assert [row["name"] for row in listed if row["kind"] == "result"] == ["numerical_floor"] * 4
    assert repro("verify", store, "--json").rows == []


def test_the_ceiling_stands_beside_rp_once_it_was_measured(repro, study):
    command = ("analyze", study, "reproducibility", "--no-figures")
    (before,) = repro(*command, "--json").rows
    assert (before["numerical_ceiling"], before["numerical_ceiling_seeds"]) == (None, 0)
    assert "Numerical ceiling" not in repro(*command).out
    assert repro("verify", study, "--regenerate", "100%").code == 0
    (row,) = repro(*command, "--json").rows
    assert (row["numerical_ceiling"], row["numerical_ceiling_seeds"]) == (1.0, 6)
    assert row["numerical_ceiling_low"] == pytest.approx(6 / (6 + 1.959964**2), abs=1e-6)
    text = repro(*command).out
    assert "ceiling" in text
    assert "Numerical ceiling: a/ddim2/none, 6 samples computed again (as before): 6 bit" in text


@pytest.mark.parametrize(
    ("option", "value"), [("--dtype", "float9"), ("--device", "tpu"), ("--encoder", "nobody")]
)
def test_what_is_not_known_is_told_before_the_store_is_read(repro, study, option, value):
    damage(study.parent / "digits.zarr" / "runs", "delete")
    done = repro("verify", study, "--regenerate", "1", option, value)
    assert (done.code, done.out) == (2, "")
    assert repr(value) in done.err
    assert "damaged" not in done.err


def test_a_store_alone_does_not_say_where_models_are(repro, study):
    store = study.parent / "digits.zarr"
    before = contents(store)
    for arguments, message in [
        ((store, "--regenerate", "1"), "Nothing says which models"),
        ((study, "--regenerate", "0"), "'0' of the samples"),
        ((study, "--regenerate", "101%"), "'101%' of the samples"),
        ((study, "--regenerate", "abc"), "'abc' of the samples"),
        ((store, "--study", study), "--study is given without --regenerate."),
        ((study, "--rng-seed", "1"), "--rng-seed is given without --regenerate."),
        ((study, "--encoder", "pixel"), "--encoder is given without --regenerate."),
        ((study, "--regenerate", "1", "--encoder", "sscd"), "'sscd' is not defined"),
    ]:
        done = repro("verify", *arguments)
        assert done.code == 2, arguments
        assert message in done.err
        assert "Traceback" not in done.err
    assert contents(store) == before


def test_other_weights_are_a_mistake_that_changes_nothing(repro, study):
    shutil.rmtree(study.parent / "checkpoints" / "b")
    tiny_checkpoint(study.parent / "checkpoints" / "b", seed=7)
    before = contents(study.parent / "digits.zarr")
    done = repro("verify", study, "--regenerate", "1")
    assert done.code == 2
    assert "The run b/ddim2/none in the store differs" in done.err
    assert contents(study.parent / "digits.zarr") == before


def test_a_model_that_is_not_here_is_named(repro, study):
    shutil.rmtree(study.parent / "checkpoints" / "b")
    done = repro("verify", study, "--regenerate", "1", "--json")
    assert done.code == 0
    assert [row["kind"] for row in done.rows] == ["floor", "left_out"]
    assert done.rows[1]["run"] == RUNS[1]
    assert "Not generated anew: b/ddim2/none. The model" in repro(
        "verify", study, "--regenerate", "1"
    ).out  # fmt: skip


def test_a_damaged_store_is_not_measured(repro, study):
    damage(study.parent / "digits.zarr" / "runs" / "a" / "ddim2" / "none" / "sample", "flip")
    done = repro("verify", study, "--regenerate", "1")
    assert done.code == 3
    assert "Nothing was generated anew, for the store is damaged." in done.out
    assert not (study.parent / "digits.zarr" / "results").exists()
    document = json.loads(repro("verify", study, "--regenerate", "1", "--json").out)
    assert document["inputs"]["kept"] is False
    assert "floor" not in {row["kind"] for row in document["rows"]}


def test_a_floor_of_another_run_is_noted_as_no_longer_used(repro, study):
    assert repro("verify", study, "--regenerate", "1").code == 0
    runs = study.parent / "digits.zarr" / "runs"
    shutil.rmtree(runs / "b")
    done = repro("verify", study.parent / "digits.zarr", "--json")
    assert done.code == 0
    assert [(row["kind"], row["damage"]) for row in done.rows] == [("unchecked", False)]
    assert "b/ddim2/none that it was made from is not in the store" in done.rows[0]["what"]
