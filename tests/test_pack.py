"""Packs: what goes in comes out bit for bit, is read in place, and says what it is."""

import datetime as dt
import hashlib
import io
import json
import shutil
import zipfile

import numpy as np
import pytest
import xarray as xr
import zarr
from packing import RUNS, SHAPE, analyzed, laboratory, names, pack, same
from PIL import Image
from zarr.storage import ZipStore

from reprostore.errors import CorruptionError, SpecError
from reprostore.ingest import StoredDataset
from reprostore.sharing.archives.manifest import check_manifest
from reprostore.sharing.unpack import unpack
from reprostore.sharing.verify import verify_store
from reprostore.store import open_store

DATE = dt.date(2026, 1, 2)
MANIFEST = "manifest-sha256.json"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    store = laboratory(folder)
    analyzed(store, folder)
    return store


@pytest.fixture(scope="module")
def whole(lab, tmp_path_factory):
    target = tmp_path_factory.mktemp("packs") / "whole.zip"
    pack(lab, target, datasets=True, published=DATE)
    return target


def arrays(group):
    members = group.members(max_depth=None)
    return {path: item[...] for path, item in members if isinstance(item, zarr.Array)}


def test_all_arrays_come_out_bit_for_bit(lab, whole, tmp_path):
    made = unpack(whole, tmp_path / "out")
    expected = arrays(zarr.open_group(lab.path, mode="r"))
    assert len(expected) > 40
    for found in (
        arrays(zarr.open_group(made["store"], mode="r")),
        arrays(zarr.open_group(ZipStore(whole, mode="r"), path="whole.zarr", mode="r")),
    ):
        assert found.keys() == expected.keys()
        assert all(same(found[name], values) for name, values in expected.items())
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "README.md", "picture.png", "ro-crate-metadata.json", MANIFEST, "whole.zarr",
    }  # fmt: skip


def test_the_archive_is_read_in_place(lab, whole):
    for ours, theirs in [
        (open_store(whole).final_samples(), lab.final_samples()),
        (
            xr.open_datatree(
                ZipStore(whole, mode="r"), engine="zarr", group="whole.zarr", chunks={},
                consolidated=False,
            )["runs/a/s/none"].to_dataset(),
            xr.open_datatree(lab.path, engine="zarr", chunks={}, consolidated=False)[
                "runs/a/s/none"
            ].to_dataset(),
        ),
    ]:  # fmt: skip
        xr.testing.assert_identical(ours.compute(), theirs.compute())
    ours, theirs = (StoredDataset(store, "items") for store in (open_store(whole), lab))
    assert same(ours.read(slice(None)), theirs.read(slice(None)))
    with zipfile.ZipFile(whole) as archive:
        members = archive.infolist()
        assert archive.testzip() is None
    assert {member.compress_type for member in members} == {zipfile.ZIP_STORED}
    assert {member.date_time for member in members} == {(1980, 1, 1, 0, 0, 0)}
    assert verify_store(open_store(whole)).findings == []


def test_the_manifest_holds_size_and_sha256_of_every_other_file(whole):
    with zipfile.ZipFile(whole) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(found.pop(MANIFEST))
    assert manifest["files"] == {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in found.items()
    }
    assert [run["name"] for run in manifest["runs"]] == RUNS
    assert [run["seeds"] for run in manifest["runs"]] == ["0-12", "0-12"]
    assert (manifest["folder"], manifest["published"]) == ("whole.zarr", "2026-01-02")
    assert manifest["license"] == "CC-BY-4.0"
    assert check_manifest(whole) == []


def test_equal_content_gives_equal_bytes(lab, whole, tmp_path):
    other = tmp_path / "whole.zip"
    made = pack(lab, other, datasets=True, published=DATE)
    assert other.read_bytes() == whole.read_bytes()
    assert made["sha256"] == hashlib.sha256(whole.read_bytes()).hexdigest()
    again = tmp_path / "sub" / "whole.zip"
    pack(open_store(whole), again, datasets=True, published=DATE)  # from a pack
    assert again.read_bytes() == whole.read_bytes()


