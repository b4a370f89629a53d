"""Oracle and Gaussian as models of a study: generated, continued, planned and refused."""

import json
import shutil

import numpy as np
import pytest
from commands import Repro, contents, edit

import reprostore as rs
from reprostore.testing.models import tiny_checkpoint

STUDY = """\
store = "s.zarr"
seeds = "0-9"
batch_size = 4

[datasets.digits]
source = "digits.npz:images"
held_out = "40-49"

[models.net]
source = "net"
trained_on = { dataset = "digits", index = "0-29" }

[models.oracle]
source = "oracle"
trained_on = { dataset = "digits", index = "0-29" }
noise_schedule = { beta_schedule = "linear", beta_start = 1e-4, beta_end = 0.02 }

[models.gaussian]
source = "gaussian"
trained_on = { dataset = "digits", index = "0-29" }
noise_schedule = { beta_schedule = "linear", beta_start = 1e-4, beta_end = 0.02 }

[samplers.ddim5]
scheduler = "ddim"
steps = 5
record = "all"
denoised = true

[samplers.heun5]
scheduler = "edm-heun"
steps = 5
options = { sigma_max = 80.0 }
record = "all"
denoised = true
"""


@pytest.fixture
def repro(capsys):
    return Repro(capsys)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (50, 8, 8, 1), np.uint8)


@pytest.fixture
def study(tmp_path, images):
    np.savez(tmp_path / "digits.npz", images=images)
    tiny_checkpoint(tmp_path / "net", seed=0)
    path = tmp_path / "study.toml"
    path.write_text(STUDY, encoding="utf-8")
    return path


def brute_force(x, sigma, items):
    y = items.reshape(len(items), -1)
    logits = -((x.reshape(len(x), 1, -1) - y) ** 2).sum(2) / (2 * sigma**2)
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return ((weights / weights.sum(1, keepdims=True)) @ y).reshape(x.shape)


def wiener(x, sigma, items):
    y = items.reshape(len(items), -1)
    mean, covariance = y.mean(0), np.cov(y.T, bias=True)
    gain = np.linalg.solve(covariance + sigma**2 * np.eye(y.shape[1]), covariance)
    return (mean + (x.reshape(len(x), -1) - mean) @ gain).reshape(x.shape)


def test_closed_forms_run_beside_a_network_under_one_sampler(study, repro, images):
    """`denoised` of every stored state is the formula at x_k/α, up to its float32 rounding."""
    done = repro("generate", study, "--json")
    assert [row["written"] for row in done.rows] == [10] * 6, done.err
    store = rs.open_store(study.with_name("s.zarr"))
    items = (images[:30].transpose(0, 3, 1, 2).astype(np.float64) / 127.5) - 1
    for sampler in ("ddim5", "heun5"):
        noise = store.run(f"net/{sampler}/none").recorded("noise_probe")
        for model, formula in (("oracle", brute_force), ("gaussian", wiener)):
            run = store.run(f"{model}/{sampler}/none")
            assert np.array_equal(run.recorded("noise_probe"), noise)
            table, sample = run.step_table(), run.recorded("sample").astype(np.float64)
            for k in range(5):
                truth = formula(sample[:, k] / table.alpha[k], table.sigma[k], items)
                np.testing.assert_allclose(run.recorded("denoised")[:, k], truth, atol=2e-5)
    last = store.run("oracle/heun5/none").recorded("sample")[:, -1]
    gaps = np.abs(last[:, None] - items).max((2, 3, 4)).min(1)
    assert gaps.max() < 0.01  # σ_min is 0.002


def test_nothing_is_missing_the_second_time_and_more_seeds_keep_the_first(study, repro):
    repro("generate", study)
    before = contents(study.with_name("s.zarr"))
    assert [row["written"] for row in repro("generate", study, "--json").rows] == [0] * 6
    assert contents(study.with_name("s.zarr")) == before
    digests = rs.open_store(study.with_name("s.zarr")).run("oracle/ddim5/none").recorded("digest")
    edit(study, 'seeds = "0-9"', 'seeds = "0-14"')
    done = repro("generate", study, "--json")
    assert done.code == 0, done.err
    run = rs.open_store(study.with_name("s.zarr")).run("oracle/ddim5/none")
    assert np.array_equal(run.recorded("digest")[:10], digests)
    assert len(run.written()[0]) == 15


