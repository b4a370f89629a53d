"""`repro import`: what it prints, and that a mistake leaves nothing behind."""

import numpy as np
import pytest
from commands import Repro, contents
from importing import assert_stored, images, stored, write_folder
from PIL import Image

from reprostore.specs import Subset
from reprostore.store import open_store


@pytest.fixture
def repro(capsys):
    return Repro(capsys)


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "out", dict(enumerate(images(5))))


def test_a_folder_becomes_a_run_of_a_new_store(repro, tmp_path, folder):
    store = tmp_path / "s.zarr"
    options = ("--store", store, "--model", "edm", "--sampler", "heun18", "--steps", 18, "--noise",
               "edm-cpu", "--trained-on", "digits@0-31+40", "--held-out", "100-199", "--family",
               "ddpmpp", "--title", "Received")  # fmt: skip
    done = repro("import", folder, *options, "--json")
    assert (done.code, done.err) == (0, "")
    assert done.document["inputs"] == {
        "source": str(folder), "store": str(store), "seeds": "names", "noise": "edm-cpu",
        "encoder": None,
    }  # fmt: skip
    assert done.rows == [
        {
            "run": "edm/heun18/none",
            "kind": "images",
            "seeds": 5,
            "written": 5,
            "noise": "cpu-torch-normal-v1",
            "notes": [],
        }
    ]
    opened = open_store(store)
    assert opened.attributes["title"] == "Received"
    assert_stored(opened, dict(enumerate(images(5))), "edm/heun18/none")
    spec = opened.run("edm/heun18/none").spec.model_spec
    assert spec.trained_on == Subset(dataset="digits", index="0-31,40")
    assert (spec.held_out, spec.family) == ("100-199", "ddpmpp")
    again = repro("import", folder, *options)
    assert again.code == 0
    assert "edm/heun18/none  images      5    0  cpu-torch-normal-v1" in again.out


def test_unknown_noise_is_told(repro, tmp_path, folder):
    done = repro("import", folder, "--store", tmp_path / "s.zarr", "--model", "m")
    assert "The noise of m/imported/none is not known" in done.out


def test_arrays_and_vectors_are_imported_with_their_options(repro, tmp_path):
    store, values = tmp_path / "s.zarr", np.random.default_rng(0).uniform(0, 1, (3, 3, 6, 3))
    np.savez(tmp_path / "x.npz", samples=values)
    np.savez(tmp_path / "f.npz", codes=np.eye(3, dtype=np.float32))
    images_of = ("--key", "samples", "--layout", "nhwc", "--value-range", "0,1", "--seeds", "4-6")
    done = repro("import", tmp_path / "x.npz", "--store", store, "--model", "m", *images_of)
    assert done.code == 0
    for seed, sample in stored(open_store(store)).items():
        expected = 2 * values[seed - 4].transpose(2, 0, 1) - 1
        np.testing.assert_allclose(sample, expected, atol=1e-6)
    vectors = ("--key", "codes", "--encoder", "sscd", "--shape", "3,3,6", "--encoder-weights",
               "0" * 64, "--metric", "squared_l2", "--seeds", "4-6")  # fmt: skip
    done = repro("import", tmp_path / "f.npz", "--store", store, "--model", "v", *vectors)
    assert done.code == 0
    run = open_store(store).run("v/imported/none")
    assert (run.withheld, run.spec.sample_shape) == (True, (3, 3, 6))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "a/b"), "'a/b' is no valid name of a model"),
        ((), "There is no --model."),
        (("--model", "m", "--seeds", "0-9"), "10 seeds were given for the 5 files"),
        (("--model", "m", "--noise", "absent.npy"), "The noise 'absent.npy' is no .npy"),
        (("--model", "m", "--value-range", "1"), "'1' is no value range"),
        (("--model", "m", "--encoder", "e", "--shape", "3,a,b"), "'3,a,b' is no shape"),
        (("--model", "m", "--trained-on", "a/b"), "'a/b' is no name of a dataset"),
        (("--model", "m", "--metric", "l1"), "The metric is 'l1'"),
        (("--model", "m", "--run", "m/s/none"), "--run was given for"),
        (("--model", "m", "--weights", "absent.pt"), "absent.pt is not there"),
    ],
)
def test_a_mistake_is_one_paragraph_and_no_store_is_made(repro, tmp_path, folder, options, message):
    done = repro("import", folder, "--store", tmp_path / "new" / "s.zarr", *options)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Error: ")
    assert done.err.count("\n") == 1
    assert message in done.err
    assert not (tmp_path / "new").exists()


def test_other_content_under_a_name_leaves_the_store_as_it_was(repro, tmp_path, folder):
    store = tmp_path / "s.zarr"
    repro("import", folder, "--store", store, "--model", "m")
    other = write_folder(tmp_path / "other", dict(enumerate(images(5, seed=1))))
    before = contents(store)
    done = repro("import", other, "--store", store, "--model", "m")
    assert done.code == 2
    assert "imported from other files, seeds or noise" in done.err
    assert contents(store) == before


def test_runs_of_another_store_are_copied(repro, tmp_path, folder):
    theirs, ours = tmp_path / "theirs.zarr", tmp_path / "ours.zarr"
    for model in ("a", "b"):
        repro("import", folder, "--store", theirs, "--model", model, "--noise", "edm-cpu")
    done = repro("import", theirs, "--store", ours, "--run", "a/imported/none")
    assert done.code == 0
    assert "a/imported/none  samples      5    5" in done.out
    opened = open_store(ours)
    assert opened.run_paths() == ["a/imported/none"]
    assert_stored(opened, dict(enumerate(images(5))), "a/imported/none")
    done = repro("import", theirs, "--store", ours, "--json")
    runs = [(row["name"], row["copied"]) for row in done.rows if row["kind"] == "run"]
    assert runs == [("a/imported/none", 0), ("b/imported/none", 5)]


@pytest.mark.parametrize(
    "option",
    ["--model", "--seeds", "--noise", "--encoder", "--sampler", "--condition", "--steps",
     "--noise-scale", "--value-range", "--metric", "--held-out", "--family"],
)  # fmt: skip
def test_what_a_store_says_itself_is_not_said_again(repro, tmp_path, folder, option):
    theirs, ours = tmp_path / "theirs.zarr", tmp_path / "ours.zarr"
    repro("import", folder, "--store", theirs, "--model", "a")
    done = repro("import", theirs, "--store", ours, option, "4")
    assert done.code == 2
    assert f"{option} was given for" in done.err
    assert not ours.exists()


def test_a_picture_of_another_format_is_told_by_its_name(repro, tmp_path, folder):
    with Image.open(folder / "000003.png") as image:
        image.save(folder / "000003.png", format="JPEG")
    done = repro("import", folder, "--store", tmp_path / "s.zarr", "--model", "m")
    assert done.code == 2
    assert "000003.png of the folder" in done.err
    assert "it is named as PNG, and is JPEG." in done.err


def test_a_store_without_its_root_is_told_as_by_verify(repro, tmp_path, folder):
    assert repro("import", folder, "--store", tmp_path / "half.zarr", "--model", "m").code == 0
    (tmp_path / "half.zarr" / "zarr.json").unlink()
    verified = repro("verify", tmp_path / "half.zarr")
    assert "half.zarr is no sample store" in verified.err
    for options in ((), ("--model", "m")):
        done = repro("import", tmp_path / "half.zarr", "--store", tmp_path / "s.zarr", *options)
        assert (done.code, done.err) == (2, verified.err)
