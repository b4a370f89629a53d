"""The studies in examples/: they load, and that for a machine with GPUs runs at toy size."""

from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Repro

from reprostore.study import load_study

EXAMPLES = Path(__file__).parents[1] / "examples"
STUDIES = sorted(path.parent.name for path in EXAMPLES.glob("*/study.toml"))


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_loads_and_its_readme_names_its_commands(name):
    loaded = load_study(EXAMPLES / name / "study.toml")
    assert loaded.study.runs()
    readme = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    assert "repro generate" in readme
    assert ("repro train" in readme) == bool(loaded.study.recipes)


def test_the_sweeps_are_those_of_the_paper_and_nested():
    models = load_study(EXAMPLES / "cifar10" / "study.toml").study.models
    networks = [model for model in models.values() if model.recipe]
    assert len(networks) == 10 * 3 * 2
    sizes = {int(m.trained_on.index.split("-")[1]) + 1 for m in networks}
    assert sizes == {2**k for k in range(6, 16)}
    assert {model.width for model in networks} == {64, 128, 256}
    assert all(m.trained_on.index.startswith("0-") for m in models.values())


class Small(torch.nn.Module):
    """Stands for SSCD: an image of any size to a vector."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the mean color of a 4×4 grid, (batch, 48)."""
        return torch.nn.functional.adaptive_avg_pool2d(x, 4).flatten(1)


TOY = {
    '"torchvision:CIFAR10:data"': '"images.npz:images"',
    'seeds = "100000-109999"': 'seeds = "100000-100007"',
    "batch_size = 250": "batch_size = 4",
    'held_out = "40000-49999"': 'held_out = "20-31"',
    "width = 128": "width = 32",
    "layers = 4": "layers = 1",
    "head_dim = 64": "head_dim = 32",
    "images = 50_000_000": "images = 16",
    "batch_size = 128": "batch_size = 8",
    "warmup = 78_125": "warmup = 1",
    'precision = "bfloat16"': 'precision = "float32"',
    "sizes = [64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768]": "sizes = [8, 16]",
    "widths = [64, 128, 256]": "widths = [32, 64]",
    "steps = 18": "steps = 3",
}
"""What is small in the toy; everything else is the study as it stands."""


# SSCD is published as TorchScript, whose making, not reading, torch deprecates.
@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_the_cifar10_study_runs_at_toy_size(tmp_path, capsys):
    text = (EXAMPLES / "cifar10" / "study.toml").read_text(encoding="utf-8")
    for old, new in TOY.items():
        assert old in text, old
        text = text.replace(old, new)
    study = tmp_path / "study.toml"
    study.write_text(text, encoding="utf-8")
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    torch.jit.save(torch.jit.script(Small()), str(tmp_path / "sscd_disc_large.torchscript.pt"))
    repro = Repro(capsys)
    planned = repro("plan", study, "--json")
    assert len(planned.rows) == 2 * 2 * 2 + 2 * 2, planned.err
    trained = repro("train", study, "--json")
    assert [row["trained"] for row in trained.rows] == [2] * 8, trained.err
    generated = repro("generate", study, "--json")
    assert {row["written"] for row in generated.rows} == {8}, generated.err
    analyzed = repro("analyze", study, "--json")
    assert analyzed.code == 0, analyzed.err
    assert {row.get("table") for row in analyzed.rows} >= {"sizes", "pairs", "fit"}
