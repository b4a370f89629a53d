"""Speed of exact LPIPS neighbors by vectors, against forward passes of the package lpips.

The other side is timed on a sample of pairs and multiplied: all pairs would take an hour.
"""

import pytest
import torch
from lpips_files import images, package, random_state, save
from sides import compare

from reprostore.encoders.lpips import LpipsEncoder
from reprostore.search import knn

QUERIES, CORPUS, SHAPE, K = 1_000, 5_000, (3, 32, 32), 2
PAIRS, BATCH = 256, 64


@pytest.mark.parametrize("net", ["alex", "squeeze"])
def test_nearest_neighbors_against_all_forward_passes(benchmark, net, tmp_path, monkeypatch):
    """At most 1/500 of the package's time for 5,000,000 pairs, estimated from 256 of them."""
    state = random_state(net)
    encoder = LpipsEncoder(SHAPE, net, save(tmp_path / "net.pth", state), BATCH)
    model = package(net, state, monkeypatch)
    queries, corpus = images(QUERIES, SHAPE), images(CORPUS, SHAPE, seed=1)
    left, right = (torch.from_numpy(part[:PAIRS]).float() / 127.5 - 1 for part in (queries, corpus))
    found, distances = [], []

    def search():
        found[:] = [knn(encoder.encode(queries), encoder.encode(corpus), K, encoder.metric)]

    def forward():
        with torch.inference_mode():
            distances[:] = [
                model(left[start : start + BATCH], right[start : start + BATCH]).flatten()
                for start in range(0, PAIRS, BATCH)
            ]

    compare(benchmark, search, forward, repeats=3, times=QUERIES * CORPUS // PAIRS)
    benchmark.extra_info["times_faster"] = 1 / benchmark.extra_info["ratio"]
    # The same distances: none of the sampled pairs is nearer than the nearest that was found.
    assert (torch.cat(distances).numpy() >= found[0].values[:PAIRS, 0] * (1 - 1e-5)).all()
