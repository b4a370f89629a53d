"""What a user can get wrong: one paragraph, exit code 2, and the store is as it was."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from commands import Repro, contents, edit, environment, write_study

from reprostore_cli.main import app


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """A study whose samples are generated and that is not analyzed yet."""
    folder = tmp_path_factory.mktemp("generated")
    path = write_study(folder)
    with pytest.raises(SystemExit, match="0"):
        app(["generate", str(path)])
    return folder


@pytest.fixture
def folder(generated, tmp_path):
    shutil.copytree(generated, tmp_path / "s")
    return tmp_path / "s"


@pytest.fixture
def empty(folder):
    """The same study without a store."""
    shutil.rmtree(folder / "digits.zarr")
    shutil.rmtree(folder / "digits.zarr.lock")
    return folder


@pytest.fixture
def refused(capsys):
    """Run a command that must be refused, and return what it says as one line."""
    repro = Repro(capsys)

    def run(folder, *arguments):
        before = contents(folder)
        done = repro(*arguments)
        assert (done.code, done.out) == (2, ""), done.out + done.err
        assert done.err.startswith("Error: ")
        assert done.err.count("\n") == 1, "one paragraph"
        assert "Traceback" not in done.err
        after = contents(folder)
        assert {p: d for p, d in after.items() if ".lock/" not in p} == {
            p: d for p, d in before.items() if ".lock/" not in p
        }
        return done.err

    return run


def use_dataset(folder, items, source="items.npy"):
    """Let the study train its models on an array."""
    np.save(folder / "items.npy", items)
    edit(folder / "study.toml", '"sklearn:digits"', f'"{source}"')
    edit(folder / "study.toml", 'held_out = "1000-1199"', 'held_out = "100-149"')


def images(shape=(150, 1, 8, 8)):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


class TestGenerate:
    def test_checkpoint_is_missing(self, empty, refused):
        edit(empty / "study.toml", '"checkpoints/b"', '"checkpoints/c"')
        said = refused(empty, "generate", empty / "study.toml")
        assert f"{empty / 'checkpoints' / 'c'} does not exist" in said

    def test_checkpoint_is_missing_and_the_others_are_done(self, folder, refused):
        shutil.rmtree(folder / "checkpoints" / "b")
        said = refused(folder, "generate", folder / "study.toml", "--seeds", "0-99")
        assert f"{folder / 'checkpoints' / 'b'} does not exist" in said

    def test_weights_are_truncated(self, empty, refused):
        weights = empty / "checkpoints" / "a" / "diffusion_pytorch_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1000])
        said = refused(empty, "generate", empty / "study.toml")
        assert f"The weights in {weights.parent} cannot be loaded" in said
        assert "copy or download the checkpoint again" in said

    def test_checkpoint_has_no_noise_schedule(self, empty, refused):
        (empty / "checkpoints" / "a" / "scheduler_config.json").unlink()
        said = refused(empty, "generate", empty / "study.toml")
        assert "noise schedule" in said
        assert "noise_schedule" in said, "says how to give one"

    def test_scheduler_is_unknown(self, empty, refused):
        edit(empty / "study.toml", '"ddim"', '"ddimm"')
        said = refused(empty, "generate", empty / "study.toml")
        assert "The scheduler 'ddimm' is unknown or not tested. Did you mean 'ddim'?" in said

    def test_key_is_misspelt(self, empty, refused):
        edit(empty / "study.toml", "batch_size = 4", "batchsize = 4")
        said = refused(empty, "generate", empty / "study.toml")
        assert "study.toml, line 5: unknown key `batchsize`" in said
        assert "Did you mean `batch_size`?" in said

    @pytest.mark.parametrize(
        ("seeds", "part"),
        [
            ("5-3", "runs backwards"),
            ("-1", "'-1' in the seeds '-1'"),
            ("0-4294967296", "4294967296 in the seeds"),
            ("0-9,4", "4 stands twice"),
            ("ten", "'ten'"),
        ],
    )
    def test_seeds_are_no_seeds(self, empty, refused, seeds, part):
        said = refused(empty, "generate", empty / "study.toml", f"--seeds={seeds}")
        assert part in said
        edit(empty / "study.toml", 'seeds = "0-7"', f'seeds = "{seeds}"')
        in_file = refused(empty, "generate", empty / "study.toml")
        assert part in in_file
        assert "study.toml, line 4" in in_file

    def test_no_seeds(self, empty, refused):
        edit(empty / "study.toml", 'seeds = "0-7"\n', "")
        assert "names no seeds" in refused(empty, "generate", empty / "study.toml")

    @pytest.mark.parametrize("command", ["generate", "plan", "analyze", "status"])
    def test_path_is_no_store(self, empty, refused, command):
        (empty / "digits.zarr").mkdir()
        (empty / "digits.zarr" / "notes.txt").write_text("mine")
        said = refused(empty, command, empty / "study.toml")
        assert f"{empty / 'digits.zarr'} is no sample store" in said

    @pytest.mark.parametrize("command", ["generate", "plan", "analyze", "status"])
    def test_store_has_a_newer_format(self, folder, refused, command):
        root = folder / "digits.zarr" / "zarr.json"
        document = json.loads(root.read_text())
        document["attributes"]["reprostore"]["format"] = 99
        root.write_text(json.dumps(document))
        said = refused(folder, command, folder / "study.toml")
        assert "has format 99" in said
        assert "Install a newer version" in said

    @pytest.mark.parametrize("command", ["generate", "plan"])
    def test_run_is_something_else(self, folder, refused, command):
        edit(folder / "study.toml", "steps = 2", "steps = 3")
        said = refused(folder, command, folder / "study.toml")
        assert "is 2 in the store and 3 in what was asked for" in said or (
            "[2] in the store and [3] in what was asked for" in said
        )

    def test_weights_are_others(self, folder, refused):
        a, b = (folder / "checkpoints" / name for name in "ab")
        name = "diffusion_pytorch_model.safetensors"
        (a / name).write_bytes((b / name).read_bytes())
        said = refused(folder, "generate", folder / "study.toml")
        assert "The run a/ddim2/none in the store differs" in said
        assert f"weights.{name} is " in said

    def test_batch_size_is_another(self, folder, refused):
        said = refused(
            folder, "generate", folder / "study.toml", "--seeds", "0-9", "--batch-size", "2"
        )
        assert "batch_size = 4, and would be continued with batch_size = 2" in said

    def test_device_is_not_there(self, empty, refused):
        said = refused(empty, "generate", empty / "study.toml", "--device", "quantum")
        assert "The device 'quantum' is not known" in said

    def test_study_and_options_contradict(self, empty, refused):
        said = refused(empty, "generate", empty / "study.toml", "--model", "checkpoints/a")
        assert "--model cannot be given together with the study file" in said

    def test_options_are_incomplete(self, empty, refused):
        said = refused(empty, "generate", "--store", empty / "x.zarr", "--model", "m")
        assert "There is no study file, and --sampler is missing." in said
        assert "There is no study file." in refused(empty, "plan")

    def test_study_file_is_missing(self, empty, refused):
        said = refused(empty, "generate", empty / "studdy.toml")
        assert f"There is no file {empty / 'studdy.toml'}" in said


class TestAnalyze:
    def test_items_have_another_shape(self, folder, refused):
        use_dataset(folder, images((150, 1, 6, 6)))
        said = refused(folder, "analyze", folder / "study.toml")
        assert "items of the dataset 'digits' have the shape (1, 6, 6)" in said
        assert "a/ddim2/none (1, 8, 8)" in said
        assert said.startswith("Error: study.toml, line 7: ")

    def test_items_have_other_channels(self, folder, refused):
        use_dataset(folder, images((150, 3, 8, 8)))
        assert "(3, 8, 8)" in refused(folder, "analyze", folder / "study.toml", "generalization")

    def test_items_are_not_finite(self, folder, refused):
        items = images()
        items[3, 0, 0, 0] = np.nan
        use_dataset(folder, items)
        said = refused(folder, "analyze", folder / "study.toml")
        assert "'digits'" in said
        assert "NaN" in said

    def test_dataset_is_empty(self, folder, refused):
        use_dataset(folder, images((0, 1, 8, 8)))
        said = refused(folder, "analyze", folder / "study.toml")
        assert "The dataset 'digits' (items.npy) is empty." in said

    def test_dataset_is_missing(self, folder, refused):
        edit(folder / "study.toml", '"sklearn:digits"', '"nowhere.npy"')
        said = refused(folder, "analyze", folder / "study.toml")
        assert str(folder / "nowhere.npy") in said

    @pytest.mark.parametrize("analysis", ["reproducibility", "generalization", "agreement"])
    def test_index_is_out_of_range(self, folder, refused, analysis):
        edit(folder / "study.toml", '"50-99"', '"50-1797"')
        said = refused(folder, "analyze", folder / "study.toml", analysis)
        assert "study.toml, line 17: trained_on of the model b names item 1797" in said
        assert "1797 items, 0 to 1796" in said

    def test_held_out_is_out_of_range(self, folder, refused):
        edit(folder / "study.toml", '"1000-1199"', '"1000-9999"')
        said = refused(folder, "analyze", folder / "study.toml")
        assert "study.toml, line 9: held_out of the model a names item 9999" in said

    def test_held_out_was_trained_on(self, folder, refused):
        edit(folder / "study.toml", '"1000-1199"', '"99-1199"')
        said = refused(folder, "analyze", folder / "study.toml")
        assert "both held out (99-1199) and trained on (50-99) by the model b" in said

    @pytest.mark.parametrize("analysis", ["generalization", "agreement"])
    def test_no_held_out_items(self, folder, refused, analysis):
        edit(folder / "study.toml", 'held_out = "1000-1199"\n', "")
        said = refused(folder, "analyze", folder / "study.toml", analysis)
        assert "study.toml, line 10: the model a has no held-out items" in said
        assert "control = false" in said

    @pytest.mark.parametrize("threshold", ["1.01", "-1.5", "nan"])
    def test_threshold_is_no_cosine(self, folder, refused, threshold):
        said = refused(folder, "analyze", folder / "study.toml", "--threshold", threshold)
        assert f"The cosine threshold is {threshold}." in said
        edit(folder / "study.toml", 'compare = [["a", "b"]]', "copy_threshold = 7")
        said = refused(folder, "analyze", folder / "study.toml")
        assert "The option 'compare' of the analysis agreement is missing." in said
        edit(folder / "study.toml", "copy_threshold = 7",
             'copy_threshold = 7\ncompare = [["a", "b"]]')  # fmt: skip
        assert "7.0" in refused(folder, "analyze", folder / "study.toml")

    def test_encoder_file_is_missing(self, folder, refused):
        edit(folder / "study.toml", 'kind = "pixel"',
             'kind = "torchscript"\nweights = "sscd.pt"\npreprocessing = "sscd"')  # fmt: skip
        said = refused(folder, "analyze", folder / "study.toml")
        assert f"The weights file {folder / 'sscd.pt'} of the encoder does not exist" in said

    def test_there_is_no_such_device(self, folder, refused):
        said = refused(folder, "analyze", folder / "study.toml", "--device", "tpu")
        assert "There is no device 'tpu'" in said, "also where no encoder needs it"

    def test_encoder_is_not_defined(self, folder, refused):
        said = refused(folder, "analyze", folder / "study.toml", "--encoder", "sscd")
        assert "The encoder 'sscd' is not defined" in said

    def test_analysis_is_unknown(self, folder, refused):
        said = refused(folder, "analyze", folder / "study.toml", "reproducability")
        assert "Did you mean reproducibility?" in said
        edit(folder / "study.toml", "[analyses.reproducibility]", "[analyses.reproducability]")
        said = refused(folder, "analyze", folder / "study.toml")
        assert "study.toml, line 26: unknown key `reproducability`" in said

    def test_option_is_unknown(self, folder, refused):
        said = refused(folder, "analyze", folder / "study.toml", "--option", "treshold=0.5")
        assert "has no option 'treshold'" in said
        assert "has no key or no value" in refused(
            folder, "analyze", folder / "study.toml", "--option", "threshold"
        )
        edit(folder / "study.toml", 'compare = [["a", "b"]]',
             'compare = [["a", "b"]]\ntreshold = 0.5')  # fmt: skip
        said = refused(folder, "analyze", folder / "study.toml")
        assert "study.toml, line 37: unknown key `treshold`" in said
        assert "Did you mean `threshold`?" in said

    def test_option_has_another_type(self, folder, refused):
        edit(folder / "study.toml", "threshold = 0.6\n\n[analyses.generalization]",
             'threshold = "high"\n\n[analyses.generalization]')  # fmt: skip
        said = refused(folder, "analyze", folder / "study.toml")
        assert "study.toml, line 28: " in said
        assert "'high'" in said

    def test_samples_are_not_generated(self, empty, folder, refused):
        said = refused(empty, "analyze", empty / "study.toml")
        assert f"There is no store at {empty / 'digits.zarr'}" in said
        assert not list(empty.glob("digits*"))

    def test_a_run_of_the_study_is_not_generated(self, folder, refused):
        shutil.rmtree(folder / "digits.zarr" / "runs" / "b")
        said = refused(folder, "analyze", folder / "study.toml")
        assert "no run b/ddim2/none" in said

    def test_store_is_given_as_argument(self, folder, refused):
        said = refused(folder, "analyze", folder / "digits.zarr")
        assert f"Give it as --store {folder / 'digits.zarr'}" in said
        said = refused(folder, "analyze", folder / "study.toml", "--store", "x.zarr")
        assert "--store cannot be given together with the study file" in said
        assert "No store is named" in refused(folder, "analyze", "reproducibility")

    def test_pictures_cannot_be_written(self, folder, capsys):
        (folder / "file").write_text("")
        repro = Repro(capsys)
        done = repro("analyze", folder / "study.toml", "--out", folder / "file")
        assert done.code == 2
        assert "reproducibility-matrix.png cannot be written" in done.err
        assert "another folder with --out" in done.err
        (folder / "digits.figures").write_text("")
        done = repro("analyze", folder / "study.toml")
        assert done.code == 0, "nobody asked for this folder"
        assert done.err.startswith("Without pictures: ")
        assert "θ 0.6" in done.out


def test_status_of_nothing(empty, refused):
    assert "There is no store at" in refused(empty, "status", empty / "other.zarr")


@pytest.mark.parametrize(
    "arguments",
    [
        ("generate", "--batch-size", "0"),
        ("generate", "--batch-size", "many"),
        ("generate", "--bogus"),
        ("status",),
        ("bogus",),
    ],
)
def test_usage_errors_have_the_code_of_mistakes(capsys, arguments):
    done = Repro(capsys)(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "Traceback" not in done.err


def _read_only(folder, *arguments):
    """Run ``repro`` in a process that sees a folder as a read-only file system."""
    remount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    return subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", remount, str(folder), sys.executable,
         "-m", "reprostore_cli", *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip


def _refused_as_read_only(folder, done):
    code, out, err = done
    assert (code, out) == (2, "")
    assert err.startswith(f"Error: The store {folder / 'digits.zarr'} is read-only.")
    assert err.count("\n") == 1


def test_a_read_only_file_system_serves_what_is_in_the_store(folder, capsys):
    study = folder / "study.toml"
    expected = Repro(capsys)("analyze", study, "reproducibility", "--no-figures", "--json")
    try:
        cached = _read_only(folder, "analyze", study, "reproducibility", "--json")
    except FileNotFoundError:
        pytest.skip("there is no unshare")
    if "unshare:" in cached.stderr or "mount:" in cached.stderr:
        pytest.skip(f"read-only file systems cannot be made here: {cached.stderr}")
    assert (cached.returncode, cached.stdout) == (0, expected.out)
    assert cached.stderr.startswith("Without pictures: ")
    more = _read_only(folder, "analyze", study, "generalization")
    _refused_as_read_only(folder, (more.returncode, more.stdout, more.stderr))


def test_a_store_without_write_permission_serves_what_is_in_it(folder, capsys, monkeypatch):
    study, repro = folder / "study.toml", Repro(capsys)
    expected = repro("analyze", study, "--json")
    store = folder / "digits.zarr"
    before = contents(folder)
    access = os.access  # asked before anything is written, for root may write everywhere
    monkeypatch.setattr(os, "access", lambda path, mode: path != store and access(path, mode))
    assert repro("analyze", study, "--json") == expected
    for arguments in (
        ["analyze", study, "--threshold", "0.5"],
        ["generate", study, "--seeds", "9"],
    ):
        done = repro(*arguments)
        if arguments[0] == "generate":
            _refused_as_read_only(folder, (done.code, done.out, done.err))
        else:
            assert done.code == 0, "all vectors are there, so the scores are computed"
    assert {p: d for p, d in contents(folder).items() if p.startswith("digits.zarr/")} == {
        p: d for p, d in before.items() if p.startswith("digits.zarr/")
    }
