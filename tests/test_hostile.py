"""Archives from anybody: nothing is written outside of the folder, whatever members they name."""

import json
import os
import stat
import struct
import zipfile

import pytest
from hostile_packs import README, archive_of, info, listed, refused, small_pack

from reprostore.errors import FormatError, ReprostoreError
from reprostore.sharing.archives.reading import MANIFEST

LINK, DEVICE, PIPE = (kind | 0o644 for kind in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO))


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    return small_pack(tmp_path_factory.mktemp("pack"))


NAMES = [
    "../evil", "../../evil", "p.zarr/../../evil", "/tmp/evil-of-a-pack", "//server/evil", "C:/evil",
    "C:evil", "..\\evil", "p.zarr\\evil", "a//b", "./README.md", "p.zarr/.", "p.zarr/..", "",
    "evil\n.md", "p.zarr/runs/ev\u202eil", "CON:", "p.zarr/runs/trailing.", "p.zarr/zarr.json ",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_out_are_refused(members, tmp_path, name):
    for number, content in enumerate((members, listed(members, name, b"evil"))):
        path = archive_of(tmp_path / f"{number}.zip", content, [(info(name or "x"), b"evil")])
        if not name:
            path.write_bytes(path.read_bytes().replace(b"\1\0\0\0x", b"\0\0\0\0x"))
        refused(tmp_path, path, ReprostoreError)
        assert not os.path.lexists("/tmp/evil-of-a-pack")


@pytest.mark.parametrize(
    "name",
    ["evil.sh", ".bashrc", "p.zarr/evil.py", "p.zarr/runs/__init__.py", "q.zarr/zarr.json",
     "p.zarr/other/zarr.json", "p.zarr/runs/-rf/zarr.json", "p.zarr.lock/root.lock",
     "p.zarr/runs/.hidden/zarr.json", "p.zarr/runs/a/c/0/x", "p.zarr/c/0/" + "9" * 30],
)  # fmt: skip
def test_files_that_no_store_has_are_refused_even_where_the_manifest_names_them(
    members, tmp_path, name
):
    content = listed(members, name, b"evil") | {name: b"evil"}
    refused(tmp_path, archive_of(tmp_path / "a.zip", content), FormatError, "which no pack has")


@pytest.mark.parametrize("mode", [LINK, DEVICE, PIPE, stat.S_IFSOCK | 0o644])
@pytest.mark.parametrize("name", [README, "p.zarr/runs/link"])
def test_links_and_devices_are_refused(members, tmp_path, mode, name):
    content = {key: value for key, value in members.items() if key != name}
    content = listed(content, name, b"/etc/passwd")
    path = archive_of(tmp_path / "a.zip", content, [(info(name, mode), b"/etc/passwd")])
    refused(tmp_path, path, FormatError, "is a link or a device")


def test_a_name_that_stands_twice_is_refused(members, tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = archive_of(tmp_path / "a.zip", members, [(README, b"other")])
    refused(tmp_path, path, FormatError, "is there twice")
    pairs = json.dumps({"reprostore_pack": 1})[:-1] + ', "files": {"a": 1, "a": 2}}'
    path = archive_of(tmp_path / "b.zip", members | {MANIFEST: pairs.encode()})
    refused(tmp_path, path, FormatError, "cannot be read")


def test_two_files_in_one_place_are_refused(members, tmp_path):
    below = {"p.zarr/runs/c": b"file", "p.zarr/runs/c/0": b"chunk"}
    content = members | below
    for name, held in below.items():
        content = listed(content, name, held)
    refused(tmp_path, archive_of(tmp_path / "a.zip", content), FormatError, "another file")


def test_compressed_and_encrypted_members_are_refused(members, tmp_path):
    bomb = b"\0" * 2**22
    content = listed(members, "p.zarr/runs/c/0", bomb)
    packed = info("p.zarr/runs/c/0", compress_type=zipfile.ZIP_DEFLATED)
    path = archive_of(tmp_path / "a.zip", content, [(packed, bomb)])
    assert path.stat().st_size < 2**16
    refused(tmp_path, path, FormatError, "is compressed")
    content = bytearray(archive_of(tmp_path / "b.zip", members).read_bytes())
    at = content.index(b"PK\1\2")
    content[at + 8] |= 1
    (tmp_path / "b.zip").write_bytes(content)
    refused(tmp_path, tmp_path / "b.zip", FormatError, "is encrypted")


def test_a_bomb_of_members_that_share_their_bytes_is_refused(members, tmp_path):
    """Members that all point to the same bytes: small on disk, large unpacked."""
    bomb, count = b"\0" * 2**16, 64
    path = tmp_path / "a.zip"
    archive_of(path, members, [(f"p.zarr/runs/c/{n}", b"") for n in range(count)] + [
        ("p.zarr/runs/c/64", bomb)])  # fmt: skip
    with zipfile.ZipFile(path) as archive:
        target = archive.getinfo("p.zarr/runs/c/64")
        crc, offset = target.CRC, target.header_offset
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\1\2")
    for _ in range(len(members) + count):
        name, extra, comment = struct.unpack_from("<HHH", content, at + 28)
        if content[at + 46 : at + 46 + name].startswith(b"p.zarr/runs/c/"):
            struct.pack_into("<III", content, at + 16, crc, len(bomb), len(bomb))
            struct.pack_into("<I", content, at + 42, offset)
        at += 46 + name + extra + comment
    path.write_bytes(content)
    refused(tmp_path, path, FormatError, "claim")


@pytest.mark.parametrize("field", ["file", "both"])
def test_a_member_that_says_it_is_smaller_than_it_is(members, tmp_path, field):
    content = bytearray(archive_of(tmp_path / "a.zip", members).read_bytes())
    at = content.index(b"PK\1\2")
    struct.pack_into("<I", content, at + 24, 3)
    if field == "both":
        struct.pack_into("<I", content, at + 20, 3)
    (tmp_path / "a.zip").write_bytes(content)
    refused(tmp_path, tmp_path / "a.zip", ReprostoreError)
