"""`repro compare` in the shell: one line, one object, and nothing left behind."""

import errno
import os
import re
import tempfile

import numpy as np
import pytest
import torch
from commands import Repro, write_study
from PIL import Image

import reprostore_analyses.compare
from reprostore import open_store
from reprostore.images import to_uint8
from reprostore.store.checked import CheckedArray
from reprostore.store.groups import storage_errors


def seed_noise(seeds, shape):
    return np.stack(
        [torch.randn(shape, generator=torch.Generator().manual_seed(s)).numpy() for s in seeds]
    )


@pytest.fixture
def repro(capsys):
    return Repro(capsys)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Folder of temporary files, which is empty again after every command."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def folders(tmp_path):
    """Two folders: of the seeds 0 to 9 the first seven are alike; 10 and 11 are only in A."""
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    b = np.concatenate([a[:7], rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)])
    for name, images in (("a", a), ("b", b)):
        (tmp_path / name).mkdir()
        for seed, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / name / f"{seed:06d}.png")
    return tmp_path / "a", tmp_path / "b"


def test_one_line(repro, folders, temporary):
    done = repro("compare", *folders, "--allow-unchecked")
    assert (done.code, done.err) == (0, "")
    # Wilson's interval of 7 in 10 at 95 %: (7 + z²/2 ± z √(2.1 + z²/4)) / (10 + z²), z = 1.96
    assert done.out == (
        "RP 0.70 [0.40, 0.89] (θ = 0.6, pixel cosine; chance 0.00) · "
        "MAE score 0.70 [0.40, 0.89] (chance 0.00) · "
        "10 pairs by seed, noise not checked · seeds without a partner: 2 only in A\n"
    )


def test_json(repro, folders, temporary):
    done = repro("compare", *folders, "--noise", "edm-cpu", "--threshold", "0.9", "--json")
    assert done.code == 0
    assert done.document["command"] == "compare"
    assert done.document["inputs"]["noise"] == ["edm-cpu", "edm-cpu"]
    (row,) = done.rows
    assert (row["rp"], row["mae_score"], row["seeds"], row["only_a"]) == (0.7, 0.7, 10, 2)
    assert (row["threshold"], row["checked"], row["noise"]) == (0.9, False, "declared")
    line = repro("compare", *folders, "--noise", "edm-cpu").out
    assert "10 pairs by seed, noise as declared: edm-cpu · " in line


def test_vectors_have_no_mae_score(repro, tmp_path, temporary):
    vectors = np.eye(4, dtype=np.float32)
    np.save(tmp_path / "v.npy", vectors)
    arguments = ("compare", tmp_path / "v.npy", tmp_path / "v.npy", "--seeds", "0-3",
                 "--allow-unchecked", "--encoder", "sscd")  # fmt: skip
    line = repro(*arguments).out
    assert line.startswith("RP 1.00 [0.51, 1.00] (θ = 0.6, sscd cosine; chance 0.00) · 4 pairs")
    assert "MAE" not in line
    (row,) = repro(*arguments, "--json").rows
    assert row["mae_score"] is None
    assert row["rp"] == 1


def test_unknown_noise_is_a_mistake_with_two_ways_out(repro, folders, temporary):
    done = repro("compare", *folders)
    assert done.code == 2
    assert done.out == ""
    assert re.fullmatch(r"Error: The noise that .*--noise edm-cpu.*--allow-unchecked.*\n", done.err)


def test_chance_within_classes_is_said(repro, tmp_path, temporary):
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 5, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images, np.arange(6) // 3)
    done = repro("compare", *[tmp_path / "a.npz"] * 2, "--seeds", "0-5", "--allow-unchecked")
    assert done.err == ""
    assert "pixel cosine; chance 0.00 within 2 classes) · MAE score 1.00" in done.out
    assert "(chance 0.00 within 2 classes) · 6 pairs by seed, noise not checked" in done.out


def test_a_full_disk_is_that_of_the_temporary_folder(repro, folders, temporary, monkeypatch):
    def full(store, *others):
        with storage_errors(store.path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(reprostore_analyses.compare, "write_import", full)
    done = repro("compare", *folders, "--allow-unchecked")
    assert done.code == 2
    assert re.match(f"Error: The temporary folder {temporary} .*No space left.*TMPDIR", done.err)


def test_an_interrupt_leaves_nothing(repro, folders, temporary, monkeypatch):
    def interrupted(context, options, **classes):
        assert list(temporary.iterdir()) != []
        raise KeyboardInterrupt

    monkeypatch.setattr(reprostore_analyses.compare, "reproducibility", interrupted)
    assert repro("compare", *folders, "--allow-unchecked").code == 130


def test_exports_of_generated_runs_have_the_scores_of_the_store(repro, tmp_path, temporary):
    """From samples to files to one line, against NumPy on what the store holds."""
    study = write_study(tmp_path)
    assert repro("generate", study).code == 0
    store = tmp_path / "digits.zarr"
    assert repro("export", store, "--sampler", "ddim2", "--to", tmp_path / "out",
                 "--format", "png").code == 0  # fmt: skip
    paths = ["a/ddim2/none", "b/ddim2/none"]
    done = repro("compare", *(tmp_path / "out" / path for path in paths),
                 "--noise", "edm-cpu", "--threshold", "0.2", "--json")  # fmt: skip
    (row,) = done.rows
    stored = [
        to_uint8(CheckedArray(open_store(store).run(path), "sample")[:, -1]).reshape(8, -1)
        for path in paths
    ]
    a, b = (images.astype(float) for images in stored)
    centred = [values - values.mean(axis=1, keepdims=True) for values in (a, b)]
    lengths = [np.linalg.norm(values, axis=1) for values in centred]
    cosine = (centred[0] * centred[1]).sum(axis=1) / (lengths[0] * lengths[1])
    assert row["rp"] == (cosine > 0.2).mean()
    assert row["mae_score"] == (np.abs(a - b).mean(axis=1) < 15).mean()
    assert (row["seeds"], row["noise"]) == (8, "declared")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--noise", "edm-cpu", "--device", "tpu"), "There is no device 'tpu'"),
        (("--noise", "edm-cpu", "--noise-scale", 80), "The noise scale is 80, and the noise is"),
        (
            ("--noise", "edm-cpu", "--option", "foo=1"),
            "An encoder of the kind 'pixel' has no option 'foo'. Its options are batch_size.",
        ),
    ],
)
def test_what_has_no_effect_is_refused(repro, folders, temporary, options, message):
    done = repro("compare", *folders, *options)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_a_scale_is_of_the_noise_in_a_file(repro, folders, temporary, tmp_path):
    noise = seed_noise(range(12), (3, 8, 8))
    np.save(tmp_path / "noise.npy", 80 * noise)
    sides = ("--noise-a", tmp_path / "noise.npy", "--noise-b", "edm-cpu", "--noise-scale", 80)
    done = repro("compare", *folders, *sides)
    assert done.code == 0, done.err
    assert "noise checked" in done.out
