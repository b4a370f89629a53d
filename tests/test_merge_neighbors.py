"""How many neighbors of each sample a merged store has."""

import numpy as np
import pytest
from merging import add_dataset, arrays, laboratory, pixel, run_of, small_units, withhold

from reprostore.neighbors import SearchOptions, run_neighbors
from reprostore.sharing.merge import merge_stores

RUN = run_of(steps=(5,), denoised=False, sample_shape=(1, 2, 2))
GROUP = f"neighbors/pixel/digits@0-9/runs/{RUN.path}"


@pytest.fixture(autouse=True)
def _small_units(monkeypatch):
    small_units(monkeypatch)


def searched(path, seeds, k):
    store = laboratory(path, [(RUN, seeds)])
    dataset = add_dataset(store, "digits")
    run_neighbors(store, pixel(), store.runs()[0], dataset, "0-9", SearchOptions(k, "torch"))
    return store


@pytest.mark.parametrize("withheld", [False, True])
@pytest.mark.parametrize(("seeds", "k"), [(range(4), (1, 9)), (range(2), (9, 9)), ((), (9, 1))])
def test_the_most_neighbors_that_all_samples_have_are_kept(tmp_path, withheld, seeds, k):
    """The second store has four samples, the first those of the same seeds or fewer, or others."""
    a = searched(tmp_path / "a.zarr", seeds or range(4), k[0])
    b = searched(tmp_path / "b.zarr", range(4), k[1])
    expected = arrays((a if k[0] > k[1] else b).path, GROUP)
    for store in (a, b) if withheld else ():
        withhold(store.path, RUN.path)
    rows = merge_stores(a.path, [b.path])
    assert not [row for row in rows if row["kind"] == "note"]
    found = arrays(a.path, GROUP)
    assert found[f"{GROUP}/train_index"].shape == (4, 9)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    rows = merge_stores(a.path, [b.path])
    assert [row["copied"] for row in rows if row["kind"] == "run-neighbors"] == [0]


def test_neighbors_that_only_some_samples_have_are_told(tmp_path):
    a = searched(tmp_path / "a.zarr", range(4), 2)
    b = searched(tmp_path / "b.zarr", range(4, 8), 5)
    rows = merge_stores(a.path, [b.path])
    (note,) = (row for row in rows if row["kind"] == "note")
    assert note["name"] == GROUP
    assert note["text"].startswith("2 neighbors of each sample are kept, not 5")
    assert arrays(a.path, GROUP)[f"{GROUP}/train_index"].shape == (8, 2)
