"""Time of the RP matrix of ten runs from vectors that are stored, and of its bootstrap."""

import shutil

import numpy as np
import pytest
import torch
from analyzing import add_run

from reprostore.embed import embed_run
from reprostore.specs import EncoderSpec
from reprostore.store import create_store
from reprostore_analyses.context import Context
from reprostore_analyses.reproducibility import ReproducibilityOptions, reproducibility
from reprostore_analyses.statistics import resampled_means

RUNS, SEEDS, DIMENSION = 10, 10_000, 512


class Projection(torch.nn.Module):
    """A linear encoder of images of 8×8."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(64, DIMENSION))

    def forward(self, images):
        return images.flatten(1) @ self.weight


@pytest.mark.filterwarnings(
    r"ignore:.*torch\.jit\.(script|save|trace|trace_method).* is deprecated"
)
def test_matrix_from_stored_vectors(benchmark, tmp_path):
    """Below 5 s; images are small, so that their MAE score costs little beside it."""
    torch.jit.save(torch.jit.script(Projection()), str(tmp_path / "net.pt"))
    rng = np.random.default_rng(0)
    store = create_store(tmp_path / "s.zarr")
    base = rng.integers(0, 256, (SEEDS, 1, 8, 8))
    for run in range(RUNS):
        noise = rng.integers(-20 * run, 20 * run + 1, base.shape)
        images = np.clip(base + noise, 0, 255).astype(np.uint8)
        add_run(store, f"m{run}", dict(enumerate(images)), batch_size=500)
    spec = EncoderSpec(kind="torchscript", weights="net.pt", preprocessing="none", batch_size=500)
    context = Context(store, base=tmp_path, encoders={"net": spec})
    for run in context.runs(None, None):
        embed_run(store, context.encoder("net"), run)
    options = ReproducibilityOptions(encoder="net")

    result = benchmark.pedantic(
        lambda: reproducibility(context, options),
        setup=lambda: shutil.rmtree(store.path / "results", ignore_errors=True),
        rounds=3,
    )
    benchmark.extra_info["seconds"] = benchmark.stats.stats.median
    hits = result["similarity"].values[np.triu_indices(RUNS, 1)] > options.threshold
    np.testing.assert_allclose(hits.mean(axis=1), result["rp"].values[np.triu_indices(RUNS, 1)])


def test_bootstrap_of_the_matrix(benchmark):
    """1,000 resamples below 5 s."""
    hits = np.random.default_rng(0).random((RUNS * (RUNS - 1) // 2, SEEDS)) < 0.7
    means = benchmark.pedantic(
        lambda: resampled_means(hits, rng=np.random.default_rng(1), resamples=1000), rounds=3
    )
    benchmark.extra_info["seconds"] = benchmark.stats.stats.median
    np.testing.assert_allclose(means.std(axis=0), np.sqrt(0.21 / SEEDS), rtol=0.1)
