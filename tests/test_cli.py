"""`repro` from an empty folder to scores, on real digits: what it writes, prints and repeats."""

import json
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from commands import RUNS, Repro, contents, edit, subpython, subrepro, write_study

from reprostore.store import open_store
from reprostore_cli.main import app

HEAVY = ("torch", "diffusers", "faiss", "matplotlib", "sklearn", "lpips", "onnxruntime")
AGAIN = f"""
import contextlib, sys
from reprostore_cli.main import main
for command in ("generate", "analyze", "status"):
    sys.argv = ["repro", command, sys.argv[-2], sys.argv[-1]]
    with contextlib.suppress(SystemExit):
        main()
    loaded = [name for name in {HEAVY} if name in sys.modules]
    print(*loaded, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study whose samples are generated and whose analyses are computed."""
    folder = tmp_path_factory.mktemp("finished")
    path = write_study(folder)
    with pytest.raises(SystemExit, match="0"):
        app(["generate", str(path)])
    with pytest.raises(SystemExit, match="0"):
        app(["analyze", str(path)])
    return folder


@pytest.fixture
def study(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "s")
    return tmp_path / "s" / "study.toml"


@pytest.fixture
def repro(capsys):
    return Repro(capsys)


def stored_samples(store, run):
    """Return the last states of a run as 8-bit images, read by plain xarray."""
    with xr.open_datatree(store, engine="zarr", chunks={}, consolidated=False) as tree:
        states = tree[f"runs/{run}/sample"].isel(step=-1).values
    return np.round((states.clip(-1, 1) + 1) / 2 * 255)


def pixel_cosine(a, b):
    a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (a, b))
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_from_nothing_to_scores_and_again_in_new_processes(tmp_path, repro):
    path = write_study(tmp_path)

    plan = repro("plan", path, "--json")
    assert not (tmp_path / "digits.zarr").exists()
    assert [row["missing"] for row in plan.rows] == [8, 8]

    first = subrepro("generate", path, "--json")
    assert (first.code, first.err) == (0, "")
    assert first.rows == [{"run": run, "seeds": 8, "written": 8} for run in RUNS]
    for row in plan.rows:
        files = (tmp_path / "digits.zarr" / "runs" / row["run"]).rglob("*")
        assert row["files"] == sum(file.is_file() for file in files)
        assert row["bytes"] == 8 * 8 * 8 * 4
        assert row["units"] == 1

    scores = subrepro("analyze", path, "--json")
    assert (scores.code, scores.err) == (0, "")
    assert [row["analysis"] for row in scores.rows] == [
        "reproducibility", "generalization", "generalization", "agreement",
    ]  # fmt: skip
    before = contents(tmp_path)

    again = subpython("-c", AGAIN, path, "--json")
    assert again.err == "\n\n\n", f"imported: {again.err}"
    generated, analyzed, _ = json_documents(again.out)
    assert [row["written"] for row in generated["rows"]] == [0, 0]
    assert analyzed == scores.document
    assert contents(tmp_path) == before


def json_documents(text):
    """Read several JSON objects that follow each other."""
    decoder, found = json.JSONDecoder(), []
    while text := text.lstrip():
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:]
    return found


def test_scores_are_those_of_plain_numpy(study, repro):
    document = repro("analyze", study, "--json").document
    rp, gl_a, _, agreement = document["rows"]
    a, b = (stored_samples(study.parent / "digits.zarr", run) for run in RUNS)
    assert rp["rp"] == np.mean(pixel_cosine(a, b) > 0.6)
    assert rp["mae_score"] == np.mean(np.abs(a - b).mean(axis=(1, 2, 3)) < 15)
    assert rp["relation"] == "disjoint training items"
    assert agreement["rp"] == rp["rp"]

    from sklearn.datasets import load_digits

    items = np.round(load_digits().images[:, None] / 16 * 255)
    trained, unseen = items[:50], items[1000:1200]

    def copies(images):
        return np.mean(
            [pixel_cosine(np.tile(i, (50, 1, 1, 1)), trained).max() > 0.6 for i in images]
        )

    assert gl_a["memorized"] == copies(a)
    assert gl_a["held_out_memorized"] == pytest.approx(copies(unseen))
    assert gl_a["gl"] == 1 - gl_a["memorized"]
    assert (gl_a["train_size"], gl_a["held_out_size"]) == (50, 200)


