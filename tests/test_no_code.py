"""A store is plain data: whoever made it, no command that reads one runs code or opens files of it.

Every command runs in a process of its own that notes which modules are imported and which files
are opened, whatever the store says that they are.
"""

import json
import shutil

import pytest
from analyzing import add_dataset, add_run, pictures, subset
from commands import subpython

from reprostore.canonical import fingerprint
from reprostore.specs import EncoderSpec
from reprostore.store import create_store
from reprostore.store.dataset_attributes import sealed
from reprostore_analyses.context import Context
from reprostore_analyses.reproducibility import reproducibility
from reprostore_analyses.reproducibility_options import ReproducibilityOptions

SHAPE = (1, 5, 5)

EVIL = """\
from pathlib import Path

Path(__file__).with_name("it-ran").write_text(__name__)


def factory(*arguments, **options):
    Path(__file__).with_name("it-ran").write_text("called")
"""

WATCH = """\
import json, os, sys

store, work, bait = sys.argv[1:4]
commands = json.loads(sys.argv[4])
touched = []


def watch(event, args):
    if event == "import" and args[0].split(".")[0] in ("evil", "evil_encoder"):
        touched.append(f"import {args[0]}")
    elif event in ("open", "os.listdir", "os.scandir") and isinstance(args[0], (str, bytes)):
        path = os.path.abspath(os.fsdecode(args[0]))
        if path.startswith(bait + os.sep):
            touched.append(f"{event} {path}")
    elif event in ("subprocess.Popen", "os.system", "os.exec"):
        touched.append(event)


os.chdir(work)
sys.path.insert(0, bait)  # the worst case: what is named can be imported
import numpy, zarr, xarray, typer  # what libraries do when they are imported is not the store's

sys.addaudithook(watch)
from reprostore_cli.main import app

codes = []
for command in commands:
    try:
        app(command, prog_name="repro")
    except SystemExit as end:
        codes.append(int(end.code or 0))
sys.stderr.write("RESULT " + json.dumps([codes, touched]))
"""


@pytest.fixture(scope="module")
def bait(tmp_path_factory):
    """Modules that say that they ran, and data that no command has a reason to open."""
    folder = tmp_path_factory.mktemp("bait")
    for name in ("evil", "evil_encoder"):
        (folder / f"{name}.py").write_text(EVIL)
    return folder


@pytest.fixture(scope="module")
def received(bait, tmp_path_factory):
    """A store whose models, encoder and dataset are named as code and files of this machine."""
    folder = tmp_path_factory.mktemp("received")
    store = create_store(folder / "s.zarr", title="python:evil:factory")
    add_dataset(store, bait / "data", pictures(12, shape=SHAPE), held_out="8-11")
    _rename_source(store, str(bait / "data" / "items.npy"))
    for model, index in (("a", "0-3"), ("b", "4-7")):
        add_run(store, model, dict(enumerate(pictures(6, seed=3, shape=SHAPE))),
                spec={"weights": {"evil.py": "0" * 64}}, trained_on=subset(index))  # fmt: skip
        _rename_model(store, f"runs/{model}/s/none", "python:evil:factory")
    pixel = Context(store, encoders={"e": EncoderSpec(kind="pixel")})
    reproducibility(pixel, ReproducibilityOptions(encoder="e"))
    _rename_encoder(store, "e", {"kind": "python", "factory": "evil_encoder:factory",
                                 "metric": "cosine", "weights": str(bait / "data")})  # fmt: skip
    return store.path


def _edit(path, change):
    document = json.loads(path.read_text())
    change(document["attributes"])
    path.write_text(json.dumps(document))


def _rename_source(store, source):
    def change(attributes):
        attributes["dataset"]["source"] = source
        attributes.update(sealed("items", attributes))

    _edit(store.path / "datasets" / "items" / "zarr.json", change)


def _rename_model(store, group, source):
    def change(attributes):
        run = attributes["run"]
        run["model_spec"]["source"] = source
        run.pop("checksum")
        run["checksum"] = fingerprint(run)

    _edit(store.path / group / "zarr.json", change)
    assert store.run(group.removeprefix("runs/")).spec.model_spec.source == source


def _rename_encoder(store, name, identity):
    for file in (store.path / "embeddings" / name / "runs").glob("*/*/*/zarr.json"):

        def change(attributes):
            attributes["encoder"] = identity
            attributes["made_from"]["encoder"] = fingerprint(identity)

        _edit(file, change)
    shutil.rmtree(store.path / "results")


def test_the_watch_sees_imports_and_files(tmp_path):
    for name in ("evil.py", "other.py"):
        (tmp_path / name).write_text(EVIL)
    use = "import evil\nopen(sys.argv[3] + '/other.py').close()\n"
    code = WATCH.replace("codes = []", f"{use}codes = []")
    outcome = subpython("-c", code, tmp_path, tmp_path, tmp_path, "[]")
    _, touched = json.loads(outcome.err.rsplit("RESULT ", 1)[1])
    assert "import evil" in touched
    assert f"open {tmp_path / 'other.py'}" in touched
    assert (tmp_path / "it-ran").exists()


def test_no_command_imports_or_opens_what_a_store_names(received, bait, tmp_path):
    store, packed = tmp_path / "s.zarr", tmp_path / "p.zip"
    shutil.copytree(received, store)
    out = str(tmp_path / "out")
    commands = [
        ["status", store], ["verify", store], ["verify", store, "--json"],
        ["analyze", "reproducibility", "--store", store, "--encoder", "e", "--no-figures"],
        ["analyze", "generalization", "--store", store, "--encoder", "pixel", "--no-figures"],
        ["pack", store, packed], ["pack", store, tmp_path / "v.zip", "--content", "vectors"],
        ["status", packed], ["verify", packed],
        ["unpack", packed, "--to", out],
        ["merge", packed, tmp_path / "v.zip", "--into", tmp_path / "new.zarr"],
        ["verify", tmp_path / "new.zarr"],
        ["verify", store, "--repair"],
        ["export", store, "--to", tmp_path / "x", "--format", "npz", "--run", "a/s/none"],
        ["compare", tmp_path / "x", tmp_path / "x"],
    ]  # fmt: skip
    texts = [[str(part) for part in command] for command in commands]
    outcome = subpython("-c", WATCH, store, tmp_path, bait, json.dumps(texts))
    codes, touched = json.loads(outcome.err.rsplit("RESULT ", 1)[1])
    assert touched == []
    assert not (bait / "it-ran").exists()
    assert codes[:-1] == [0] * (len(codes) - 1), outcome.err
    assert len(codes) == len(commands)


def test_a_missing_vector_of_a_python_encoder_is_an_error_not_a_call(received, bait, tmp_path):
    shutil.copytree(received, tmp_path / "s.zarr")
    shutil.rmtree(tmp_path / "s.zarr" / "embeddings" / "e" / "runs" / "b")
    command = ["analyze", "reproducibility", "--store", str(tmp_path / "s.zarr"), "--encoder", "e"]
    outcome = subpython("-c", WATCH, tmp_path, tmp_path, bait, json.dumps([command]))
    codes, touched = json.loads(outcome.err.rsplit("RESULT ", 1)[1])
    assert (codes, touched) == ([2], [])
    assert "made elsewhere" in outcome.err
    assert not (bait / "it-ran").exists()
