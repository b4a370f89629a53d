"""Seconds until the command line answers, and what it imports for it."""

import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest
from sides import seconds

STUDY = Path(__file__).parents[2] / "examples" / "digits"
HEAVY = ("torch", "diffusers", "faiss", "matplotlib", "sklearn")


def repro(*arguments, cwd):
    """Run `repro` and return its process."""
    command = [sys.executable, "-m", "reprostore_cli", *arguments]
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """The digits study with fewer seeds, generated and analyzed."""
    folder = tmp_path_factory.mktemp("startup") / "digits"
    shutil.copytree(STUDY, folder, ignore=shutil.ignore_patterns("*.zarr*", "*.figures"))
    repro("generate", "study.toml", "--seeds", "0-127", cwd=folder)
    repro("analyze", "study.toml", cwd=folder)
    return folder


@pytest.mark.parametrize(
    ("arguments", "limit"),
    [
        (("--help",), 0.5),
        (("generate", "study.toml", "--seeds", "0-127"), 2.5),
        (("analyze", "study.toml"), 2.5),
    ],
    ids=["help", "complete generate", "complete analyze"],
)
def test_start(benchmark, complete, arguments, limit):
    """`--help` in 0.5 s, a complete study in 2.5 s, without a heavy import."""
    times = [seconds(lambda: repro(*arguments, cwd=complete)) for _ in range(7)]
    script = (
        "import sys; from reprostore_cli.main import main\n"
        f"sys.argv = ['repro', *{list(arguments)!r}]\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    process = subprocess.run(
        [sys.executable, "-c", script], cwd=complete, check=True, capture_output=True, text=True
    )
    benchmark.extra_info |= {
        "median_s": median(times),
        "fastest_s": min(times),
        "limit_s": limit,
        "heavy_imports": process.stderr.strip().splitlines()[-1],
    }
    assert benchmark.extra_info["heavy_imports"] == "[]"
    benchmark.pedantic(lambda: repro(*arguments, cwd=complete), rounds=1)