def test_the_plan_needs_no_store_and_writes_none(study, repro):
    planned = repro("plan", study, "--json")
    assert {row["run"].split("/")[0] for row in planned.rows} == {"net", "oracle", "gaussian"}
    assert {row["bytes"] for row in planned.rows} == {10 * 6 * 2 * 64 * 4}
    assert not study.with_name("s.zarr").exists()
    repro("generate", study)
    assert {row["missing"] for row in repro("plan", study, "--json").rows} == {0}


def test_other_items_are_another_model(study, repro):
    repro("generate", study)
    text = study.read_text()
    study.write_text(text.replace('index = "0-29" }\nnoise', 'index = "0-28" }\nnoise', 1))
    done = repro("generate", study)
    assert done.code == 2
    assert "oracle/ddim5/none" in done.err
    assert "weights.oracle" in done.err


def test_items_written_otherwise_are_the_same_model(study, repro):
    repro("generate", study)
    text = study.read_text()
    study.write_text(text.replace('index = "0-29" }\nnoise', 'index = "10-29,0-9" }\nnoise', 1))
    assert [row["written"] for row in repro("generate", study, "--json").rows] == [0] * 6
    edit(study, 'seeds = "0-9"', 'seeds = "0-14"')  # seeds 8 and 9 come out with the same bits
    done = repro("generate", study, "--json")
    assert [row["written"] for row in done.rows] == [5] * 6, done.err


def test_a_store_with_the_dataset_needs_no_source(study, repro):
    """As in another laboratory, which has got the store and not the images."""
    repro("generate", study)
    study.with_name("digits.npz").unlink()
    assert [row["missing"] for row in repro("plan", study, "--json").rows] == [0] * 6
    edit(study, 'seeds = "0-9"', 'seeds = "0-14"')
    done = repro("generate", study, "--json")
    assert [row["written"] for row in done.rows] == [5] * 6, done.err


def test_a_dataset_that_was_deleted_is_read_in_again_when_it_is_needed(study, repro, images):
    repro("generate", study)
    stored = study.with_name("s.zarr") / "datasets" / "digits"
    shutil.rmtree(stored)
    assert [row["missing"] for row in repro("plan", study, "--json").rows] == [0] * 6
    assert [row["written"] for row in repro("generate", study, "--json").rows] == [0] * 6
    assert not stored.exists()
    edit(study, 'seeds = "0-9"', 'seeds = "0-14"')
    assert [row["written"] for row in repro("generate", study, "--json").rows] == [5] * 6
    shutil.rmtree(stored)
    np.savez(study.with_name("digits.npz"), images=255 - images)
    edit(study, 'seeds = "0-14"', 'seeds = "0-19"')
    done = repro("generate", study)
    assert done.code == 2
    assert "weights.oracle" in done.err


MISTAKES = {
    "no trained_on": (
        'trained_on = { dataset = "digits", index = "0-29" }\nnoise_schedule',
        "noise_schedule",
        "study.toml, line 13: the model oracle has no `trained_on`",
    ),
    "index out of range": ('index = "0-29" }\nnoise', 'index = "0-50" }\nnoise', "item 50"),
    "half precision": ("batch_size = 4", 'batch_size = 4\ndtype = "bfloat16"', "bfloat16"),
    "no noise schedule": (
        'noise_schedule = { beta_schedule = "linear", beta_start = 1e-4, beta_end = 0.02 }',
        "",
        "noise schedule",
    ),
    "no such file": ("digits.npz:images", "other.npz:images", "other.npz"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_paragraph_and_leave_nothing(study, repro, mistake):
    old, new, message = MISTAKES[mistake]
    text = study.read_text()
    assert old in text
    study.write_text(text.replace(old, new, 1))
    done = repro("generate", study)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not study.with_name("s.zarr").exists()


def test_without_a_study_nobody_knows_the_items(tmp_path, repro):
    done = repro("generate", "--store", tmp_path / "s.zarr", "--model", "oracle",
                 "--sampler", "edm-heun:5", "--seeds", "0-3")  # fmt: skip
    assert done.code == 2
    assert "trained_on" in done.err
    assert not (tmp_path / "s.zarr").exists()


def test_a_dataset_that_changed_is_noticed(study, repro, images):
    repro("generate", study)
    np.savez(study.with_name("digits.npz"), images=255 - images)
    done = repro("generate", study)
    assert done.code == 2
    assert "has changed" in done.err


def test_status_shows_closed_forms(study, repro):
    repro("generate", study)
    rows = json.loads(repro("status", study, "--json").out)["rows"]
    assert {row["name"] for row in rows if row["kind"] == "run"} >= {"oracle/ddim5/none"}
