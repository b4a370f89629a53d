"""Sound parts of a store in each other's place, and attributes that were edited, are refused."""

import json
import shutil

import numpy as np
import pytest
from analyzing import add_dataset, add_run, cosine, pictures, subset
from merging import pixel
from packing import pack
from verifying import edit, found, notes

from reprostore.contents import store_contents
from reprostore.embed import EncoderHandle, embed_dataset, embed_run, stored_encoder
from reprostore.errors import CorruptionError, MissingDataError
from reprostore.ingest import StoredDataset, ingest
from reprostore.neighbors import run_neighbors
from reprostore.sharing.merge import merge_stores
from reprostore.sharing.unpack import unpack
from reprostore.specs import DatasetSpec
from reprostore.store import create_store, open_store
from reprostore.store.checked import CheckedArray
from reprostore.testing.store import run_spec, step_table, write_units
from reprostore_analyses.context import Context
from reprostore_analyses.generalization import GeneralizationOptions, generalization

ITEMS = pictures(8, seed=1)
OF = dict(enumerate(pictures(4, seed=2)))


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """Make a store of two runs and two datasets, with vectors of two encoders and neighbors."""
    folder = tmp_path_factory.mktemp("intact")
    store = create_store(folder / "s.zarr")
    items, _ = add_dataset(store, folder, ITEMS, held_out="6-7")
    np.save(folder / "other.npy", pictures(8, seed=3))
    ingest(store, "other", DatasetSpec(source="other.npy"), folder)
    for number, model in enumerate("ab"):
        run = add_run(store, model, dict(enumerate(pictures(4, seed=2 + number))),
                      trained_on=subset("0-5"))  # fmt: skip
        for encoder in (pixel("one"), pixel("two", resize=2)):
            embed_run(store, encoder, run)
            embed_dataset(store, encoder, items)
    run_neighbors(store, pixel("one"), store.run("a/s/none"), items)
    assert found(store.path) == []
    assert notes(store.path) == []
    return store.path


@pytest.fixture
def path(intact, tmp_path):
    return shutil.copytree(intact, tmp_path / "s.zarr")


def exchange(one, two):
    between = one.with_name("between")
    one.rename(between)
    two.rename(one)
    between.rename(two)


def test_a_run_in_the_folder_of_another(path):
    exchange(path / "runs/a", path / "runs/b")
    store = open_store(path)
    for read in (lambda: store.run("a/s/none").spec, lambda: store_contents(store)):
        with pytest.raises(CorruptionError, match="folder runs/a/s/none holds the run b/s/none"):
            read()
    assert {place for _, place, _, _ in found(path)} == {"runs/a/s/none", "runs/b/s/none"}


def test_a_dataset_in_the_folder_of_another(path):
    exchange(path / "datasets/items", path / "datasets/other")
    with pytest.raises(CorruptionError, match="those of the dataset other"):
        StoredDataset(open_store(path), "items")
    assert [place for _, place, _, _ in found(path)] == ["datasets/items", "datasets/other"]


def test_one_bit_of_the_attributes_of_a_dataset(path):
    file = path / "datasets/items/zarr.json"
    data = bytearray(file.read_bytes())
    data[data.find(b'"6-7"') + 1] ^= 2  # "6-7" becomes "4-7"
    file.write_bytes(data)
    assert json.loads(data)["attributes"]["dataset"]["held_out"] == "4-7"
    with pytest.raises(CorruptionError, match="checksum"):
        StoredDataset(open_store(path), "items")
    assert found(path) == [("attributes", "datasets/items", None, None)]


def test_a_dataset_without_a_checksum_is_read_and_told(path):
    def older(document):
        document["attributes"].pop("checksum")
        document["attributes"].pop("name")

    edit(path / "datasets/items/zarr.json", older)
    assert StoredDataset(open_store(path), "items").spec.held_out == "6-7"
    assert found(path) == []
    assert notes(path) == [("unchecked", "datasets/items")]
    edit(path / "datasets/other/zarr.json", lambda d: d["attributes"].pop("checksum"))
    with pytest.raises(CorruptionError, match="checksum"):
        StoredDataset(open_store(path), "other")


def test_what_writes_a_dataset_or_vectors_elsewhere_names_them_anew(path, tmp_path):
    renames = {"rename_datasets": {"items": "digits"}, "rename_encoders": {"one": "first"}}
    merge_stores(tmp_path / "m.zarr", [path], **renames)
    pack(open_store(path), tmp_path / "p.zip")
    unpack(tmp_path / "p.zip", tmp_path / "out")
    merged, given = tmp_path / "m.zarr", tmp_path / "out" / "p.zarr"
    for place in (merged, given):
        assert found(place) == []
        assert notes(place) == []
    assert StoredDataset(open_store(merged), "digits").spec.held_out == "6-7"
    assert StoredDataset(open_store(given), "items").withheld
    edit(given / "datasets/items/zarr.json", lambda d: d["attributes"]["items"]["shape"].append(1))
    with pytest.raises(CorruptionError, match="checksum"):
        StoredDataset(open_store(given), "items")