def test_json_has_the_inputs_and_strict_numbers(study, repro):
    edit(study, 'threshold = 0.6\n\n[analyses.agreement]', 'threshold = 0.6\ncontrol = false\n'
         '\n[analyses.agreement]')  # fmt: skip
    document = repro("analyze", study, "generalization", "--threshold", "0.7", "--json").document
    assert list(document) == ["command", "inputs", "rows"]
    assert document["command"] == "analyze"
    assert document["inputs"]["store"] == str(study.parent / "digits.zarr")
    assert document["inputs"]["analyses"]["generalization"]["threshold"] == 0.7
    assert document["rows"][0]["held_out_memorized"] is None
    assert "control = false" in document["rows"][0]["reason"]


def test_tables_name_encoder_threshold_and_seeds(study, repro):
    edit(study, 'threshold = 0.6\n\n[analyses.agreement]', 'threshold = 0.6\ncontrol = false\n'
         '\n[analyses.agreement]')  # fmt: skip
    done = repro("analyze", study)
    assert (done.code, done.err) == (0, "")
    assert (
        "encoder pixel · θ 0.6 · MAE below 15 of 255 · chance q 0.01 · 95 % intervals" in done.out
    )
    assert "§ a/ddim2/none, b/ddim2/none: There are no held-out items" in done.out
    figures = study.parent / "digits.figures"
    listed = done.out.splitlines()[-5:]
    assert listed == [
        str(figures / f"{name}.png")
        for name in ("reproducibility-matrix", "reproducibility-thresholds",
                     "generalization-thresholds", "generalization-samples", "agreement")
    ]  # fmt: skip
    assert all(Path(line).read_bytes().startswith(b"\x89PNG") for line in listed)


def test_pictures_follow_the_options_they_were_asked_with(study, repro, tmp_path):
    def pictures(threshold):
        repro(
            "analyze", study, "reproducibility", "--threshold", threshold, "--out", tmp_path / "p"
        )
        return {path.name: path for path in (tmp_path / "p").glob("*.png")}

    loose = {name: path.read_bytes() for name, path in pictures("0.1").items()}
    strict = {name: path.read_bytes() for name, path in pictures("0.99").items()}
    assert set(loose) == set(strict) == {
        "reproducibility-matrix.png", "reproducibility-thresholds.png",
    }  # fmt: skip
    assert all(loose[name] != strict[name] for name in loose)
    back = pictures("0.1")
    assert {name: path.read_bytes() for name, path in back.items()} == loose
    times = {name: path.stat().st_mtime_ns for name, path in back.items()}
    back["reproducibility-matrix.png"].unlink()
    again = pictures("0.1")
    assert again["reproducibility-matrix.png"].exists()
    unchanged = pictures("0.1")
    assert {n: p.stat().st_mtime_ns for n, p in unchanged.items()} != times
    times = {name: path.stat().st_mtime_ns for name, path in unchanged.items()}
    assert {n: p.stat().st_mtime_ns for n, p in pictures("0.1").items()} == times


def test_no_figures_draws_nothing(study, repro):
    shutil.rmtree(study.parent / "digits.figures")
    done = repro("analyze", study, "--no-figures")
    assert done.code == 0
    assert ".png" not in done.out
    assert not (study.parent / "digits.figures").exists()


def test_without_a_study_file(study, repro, monkeypatch):
    monkeypatch.chdir(study.parent)
    made = repro("generate", "--store", "other.zarr", "--model", "checkpoints/a", "--model",
                 "checkpoints/b", "--sampler", "ddim:2", "--seeds", "0-3", "--batch-size", "4",
                 "--json")  # fmt: skip
    assert made.rows == [{"run": f"{name}/ddim-2/none", "seeds": 4, "written": 4} for name in "ab"]
    by_study, by_options = (
        open_store(study.parent / name) for name in ("digits.zarr", "other.zarr")
    )
    same = [by_study.run("a/ddim2/none"), by_options.run("a/ddim-2/none")]
    digests = [run.array("digest")[:4].tolist() for run in same]
    assert digests[0] == digests[1]

    done = repro("analyze", "reproducibility", "--store", "other.zarr", "--encoder", "pixel",
                 "--option", "confidence=0.9", "--option", "models=['a', 'b']",
                 "--json")  # fmt: skip
    assert done.document["inputs"]["analyses"] == {
        "reproducibility": {
            "encoder": "pixel", "threshold": 0.6, "mae_threshold": 15.0, "models": ["a", "b"],
            "samplers": None, "compare": None, "allow_unchecked": False, "q": 0.01,
            "confidence": 0.9, "rng_seed": 0,
        }
    }  # fmt: skip
    assert len(done.rows) == 1


