"""Which row of an array belongs to which seed, and that rows read otherwise are other samples."""

import numpy as np
import pytest
import torch
from importing import assert_stored, images, request
from stores import content

from reprostore.errors import IdentityError
from reprostore.importing import import_samples
from reprostore.store import create_store

RUN = "m/imported/none"


@pytest.fixture
def store(tmp_path):
    return create_store(tmp_path / "s.zarr")


def test_the_order_of_rows_does_not_matter_where_a_checkpoint_is_the_identity(store, tmp_path):
    (tmp_path / "net.pkl").write_bytes(b"net")
    pictures = images(6, (1, 5, 5))
    order = [4, 1, 3, 0, 5, 2]
    np.save(tmp_path / "a.npy", pictures[:3])
    np.save(tmp_path / "b.npy", pictures[order])
    known = {"weights": tmp_path / "net.pkl", "noise": "edm-cpu"}
    import_samples(store, request(tmp_path / "a.npy", seeds="0-2", **known))
    seeds = ",".join(map(str, order))
    row = import_samples(store, request(tmp_path / "b.npy", seeds=seeds, **known))
    assert row["written"] == 3
    assert_stored(store, dict(enumerate(pictures)))
    seeds = store.run(RUN).seeds.tolist()
    probes = store.run(RUN).recorded("noise_probe")
    for seed, probe in zip(seeds, probes, strict=True):
        noise = torch.randn((1, 5, 5), generator=torch.Generator("cpu").manual_seed(seed))
        np.testing.assert_allclose(probe, noise.flatten()[:8].numpy(), rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    "other", [{"seeds": "10-15"}, {"value_range": (0, 2)}, {"layout": "nchw"}], ids=str
)
def test_rows_that_are_read_otherwise_are_other_samples(store, tmp_path, other):
    """The file is the same to the byte; seeds, values or axes are not."""
    values = np.random.default_rng(0).random((6, 3, 3, 3), dtype=np.float32)
    np.save(tmp_path / "x.npy", values)
    fields = {"seeds": "0-5", "value_range": (0, 1), "layout": "nhwc"}
    import_samples(store, request(tmp_path / "x.npy", **fields))
    before = content(store.path)
    with pytest.raises(IdentityError, match="it was imported from other files, seeds or noise"):
        import_samples(store, request(tmp_path / "x.npy", **fields | other))
    assert content(store.path) == before


@pytest.mark.parametrize("order", [[1, 2, 0, 5, 3, 4], [4, 1, 5, 2, 3, 0]], ids=str)
def test_rows_go_to_their_seeds_in_whatever_order_they_come(store, tmp_path, order):
    """The seeds 0, 1 and 2 are compared; their rows are a 3-cycle, which is not its own inverse."""
    (tmp_path / "net.pkl").write_bytes(b"net")
    pictures = images(6, (1, 5, 5))
    noise = torch.randn((6, 1, 5, 5), generator=torch.Generator().manual_seed(0)).numpy()
    for name, rows in (("a", [0, 1, 2]), ("b", order)):
        np.save(tmp_path / f"{name}.npy", pictures[rows])
        np.save(tmp_path / f"{name}-noise.npy", noise[rows])
        known = {"weights": tmp_path / "net.pkl", "noise": str(tmp_path / f"{name}-noise.npy")}
        seeds = ",".join(map(str, rows))
        import_samples(store, request(tmp_path / f"{name}.npy", seeds=seeds, **known))
    assert_stored(store, dict(enumerate(pictures)))
    run = store.run(RUN)
    np.testing.assert_array_equal(
        run.recorded("noise_probe"), noise.reshape(6, -1)[run.seeds, :8], strict=True
    )