def test_a_folder_is_the_same_tree(lab, whole, tmp_path):
    pack(lab, tmp_path / "whole", datasets=True, published=DATE)
    files = {p.relative_to(tmp_path / "whole").as_posix(): p.read_bytes()
             for p in (tmp_path / "whole").rglob("*") if p.is_file()}  # fmt: skip
    with zipfile.ZipFile(whole) as archive:
        differing = {name for name in archive.namelist() if archive.read(name) != files[name]}
    assert files.keys() == set(names(whole))
    assert differing == {"README.md", MANIFEST}  # how to open it
    assert check_manifest(tmp_path / "whole") == []
    unpack(tmp_path / "whole", tmp_path / "copy")
    assert check_manifest(tmp_path / "copy") == []


def test_the_crate_says_who_made_what_with_which_software(lab, tmp_path):
    rocrate = pytest.importorskip("rocrate.rocrate")
    pack(lab, tmp_path / "p", creators=["Ada <https://orcid.org/0000-0001-2345-6789>", "Lab 7"],
         license="CC0-1.0", title="T", published=DATE)  # fmt: skip
    crate = rocrate.ROCrate(tmp_path / "p")
    root = crate.root_dataset
    assert root["name"] == "T"
    assert str(root["datePublished"]).startswith("2026-01-02")
    assert crate.metadata["conformsTo"] == "https://w3id.org/ro/crate/1.1"
    assert [person["name"] for person in root["creator"]] == ["Ada", "Lab 7"]
    assert root["creator"][0].id == "https://orcid.org/0000-0001-2345-6789"
    assert root["license"].id == "https://spdx.org/licenses/CC0-1.0"
    of_type = {}
    for entity in crate.get_entities():
        of_type.setdefault(entity.type, []).append(entity)
    versions = {(e["name"], e["softwareVersion"]) for e in of_type["SoftwareApplication"]}
    assert ("torch", "2.4.0") in versions
    assert "reprostore" in {name for name, _ in versions}
    files = {e["sha256"] for e in of_type["CreativeWork"] if "sha256" in e.properties()}
    assert files == {lab.run(path).spec.weights["weights.safetensors"] for path in RUNS}
    actions = {e["result"].id: e["object"]["name"] for e in of_type["CreateAction"]}
    assert actions == {"p.zarr/runs/a/s/none/": "a", "p.zarr/runs/b/s/none/": "b"}
    run = crate.get("p.zarr/runs/a/s/none/")
    assert run["identifier"] == lab.run("a/s/none").spec.fingerprint
    for entity in crate.data_entities:  # all that it names is there
        assert (tmp_path / "p" / entity.id).exists(), entity.id


def test_the_readme_names_runs_and_its_example_runs(whole, lab, monkeypatch):
    with zipfile.ZipFile(whole) as archive:
        text = archive.read("README.md").decode()
    for path in RUNS:
        assert f"| {path} | 13 | 0-12 |" in text
        assert lab.run(path).spec.fingerprint in text
    assert "Licence: CC-BY-4.0" in text
    assert "Ada Lovelace" in text
    monkeypatch.chdir(whole.parent)
    code = text.split("```python\n")[2].split("```")[0].splitlines()
    scope = {}
    exec("\n".join([*code[:-1], f"found = {code[-1]}"]), scope)  # our own text
    assert scope["found"].shape == (13, 1, *SHAPE)


def test_the_picture_shows_samples_of_equal_seeds(whole, lab):
    with zipfile.ZipFile(whole) as archive:
        image = np.asarray(Image.open(io.BytesIO(archive.read("picture.png"))).convert("L"))
    for row, path in enumerate(RUNS):
        samples = lab.final_samples(models=path.split("/")[0])["sample"].values.squeeze()
        for column in (0, 7):
            expected = samples[column]
            cells = np.repeat(np.repeat(expected, 13, axis=0), 13, axis=1)  # 80 = 6 · 13 + 2
            found = image[18 + row * 86 :, image.shape[1] - 6 - (8 - column) * 86 :][:80, :80]
            middle = found[6::13, 6::13][:6, :6]
            assert cells.shape == (78, 78)
            np.testing.assert_array_equal(middle, expected)


