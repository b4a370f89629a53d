"""A tiny study on real digits, and how tests run the commands on it."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from reprostore.testing.models import tiny_checkpoint
from reprostore_cli.main import app

STUDY = """\
store = "digits.zarr"
title = "Tiny"
license = "CC-BY-4.0"
seeds = "0-7"
batch_size = 4

[datasets.digits]
source = "sklearn:digits"
held_out = "1000-1199"

[models.a]
source = "checkpoints/a"
trained_on = { dataset = "digits", index = "0-49" }

[models.b]
source = "checkpoints/b"
trained_on = { dataset = "digits", index = "50-99" }

[samplers.ddim2]
scheduler = "ddim"
steps = 2

[encoders.pixel]
kind = "pixel"

[analyses.reproducibility]
encoder = "pixel"
threshold = 0.6

[analyses.generalization]
encoder = "pixel"
threshold = 0.6

[analyses.agreement]
encoder = "pixel"
compare = [["a", "b"]]
"""
RUNS = ["a/ddim2/none", "b/ddim2/none"]


def write_study(folder: Path, text: str = STUDY) -> Path:
    """Write two random checkpoints and a study of them."""
    for seed, name in enumerate("ab"):
        tiny_checkpoint(folder / "checkpoints" / name, seed=seed)
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that stands once in a file."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new), encoding="utf-8")


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def document(self):
        """The JSON object on the output; NaN and Infinity are no JSON."""

        def refuse(constant):
            raise AssertionError(f"{constant} is no JSON")

        return json.loads(self.out, parse_constant=refuse)

    @property
    def rows(self):
        """The rows of the JSON object."""
        return self.document["rows"]


class Repro:
    """Runs commands in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Outcome:
        """Run ``repro ARGUMENTS``."""
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            app([str(argument) for argument in arguments], prog_name="repro")
        code = int(end.value.code or 0)
        out, err = self._capsys.readouterr()
        return Outcome(code, out, err)


def environment(**values: str) -> dict[str, str]:
    """Return the environment of a subprocess that imports what this process does."""
    paths = os.pathsep.join(path for path in sys.path if path)
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **values}


def subrepro(*arguments: object, **options) -> Outcome:
    """Run ``repro ARGUMENTS`` in a process of its own."""
    return subpython("-m", "reprostore_cli", *arguments, **options)


def subpython(*arguments: object, **options) -> Outcome:
    """Run Python in a process of its own."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        **{"timeout": 300, **options},
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def contents(folder: Path) -> dict[str, str]:
    """Return the digest of every file below a folder, and an empty text for every folder."""
    return {
        path.relative_to(folder).as_posix(): (
            "" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
        )
        for path in sorted(folder.rglob("*"))
    }
