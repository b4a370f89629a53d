"""Packs of vectors alone: no image leaves the house, and the scores are those of the full store."""

import json
import shutil
import zipfile

import numpy as np
import pytest
import xarray as xr
import zarr
from analyzing import add_run, pictures
from merging import pixel
from packing import RUNS, SHAPE, analyzed, answers, laboratory, pack
from zarr.storage import ZipStore

from reprostore.embed import embed_run
from reprostore.errors import CorruptionError, MissingDataError, SpecError
from reprostore.ingest import StoredDataset
from reprostore.sharing.merge import merge_stores
from reprostore.sharing.unpack import unpack
from reprostore.sharing.verify import verify_store
from reprostore.store import open_store
from reprostore.store.dataset_attributes import sealed
from reprostore_analyses.context import Context
from reprostore_analyses.generalization import GeneralizationOptions, generalization
from reprostore_analyses.memorization import memorization
from reprostore_analyses.memorization_options import MemorizationOptions
from reprostore_analyses.reproducibility import reproducibility
from reprostore_analyses.reproducibility_options import ReproducibilityOptions


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    store = laboratory(folder)
    scores = analyzed(store, folder)
    generalization(Context(store), GeneralizationOptions(encoder="pixel"))
    return store, scores


@pytest.fixture(scope="module")
def vectors(lab, tmp_path_factory):
    target = tmp_path_factory.mktemp("packs") / "vectors.zip"
    return target, pack(lab[0], target, content="vectors")


def test_scores_are_those_of_the_full_store(lab, vectors, tmp_path):
    unpacked = unpack(vectors[0], tmp_path / "out")["store"]
    merged = tmp_path / "merged.zarr"
    merge_stores(merged, [vectors[0]])
    for place, mode in ((vectors[0], "r"), (unpacked, "r+"), (merged, "r")):
        for function, found in answers(open_store(place, mode)).items():
            expected = lab[1][function]
            kept = [name for name in expected if not str(name).startswith("mae")]
            assert len(kept) > 10
            xr.testing.assert_equal(found[kept], expected[kept])
            assert found.attrs["made_from"] == expected.attrs["made_from"]
            if function is reproducibility:  # it takes images
                assert np.isnan(found["mae_score"]).all()
                assert not np.isnan(expected["mae_score"].values[0, 1])


def test_a_run_without_vectors_is_left_out_and_told(lab, tmp_path):
    shutil.copytree(lab[0].path, tmp_path / "lab.zarr")
    store = open_store(tmp_path / "lab.zarr", mode="r+")
    add_run(store, "bare", dict(enumerate(pictures(4, seed=9, shape=SHAPE))))
    made = pack(store, tmp_path / "vectors.zip", content="vectors")
    assert [row["name"] for row in made["runs"]] == RUNS
    assert "The run bare/s/none: it has no vectors that could be packed." in made["left_out"]
    packed = open_store(tmp_path / "vectors.zip")
    assert packed.run_paths() == RUNS
    assert verify_store(packed).damage == []


def test_no_image_is_in_it(vectors):
    with zipfile.ZipFile(vectors[0]) as archive:
        names = archive.namelist()
    assert not [n for n in names if n.startswith("vectors.zarr/embeddings/pixel")]
    assert not [n for n in names if n.startswith("vectors.zarr/results")]
    assert not [n for n in names if n.endswith(".png")]
    assert "vectors.zarr/datasets/items/zarr.json" in names
    assert not [n for n in names if n.startswith("vectors.zarr/datasets/items/item")]
    shapes = {
        path: item.shape
        for path, item in opened(vectors[0]).members(max_depth=None)
        if isinstance(item, zarr.Array)
    }
    assert len(shapes) > 20
    for path, shape in shapes.items():  # an image has 36 values
        assert path.rsplit("/", 1)[1] not in ("sample", "denoised")
        assert int(np.prod(shape[1:])) < 36, path
    assert open_store(vectors[0]).files.exists("neighbors/pixel")  # numbers of items and distances


def opened(path):
    return zarr.open_group(ZipStore(path, mode="r"), path="vectors.zarr", mode="r")


def test_it_is_whole_and_opens(lab, vectors):
    report = verify_store(open_store(vectors[0]))
    assert report.damage == []
    places = {finding.place.split("/")[1] for finding in report.findings}
    assert places == {"pixel"}  # neighbors whose vectors stayed where they were made
    assert report.caches > 4
    packed = open_store(vectors[0])
    assert [packed.run(path).withheld for path in RUNS] == [True, True]
    for path in RUNS:
        ours, theirs = packed.run(path), lab[0].run(path)
        assert ours.spec == theirs.spec
        for name in ("digest", "session", "noise_probe"):
            np.testing.assert_array_equal(ours.recorded(name), theirs.recorded(name))
    tree = xr.open_datatree(
        ZipStore(vectors[0], mode="r"), engine="zarr", group="vectors.zarr", chunks={},
        consolidated=False,
    )  # fmt: skip
    assert set(tree["runs/a/s/none"].data_vars) == {
        "digest", "session", "status", "noise_probe", "sigma", "alpha", "timestep",
    }  # fmt: skip


