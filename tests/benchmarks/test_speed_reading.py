"""Reading stored samples against reading the same samples as PNG files."""

import numpy as np
import pytest
from PIL import Image
from sides import compare

from reprostore import create_store, open_store
from reprostore.images import from_uint8
from reprostore.testing.store import run_spec, step_table, write_units

SEEDS = 10_000


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """10,000 smooth 3×32×32 images: a store with five recorded steps, and a folder of PNG files."""
    folder = tmp_path_factory.mktemp("reading")
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (SEEDS, 3, 8, 8), dtype=np.uint8)
    images = coarse.repeat(4, axis=2).repeat(4, axis=3)
    spec = run_spec(sample_shape=(3, 32, 32), steps=(0, 1, 2, 3, 4), batch_size=128)
    store = create_store(folder / "samples.zarr")
    run = store.add_run(spec, step_table(spec), range(SEEDS))

    def states(spec, seed, row):
        return from_uint8(images[seed]) * np.float32((row + 1) / len(spec.steps)), None

    write_units(run, store.start_session({}), states=states)
    (folder / "png").mkdir()
    for seed, image in enumerate(images):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / "png" / f"{seed:06d}.png")
    return folder


def test_last_step_against_png(benchmark, both):
    """At least 3 times faster than the PNG files."""
    folder = both

    def ours():
        samples = open_store(folder / "samples.zarr").final_samples()["sample"]
        return samples.squeeze(("model", "sampler", "condition")).values

    def png():
        files = sorted((folder / "png").iterdir())
        stacked = np.stack([np.asarray(Image.open(file)) for file in files])
        return from_uint8(stacked.transpose(0, 3, 1, 2))

    np.testing.assert_allclose(ours(), png(), atol=1e-6)
    compare(benchmark, ours, png, repeats=9)
    benchmark.extra_info["times_faster"] = 1 / benchmark.extra_info["ratio"]
