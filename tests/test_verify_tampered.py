"""What was changed with valid checksums: seeds, probes, lengths, settings of codecs, neighbors."""

import json
import shutil

import numpy as np
import pytest
import zarr
from verifying import BYTES, RUN, SEEDS, edit, found, make_store
from zarr.storage import LocalStore

from reprostore import open_store
from reprostore.sharing.verify import verify_store

NEIGHBORS = f"neighbors/pixel/items/runs/{BYTES.path}"
ITEMS = "embeddings/pixel/datasets/items"
VECTORS = f"embeddings/pixel/runs/{BYTES.path}"


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("intact") / "store.zarr")


@pytest.fixture
def path(intact, tmp_path):
    return shutil.copytree(intact, tmp_path / "store.zarr")


def put(path, array, where, value):
    """Write with plain zarr: checksums are right."""
    opened = zarr.open_array(LocalStore(path), path=array)
    opened[where] = np.asarray(value, dtype=opened.dtype)


def result_of(path):
    (group,) = (path / "results" / "generalization").glob("*/")
    return group.relative_to(path).as_posix()


@pytest.mark.parametrize(
    ("seeds", "named"),
    [
        ([11, 10, *SEEDS[2:]], "10-11"),  # two exchanged
        ([*SEEDS[:9], 99], "99"),  # one renumbered
        (SEEDS[1:] + SEEDS[:1], "10-13,20-23,30-31"),  # all shifted by one
    ],
)
def test_seeds_that_do_not_give_the_noise(path, seeds, named):
    put(path, f"{RUN}/seed", slice(None), seeds)
    assert found(path) == [("values", f"{RUN}/noise_probe", named, None)]


def test_probes_of_other_seeds(path):
    probes = zarr.open_array(LocalStore(path), path=f"{RUN}/noise_probe")[...]
    put(path, f"{RUN}/noise_probe", slice(4, 6), probes[[5, 4]])
    assert found(path) == [("values", f"{RUN}/noise_probe", "20-21", None)]


def test_probes_that_differ_in_the_last_bits_are_those_of_the_seed(path):
    probes = zarr.open_array(LocalStore(path), path=f"{RUN}/noise_probe")[...]
    put(path, f"{RUN}/noise_probe", slice(None), probes + np.float32(0.0009))
    assert found(path) == []
    put(path, f"{RUN}/noise_probe", slice(None), probes + np.float32(0.0012))
    assert [place for _, place, _, _ in found(path)] == [f"{RUN}/noise_probe"]


def test_noise_levels_that_rise(path):
    put(path, f"{RUN}/sigma", slice(None), [1, 2, 0])
    assert found(path) == [("values", f"{RUN}/sigma", None, None)]


@pytest.mark.parametrize("settings", [{"endian": "big"}, {"endian": "none"}, {"other": 1}])
def test_settings_of_codecs_under_which_readers_see_something_else(path, settings):
    def change(document):
        inner = document["codecs"][0]["configuration"]
        inner["index_codecs"][0]["configuration"] = settings

    edit(path / RUN / "sample" / "zarr.json", change)
    assert found(path) == [("array", f"{RUN}/sample", None, None)]


def test_fewer_vectors_than_items(path):
    edit(path / ITEMS / "vector" / "zarr.json", lambda d: d["shape"].__setitem__(0, 5))
    assert found(path) == [("length", ITEMS, None, None)]


@pytest.mark.parametrize(
    ("array", "names"),
    [
        (f"{ITEMS}/vector", ["embedding", "train_index"]),
        (f"{VECTORS}/vector", ["step", "seed", "embedding"]),
        (f"{VECTORS}/source_digest", ["step", "slot"]),
        ("datasets/items/item", ["train_index", "channel", "x", "y"]),
    ],
)
def test_dimensions_of_other_names(path, array, names):
    edit(path / array / "zarr.json", lambda d: d.update(dimension_names=names))
    assert found(path)[0][1] in (array, array.rpartition("/")[0])


def test_items_that_were_written_with_another_number(path):
    edit(path / "datasets/items/item/zarr.json", lambda d: d["attributes"].update(length=7))
    assert found(path) == [("array", "datasets/items/item", None, None)]


@pytest.mark.parametrize(
    ("array", "where", "value"),
    [
        ("seed", slice(0, 2), [11, 10]),
        ("train_index", (0, 0), 6),  # there are 6 items
        ("train_index", (0, slice(None)), [1, 1]),
        ("similarity", (0, slice(None)), [-1, 1]),
        ("similarity", (0, 0), 1.5),
    ],
)
def test_neighbors_that_no_search_finds(path, array, where, value):
    put(path, f"{NEIGHBORS}/{array}", where, value)
    assert {(kind, place) for kind, place, _, _ in found(path)} == {("values", NEIGHBORS)}


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.update(threshold=0.5),
        lambda a: a["labels"]["run"].__setitem__(0, "other/sampler/none"),
        lambda a: a.update(coordinates=[]),
        lambda a: a.update(checksum="0" * 32),
    ],
)
def test_edited_attributes_of_a_result(path, change):
    group = result_of(path)
    edit(path / group / "zarr.json", lambda d: change(d["attributes"]))
    assert found(path) == [("checksum", group, None, None)]


def test_another_meaning_of_a_variable_of_a_result(path):
    group = result_of(path)
    edit(path / group / "gl" / "zarr.json", lambda d: d.update(dimension_names=["seed"]))
    assert [place for _, place, _, _ in found(path)] == [group]


def test_a_damaged_session_that_no_seed_names(path):
    number = open_store(path, mode="r+").start_session({"device": "cpu"})
    (path / "sessions" / f"{number:016x}" / "zarr.json").write_text("{")
    assert found(path) == [("session", f"sessions/{number:016x}", None, None)]


def _leaves(value, at=()):
    if isinstance(value, dict | list) and value:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(item, (*at, key))
    else:
        yield at, value


def _other(value):
    if isinstance(value, bool | int | float):
        return not value if isinstance(value, bool) else value + 1
    return f"{value}x" if isinstance(value, str) else "x"


_UNKNOWN_TO_A_STORE = ("level", "checksum", "provenance", "source", "source_digest", "session",
                       "title", "license", "creators", "created", "labels")  # fmt: skip
"""How chunks were compressed changes no number; the rest docs/cli.md names as what is not found."""


@pytest.mark.slow
def test_any_value_in_any_metadata_that_is_changed(path):
    """One after the other; what is compared with an input may be stale instead of damaged."""
    missed = []
    for file in sorted(path.rglob("zarr.json")):
        before = file.read_text()
        key = file.relative_to(path).as_posix()
        for at, value in _leaves(json.loads(before)):
            known = not any(part in _UNKNOWN_TO_A_STORE for part in at)
            if not known or (key == "zarr.json" and at[-1] == "format"):
                continue
            document = json.loads(before)
            place = document
            for part in at[:-1]:
                place = place[part]
            place[at[-1]] = _other(value)
            file.write_text(json.dumps(document))
            if not verify_store(open_store(path)).findings:
                missed.append((key, at))
        file.write_text(before)
    # Vectors may be fewer or more than the samples of a run that grows.
    assert {key.split("/")[0] for key, _ in missed} <= {"embeddings"}
    assert {at for _, at in missed} <= {("shape", 0)}