def test_what_is_left_out_is_told(vectors):
    told = " ".join(vectors[1]["left_out"])
    for place in ("the run a/s/none", "the run b/s/none", "the dataset items"):
        assert f"vectors of the encoder pixel of {place}: its images are withheld" in told
    with zipfile.ZipFile(vectors[0]) as archive:
        readme = archive.read("README.md").decode()
        manifest = json.loads(archive.read("manifest-sha256.json"))
    assert manifest["left_out"] == vectors[1]["left_out"]
    assert "vectors and neighbors; no images" in readme
    assert "picture" not in readme
    assert readme.count("| withheld |") == 3


def test_pixels_are_packed_only_where_that_is_allowed(lab, tmp_path):
    with pytest.raises(SpecError, match="whoever has them has the images"):
        pack(lab[0], tmp_path / "p.zip", content="vectors", encoders=["pixel"])
    assert list(tmp_path.iterdir()) == []
    pack(lab[0], tmp_path / "p.zip", content="vectors", encoders=["pixel"], allow_pixel=True)
    assert open_store(tmp_path / "p.zip").files.folders("embeddings") == ["pixel"]
    # With samples but without the items of the dataset, only the vectors of these stay here.
    pack(lab[0], tmp_path / "q.zip")
    found = open_store(tmp_path / "q.zip").files
    assert found.folders("embeddings/pixel") == ["runs"]
    assert found.folders("embeddings/blocks") == ["datasets", "runs"]


def test_features_of_every_place_in_an_image_are_withheld_as_its_pixels_are(tmp_path):
    store = laboratory(tmp_path)
    for name, kind in (("places", "lpips"), ("whole", "sscd")):
        embed_run(store, pixel(name, kind=kind), store.run("a/s/none"))
    told = pack(store, tmp_path / "p.zip", content="vectors")["left_out"]
    assert any("vectors of the encoder places of the run a/s/none" in each for each in told)
    assert open_store(tmp_path / "p.zip").files.folders("embeddings") == ["whole"]


def test_without_vectors_there_is_nothing_to_pack(tmp_path):
    store = laboratory(tmp_path)
    with pytest.raises(MissingDataError, match="no vectors of the chosen runs"):
        pack(store, tmp_path / "p.zip", content="vectors")


def test_images_that_are_asked_for_are_missing(vectors):
    store = open_store(vectors[0])
    dataset = StoredDataset(store, "items")
    assert (len(dataset), dataset.item_shape, dataset.dtype) == (30, SHAPE, np.dtype("uint8"))
    assert dataset.labels is None
    with pytest.raises(MissingDataError, match=r"items of the dataset 'items' are not in.*merge"):
        dataset.read(slice(2))
    with pytest.raises(MissingDataError, match="samples of the run a/s/none are not in"):
        store.final_samples()
    with pytest.raises(MissingDataError, match="samples of the run"):
        memorization(Context(store), MemorizationOptions(encoder="blocks"))
    with pytest.raises(MissingDataError, match="samples of the run"):  # no vectors, no images
        reproducibility(Context(store), ReproducibilityOptions(encoder="pixel"))


def test_neighbors_stand_in_for_vectors_that_stayed(lab, vectors):
    options = GeneralizationOptions(encoder="pixel")
    found = generalization(Context(open_store(vectors[0])), options)
    xr.testing.assert_equal(found, generalization(Context(lab[0]), options))


def test_a_pack_of_vectors_is_packed_again_without_images(vectors, tmp_path):
    pack(open_store(vectors[0]), tmp_path / "again.zip")
    again = open_store(tmp_path / "again.zip")
    assert [again.run(path).withheld for path in RUNS] == [True, True]
    with pytest.raises(MissingDataError, match="its samples are not in this store"):
        pack(open_store(vectors[0]), tmp_path / "s.zip", content="samples")


@pytest.mark.parametrize(
    "form",
    [None, {}, {"shape": [], "dtype": "uint8"}, {"shape": [3, -1], "dtype": "uint8"},
     {"shape": [3, "1"], "dtype": "uint8"}, {"shape": [3, 1], "dtype": "object"}, "30"],
)  # fmt: skip
def test_a_form_that_says_nothing_is_damage(vectors, tmp_path, form):
    store = unpack(vectors[0], tmp_path / "out")["store"]
    file = tmp_path / "out" / "vectors.zarr" / "datasets" / "items" / "zarr.json"
    document = json.loads(file.read_text())
    document["attributes"] = sealed("items", document["attributes"] | {"items": form})
    file.write_text(json.dumps(document))
    with pytest.raises(CorruptionError, match="do not say what its items were"):
        StoredDataset(open_store(store), "items")
    damage = verify_store(open_store(store)).damage
    assert [finding.place for finding in damage] == ["datasets/items"]
