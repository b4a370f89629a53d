"""Merging what only has a name: imported encoders and models, and items that are not there."""

import numpy as np
import pytest
from merging import (
    add_dataset,
    laboratory,
    pixel,
    run_of,
    shifted,
    small_units,
    trained,
    vectors,
    withhold_items,
)
from stores import add

from reprostore.embed import embed_dataset
from reprostore.embed.handle import stored_encoder
from reprostore.errors import ConflictError, CorruptionError, MissingDataError
from reprostore.importing import ImportRequest, import_samples
from reprostore.ingest import StoredDataset
from reprostore.sharing.merge import merge_stores
from reprostore.specs import ModelSpec
from reprostore.store import create_store, open_store
from reprostore.testing.store import write_units


@pytest.fixture(autouse=True)
def _small_units(monkeypatch):
    small_units(monkeypatch)


def vectors_of(tmp_path, name, base, **values):
    """Import vectors of eight samples as a model of the store's name."""
    np.savez(tmp_path / f"{name}.npz", features=base.astype(np.float32))
    store = create_store(tmp_path / f"{name}.zarr")
    request = {"model": name, "sampler": "ddim", "encoder": "sscd", "sample_shape": (3, 4, 4)}
    request |= {"source": tmp_path / f"{name}.npz", "seeds": "0-7", **values}
    import_samples(store, ImportRequest(**request))
    return store


def test_imported_vectors_of_two_stores_are_not_taken_for_those_of_one_encoder(tmp_path):
    base = np.random.default_rng(0).standard_normal((8, 16))
    a = vectors_of(tmp_path, "a", base)
    b = vectors_of(tmp_path, "b", base[:, ::-1])  # the same samples in another space
    for repeat in range(2):
        if repeat:
            merge_stores(a.path, [b.path], rename_encoders={"b:sscd": "sscd"})
        else:
            with pytest.raises(ConflictError, match="cannot be seen") as error:
                merge_stores(a.path, [b.path])
            assert "--rename-encoder b:sscd=sscd" in error.value.conflicts[0]["action"]
            assert open_store(a.path).run_paths() == ["a/ddim/none"]
    merge_stores(a.path, [b.path])  # it was said, and a repetition does nothing
    store = open_store(a.path)
    held = vectors(store, store.run("b/ddim/none"), stored_encoder(store, "sscd"))
    np.testing.assert_array_equal(held[3, 0], base[3, ::-1].astype(np.float32))


def test_imported_vectors_of_encoders_whose_weights_are_known_need_no_word(tmp_path):
    base = np.random.default_rng(0).standard_normal((8, 16))
    a, b = (vectors_of(tmp_path, name, base, encoder_weights="1" * 64) for name in "ab")
    merge_stores(a.path, [b.path])
    c = vectors_of(tmp_path, "c", base, encoder_weights="2" * 64)
    with pytest.raises(ConflictError, match="come from another encoder"):
        merge_stores(a.path, [c.path])


def test_a_merge_into_a_store_that_had_no_such_vectors_may_be_repeated(tmp_path):
    b = vectors_of(tmp_path, "b", np.random.default_rng(0).standard_normal((8, 16)))
    a = create_store(tmp_path / "a.zarr")
    for _ in range(2):
        merge_stores(a.path, [b.path])


def images_of(tmp_path, store, sampler, weights):
    """Import images of a model whose checkpoint is a file of these bytes, or None."""
    folder = tmp_path / f"{store}-{sampler}"
    folder.mkdir()
    if weights is not None:
        (folder / "weights.pt").write_bytes(weights)
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    np.save(folder / "images.npy", images)
    target = create_store(tmp_path / f"{store}.zarr")
    request = {"model": "edm", "sampler": sampler, "seeds": "0-3"}
    request["weights"] = None if weights is None else folder / "weights.pt"
    import_samples(target, ImportRequest(source=folder / "images.npy", **request))
    return target


def test_imported_models_of_other_weights_under_one_name_are_a_conflict(tmp_path):
    a = images_of(tmp_path, "a", "heun", b"one")
    merge_stores(a.path, [images_of(tmp_path, "b", "euler", b"one").path])
    merge_stores(a.path, [images_of(tmp_path, "c", "ddim", None).path])  # nothing is known
    d = images_of(tmp_path, "d", "dpm", b"two")
    with pytest.raises(ConflictError, match="has other weights than that of the store"):
        merge_stores(a.path, [d.path])
    assert merge_stores(tmp_path / "e.zarr", [d.path, a.path], rename={"a:edm": "edm1"})
    assert open_store(tmp_path / "e.zarr").run_paths() == [
        "edm/dpm/none", "edm1/ddim/none", "edm1/euler/none", "edm1/heun/none"
    ]  # fmt: skip


