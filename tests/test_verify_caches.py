"""Datasets by their fingerprint, and what was made from others: damaged, stale or not checkable."""

import shutil

import numpy as np
import pytest
import zarr
from stores import content
from verifying import BYTES, CUTS, SEEDS, edit, flip, found, make_store, notes
from zarr.storage import LocalStore

from reprostore import open_store
from reprostore.sharing.repair import repair_store
from reprostore.sharing.verify import verify_store
from reprostore.specs import DatasetSpec, ModelSpec, Subset
from reprostore.testing.store import fake_states, write_units
from reprostore_analyses.context import Context
from reprostore_analyses.generalization import GeneralizationOptions, generalization

VECTORS = f"embeddings/pixel/runs/{BYTES.path}"
ITEMS = "embeddings/pixel/datasets/items"
NEIGHBORS = f"neighbors/pixel/items/runs/{BYTES.path}"


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("intact") / "store.zarr")


@pytest.fixture
def path(intact, tmp_path):
    return shutil.copytree(intact, tmp_path / "store.zarr")


def result_of(path):
    (group,) = (path / "results" / "generalization").glob("*/")
    return group.relative_to(path).as_posix()


def analyze(path, intact):
    """Ask for the result again, with the source of the dataset at hand."""
    context = Context(
        open_store(path, mode="r+"),
        base=intact.parent,
        models={"bytes": ModelSpec(source="bytes", trained_on=Subset(dataset="items"))},
        datasets={"items": DatasetSpec(source="items.npy")},
    )
    return generalization(context, GeneralizationOptions(models=("bytes",), control=False))


def put(path, array, where, value):
    zarr.open_array(LocalStore(path), path=array)[where] = value


def repair(path):
    store = open_store(path, mode="r+")
    return repair_store(store, verify_store(store))


@pytest.mark.parametrize("cut", CUTS)
def test_a_damaged_dataset_names_its_items_and_is_never_deleted(path, cut):
    CUTS[cut](path / "datasets/items/item/c/0/0/0/0")
    before = content(path)
    (finding,) = repair(path)
    assert (finding.kind, finding.place) == ("checksum", "datasets/items/item")
    assert "items 0-5" in finding.what
    assert content(path) == before


def test_replaced_items_are_found_by_the_fingerprint(path):
    put(path, "datasets/items/item", (2, 0, 1, 1), np.uint8(9))
    assert found(path) == [("fingerprint", "datasets/items/item", None, None)]


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a["dataset"].update(fingerprint="0" * 32),
        lambda a: a["dataset"].update(pickle="x"),
        lambda a: a.pop("dataset"),
        lambda a: a.update(more=1),
    ],
)
def test_edited_attributes_of_a_dataset(path, change):
    edit(path / "datasets/items/zarr.json", lambda d: change(d["attributes"]))
    assert found(path)[0][0] in ("attributes", "fingerprint")
    assert found(path)[0][1].startswith("datasets/items")


DAMAGED = {
    VECTORS: ["vector/c/1/0/0", "source_digest/c/0/0", "vector/zarr.json", "zarr.json"],
    ITEMS: ["vector/c/0/0", "block_done/c/0", "block_done/zarr.json", "zarr.json"],
    NEIGHBORS: ["similarity/c/0/0", "train_index/zarr.json", "seed/c/0", "zarr.json"],
}


@pytest.mark.parametrize(("group", "file"), [(g, f) for g, files in DAMAGED.items() for f in files])
def test_damaged_caches_are_removed_and_made_again(path, intact, group, file):
    before = analyze(intact, intact)
    flip(path / group / file, 3)
    assert {place.startswith(group) for _, place, _, _ in found(path)} == {True}
    assert repair(path) == []
    assert not (path / group).exists()
    assert found(path) == []
    again = analyze(path, intact)
    assert again.identical(before)


def test_a_damaged_result_is_removed_and_made_again(path, intact):
    group = result_of(path)
    before = analyze(path, intact)
    flip(path / group / "similarity" / "c" / "0" / "0")
    (path / group / "gl" / "c" / "0").unlink()
    assert found(path) == [("checksum", group, None, None)]
    assert repair(path) == []
    assert analyze(path, intact).identical(before)
    assert found(path) == []


def test_a_vector_that_counts_as_made_and_is_absent(path):
    """zarr reads an absent chunk as NaN."""
    (path / VECTORS / "vector" / "c" / "1" / "0" / "0").unlink()
    put(path, f"{ITEMS}/vector", (3, 0), np.float32(np.nan))
    assert found(path) == [("checksum", ITEMS, None, None), ("checksum", VECTORS, None, None)]


