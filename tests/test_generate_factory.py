"""Runs of models from Python code: what their code reads is compared by what it computes."""

import numpy as np
import pytest
from generating import files, sample_bits, small_units, study

from reprostore.errors import DriftError
from reprostore.studies import generate_study

_FACTORY = """
from pathlib import Path
import torch
from reprostore.models.base import Denoiser

def load(device, dtype):
    target = float(Path(__file__).with_name("weights.txt").read_text())
    return Denoiser(
        sample_shape=(1, 2, 2),
        device=device,
        dtype=dtype,
        denoise=lambda x, sigma: torch.full_like(x, target),
    )
"""
HEUN = {"heun": {"scheduler": "edm-heun", "steps": 3}}
RUN = "net/heun/none"


@pytest.fixture(autouse=True)
def _small_units():
    with small_units():
        yield


@pytest.fixture
def base(tmp_path):
    (tmp_path / "constant_net.py").write_text(_FACTORY)
    (tmp_path / "weights.txt").write_text("0.25")
    return tmp_path


def asked(base, seeds):
    return study(base, seeds, HEUN, models={"net": {"source": "python:constant_net:load"}})


def test_a_constant_denoiser_gives_its_constant(base):
    loaded = asked(base, "0-4")
    generate_study(loaded)
    for bits in sample_bits(loaded, RUN).values():
        np.testing.assert_allclose(np.frombuffer(bits, np.float32), 0.25, atol=1e-6)


@pytest.mark.parametrize("first", ["0-7", "0-9"], ids=["whole units", "a unit begun"])
def test_other_weights_behind_the_same_code_are_noticed(base, first):
    generate_study(asked(base, first))
    (base / "weights.txt").write_text("0.75")
    before = files(base / "store.zarr")
    with pytest.raises(DriftError, match=r"net .* gives other samples than those stored, for the"):
        generate_study(asked(base, "0-20"))
    assert files(base / "store.zarr") == before


def test_the_same_weights_go_on(base):
    generate_study(asked(base, "0-9"))
    assert generate_study(asked(base, "0-20"))[0]["written"] == 11
    assert len(sample_bits(asked(base, "0-20"), RUN)) == 21