def test_vectors_in_the_folder_of_another_encoder(path, intact):
    exchange(path / "embeddings/one", path / "embeddings/two")
    store = open_store(path, mode="r+")
    with pytest.raises(CorruptionError, match="holds vectors of the encoder 'two'"):
        stored_encoder(store, "one")
    told = {place for kind, place, _, _ in found(path) if kind == "attributes"}
    assert len(told) == 6
    vectors = embed_run(store, pixel("one"), store.run("a/s/none"))  # a study defines it
    expected = embed_run(open_store(intact), pixel("one"), open_store(intact).run("a/s/none"))
    slots = np.arange(4)
    np.testing.assert_array_equal(vectors.read(slots), expected.read(slots))


def test_vectors_that_do_not_name_their_encoder_are_read_and_told(path):
    group = "embeddings/one/runs/a/s/none"
    edit(path / group / "zarr.json", lambda d: d["attributes"].pop("name"))
    assert stored_encoder(open_store(path), "one") is not None
    assert found(path) == []
    assert notes(path) == [("unchecked", group)]


@pytest.mark.parametrize("steps", [(3,), (0, 3)])
def test_states_of_another_seed_name_run_and_seeds(tmp_path, steps):
    spec = run_spec("m", steps=steps, sample_shape=(1, 4, 4))
    store = create_store(tmp_path / "s.zarr")
    run = store.add_run(spec, step_table(spec), range(6))
    write_units(run, 1)
    values = run.array("sample")[...]
    values[[1, 4]] = values[[4, 1]]
    run.array("sample")[...] = values  # every chunk agrees with its checksum
    states = CheckedArray(store.run(spec.path), "sample")
    with pytest.raises(
        CorruptionError, match=r"m/sampler/none is damaged at the seeds 1, steps .*digest"
    ):
        states[0:2]
    np.testing.assert_array_equal(states[2:4], values[2:4])
    if len(steps) == 1:
        with pytest.raises(CorruptionError, match="digests"):
            store.final_samples()["sample"].values  # noqa: B018
    else:  # one state alone says nothing of the digest
        np.testing.assert_array_equal(states[:, -1], values[:, -1])


def test_a_seed_that_is_in_a_run_twice(path):
    run = open_store(path, mode="r+").run("a/s/none")
    seeds = run.seeds
    seeds[1] = seeds[0]
    run.array("seed")[...] = seeds
    with pytest.raises(CorruptionError, match=r"The seeds 0 of the run a/s/none are in it more"):
        open_store(path).run("a/s/none").written()


def reverse(document):
    """Edit the labels of a result, and take away what would tell."""
    document["attributes"].pop("checksum")
    labels = document["attributes"]["labels"]
    document["attributes"]["labels"] = {name: texts[::-1] for name, texts in labels.items()}


def test_a_result_without_a_checksum_is_made_again(path):
    def ask():
        return generalization(Context(open_store(path, mode="r+")), GeneralizationOptions())

    truth = ask()
    assert truth["run"].values.tolist() == ["a/s/none", "b/s/none"]
    (group,) = (path / "results/generalization").glob("*/")
    edit(group / "zarr.json", reverse)
    assert ("stale", group.relative_to(path).as_posix()) in notes(path)
    assert ask().identical(truth)
    assert "checksum" in json.loads((group / "zarr.json").read_text())["attributes"]


def test_neighbors_without_a_checksum_are_searched_again_or_refused(path, tmp_path):
    group = "neighbors/one/items/runs/a/s/none"
    edit(path / group / "zarr.json", lambda d: d["attributes"].pop("checksum"))
    store = open_store(path, mode="r+")
    pack(store, tmp_path / "v.zip", content="vectors", encoders=["one"], allow_pixel=True)
    again = run_neighbors(store, pixel("one"), store.run("a/s/none"), StoredDataset(store, "items"))
    best = [max(range(8), key=lambda row: cosine(image, ITEMS[row])) for image in OF.values()]
    assert again["train_index"].values[:, 0].tolist() == best
    assert notes(path) == []
    unpack(tmp_path / "v.zip", tmp_path / "out")
    given = open_store(tmp_path / "out" / "v.zarr")
    shutil.rmtree(given.path / "embeddings/one/runs/a")
    named = EncoderHandle("one", None, recorded=pixel("one").identity)
    with pytest.raises(MissingDataError, match=r"cannot be used, nor searched again"):
        run_neighbors(given, named, given.run("a/s/none"), StoredDataset(given, "items"))
