"""Stores that agree, merged: every seed of every source is there, bit for bit."""

import numpy as np
import pytest
from merging import arrays, by_seed, laboratory, open_tree, pack, run_of, small_units
from stores import add, content

from reprostore.errors import CorruptionError, MissingDataError, SpecError
from reprostore.sharing.merge import merge_stores
from reprostore.store import create_store, open_store
from reprostore.testing.store import run_spec, write_units


@pytest.fixture(autouse=True)
def _small_units(monkeypatch):
    small_units(monkeypatch)


def rows_of(rows, kind):
    return [row for row in rows if row["kind"] == kind]


def test_different_models_come_together(tmp_path):
    a = laboratory(tmp_path / "a.zarr", [(run_of("unet-a"), range(6))])
    b = laboratory(
        tmp_path / "b.zarr",
        [(run_of("unet-b", weights="1" * 64), range(3, 9)), (run_spec("seen", dtype="uint8",
          steps=(5,), weights="2" * 64), [7, 1])],
    )  # fmt: skip
    before = content(a.path), content(b.path)
    rows = merge_stores(tmp_path / "c.zarr", [a.path, b.path])
    assert [(row["name"], row["copied"], row["equal"]) for row in rows_of(rows, "run")] == [
        ("unet-a/sampler/none", 6, 0),
        ("seen/sampler/none", 2, 0),
        ("unet-b/sampler/none", 6, 0),
    ]
    merged = tmp_path / "c.zarr"
    assert by_seed(merged, "unet-a/sampler/none") == by_seed(a.path, "unet-a/sampler/none")
    assert by_seed(merged, "unet-b/sampler/none") == by_seed(b.path, "unet-b/sampler/none")
    assert by_seed(merged, "seen/sampler/none") == by_seed(b.path, "seen/sampler/none")
    assert (content(a.path), content(b.path)) == before
    for source in (a, b):
        for path in source.run_paths():
            ours, theirs = open_store(merged).run(path), source.run(path)
            assert ours.spec == theirs.spec
            number = int(theirs.recorded("session")[0])
            assert open_store(merged).session(number) == source.session(number)
    tree, expected = open_tree(merged), open_tree(a.path)
    assert tree["unet-a/sampler/none"].equals(expected["unet-a/sampler/none"])


def test_the_bytes_of_a_run_that_is_copied_whole_are_those_of_its_source(tmp_path):
    a = laboratory(tmp_path / "a.zarr", [(run_of(), range(9))])
    merge_stores(tmp_path / "c.zarr", [a.path])
    ours, theirs = (content(path / "runs") for path in (tmp_path / "c.zarr", a.path))
    assert {k: v[0] for k, v in ours.items()} == {k: v[0] for k, v in theirs.items()}


@pytest.mark.parametrize("first", [[0, 1, 2], [5, 4, 3, 2, 1, 0], list(range(40, 30, -1))])
@pytest.mark.parametrize("second", [[3, 4, 5, 6, 7], [9, 2, 0, 8, 4], [5]])
def test_seeds_of_one_run_are_united(tmp_path, first, second):
    spec = run_of()
    a = laboratory(tmp_path / "a.zarr", [(spec, first)])
    b = laboratory(tmp_path / "b.zarr", [(spec, second)], device="cuda")
    was = by_seed(a.path, spec.path)
    (row,) = rows_of(merge_stores(a.path, [b.path]), "run")
    new = [seed for seed in second if seed not in first]
    assert (row["copied"], row["equal"]) == (len(new), len(second) - len(new))
    assert row["bytes"] == len(new) * 3 * 2 * 16  # steps, sample and denoised, 4 pixels of 4 bytes
    theirs = by_seed(b.path, spec.path)
    assert by_seed(a.path, spec.path) == was | {seed: theirs[seed] for seed in new}
    assert open_store(a.path).run(spec.path).seeds.tolist() == [*first, *new]
    assert open_tree(a.path)[spec.path]["seed"].values.tolist() == [*first, *new]


def test_both_orders_give_the_same_seeds(tmp_path):
    spec, other = run_of(), run_of("other", weights="1" * 64)
    a = laboratory(tmp_path / "a.zarr", [(spec, [0, 5, 2]), (other, [1])])
    b = laboratory(tmp_path / "b.zarr", [(spec, [7, 3]), (other, [4, 9])])
    merge_stores(tmp_path / "ab.zarr", [a.path, b.path])
    merge_stores(tmp_path / "ba.zarr", [b.path, a.path])
    for path in (spec.path, other.path):
        assert by_seed(tmp_path / "ab.zarr", path) == by_seed(tmp_path / "ba.zarr", path)
    assert open_store(tmp_path / "ba.zarr").run(spec.path).seeds.tolist() == [7, 3, 0, 5, 2]


