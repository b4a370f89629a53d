"""Any command with any arguments: a known exit code, and one paragraph where something is wrong."""

import pytest
from commands import Repro
from fuzzing import examples, watched
from hypothesis import example, given
from hypothesis import strategies as st
from reading_stores import build

from reprostore.testing.strategies import odd_texts, seed_texts
from reprostore_cli.main import app

COMMANDS = tuple(info.name or info.callback.__name__ for info in app.registered_commands)
OPTIONS = (
    "--json", "--store", "--model", "--sampler", "--seeds", "--batch-size", "--dtype", "--encoder",
    "--threshold", "--option", "--out", "--part", "--repair", "--regenerate", "--to", "--as",
    "--content", "--runs", "--weights", "--device", "--help", "--no-figures", "-x", "--nothing",
)  # fmt: skip
ODD = st.one_of(
    odd_texts().filter(lambda text: "\0" not in text),
    seed_texts().filter(lambda text: "\0" not in text),
    st.sampled_from(
        ["store.zarr", "study.toml", "nowhere.toml", "/dev/null", "/proc/self/mem", "items.npy",
         "loop", "empty", "reproducibility", "ddim:2", "edm-heun:0", "oracle", "1/0", "0.1%",
         "key=value", "threshold=nan", "[[[="]
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a store, a study that asks for nothing, and things that are neither."""
    folder = tmp_path_factory.mktemp("commands")
    build(folder)
    (folder / "study.toml").write_text('store = "store.zarr"\nseeds = "0-3"\n', encoding="utf-8")
    (folder / "loop").symlink_to("loop")
    (folder / "empty").mkdir()
    return folder


@st.composite
def calls(draw):
    """Return the arguments of a call: a command, then paths, options and texts in any order."""
    command = draw(st.sampled_from(COMMANDS))
    words = draw(st.lists(ODD | st.sampled_from(OPTIONS), max_size=5))
    return [command, *words]


@examples(25)
@given(call=calls())
@example(call=["status", "loop"])
@example(call=["status", "study.toml"])
@example(call=["analyze", "--store", "store.zarr", "--encoder", "pixel", "reproducibility"])
@example(call=["verify", "store.zarr/runs"])
@example(call=["pack", "store.zarr", "store.zarr/inside.zip"])
@example(call=["plan", "store.zarr"])
def test_any_arguments(folder, monkeypatch, capfd, call):
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        with watched(60):
            done = Repro(capfd)(*call)
    assert done.code in {0, 2, 3}, (call, done.err)
    assert "Traceback" not in done.out + done.err
    if done.code == 2:
        assert done.err.strip(), call
    if done.err.startswith("Error: "):
        assert done.err.count("\n") == 1, done.err
