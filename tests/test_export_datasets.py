"""Items of datasets as files, the reference that other tools compare samples with."""

import json

import numpy as np
import pytest
from exporting import export
from PIL import Image

from reprostore.embed import EncoderHandle, embed_dataset
from reprostore.errors import MissingDataError, SpecError
from reprostore.ingest import StoredDataset, ingest
from reprostore.sharing.exporting.datasets import named_items
from reprostore.specs import DatasetSpec, EncoderSpec, Subset
from reprostore.store import create_store


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A store with real digits, and these read with scikit-learn alone."""
    from sklearn.datasets import load_digits

    store = create_store(tmp_path_factory.mktemp("digits") / "d.zarr")
    dataset = ingest(store, "digits", DatasetSpec(source="sklearn:digits"), store.path.parent)
    return store, dataset, load_digits().images / 16  # in [0, 1]


def test_items_of_a_dataset_are_exported_by_their_numbers(tmp_path, digits):
    store, dataset, images = digits
    wanted = np.rint(images[[2, 5, 6]] * 255).astype(np.uint8)
    request = {"runs": (), "datasets": [Subset(dataset="digits", index="5-6,2")]}
    (row,) = export(store, tmp_path, "png", **request)
    assert row["kind"] == "dataset"
    assert row["path"] == str(tmp_path / "datasets" / "digits@5-6+2")
    files = sorted((tmp_path / "datasets" / "digits@5-6+2").iterdir())
    assert [f.name for f in files] == ["000002.png", "000005.png", "000006.png"]
    assert np.array_equal([np.asarray(Image.open(f)) for f in files], wanted)
    (row,) = export(store, tmp_path, "npz", **request)
    with np.load(row["path"]) as arrays:
        assert arrays.files == ["arr_0", "train_index"]
        assert arrays["train_index"].tolist() == [2, 5, 6]
        assert np.array_equal(arrays["arr_0"], wanted[..., None])
    record = json.loads((tmp_path / "datasets" / "digits@5-6+2.json").read_text())
    assert record["fingerprint"] == dataset.fingerprint
    assert record["index"] == "5-6,2"


def test_vectors_of_a_dataset(tmp_path, digits):
    store, dataset, _ = digits
    request = {"runs": (), "datasets": [Subset(dataset="digits", index="3,1700-1705")]}
    with pytest.raises(MissingDataError, match="no vectors of the encoder 'pixel'"):
        export(store, tmp_path, "vectors", encoder="pixel", **request)
    vectors = embed_dataset(store, EncoderHandle("pixel", EncoderSpec(kind="pixel")), dataset)
    (row,) = export(store, tmp_path, "vectors", encoder="pixel", **request)
    with np.load(row["path"]) as arrays:
        assert arrays["train_index"].tolist() == [3, *range(1700, 1706)]
        assert np.array_equal(arrays["features"][0], vectors[3:4][0])
        assert np.array_equal(arrays["features"][1:], vectors[1700:1706])


def test_vectors_of_another_dataset_are_told_to_be_made(tmp_path):
    store = create_store(tmp_path / "d.zarr")
    for name in ("one", "two"):
        np.save(tmp_path / f"{name}.npy", np.zeros((3, 6, 6), np.uint8))
        ingest(store, name, DatasetSpec(source=f"{name}.npy"), tmp_path)
    encoder = EncoderHandle("pixel", EncoderSpec(kind="pixel"))
    embed_dataset(store, encoder, StoredDataset(store, "one"))
    request = {"runs": (), "datasets": [Subset(dataset="two")]}
    with pytest.raises(MissingDataError, match=r"items of the dataset 'two'\. .* Make them with"):
        export(store, tmp_path / "out", "vectors", encoder="pixel", **request)


def test_names_of_items():
    assert named_items("digits") == Subset(dataset="digits")
    assert named_items("digits@0-3+9") == Subset(dataset="digits", index="0-3,9")
    assert named_items("a@home@7") == Subset(dataset="a@home", index="7")
    assert named_items("a@home") == Subset(dataset="a@home")
    for wrong in ("", "@3", "a b", "digits@9-3"):
        with pytest.raises(SpecError):
            named_items(wrong)