def test_what_is_held_out_stays_when_the_items_of_a_dataset_come(tmp_path):
    vit = trained(run_of("vit", weights="1" * 64), "numbers", "12-17")
    a = laboratory(tmp_path / "a.zarr", [(trained(run_of("unet"), "digits"), [0])])
    b = laboratory(tmp_path / "b.zarr", [(vit, [0])])
    ours = add_dataset(a, "digits", held_out="10-14")
    items = ours.read(slice(None))
    add_dataset(b, "numbers", held_out="0-5")
    withhold_items(ours)
    merge_stores(a.path, [b.path])
    store = open_store(a.path)
    found = StoredDataset(store, "digits")
    assert not found.withheld
    np.testing.assert_array_equal(found.read(slice(None)), items)
    # The model of b was trained on what a holds out, and that of a on what b holds out.
    assert (found.spec.held_out, found.spec.source) == ("10-14", ours.spec.source)
    assert store.run("unet/sampler/none").spec.model_spec.held_out is None
    assert store.run("vit/sampler/none").spec.model_spec.held_out == "0-5"
    assert store.run("vit/sampler/none").spec.model_spec.trained_on.dataset == "digits"


def test_models_that_were_trained_on_a_name_which_nobody_can_explain_are_told(tmp_path):
    vit = run_of("vit", weights="1" * 64)
    a = laboratory(tmp_path / "a.zarr", [(trained(run_of("unet"), "digits"), [0])])
    b = laboratory(tmp_path / "b.zarr", [(trained(vit, "digits"), [0])])
    for names, told in (({}, 1), ({"digits": "digits"}, 0), ({"digits": "numbers"}, 0)):
        rows = merge_stores(a.path, [b.path], rename_datasets=names, dry_run=True)
        assert len([row for row in rows if "no store holds" in row.get("text", "")]) == told


def test_vectors_of_withheld_items_are_never_replaced(tmp_path):
    a = create_store(tmp_path / "a.zarr")
    dataset = add_dataset(a, "digits")
    before = embed_dataset(a, pixel(), dataset)[:]
    withhold_items(dataset)
    dataset = StoredDataset(a, "digits")
    with pytest.raises(MissingDataError, match="items of the dataset 'digits' are not"):
        embed_dataset(a, pixel(weights="other"), dataset)
    np.testing.assert_array_equal(embed_dataset(a, pixel(), dataset)[:], before)
    chunk = a.path / "embeddings" / "pixel" / "datasets" / "digits" / "vector" / "c" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(CorruptionError, match="Receive the store again"):
        embed_dataset(a, pixel(), dataset)[:]


def code(name="net", **values):
    """Return a run of a model from Python code, of which only one file has a digest."""
    spec = run_of(name, **values)
    return spec.model_copy(update={"model_spec": ModelSpec(source="python:nets.edm:small")})


@pytest.mark.parametrize("sampler", ["ddim", "heun"])
def test_models_from_python_code_of_which_nothing_was_compared_are_a_conflict(tmp_path, sampler):
    a = laboratory(tmp_path / "a.zarr", [(code(sampler="ddim"), range(4))])
    b = laboratory(tmp_path / "b.zarr", [(code(sampler=sampler), range(4, 8))])
    for target, sources in ((a.path, [b.path]), (tmp_path / "c.zarr", [a.path, b.path])):
        with pytest.raises(ConflictError, match="whether it is the same cannot be seen") as error:
            merge_stores(target, sources)
        (one,) = error.value.conflicts
        assert one["what"] == "model"
        assert "--rename b:net=net" in one["action"]
    for _ in range(2):  # an interrupted merge is repeated
        merge_stores(a.path, [b.path], rename={"b:net": "net"})
    merge_stores(a.path, [b.path])  # its samples are here now
    assert {run.spec.model for run in open_store(a.path).runs()} == {"net"}


def test_a_sample_that_two_stores_have_says_that_their_code_is_the_same(tmp_path):
    a = laboratory(tmp_path / "a.zarr", [(code(), range(4))])
    b = laboratory(
        tmp_path / "b.zarr", [(code(), range(3, 8)), (code(sampler="heun"), range(8, 10))]
    )
    c = laboratory(tmp_path / "c.zarr", [(code(), range(20, 22))])
    merge_stores(a.path, [b.path])
    assert len(open_store(a.path).runs()) == 2
    merge_stores(a.path, [c.path], rename={"net": "other"})
    assert len(open_store(a.path).run_paths()) == 3
    empty = create_store(tmp_path / "d.zarr")
    add(empty, code(), range(4))  # nothing of it was generated yet
    merge_stores(empty.path, [c.path])


def test_other_samples_of_code_that_reads_other_weights(tmp_path):
    a = laboratory(tmp_path / "a.zarr", [(code(), range(4))])
    b = create_store(tmp_path / "b.zarr")
    write_units(add(b, code(), range(3, 8)), b.start_session({}), states=shifted(0.5))
    with pytest.raises(ConflictError, match="1 samples of the run"):
        merge_stores(a.path, [b.path])
