"""Packs that are not as they were made: told, and nothing half-made stays."""

import os
import stat

import pytest
from commands import Repro
from hostile_packs import README, archive_of, info, refused, small_pack

from reprostore.errors import CorruptionError, FormatError, IdentityError, ReprostoreError
from reprostore.sharing.archives.manifest import check_manifest
from reprostore.sharing.archives.reading import MANIFEST, open_pack
from reprostore.sharing.unpack import unpack
from reprostore.store import open_store


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    return small_pack(tmp_path_factory.mktemp("pack"))


def test_a_file_that_is_missing_added_or_changed_is_told(members, tmp_path):
    key = next(name for name in members if "/sample/c/" in name)
    flipped = bytes([members[key][0] ^ 1]) + members[key][1:]
    for number, (content, what) in enumerate(
        [
            ({k: v for k, v in members.items() if k != key}, "is missing"),
            (members | {"p.zarr/runs/extra/zarr.json": b"{}"}, "is not in the manifest"),
            (members | {key: members[key] + b"x"}, "bytes instead of"),
            (members | {key: flipped}, "has another sha256"),
        ]
    ):
        path = archive_of(tmp_path / f"{number}.zip", content)
        refused(tmp_path, path, CorruptionError, what)
        (finding,) = check_manifest(path)
        assert what in finding.what
        assert finding.damage
    assert check_manifest(archive_of(tmp_path / "good.zip", members)) == []


@pytest.mark.parametrize(
    "manifest",
    [b"", b"[]", b"null", b"[" * 100_000, b"\xff\xfe", b'{"reprostore_pack": 2}', b"{}",
     b'{"reprostore_pack": 1, "folder": "..", "files": {}}',
     b'{"reprostore_pack": 1, "folder": "README.md", "files": {}}',
     b'{"reprostore_pack": 1, "folder": "p.zarr", "files": []}',
     b'{"reprostore_pack": 1, "folder": "p.zarr", "files": {"README.md": 3}}',
     b'{"reprostore_pack": 1, "folder": "p.zarr", "files": {"README.md": {"bytes": "1"}}}',
     b'{"reprostore_pack": 1, "folder": "p.zarr", "files": '
     b'{"README.md": {"bytes": -1, "sha256": "' + b"0" * 64 + b'"}}}',
     b'{"reprostore_pack": 1, "folder": "p.zarr", "files": '
     b'{"README.md": {"bytes": 1, "sha256": "../x"}}}'],
)  # fmt: skip
def test_manifests_that_are_none_are_refused(members, tmp_path, manifest):
    path = archive_of(tmp_path / "a.zip", members | {MANIFEST: manifest})
    refused(tmp_path, path, FormatError, "The manifest of")
    (finding,) = check_manifest(path)
    assert "The manifest of" in finding.what


def test_an_archive_without_a_manifest_is_no_pack(members, tmp_path):
    path = archive_of(tmp_path / "a.zip", {k: v for k, v in members.items() if k != MANIFEST})
    refused(tmp_path, path, FormatError, "has no manifest-sha256.json")
    (note,) = check_manifest(path)  # a store may be zipped by other means
    assert not note.damage
    assert open_store(path).run_paths() == ["model/sampler/none"]


def test_folders_are_looked_at_as_archives_are(members, tmp_path):
    outside = tmp_path / "secret"
    outside.write_text("secret")

    def folder(number):
        place = tmp_path / f"pack{number}"
        for name, content in members.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
        return place

    unpack(folder(0), tmp_path / "good")
    for number, change in enumerate(
        [
            lambda place: ((place / README).unlink(), (place / README).symlink_to(outside)),
            lambda place: (place / "p.zarr" / "runs" / "link").symlink_to(tmp_path),
            lambda place: os.mkfifo(place / "pipe"),
            lambda place: (place / "back\\slash").write_text("x"),
        ],
        1,
    ):
        place = folder(number)
        change(place)
        refused(tmp_path, place, FormatError, r"link or a device|a name that")
    place = folder(9)
    (place / README).write_text("changed")
    refused(tmp_path, place, CorruptionError, "bytes instead of")


def test_what_stands_at_the_target_stays(members, tmp_path):
    path = archive_of(tmp_path / "a.zip", members)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))
    for name in ("file", "folder", "link"):
        with pytest.raises(IdentityError, match=r"nothing is ever replaced|leads nowhere"):
            unpack(path, tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "empty").mkdir()
    unpack(path, tmp_path / "empty")
    assert (tmp_path / "empty" / README).read_bytes() == members[README]


def test_an_interrupted_unpacking_leaves_nothing(members, tmp_path):
    path = archive_of(tmp_path / "a.zip", members)

    def interrupt(name, done, total):
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(path, tmp_path / "out", progress=interrupt)
    assert sorted(tmp_path.iterdir()) == [path]
    (tmp_path / ".out.partial").mkdir()  # as a killed process would leave it
    (tmp_path / ".out.partial" / "left").write_text("x")
    unpack(path, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "out"]
    assert check_manifest(tmp_path / "out") == []


def test_members_that_other_programs_add_for_folders_do_no_harm(members, tmp_path):
    folders = [(info("p.zarr/", stat.S_IFDIR | 0o755), b""), (info("p.zarr/runs/", 0), b"")]
    unpack(archive_of(tmp_path / "a.zip", members, folders), tmp_path / "out")
    assert check_manifest(tmp_path / "out") == []


@pytest.mark.parametrize("junk", [b"", b"PK\5\6", b"no archive", bytes(range(256)) * 12])
def test_what_is_no_archive_is_told(tmp_path, junk):
    (tmp_path / "a.zip").write_bytes(junk)
    refused(tmp_path, tmp_path / "a.zip", FormatError)
    with pytest.raises(ReprostoreError):
        open_pack(tmp_path / "nothing.zip")


def test_the_command_tells_it_in_one_paragraph(members, tmp_path, capsys):
    path = archive_of(tmp_path / "a.zip", members, [("../evil", b"evil")])
    outcome = Repro(capsys)("unpack", path, "--to", tmp_path / "out")
    assert outcome.code == 2
    assert "'../evil'" in outcome.err
    assert "Traceback" not in outcome.err
    assert sorted(tmp_path.iterdir()) == [path]