def test_merging_again_changes_nothing(tmp_path):
    a = laboratory(tmp_path / "a.zarr", [(run_of(), range(5))])
    b = laboratory(tmp_path / "b.zarr", [(run_of(), range(3, 11))])
    merge_stores(a.path, [b.path])
    before = content(a.path)
    (row,) = rows_of(merge_stores(a.path, [b.path]), "run")
    assert (row["copied"], row["equal"]) == (0, 8)
    assert content(a.path) == before


def test_other_batch_sizes_keep_the_layout_of_the_first_store(tmp_path):
    ours, theirs = run_of(batch_size=2), run_of(batch_size=3, sample_shape=(1, 2, 2))
    assert ours.fingerprint == theirs.fingerprint
    a = laboratory(tmp_path / "a.zarr", [(ours, [4, 0, 3])])
    b = laboratory(tmp_path / "b.zarr", [(theirs, range(8))])
    assert a.run(ours.path).unit_length != b.run(ours.path).unit_length
    merge_stores(a.path, [b.path])
    run = open_store(a.path).run(ours.path)
    assert run.spec.batch_size == 2
    assert run.unit_length == 4
    assert run.seeds.tolist() == [4, 0, 3, 1, 2, 5, 6, 7]
    theirs_by_seed, found = by_seed(b.path, ours.path), by_seed(a.path, ours.path)
    for seed in range(8):
        for name in ("sample", "denoised", "digest", "noise_probe"):
            assert found[seed][name] == theirs_by_seed[seed][name]


def test_seeds_that_are_missing_are_filled_in_their_slots_and_others_left_missing(tmp_path):
    spec = run_of()
    store = create_store(tmp_path / "a.zarr")
    run = add(store, spec, range(11))
    write_units(run, store.start_session({}), run.units()[:1])
    b = laboratory(tmp_path / "b.zarr", [(spec, [9, 5, 20])])
    merge_stores(store.path, [b.path])
    run = open_store(store.path, mode="r+").run(spec.path)
    assert run.seeds.tolist() == [*range(11), 20]
    assert run.status.tolist() == [1, 1, 1, 1, 0, 1, 0, 0, 0, 1, 0, 1]
    # What is left is generated beside what came, which stays as it is.
    came = by_seed(store.path, spec.path)
    write_units(run, store.start_session({}))
    whole = by_seed(store.path, spec.path)
    assert {seed: whole[seed] for seed in came} == came
    assert sorted(whole) == [*range(11), 20]


def test_what_fills_missing_slots_is_all_that_the_source_has_of_the_seeds(tmp_path):
    spec = run_of()
    store = create_store(tmp_path / "a.zarr")
    write_units(run := add(store, spec, range(11)), store.start_session({}), run.units()[:1])
    b = laboratory(tmp_path / "b.zarr", [(spec, [9, 5, 20])])
    merge_stores(store.path, [b.path])
    found, theirs = by_seed(store.path, spec.path), by_seed(b.path, spec.path)
    assert {seed: found[seed] for seed in theirs} == theirs  # digests and noise probes too


def test_samples_that_a_source_was_to_have_and_has_not_do_not_count(tmp_path):
    a = laboratory(tmp_path / "a.zarr", [(run_of(), range(4))])
    b = create_store(tmp_path / "b.zarr")
    add(b, run_of("begun", weights="1" * 64), range(4))
    rows = merge_stores(a.path, [b.path])
    assert open_store(a.path).run_paths() == [run_of().path]
    assert "no written sample" in rows_of(rows, "note")[-1]["text"]


@pytest.mark.parametrize("which", ["a", "b", "both"])
def test_sources_may_be_packed(tmp_path, which):
    a = laboratory(tmp_path / "a.zarr", [(run_of(), range(6))])
    b = laboratory(tmp_path / "b.zarr", [(run_of(), range(4, 9))])
    paths = [pack(s.path) if which in (s.path.stem, "both") else s.path for s in (a, b)]
    merge_stores(tmp_path / "c.zarr", paths)
    merge_stores(tmp_path / "d.zarr", [a.path, b.path])
    ours, theirs = (arrays(tmp_path / name) for name in ("c.zarr", "d.zarr"))
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name])


def test_a_packed_store_is_not_added_to(tmp_path):
    a = laboratory(tmp_path / "a.zarr", [(run_of(), range(6))])
    b = laboratory(tmp_path / "b.zarr", [(run_of(), range(9))])
    packed = pack(a.path)
    before = packed.read_bytes()
    with pytest.raises(Exception, match="read") as error:
        merge_stores(packed, [b.path])
    assert hasattr(error.value, "parts")
    assert packed.read_bytes() == before


