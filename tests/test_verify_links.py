"""Stores of which a part lies elsewhere, behind a link: readers follow it, and so does checking."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from packing import pack
from stores import content
from verifying import RUN, flip, found, make_run, missing, notes, repair

from reprostore.errors import FormatError, StorageError
from reprostore.sharing.verify import verify_store
from reprostore.store import open_store
from reprostore.store.files import FolderFiles
from reprostore.store.groups import remove_group, staged_group

MODEL = RUN.rpartition("/")[0].rpartition("/")[0]


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run") / "store.zarr")


@pytest.fixture
def path(intact, tmp_path):
    return shutil.copytree(intact, tmp_path / "store.zarr")


def put_elsewhere(path, part):
    """Move a part of a store out of it, and link it."""
    elsewhere = path.parent / "elsewhere"
    (path / part).rename(elsewhere)
    (path / part).symlink_to(elsewhere)
    return elsewhere


@pytest.mark.parametrize("part", ["runs", MODEL, RUN, f"{RUN}/sample", f"{RUN}/sample/c"])
def test_damage_behind_a_link_is_told_by_seeds(path, part):
    whole = verify_store(open_store(path)).counts()
    elsewhere = put_elsewhere(path, part)
    assert verify_store(open_store(path)).counts() == whole
    assert found(path) == []
    assert notes(path) == []
    shard = path / RUN / "sample" / "c" / "1" / "0" / "0" / "0" / "0"
    assert elsewhere in shard.resolve().parents
    flip(shard, 3)
    assert found(path) == [("checksum", f"{RUN}/sample", "20-21", "0")]


def test_a_pack_of_a_linked_store_is_that_of_the_store(path, tmp_path):
    before, after = tmp_path / "a" / "pack.zip", tmp_path / "b" / "pack.zip"
    for target in (before, after):
        target.parent.mkdir()
        pack(open_store(path), target)
        if target is before:
            put_elsewhere(path, MODEL)
    assert before.read_bytes() == after.read_bytes()


@pytest.mark.parametrize(
    ("to", "place"),
    [("..", "runs/again"), (".", "runs/again"), ("../..", "runs/again/store.zarr/runs/again")],
)
def test_a_link_that_leads_back_ends_and_is_told(path, to, place):
    (path / "runs" / "again").symlink_to(to)
    assert ("file", place, None, None) in found(path)


def test_two_links_that_lead_to_each_other(path):
    keys = [*FolderFiles(path).walk("runs")]
    (path / "runs" / "one").symlink_to("two")
    (path / "runs" / "two").symlink_to("one")
    assert sorted({*FolderFiles(path).walk("runs")} - {*keys}) == ["runs/one", "runs/two"]
    assert found(path) == [("file", "runs/one", None, None), ("file", "runs/two", None, None)]


@pytest.mark.parametrize("part", [MODEL, f"{RUN}/sample", f"{RUN}/status/c", f"{RUN}/digest/c/0"])
def test_what_is_not_there_for_the_moment_is_told_and_not_repaired(path, part):
    elsewhere = put_elsewhere(path, part)
    away = elsewhere.rename(path.parent / "away")
    told = verify_store(open_store(path)).damage
    assert any(part.removesuffix("/c/0") in finding.place for finding in told)
    assert any("leads nowhere" in finding.what for finding in told)
    assert repair(path) != []
    away.rename(elsewhere)
    assert found(path) == []
    assert missing(path) == []


def test_files_are_named_in_the_order_of_their_names(path):
    put_elsewhere(path, f"{RUN}/sample")
    keys = [*FolderFiles(path).walk()]
    expected = []
    for parent, _, names in os.walk(path, followlinks=True):
        expected += [(Path(parent) / name).relative_to(path).as_posix() for name in names]
    assert keys == sorted(expected)


def add_group(path):
    with staged_group(path, "runs/new/s/none"):
        pass


def remove_model(path):
    remove_group(path, MODEL)


@pytest.mark.parametrize("action", [add_group, remove_model])
def test_a_part_on_another_file_system_is_no_place_to_move_to(path, monkeypatch, action):
    elsewhere = put_elsewhere(path, "runs")
    rename = Path.rename

    def refusing(self, target):
        ends = [Path(end).parent.resolve() for end in (self, target)]
        if len({elsewhere in (end, *end.parents) for end in ends}) == 2:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(self), None, str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refusing)
    before = [*FolderFiles(path).walk()]
    with pytest.raises(StorageError, match=r"another file system \(.*/store\.zarr/runs/") as told:
        action(path)
    assert str(told.value).count(". ") == 2
    assert [*FolderFiles(path).walk()] == before
    open_store(path, mode="r+")  # sweeps
    assert [*FolderFiles(path).walk()] == before


def test_links_without_a_circle_make_no_more_paths_than_there_are_links(path):
    """Each of 30 folders links the next one twice: there are 2^30 ways to the last."""
    folders = [path.parent / "elsewhere" / f"f{number}" for number in range(31)]
    for folder, following in zip(folders, [*folders[1:], None], strict=True):
        folder.mkdir(parents=True)
        for name in "ab" if following else ():
            (folder / name).symlink_to(following)
    (folders[-1] / "file").touch()
    keys = {*FolderFiles(path).walk()}
    (path / "runs" / "link").symlink_to(folders[0])
    added = {*FolderFiles(path).walk()} - keys
    assert len(added) == 31
    assert sum(key.endswith("/file") for key in added) == 1
    assert any(
        "that a link before it leads to" in f.what for f in verify_store(open_store(path)).damage
    )


def test_two_links_to_one_folder_are_both_followed(path):
    (path / "runs" / "again").symlink_to(path / MODEL)
    keys = [*FolderFiles(path).walk()]
    assert len([key for key in keys if key.startswith("runs/again/")]) == len(
        [key for key in keys if key.startswith(f"{MODEL}/")]
    )


@pytest.mark.parametrize("folder", [MODEL, RUN, f"{RUN}/sample", "runs", "sessions"])
def test_a_folder_that_is_not_listed_is_told_and_the_rest_checked(path, monkeypatch, folder):
    (path / "datasets" / "d").mkdir(parents=True)
    shutil.copy(path / "runs" / "zarr.json", path / "datasets")
    shutil.copy(path / "runs" / "zarr.json", path / "datasets" / "d")
    scandir = os.scandir

    def refusing(place):
        if Path(place) == path / folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
        return scandir(place)

    before = content(path)
    monkeypatch.setattr(os, "scandir", refusing)
    told = verify_store(open_store(path)).damage
    assert [f.what for f in told if f.place == folder] == [f"The folder {folder} cannot be listed."]
    assert "datasets/d" in {finding.place for finding in told}
    assert {finding.mending for finding in told} == {None}
    repair(path)
    monkeypatch.undo()
    assert content(path) == before


def test_a_store_whose_own_metadata_are_away(path):
    (path / "zarr.json").rename(path.parent / "away")
    (path / "zarr.json").symlink_to("nowhere")
    with pytest.raises(FormatError, match=r"the link zarr\.json leads nowhere\. .* Bring back"):
        open_store(path)
