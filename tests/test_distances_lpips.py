"""LPIPS in the analysis `distances`: from stored vectors, and pair by pair without them."""

import numpy as np
import pytest
from analyzing import add_dataset, add_run, pictures, subset
from lpips_files import package, package_distances, random_state, save

from reprostore.errors import SpecError
from reprostore.specs import EncoderSpec
from reprostore.store import create_store
from reprostore_analyses.context import Context
from reprostore_analyses.distances import DistancesOptions, distances, distances_rows
from reprostore_analyses.fidelity import FidelityOptions, fidelity

SHAPE = (3, 32, 32)
SEEDS = [4, 1, 3, 2]


@pytest.fixture(scope="module")
def state():
    return random_state("squeeze")


@pytest.fixture
def context(tmp_path, state):
    save(tmp_path / "squeeze.pth", state)
    store = create_store(tmp_path / "s.zarr")
    add_dataset(store, tmp_path, pictures(8, seed=9, shape=SHAPE), held_out="6-7")
    for model, seed in (("a", 1), ("b", 2)):
        samples = dict(zip(SEEDS, pictures(4, seed, SHAPE), strict=True))
        add_run(store, model, samples, trained_on=subset("0-5"))
    encoder = EncoderSpec(kind="lpips", net="squeeze", weights="squeeze.pth", batch_size=3)
    return Context(store, base=tmp_path, encoders={"lpips": encoder})


def compute(context):
    return distances(context, DistancesOptions(encoder="lpips", resamples=20))


def test_from_vectors_and_pair_by_pair_it_is_that_of_the_package(context, state, monkeypatch):
    model = package("squeeze", state, monkeypatch)
    expected = package_distances(model, pictures(4, 1, SHAPE), pictures(4, 2, SHAPE))
    expected = np.asarray(expected)[np.argsort(SEEDS)]
    kept = compute(context)
    assert (context.store.path / "embeddings" / "lpips").is_dir()
    at = kept.sel(metric="distance").isel(pair=0)
    np.testing.assert_allclose(at["per_seed"], expected, rtol=1e-5)
    assert float(at["value"]) == pytest.approx(expected.mean(), rel=1e-5)
    rows = distances_rows(kept, DistancesOptions(encoder="lpips"))
    assert {row["metric"] for row in rows} == {"mae", "ssim", "pfd_pixel", "distance"}

    monkeypatch.setattr("reprostore.embed.pairwise.lpips_fits", lambda *arguments: False)
    other = Context(context.store, base=context.base, encoders={"other": context.encoders["lpips"]})
    paired = distances(other, DistancesOptions(encoder="other", resamples=20))
    np.testing.assert_allclose(
        paired["per_seed"].sel(metric="distance"),
        kept["per_seed"].sel(metric="distance"),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        paired["chance"].sel(metric="distance"), kept["chance"].sel(metric="distance"), rtol=1e-5
    )
    assert not (context.store.path / "embeddings" / "other").exists()


def test_vectors_that_would_fill_a_disk_are_refused_before_anything_is_written(
    context, monkeypatch
):
    monkeypatch.setattr("reprostore.embed.pairwise.MOST_BYTES", 1000)
    with pytest.raises(SpecError, match="distances compares LPIPS pair by pair"):
        compute(context)
    with pytest.raises(SpecError, match=r"would take .* of 20,297 values"):
        fidelity(context, FidelityOptions(encoder="lpips", metrics=("fd",), subsamples=2))
    assert not list((context.store.path / "embeddings").rglob("vector"))