def test_runs_and_contents_are_chosen(lab, tmp_path):
    made = pack(lab, tmp_path / "a.zip", runs=["a/*"], content="samples")
    assert [run["name"] for run in made["runs"]] == ["a/s/none"]
    packed = open_store(tmp_path / "a.zip")
    assert packed.files.folders() == ["datasets", "runs", "sessions"]
    number = int(lab.run(RUNS[0]).recorded("session")[0])
    assert packed.files.folders("sessions") == [f"{number:016x}"]
    dataset = StoredDataset(packed, "items")
    assert (dataset.withheld, len(dataset), dataset.item_shape) == (True, 30, SHAPE)
    assert dataset.fingerprint == StoredDataset(lab, "items").fingerprint
    assert list(packed.files.walk("datasets")) == ["datasets/items/zarr.json", "datasets/zarr.json"]
    pack(lab, tmp_path / "b.zip", runs=["b/s/none"])
    only = open_store(tmp_path / "b.zip").files
    assert only.folders("embeddings/blocks/runs") == ["b"]
    assert only.folders("results") == []  # they are about both runs
    assert open_store(tmp_path / "b.zip").attributes["title"] == "Two models"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"runs": ["c/*"]}, LookupError, "no run c/"),
        ({"encoders": ["sscd"]}, LookupError, "'sscd'.*It has vectors of blocks"),
        ({"content": "images"}, SpecError, "'images' is no content"),
        ({"content": "vectors", "datasets": True}, SpecError, "holds no images"),
        ({"content": "samples", "encoders": ["blocks"]}, SpecError, "holds no vectors"),
    ],
)
def test_what_cannot_be_packed_is_told_and_nothing_is_written(
    lab, tmp_path, options, error, message
):
    with pytest.raises(error, match=message):
        pack(lab, tmp_path / "p.zip", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("runs/b/s/none/sample", r"run b/s/none is damaged at the seeds"),
        ("runs/b/s/none/digest", r"runs/b/s/none/digest"),
        ("embeddings/blocks/runs/b/s/none/vector", r"embeddings/blocks/runs/b/s/none"),
        ("neighbors/blocks/items@10-19/runs/b/s/none/train_index", r"neighbors/blocks/items@10-19"),
        ("datasets/items/item", r"datasets/items/item"),
    ],
)
def test_a_damaged_store_is_not_packed(lab, tmp_path, place, message):
    shutil.copytree(lab.path, tmp_path / "lab.zarr")
    file = next(p for p in (tmp_path / "lab.zarr" / place / "c").rglob("*") if p.is_file())
    content = bytearray(file.read_bytes())
    content[10] ^= 1
    file.write_bytes(content)
    store = open_store(tmp_path / "lab.zarr")
    with pytest.raises(CorruptionError, match=message):
        pack(store, tmp_path / "p.zip", datasets=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lab.zarr"]
    if "datasets" not in place:
        pack(store, tmp_path / "a.zip", runs=["a/*"], datasets=True)


def test_damage_in_an_archive_is_not_said_to_be_repaired(whole, tmp_path):
    content = bytearray(whole.read_bytes())
    with zipfile.ZipFile(whole) as archive:
        name = next(n for n in archive.namelist() if "/runs/a/s/none/vector/c/" in n)
        content[archive.getinfo(name).header_offset + len(name) + 40] ^= 1
    (tmp_path / "p.zip").write_bytes(content)
    damage = verify_store(open_store(tmp_path / "p.zip")).damage
    assert len(damage) == 2, "by its checksum, and by the manifest"
    assert {finding.action for finding in damage} == {
        "Receive the pack again: it is not as it was made."
    }
    assert not any(finding.row()["repairable"] for finding in damage)
