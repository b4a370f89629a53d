"""Speed of encoding, against the bare loop of the network over batches prepared beforehand."""

import numpy as np
import pytest
import torch
from sides import compare

from reprostore.encoders.network import NetworkEncoder
from reprostore.encoders.preprocessing import PRESETS
from reprostore.encoders.transform import preprocess

BATCH, COUNT = 8, 24
CPU = torch.device("cpu")


@pytest.mark.parametrize("preset", ["sscd", "dinov2"])
@pytest.mark.parametrize("side", [32, 512])
def test_encoding_against_the_bare_network(benchmark, preset, side):
    """At least 0.9 of the throughput: a ratio of at most 1.11, resizing and checks included."""
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    network = models.resnet18(weights=None).eval()
    network.fc = torch.nn.Identity()
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 3, side, side), dtype=np.uint8)
    encoder = NetworkEncoder("resnet18", network, PRESETS[preset], images.shape[1:], BATCH, CPU)
    prepared = preprocess(torch.from_numpy(images), PRESETS[preset], CPU).split(BATCH)
    found, expected = [], []

    def encode():
        found[:] = [encoder.encode(images)]

    def bare():
        with torch.inference_mode():
            expected[:] = [network(batch).numpy() for batch in prepared]

    compare(benchmark, encode, bare, repeats=3)
    np.testing.assert_allclose(found[0], np.concatenate(expected), rtol=1e-3, atol=1e-4)
