"""Results in the store come back as they were, open in xarray unaided, and damage is noticed."""

import shutil

import numpy as np
import pytest
import xarray as xr
from analyzing import damage, open_tree

from reprostore.errors import CorruptionError, SpecError
from reprostore.store import create_store
from reprostore.store.labelled import read_attributes, read_cached, read_labelled, write_labelled


@pytest.fixture
def store(tmp_path):
    return create_store(tmp_path / "s.zarr")


def result(seed=0):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((2, 3))
    values[0, 1] = np.nan
    return xr.Dataset(
        {
            "score": (("run", "seed"), values),
            "count": ("run", np.asarray([0, 5])),
            "index": (("run", "seed"), np.zeros((2, 3), dtype=np.int64)),
            "order": ("run", np.asarray([1, 0], dtype=np.uint8)),
            "single": ((), np.float64(0.25)),
            "nothing": ("empty", np.zeros(0)),
        },
        coords={"run": ["b/ä", "a"], "seed": [3, 1, 2], "sigma": ("seed", [0.0, np.inf, 1.0])},
        attrs={"made_from": {"a": [1, None]}, "encoder": "pixel", "q": 0.01},
    )


def test_a_result_comes_back_as_it_was(store):
    write_labelled(store.path, "results/x/1", result())
    found = read_labelled(store.path, "results/x/1")
    xr.testing.assert_identical(found, result())
    assert list(found["run"].values) == ["b/ä", "a"]


def test_xarray_opens_it_unaided_with_labels_among_the_attributes(store):
    write_labelled(store.path, "results/x/1", result())
    group = open_tree(store)["results/x/1"]
    np.testing.assert_array_equal(group["score"].values, result()["score"].values)
    np.testing.assert_array_equal(group["index"].values, 0)
    np.testing.assert_array_equal(group["run"].values, [0, 1])
    assert group.attrs["labels"] == {"run": ["b/ä", "a"]}
    assert group.attrs["coordinates"] == ["run", "seed", "sigma"]


def test_attributes_without_a_json_form_become_text(store):
    made = result().assign_attrs(worst=float("nan"), most=float("inf"), values=np.arange(2))
    write_labelled(store.path, "results/x/1", made)
    attributes = read_attributes(store.path, "results/x/1")
    assert attributes["worst"] == "nan"
    assert attributes["most"] == "inf"
    assert attributes["values"] == [0, 1]


def test_writing_replaces_what_was_there(store):
    write_labelled(store.path, "results/x/1", result())
    smaller = result(1)[["count"]].isel(run=[1])
    write_labelled(store.path, "results/x/1", smaller)
    xr.testing.assert_identical(read_labelled(store.path, "results/x/1"), smaller)


def test_text_that_is_no_coordinate_of_one_dimension_is_refused(store):
    for values in (np.asarray([["a", "b"]]), np.asarray([[1, "b"]], dtype=object)):
        with pytest.raises(SpecError, match="text only as coordinates of one dimension"):
            write_labelled(store.path, "results/x/1", xr.Dataset({"t": (("a", "b"), values)}))
    assert read_attributes(store.path, "results/x/1") is None


@pytest.mark.parametrize("kind", ["flip", "cut", "delete", "empty"])
@pytest.mark.parametrize("name", ["score", "index", "single", "seed"])
def test_damage_is_an_error_and_no_cache(store, kind, name):
    write_labelled(store.path, "results/x/1", result())
    cached = ("made_from", {"a": [1, None]})
    assert read_cached(store.path, "results/x/1", *cached) is not None
    damage(store.path / "results/x/1" / name, kind)
    with pytest.raises(CorruptionError, match=name):
        read_labelled(store.path, "results/x/1")
    assert read_cached(store.path, "results/x/1", *cached) is None


def test_a_cache_is_used_only_while_it_is_made_from_the_same(store):
    assert read_cached(store.path, "results/x/1", "made_from", {}) is None
    with pytest.raises(CorruptionError, match="does not exist"):
        read_labelled(store.path, "results/x/1")
    write_labelled(store.path, "results/x/1", result())
    assert read_cached(store.path, "results/x/1", "made_from", {"a": [1, 0]}) is None
    (store.path / "results/x/1/zarr.json").write_text("{")
    with pytest.raises(CorruptionError, match=r"results/x/1 cannot be read.*made again"):
        read_attributes(store.path, "results/x/1")
    assert read_cached(store.path, "results/x/1", "made_from", {"a": [1, None]}) is None


@pytest.mark.parametrize("how", ["no metadata", "garbage", "folder gone"])
def test_a_group_without_one_of_its_variables_is_no_result(tmp_path, how):
    store = create_store(tmp_path / "a.zarr")
    result = xr.Dataset({"rp": ("pair", [0.5, 1.0])}, coords={"pair": ["a", "b"]})
    result.attrs["made_from"] = "x"
    write_labelled(store.path, "results/r/k", result)
    assert read_cached(store.path, "results/r/k", "made_from", "x") is not None
    for name in ("rp", "pair"):
        shutil.copytree(store.path / "results/r/k", store.path / f"results/r/{name}")
        folder = store.path / f"results/r/{name}" / name
        if how == "no metadata":
            (folder / "zarr.json").unlink()
        elif how == "garbage":
            (folder / "zarr.json").write_bytes(b"\xff{")
        else:
            shutil.rmtree(folder)
        assert read_cached(store.path, f"results/r/{name}", "made_from", "x") is None
