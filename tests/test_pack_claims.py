"""A manifest that tells of another store than the packed one; files that belong to nothing."""

import json

import numpy as np
import pytest
from analyzing import add_run, pictures
from hostile_packs import archive_of, refused
from packing import RUNS, analyzed, laboratory, names, pack

from reprostore.errors import CorruptionError
from reprostore.importing import ImportRequest, import_samples
from reprostore.sharing.archives.manifest import check_manifest
from reprostore.sharing.archives.reading import MANIFEST
from reprostore.sharing.repair import repair_store
from reprostore.sharing.unpack import unpack
from reprostore.sharing.verify import verify_store
from reprostore.store import create_store, open_store


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    store = laboratory(folder)
    analyzed(store, folder)
    return store


@pytest.fixture(scope="module")
def members(lab, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packs")
    pack(lab, folder / "v.zip")
    unpack(folder / "v.zip", folder / "out")
    files = (file for file in (folder / "out").rglob("*") if file.is_file())
    return {file.relative_to(folder / "out").as_posix(): file.read_bytes() for file in files}


CLAIMS = {
    "`license` otherwise": lambda m: m.update(license="CC0-1.0"),
    "`title` otherwise": lambda m: m.update(title="Three models"),
    "`creators` otherwise": lambda m: m.update(creators=["Charles Babbage"]),
    "`seeds` of the run a/s/none": lambda m: m["runs"][0].update(seeds="0-9999"),
    "`fingerprint` of the run b/s/none": lambda m: m["runs"][1].update(fingerprint="0" * 32),
    "nothing of the run a/s/none": lambda m: m["runs"].pop(0),
    "of a run c/s/none": lambda m: m["runs"].append({"name": "c/s/none"}),
    "`items` of the dataset items": lambda m: m["datasets"][0].update(items=31),
    "nothing of the dataset items": lambda m: m.update(datasets="items"),
    "vectors alone, and the store has images": lambda m: m.update(content="vectors"),
}


@pytest.mark.parametrize("told", CLAIMS)
def test_claims_of_a_manifest_are_compared_with_the_store(members, tmp_path, told):
    manifest = json.loads(members[MANIFEST])
    CLAIMS[told](manifest)
    archive = archive_of(tmp_path / "p.zip", members | {MANIFEST: json.dumps(manifest).encode()})
    (finding,) = verify_store(open_store(archive)).damage
    assert finding.place == MANIFEST
    assert told in finding.what
    refused(tmp_path, archive, CorruptionError, "The manifest of")


def crate_of(store, folder, **options):
    pack(store, folder / "crate", **options)
    document = json.loads((folder / "crate" / "ro-crate-metadata.json").read_text())
    return {entity["@id"]: entity for entity in document["@graph"]}


def test_each_run_names_the_software_of_its_own_sessions(tmp_path):
    store = create_store(tmp_path / "s.zarr")
    of = dict(enumerate(pictures(2, shape=(1, 2, 2))))
    for model, version in (("a", "2.1.0"), ("b", "2.6.0"), ("c", "2.6.0")):
        add_run(store, model, of, session={"versions": {"torch": version}})
    np.save(tmp_path / "x.npy", pictures(2, seed=9, shape=(2, 2, 1)))
    request = ImportRequest(source=tmp_path / "x.npy", model="given", noise="unknown", seeds="0-1")
    import_samples(store, request)
    entities = crate_of(store, tmp_path)
    found = {
        entity["name"]: [part["@id"] for part in entity.get("instrument", [])]
        for entity in entities.values()
        if entity["@type"] == "CreateAction"
    }
    assert found == {
        "Sampling a/s/none": ["#software-torch-2.1.0"],
        "Sampling b/s/none": ["#software-torch-2.6.0"],
        "Sampling c/s/none": ["#software-torch-2.6.0"],
        "Import of given/imported/none": [],
    }
    given = entities["crate.zarr/runs/given/imported/none/"]["description"]
    assert given == "2 samples, of shape 1×2×2, which were imported."


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("CC-BY-4.0", "https://spdx.org/licenses/CC-BY-4.0"),
        ("apache-2.0", "https://spdx.org/licenses/Apache-2.0"),
        ("https://example.org/terms", "https://example.org/terms"),
        ("proprietary", "#license"),
        ("none", "#license"),
        ("MIT OR Apache-2.0", "#license"),
        ("LicenseRef-ours", "#license"),
        ("CC BY 4.0", "#license"),
    ],
)
def test_a_licence_has_the_address_of_spdx_only_where_spdx_has_it(lab, tmp_path, text, address):
    entities = crate_of(lab, tmp_path, license=text, runs=RUNS[:1], content="samples")
    assert entities["./"]["license"] == {"@id": address}
    assert entities[address]["name"] == text


def test_files_that_belong_to_nothing_are_not_packed(lab, tmp_path):
    places = ["datasets/items/thumb.png", "datasets/items/item/c/0/0/0/0.1a.partial",
              f"embeddings/blocks/runs/{RUNS[0]}/vector/preview.png"]  # fmt: skip
    for place in places:
        (lab.path / place).write_bytes(b"x")
    pack(lab, tmp_path / "p.zip", datasets=True)
    made = pack(lab, tmp_path / "folder", datasets=True)
    assert check_manifest(tmp_path / "folder") == []
    unpack(tmp_path / "folder", tmp_path / "out")
    stored = [name.partition("/")[2] for name in names(tmp_path / "p.zip")]
    assert not set(stored) & set(places)
    assert "datasets/items/item/zarr.json" in stored
    assert made["files"] == len(stored)


def test_vectors_of_items_that_are_not_here_are_never_removed(lab, tmp_path):
    pack(lab, tmp_path / "v.zip", content="vectors")
    path = tmp_path / "out" / "v.zarr"
    unpack(tmp_path / "v.zip", tmp_path / "out")
    file = path / "embeddings" / "blocks" / "datasets" / "items" / "vector" / "c" / "0" / "0"
    file.write_bytes(file.read_bytes()[:-1])
    store = open_store(path, mode="r+")
    (left,) = repair_store(store, verify_store(store))
    assert left.place == "embeddings/blocks/datasets/items"
    assert file.exists()
