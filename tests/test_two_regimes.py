"""The two regimes at a size for every day: from training to the pictures, by the commands."""

import pytest
from commands import Repro

STUDY = """\
store = "small.zarr"
seeds = "0-127"
batch_size = 128

[datasets.digits]
source = "sklearn:digits"
shuffle = 0
held_out = "898-1795"

[recipes.unet]
width = 16
objective = "epsilon"
steps = 300
batch_size = 64
learning_rate = 1e-3
ema_decay = 0.99

[sweeps.unet]
recipe = "unet"
dataset = "digits"
sizes = [4, 256]
held_out = "898-1795"
oracle = true

[samplers.ddim25]
scheduler = "ddim"
steps = 25
record = "all"
denoised = true

[analyses.transition]
encoder = "pixel"
threshold = 0.9
copy_threshold = 0.95
oracle_threshold = 0.95

[analyses.theory]
encoder = "pixel"
threshold = 0.95
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    path = tmp_path_factory.mktemp("two_regimes") / "study.toml"
    path.write_text(STUDY, encoding="utf-8")
    return path


def test_networks_leave_the_oracle_and_stop_copying_as_items_are_added(study, capsys):
    """RP to the oracle falls with N and GL rises, from nothing but a study file."""
    repro = Repro(capsys)
    trained = repro("train", study, "--json")
    assert (trained.code, [row["trained"] for row in trained.rows]) == (0, [300, 300]), trained.err
    generated = repro("generate", study, "--json")
    assert [row["written"] for row in generated.rows] == [128] * 4, generated.err
    analyzed = repro("analyze", study, "--json")
    assert analyzed.code == 0, analyzed.err
    tables = [row for row in analyzed.rows if "table" in row]
    gl = {row["train_size"]: row["gl"] for row in tables if row["table"] == "sizes"}
    to_oracle = {
        row["train_size"]: row["rp"]
        for row in tables
        if row["table"] == "pairs" and row["kind"] == "oracle"
    }
    assert to_oracle[4] > to_oracle[256] + 0.05
    assert gl[4] < gl[256] - 0.05
    figures = sorted(path.name for path in study.with_name("small.figures").iterdir())
    assert any(name.startswith("transition") for name in figures)
    assert any(name.startswith("theory") for name in figures)
    assert [row["trained"] for row in repro("train", study, "--json").rows] == [0, 0]
