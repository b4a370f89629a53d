"""Numerical floors in the store: which are kept, which are used, and the rows they give."""

import shutil

import numpy as np
import pytest
import xarray as xr
from analyzing import damage
from generating import FINAL, arrays, study
from regenerating import SAMPLERS, again, copied, generated, of, results

from reprostore.sharing.regeneration.floor import (
    FLOOR,
    VERSION,
    current_floors,
    differences,
    floor_rows,
    keep_floor,
)
from reprostore.store import open_store
from reprostore.studies import generate_study


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return generated(tmp_path_factory.mktemp("regenerate"))


@pytest.fixture
def own(made, tmp_path):
    return copied(made, tmp_path / "own")


def test_floors_of_other_samples_and_damaged_ones_are_not_used(own):
    again(own, "3")
    store = open_store(own.store_path, mode="r+")
    runs = store.runs()
    assert {path: len(found) for path, found in current_floors(store, runs).items()} == {
        "net/final/none": 1, "net/path/none": 1
    }  # fmt: skip
    chosen = current_floors(store, runs)["net/final/none"][0]["seed"].values
    digests = runs[0].array("digest")
    values = digests[...]
    untouched = next(seed for seed in range(10) if seed not in chosen)
    values[untouched] += 1
    digests[...] = values
    assert "net/final/none" in current_floors(store, runs)
    values[chosen[0]] += 1
    digests[...] = values
    assert set(current_floors(store, runs)) == {"net/path/none"}
    for key in results(own):
        damage(own.store_path / "results" / FLOOR / key / "digest", "flip")
    assert current_floors(store, runs) == {}


def test_growing_a_run_keeps_its_floor(own):
    again(own, "3")
    generate_study(study(own.base, "0-12", SAMPLERS))
    store = open_store(own.store_path)
    assert set(current_floors(store, store.runs())) == {"net/final/none", "net/path/none"}
    # The same question of other samples is answered beside it.
    again(own)
    generate_study(study(own.base, "0-13", SAMPLERS))
    again(own)
    for floors in current_floors(store, store.runs()).values():
        assert sorted(floor.sizes["seed"] for floor in floors) == [3, 13, 14]


def test_floors_of_other_choices_are_kept_beside_each_other(own):
    floors = [of(again(own, "3", rng_seed=seed), "net/final/none") for seed in (0, 1)]
    assert set(floors[0]["seed"].values) != set(floors[1]["seed"].values)
    store = open_store(own.store_path)
    kept = current_floors(store, [store.run("net/final/none")])["net/final/none"]
    assert {tuple(floor["seed"].values) for floor in kept} == {
        tuple(floor["seed"].values) for floor in floors
    }


def test_sessions_that_computed_alike_share_a_row(own):
    longer = study(own.base, "0-9,20-24", {"final": FINAL})
    generate_study(longer)
    sessions = arrays(longer, but=())["net/final/none/session"]
    assert len(set(sessions.tolist())) == 2
    (floor,) = again(longer).floors
    (row,) = floor_rows(floor)
    assert (row["seeds"], row["differs"]) == (15, {})


def test_a_row_has_the_extremes_of_the_seeds_that_were_stored_in_its_way():
    floor = xr.Dataset(
        {
            "identical": ("seed", [True, False, True, False]),
            "state_difference": (
                ("seed", "step"), [[9.0, 0.0], [8.0, 2.0], [6.0, 5.0], [7.0, 3.0]],
            ),
            "median_difference": ("seed", [9.0, 0.2, 0.3, 1.0]),
            "grey_difference": ("seed", [99.0, 4.0, 7.0, 5.0]),
            "median_grey_difference": ("seed", [9.0, 1.0, 2.0, 6.0]),
            "similarity": (("encoder", "seed"), [[0.1, 0.9, 0.7, 0.8], [np.nan] * 4]),
            "distance": (("encoder", "seed"), [[np.nan] * 4, [9.0, 1.0, 3.0, 2.0]]),
            "stored_execution": ("seed", [0, 1, 1, 1]),
        },
        coords={"seed": [5, 1, 2, 3], "step": [0, 4], "encoder": ["cosine", "squared"]},
        attrs={"run": "a/s/none", "execution": {"batch_size": 4},
               "stored_executions": [{"batch_size": 4}, {"batch_size": 2}]},
    )  # fmt: skip
    _, row = floor_rows(floor)
    nan = pytest.approx(np.nan, nan_ok=True)
    assert row["encoders"] == {
        "cosine": {"similarity": 0.7, "distance": nan},
        "squared": {"similarity": nan, "distance": 3.0},
    }
    expected = {"seeds": 3, "identical": 1, "difference": 5.0, "median_difference": 0.3,
                "grey_difference": 7.0, "median_grey_difference": 2.0,
                "state_difference": [8.0, 5.0], "differs": {"batch_size": [2, 4]}}  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert differences(floor) == {"batch_size": [4, 2, 4]}


def test_a_floor_of_another_version_is_not_used(own):
    floor = of(again(own), "net/final/none")
    shutil.rmtree(own.store_path / "results" / FLOOR)
    store = open_store(own.store_path, mode="r+")
    floor.attrs["question"] |= {"version": VERSION + 1}
    assert keep_floor(store, floor)
    assert len(results(own)) == 1
    assert current_floors(store, store.runs()) == {}
