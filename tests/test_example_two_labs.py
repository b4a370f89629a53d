"""The README of examples/two_labs, run from the shell as it is written."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import reprostore as rs
from reprostore.images import to_uint8

EXAMPLES = Path(__file__).parents[1] / "examples"
README = (EXAMPLES / "two_labs" / "README.md").read_text(encoding="utf-8")
COMMANDS = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))


def shell(folder: Path, script: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "OMP_NUM_THREADS": "1",
             "REPROSTORE_CACHE": str(folder / "cache")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def laboratories(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("labs")
    shutil.copytree(EXAMPLES / "digits" / "checkpoints", root / "digits" / "checkpoints")
    shutil.copytree(EXAMPLES / "two_labs", root / "two_labs")
    shell(root / "two_labs", COMMANDS)
    return root / "two_labs"


def cosine(a: Path, run_a: str, b: Path, run_b: str) -> np.ndarray:
    """Mean-removed cosine of the 8-bit pixels at equal seeds, (seed,)."""
    vectors = []
    for store, model in ((a, run_a), (b, run_b)):
        samples = rs.open_store(store).final_samples(models=model)["sample"].sortby("seed")
        pixels = to_uint8(samples.values.reshape(samples.sizes["seed"], -1)).astype(np.float64)
        pixels -= pixels.mean(axis=1, keepdims=True)
        vectors.append(pixels / np.linalg.norm(pixels, axis=1, keepdims=True))
    return (vectors[0] * vectors[1]).sum(axis=1)


def test_all_pairs_have_the_rp_of_the_two_stores_by_hand(laboratories):
    out = shell(
        laboratories,
        "repro analyze reproducibility --store b/digits.zarr --encoder pixel --threshold 0.9"
        " --no-figures --json",
    )
    rows = {
        frozenset((row["run_a"].split("/")[0], row["run_b"].split("/")[0])): row
        for row in json.loads(out)["rows"]
    }
    own, received = laboratories / "b" / "digits.zarr", laboratories / "a" / "digits.zarr"
    home = {"narrow": received, "wide": received, "other-half": own}
    assert len(rows) == 3
    for pair, row in rows.items():
        a, b = sorted(pair)
        expected = float((cosine(home[a], a, home[b], b) > 0.9).mean())
        assert row["rp"] == pytest.approx(expected, abs=1e-12)
        assert row["seeds"] == 256
        assert row["checked"] is True


def test_the_table_of_the_readme_has_these_figures(laboratories):
    a, b = laboratories / "a" / "digits.zarr", laboratories / "b" / "digits.zarr"
    table = README[README.index("| RP at") : README.index("![RP")]
    cells = re.findall(r"(\.\d\d) \[", table)
    expected = [
        cosine(a, "narrow", a, "wide"),
        cosine(a, "narrow", b, "other-half"),
        cosine(a, "wide", b, "other-half"),
    ]
    assert len(cells) == 3
    for text, similarity in zip(cells, expected, strict=True):
        assert float(text) == pytest.approx(float((similarity > 0.9).mean()), abs=0.02)
