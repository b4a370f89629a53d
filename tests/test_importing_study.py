"""Studies that name imported models beside others."""

import re

import numpy as np
import pytest
from commands import Repro
from importing import write_folder
from sklearn.datasets import load_digits

from reprostore.errors import ReprostoreError, SpecError
from reprostore.specs import ModelSpec
from reprostore.studies import absent_imports, generate_study
from reprostore.study import load_study
from reprostore.testing.models import tiny_checkpoint

STUDY = """\
store = "s.zarr"
seeds = "0-7"
batch_size = 8

[datasets.digits]
source = "sklearn:digits"

[models.ours]
source = "checkpoints/a"
trained_on = { dataset = "digits", index = "0-49" }

[models.theirs]
source = "imported"
trained_on = { dataset = "digits", index = "50-99" }
held_out = "1000-1099"

[samplers.ddim2]
scheduler = "ddim"
steps = 2

[samplers.imported]
scheduler = "imported"
steps = 18

[analyses.generalization]
encoder = "pixel"
threshold = 0.6
models = ["theirs"]
"""


@pytest.fixture
def study(tmp_path):
    tiny_checkpoint(tmp_path / "checkpoints" / "a")
    path = tmp_path / "study.toml"
    path.write_text(STUDY, encoding="utf-8")
    return path


@pytest.fixture
def copies(tmp_path):
    """Eight images, of which the first three are training items of the imported model."""
    digits = load_digits().images
    items = np.rint(digits / 16 * 255).astype(np.uint8)[:, None]
    noise = np.random.default_rng(0).integers(0, 256, (8, 1, 8, 8), dtype=np.uint8)
    noise[:3] = items[50:53]
    return write_folder(tmp_path / "out", dict(enumerate(noise)))


def test_models_are_run_with_samplers_of_their_kind(study):
    assert load_study(study).study.runs() == [
        ("ours", "ddim2", "none"),
        ("theirs", "imported", "none"),
    ]


def test_imported_runs_are_left_out_by_generate_and_analyzed_with_what_the_study_says(
    study, copies, capsys
):
    repro = Repro(capsys)
    done = repro("generate", study)
    assert done.code == 0
    assert "theirs/imported/none" not in done.out.split("Not in the store yet")[0]
    assert "and to come from `repro import`: theirs/imported/none." in done.out
    named = ("--model", "theirs", "--steps", 18, "--noise", "edm-cpu")
    assert repro("import", copies, "--store", study.parent / "s.zarr", *named).code == 0
    assert absent_imports(load_study(study)) == []
    assert "Not in the store yet" not in repro("generate", study).out
    (row,) = repro("analyze", study, "generalization", "--no-figures", "--json").rows
    assert (row["run"], row["train_size"]) == ("theirs/imported/none", 50)
    assert (row["seeds"], row["held_out_size"]) == (8, 100)
    assert row["gl"] == 5 / 8  # three are copies, and noise is like nothing
    (pair,) = repro("analyze", study, "reproducibility", "--no-figures", "--json").rows
    assert {pair["run_a"], pair["run_b"]} == {"ours/ddim2/none", "theirs/imported/none"}
    assert (pair["seeds"], pair["checked"]) == (8, True)


def test_a_run_of_other_steps_or_a_generated_one_is_refused(study, copies, capsys):
    repro = Repro(capsys)
    store = study.parent / "s.zarr"
    repro("import", copies, "--store", store, "--model", "theirs", "--noise", "edm-cpu")
    repro("generate", study)
    done = repro("analyze", study, "reproducibility", "--no-figures")
    assert done.code == 2
    assert "steps is 1 in the store and 18 in what was asked for" in done.err


def test_a_study_of_imports_alone_has_nothing_to_generate(study):
    text = re.sub(r"\[models\.ours\](.|\n)*?\n\n", "", STUDY)
    study.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=r"All runs of the study are imported\. .*`repro import`"):
        generate_study(load_study(study))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'index = "50-99" }',
            'index = "50-99" }\nsamplers = ["ddim2"]',
            r"study\.toml, line 15: the model theirs is imported, and its sampler ddim2 is not",
        ),
        (
            'index = "0-49" }',
            'index = "0-49" }\nsamplers = ["imported"]',
            r"the model ours is not imported, and its sampler imported is",
        ),
        (
            'scheduler = "imported"',
            'scheduler = "heun"',
            r"the model theirs is imported, and no sampler is",
        ),
    ],
)
def test_samplers_that_do_not_fit_a_model_are_refused(study, old, new, message):
    study.write_text(STUDY.replace(old, new), encoding="utf-8")
    with pytest.raises(SpecError, match=message):
        load_study(study)


def test_an_imported_model_has_no_recipe():
    with pytest.raises((ReprostoreError, ValueError), match="`recipe` stands beside the source"):
        ModelSpec(source="imported", recipe="r", trained_on={"dataset": "d"})