def test_caches_that_contradict_themselves(path):
    result = result_of(path)
    edit(path / VECTORS / "zarr.json", lambda d: d["attributes"]["encoder"].update(version=9))
    edit(path / result / "zarr.json", lambda d: d["attributes"]["question"].update(version=99))
    edit(path / NEIGHBORS / "zarr.json", lambda d: d["attributes"].pop("made_from"))
    assert sorted(place for _, place, _, _ in found(path)) == sorted([VECTORS, NEIGHBORS, result])


def test_caches_of_samples_that_changed_are_stale_and_no_damage(path):
    """One seed is written anew with other bits: its vector, neighbors and result are older."""
    run = open_store(path, mode="r+").run(BYTES.path)
    put(path, f"{run.group}/status", slice(2, 3), np.zeros(1, np.uint8))

    def states(spec, seed, row):
        return fake_states(spec, seed + 1 if seed == SEEDS[2] else seed, row)

    write_units(run, int(run.recorded("session")[0]), states=states)
    assert found(path) == []
    assert sorted(notes(path)) == sorted(
        [("stale", VECTORS), ("stale", NEIGHBORS), ("stale", result_of(path))]
    )
    report = verify_store(open_store(path))
    assert any(finding.what.startswith("1 of its vectors") for finding in report.findings)


def test_vectors_that_were_never_made_are_not_stale(path):
    put(path, f"{VECTORS}/source_digest", slice(0, 2), np.uint64(0))
    assert found(path) == []
    assert ("stale", VECTORS) not in notes(path)


def test_caches_of_more_seeds_or_another_encoder_are_stale(path):
    run = open_store(path, mode="r+").run(BYTES.path)
    run.grow([40])
    write_units(run, int(run.recorded("session")[0]))
    assert sorted(notes(path)) == sorted([("stale", NEIGHBORS), ("stale", result_of(path))])
    for group in (VECTORS, ITEMS):
        edit(
            path / group / "zarr.json",
            lambda d: d["attributes"]["made_from"].update(encoder="1" * 32),
        )
    places = [place for kind, place, _, _ in found(path) if kind == "attributes"]
    assert places == [ITEMS, VECTORS]


def test_what_is_not_in_the_store_cannot_be_checked(path):
    shutil.rmtree(path / "datasets" / "items")
    assert found(path) == []
    assert {("unchecked", ITEMS), ("unchecked", NEIGHBORS)} <= set(notes(path))
    flip(path / ITEMS / "vector" / "c" / "0" / "0", 3)
    (left,) = repair(path)  # these vectors could not be made again
    assert left.place == ITEMS
    assert (path / ITEMS).exists()


def test_vectors_of_withheld_samples_are_compared_and_never_removed(path):
    run = path / f"runs/{BYTES.path}"
    shutil.rmtree(run / "sample")
    edit(run / "zarr.json", lambda d: d["attributes"].update(withheld=True))
    report = verify_store(open_store(path))
    assert report.damage == []
    assert report.seeds == 10  # only those of the other run
    flip(path / VECTORS / "vector" / "c" / "1" / "0" / "0", 3)
    (left,) = repair(path)
    assert left.place == VECTORS
    assert (path / VECTORS).exists()


@pytest.mark.parametrize(
    "part", [f"{VECTORS}/vector", f"{VECTORS}/source_digest/c", f"{ITEMS}/vector/c/0",
             f"{ITEMS}/block_done", f"{NEIGHBORS}/similarity", f"{NEIGHBORS}/similarity/c"]
)  # fmt: skip
def test_a_cache_of_which_a_part_is_only_away_is_kept(path, part):
    before = content(path)
    away = path.parent / "away"
    (path / part).rename(away)
    (path / part).symlink_to(away.with_name("nowhere"))
    report = verify_store(open_store(path))
    assert any(part in finding.place for finding in report.damage)
    assert {finding.mending for finding in report.damage} == {None}
    assert repair_store(open_store(path, mode="r+"), report) != []
    (path / part).unlink()
    away.rename(path / part)
    assert content(path) == before


@pytest.mark.parametrize("group", ["runs", f"runs/{BYTES.path.split('/')[0]}", "embeddings/pixel"])
def test_metadata_that_are_only_away_are_not_written_anew(path, group):
    file = path / group / "zarr.json"
    file.rename(path.parent / "away")
    file.symlink_to("nowhere")
    assert found(path) == [("group", group, None, None)]
    repair_store(open_store(path, mode="r+"), verify_store(open_store(path)))
    assert file.is_symlink()
