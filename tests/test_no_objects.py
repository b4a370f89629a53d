"""Stores and files with pickled objects in them: refused, and nothing is unpickled."""

import json
import pickle
import shutil
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr
from analyzing import add_dataset, add_run, pictures, subset
from commands import Repro
from stores import content

from reprostore.errors import ReprostoreError
from reprostore.ingest import StoredDataset
from reprostore.sharing.verify import verify_store
from reprostore.specs import DatasetSpec
from reprostore.store import create_store, open_store
from reprostore_analyses.context import Context

SHAPE = (1, 5, 5)
RUN = "runs/a/s/none"


@pytest.fixture(scope="module")
def received(tmp_path_factory):
    """A sound store, which the tests make worse."""
    folder = tmp_path_factory.mktemp("received")
    store = create_store(folder / "s.zarr")
    add_dataset(store, folder / "data", pictures(12, shape=SHAPE), held_out="8-11")
    for model, index in (("a", "0-3"), ("b", "4-7")):
        add_run(store, model, dict(enumerate(pictures(6, seed=3, shape=SHAPE))),
                trained_on=subset(index))  # fmt: skip
    return store.path


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return (Path.write_text, (Path(self.mark), "ran"))


def test_object_arrays_in_files_are_never_loaded(tmp_path, capsys):
    mark = tmp_path / "ran"
    objects = np.empty(4, dtype=object)
    objects[:] = [Payload(mark)] * 4
    np.savez(tmp_path / "evil.npz", images=objects, arr_0=objects, features=objects)
    np.save(tmp_path / "evil.npy", objects)
    store = create_store(tmp_path / "s.zarr")
    for source in ("evil.npz:images", "evil.npy"):
        with pytest.raises(ReprostoreError, match="pickled objects"):
            Context(store, base=tmp_path, datasets={"d": DatasetSpec(source=source)}).dataset("d")
    repro = Repro(capsys)
    for name in ("evil.npz", "evil.npy"):
        for command in (
            ("compare", tmp_path / name, tmp_path / name),
            ("import", tmp_path / name, "--store", store.path, "--model", "m", "--seeds", "0-3"),
        ):
            outcome = repro(*command)
            assert (outcome.code, "Traceback" in outcome.err) == (2, False), outcome.err
    assert store.run_paths() == []
    assert not mark.exists()


def _array_json(**values):
    return {
        "shape": [6], "data_type": "uint64", "zarr_format": 3, "node_type": "array",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [512]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0, "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "attributes": {}, "dimension_names": ["seed"], "storage_transformers": [], **values,
    }  # fmt: skip


@pytest.mark.parametrize(
    "values",
    [
        {"codecs": [{"name": "numcodecs.pickle", "configuration": {"protocol": 5}}]},
        {"codecs": [{"name": "pickle"}]},
        {"codecs": [{"name": "bytes"}, {"name": "evil:factory"}]},
        {"codecs": [{"name": "vlen-bytes", "configuration": {}}], "fill_value": "",
         "data_type": "variable_length_bytes"},
        {"codecs": [{"name": "vlen-utf8", "configuration": {}}], "data_type": "string",
         "fill_value": ""},
        {"data_type": "object"},
        {"data_type": {"name": "numpy.object", "configuration": {}}},
        {"storage_transformers": [{"name": "evil"}]},
    ],
)  # fmt: skip
@pytest.mark.parametrize("array", ["digest", "status"])
def test_arrays_of_objects_and_unknown_codecs_are_damage(received, tmp_path, capsys, array, values):
    place = tmp_path / "s.zarr"
    shutil.copytree(received, place)
    mark = tmp_path / "ran"
    (place / RUN / array / "zarr.json").write_text(json.dumps(_array_json(**values)))
    chunk = next(p for p in (place / RUN / array / "c").rglob("*") if p.is_file())
    chunk.write_bytes(pickle.dumps(Payload(mark)))
    store = open_store(place)
    with pytest.raises(ReprostoreError):
        store.run("a/s/none").recorded("digest")
    assert f"{RUN}/{array}" in {finding.place for finding in verify_store(store).damage}
    repro = Repro(capsys)
    before = content(place)
    for command, code in (
        (("verify", place), 3),
        (("pack", place, tmp_path / "p.zip"), 2),
        (("analyze", "reproducibility", "--store", place, "--no-figures"), 2),
        (("merge", tmp_path / "new.zarr", place), 2),
    ):
        outcome = repro(*command)
        assert (outcome.code, "Traceback" in outcome.err) == (code, False), outcome.err
    assert content(place).keys() >= before.keys()
    assert not mark.exists()
    assert not (tmp_path / "p.zip").exists()


def test_items_with_a_pickle_filter_of_zarr_version_2_are_not_read(received, tmp_path):
    """zarr itself would unpickle these: arrays of version 2 are never opened."""
    place, mark = tmp_path / "s.zarr", tmp_path / "ran"
    shutil.copytree(received, place)
    shutil.rmtree(place / "datasets" / "items" / "item")
    item = place / "datasets" / "items" / "item"
    zarr.create_array(item, shape=(2,), chunks=(2,), dtype="int64", zarr_format=2, filters=None,
                      compressors=None)  # fmt: skip
    metadata = item / ".zarray"
    document = json.loads(metadata.read_text())
    document |= {"dtype": "|O", "filters": [{"id": "pickle", "protocol": 5}], "fill_value": None}
    metadata.write_text(json.dumps(document))
    objects = np.asarray([Payload(mark), Payload(mark)], dtype=object)
    (metadata.parent / "0").write_bytes(numcodecs.Pickle().encode(objects))
    store = open_store(place)
    with pytest.raises(ReprostoreError, match="cannot be opened"):
        StoredDataset(store, "items")
    assert {f.place for f in verify_store(store).damage} >= {"datasets/items/item"}
    assert not mark.exists()