def test_analyses_that_nobody_named_are_left_out_where_they_are_not_possible(study, repro):
    store = study.parent / "digits.zarr"
    done = repro("analyze", "--store", store, "--json")
    assert {row["analysis"] for row in done.rows} == {
        "reproducibility", "generalization", "transition", "distances", "memorization",
        "duplicates", "fidelity",
    }  # fmt: skip
    with_options = study.parent / "plain.zarr"
    repro("generate", "--store", with_options, "--model", study.parent / "checkpoints" / "a",
          "--model", study.parent / "checkpoints" / "b", "--sampler", "ddim:2", "--seeds",
          "0-3")  # fmt: skip
    done = repro("analyze", "--store", with_options, "--json")
    assert done.code == 0
    assert {row["analysis"] for row in done.rows} == {"reproducibility", "distances"}
    assert done.err.startswith("generalization was left out: None of the runs")
    named = repro("analyze", "generalization", "--store", with_options)
    assert (named.code, named.out) == (2, "")


def test_options_replace_values_of_the_study(study, repro):
    inputs = repro("plan", study, "--seeds", "0-3,9", "--batch-size", "2", "--dtype", "float64",
                   "--json")  # fmt: skip
    assert inputs.code == 2, "float64 is another identity than that of the store"
    shutil.rmtree(study.parent / "digits.zarr")
    plan = repro("plan", study, "--seeds", "0-3,9", "--batch-size", "2", "--dtype", "float64",
                 "--json").document  # fmt: skip
    assert [plan["inputs"][key] for key in ("seeds", "batch_size", "dtype")] == [
        "0-3,9", 2, "float64",
    ]  # fmt: skip
    assert [row["seeds"] for row in plan["rows"]] == [5, 5]


def test_plan_prints_a_total(study, repro):
    done = repro("plan", study, "--seeds", "0-99")
    total = next(cells for cells in map(str.split, done.out.splitlines()) if cells[:1] == ["total"])
    assert total[:4] == ["total", "200", "184", "2"]
    assert total[-2:] == ["50.0", "KiB"]


def test_status_counts_what_is_written_of_what_is_asked(study, repro):
    edit(study, 'seeds = "0-7"', 'seeds = "4-11"')
    edit(
        study,
        "[encoders.pixel]",
        '[samplers.more]\nscheduler = "ddim"\nsteps = 3\n\n[encoders.pixel]',
    )
    by_study = {row["name"]: row for row in repro("status", study, "--json").rows}
    by_store = {
        row["name"]: row for row in repro("status", study.parent / "digits.zarr", "--json").rows
    }
    counts = {
        name: (row["written"], row["seeds"])
        for name, row in by_study.items()
        if row["kind"] == "run"
    }
    assert counts == {
        "a/ddim2/none": (4, 8), "a/more/none": (0, 8),
        "b/ddim2/none": (4, 8), "b/more/none": (0, 8),
    }  # fmt: skip
    run = by_store["a/ddim2/none"]
    assert (run["written"], run["seeds"], run["steps"]) == (8, 8, 1)
    assert (run["shape"], run["dtype"], run["bytes"]) == ([1, 8, 8], "float32", 8 * 8 * 8 * 4)
    dataset = by_store["digits"]
    assert (dataset["items"], dataset["shape"], dataset["held_out"]) == (
        1797,
        [1, 8, 8],
        "1000-1199",
    )
    assert by_store["pixel"] == {"kind": "encoder", "name": "pixel", "runs": 2, "datasets": 1}
    results = [row for row in by_store.values() if row["kind"] == "result"]
    assert {(row["name"], row["threshold"], row["runs"]) for row in results} == {
        ("reproducibility", 0.6, 2), ("generalization", 0.6, 2),
    }  # fmt: skip
    text = repro("status", study.parent / "digits.zarr").out
    for part in (
        "title: Tiny",
        "license: CC-BY-4.0",
        "1×8×8",
        "float32",
        "2.0 KiB",
        "sklearn:digits",
    ):
        assert part in text


def test_drift_is_refused_unless_accepted_and_then_shown(study, repro):
    refused = repro("generate", study, "--seeds", "0-9", "--batch-size", "2")
    assert refused.code == 2
    assert "batch_size = 4" in refused.err
    assert "batch_size = 2" in refused.err
    assert "--accept-drift" in refused.err
    accepted = repro("generate", study, "--seeds", "0-9", "--batch-size", "2", "--accept-drift")
    assert accepted.code == 0
    done = repro("analyze", study, "reproducibility")
    assert "* a/ddim2/none was computed in differing ways: batch_size" in done.out
    (row,) = repro("analyze", study, "reproducibility", "--json").rows
    assert row["drift"] is True


def test_version(repro):
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    version = project["project"]["version"]
    assert repro("--version").out == f"reprostore {version}\n"