def test_chosen_runs_and_new_names(tmp_path):
    a = laboratory(tmp_path / "a.zarr", [(run_of("unet"), range(4))])
    b = laboratory(
        tmp_path / "b.zarr",
        [(run_of("unet", weights="1" * 64), range(3)), (run_of("vit", weights="3" * 64), [0])],
    )
    rows = merge_stores(a.path, [b.path], runs=["unet/*"], rename={"b:unet": "unet-b"})
    assert open_store(a.path).run_paths() == ["unet-b/sampler/none", "unet/sampler/none"]
    (row,) = rows_of(rows, "run")
    assert (row["name"], row["from"]) == ("unet-b/sampler/none", "unet/sampler/none")
    run = open_store(a.path).run("unet-b/sampler/none")
    assert run.spec.model == "unet-b"
    assert run.spec.fingerprint == b.run("unet/sampler/none").spec.fingerprint
    assert by_seed(a.path, run.path) == by_seed(b.path, "unet/sampler/none")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"runs": ["nothing/*"]}, MissingDataError, "has a run nothing"),
        ({"rename": {"nothing": "new"}}, MissingDataError, "there is none"),
        ({"rename": {"unet": "new"}}, SpecError, "Say of which store, as b:unet=new"),
        ({"rename": {"b:unet": "../new"}}, SpecError, "no valid name"),
        ({"tolerance": float("nan")}, SpecError, "tolerance is nan"),
        ({"tolerance": -1.0}, SpecError, "tolerance is -1"),
    ],
)
def test_options_that_mean_nothing(tmp_path, options, error, message):
    a = laboratory(tmp_path / "a.zarr", [(run_of(), range(4))])
    b = laboratory(tmp_path / "b.zarr", [(run_of(), range(4))])
    with pytest.raises(error, match=message):
        merge_stores(tmp_path / "c.zarr", [a.path, b.path], **options)
    assert not (tmp_path / "c.zarr").exists()


def test_a_store_is_not_merged_with_itself(tmp_path):
    a = laboratory(tmp_path / "a.zarr", [(run_of(), range(4))])
    (tmp_path / "link.zarr").symlink_to(a.path)
    for sources in ([a.path], [tmp_path / "link.zarr"], []):
        with pytest.raises(SpecError):
            merge_stores(a.path, sources)


def test_a_dry_run_writes_nothing_and_says_what_would_be(tmp_path):
    a = laboratory(tmp_path / "a.zarr", [(run_of(), range(4))])
    b = laboratory(tmp_path / "b.zarr", [(run_of(), range(2, 9))])
    before = content(tmp_path)
    planned = merge_stores(a.path, [b.path], dry_run=True)
    merge_stores(tmp_path / "c.zarr", [a.path, b.path], dry_run=True)
    assert content(tmp_path) == before
    assert merge_stores(a.path, [b.path]) == planned


def test_a_damaged_source_is_an_error_and_finished_units_stay(tmp_path):
    spec = run_of()
    b = laboratory(tmp_path / "b.zarr", [(spec, range(12))])
    shard = next((b.path / "runs" / spec.path / "sample" / "c" / "1").rglob("0"))
    while shard.is_dir():
        shard = next(shard.iterdir())
    damaged = bytearray(whole := shard.read_bytes())
    damaged[20] ^= 1
    shard.write_bytes(damaged)
    a = create_store(tmp_path / "a.zarr")
    with pytest.raises(CorruptionError, match="seeds 4"):
        merge_stores(a.path, [b.path])
    run = open_store(a.path).run(spec.path)
    assert run.status.tolist() == [1] * 4 + [0] * 8
    open_tree(a.path)
    shard.write_bytes(whole)
    merge_stores(a.path, [b.path])
    assert by_seed(a.path, spec.path) == by_seed(b.path, spec.path)


def test_a_state_that_is_not_the_one_of_its_digest_is_an_error(tmp_path):
    spec = run_of()
    b = laboratory(tmp_path / "b.zarr", [(spec, range(3))])
    run = open_store(b.path, mode="r+").run(spec.path)
    values = run.array("denoised")[...]
    values[1, 1] += 1
    run.array("denoised")[...] = values  # with a checksum of its own
    a = create_store(tmp_path / "a.zarr")
    with pytest.raises(CorruptionError, match="of the seeds 1, do not have the digests"):
        merge_stores(a.path, [b.path])
    assert open_store(a.path).run(spec.path).status.tolist() == [0, 0, 0]
