"""An export that is repeated, stopped, or asked to go where something else is."""

import errno
import itertools
import json
import shutil
from pathlib import Path
from unittest import mock

import pytest
from commands import contents
from exporting import RUN, export, filled
from PIL import Image
from stores import add

from reprostore.errors import (
    CorruptionError,
    IdentityError,
    MissingDataError,
    ReprostoreError,
    SpecError,
    StorageError,
)
from reprostore.sharing.exporting.runs import matching_runs, named_runs
from reprostore.specs import Subset
from reprostore.testing.faults import killed_after
from reprostore.testing.store import run_spec, write_units


@pytest.mark.parametrize("form", ["png", "npz", "npy"])
def test_a_repetition_changes_nothing(tmp_path, form):
    store = filled(tmp_path)
    export(store, tmp_path / "out", form)
    files = [f for f in (tmp_path / "out").rglob("*") if f.is_file()]
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}
    assert [row["new"] for row in export(store, tmp_path / "out", form)] == [0]
    assert {f for f in (tmp_path / "out").rglob("*") if f.is_file()} == set(files)
    assert {f: (f.read_bytes(), f.stat().st_mtime_ns) for f in files} == before


def test_pictures_that_are_missing_are_written_and_the_others_kept(tmp_path):
    store = filled(tmp_path)
    export(store, tmp_path / "out", "png")
    whole = contents(tmp_path / "out")
    folder = tmp_path / "out" / RUN
    (folder / "000007.png").unlink()
    (folder / "000999.png").rename(folder / "000999.png.partial")  # as a killed process leaves it
    (tmp_path / "out" / f"{RUN}.json").unlink()
    kept = (folder / "000003.png").stat().st_mtime_ns
    assert [row["new"] for row in export(store, tmp_path / "out", "png")] == [2]
    assert contents(tmp_path / "out") == whole
    assert (folder / "000003.png").stat().st_mtime_ns == kept


def test_a_run_that_grew_adds_its_pictures(tmp_path):
    store = filled(tmp_path, [0, 1])
    export(store, tmp_path / "out", "png")
    write_units(add(store, run_spec(sample_shape=(3, 4, 5)), [2]), store.start_session({}))
    assert [row["new"] for row in export(store, tmp_path / "out", "png")] == [1]
    assert json.loads((tmp_path / "out" / f"{RUN}.json").read_text())["seeds"] == "0-2"


def spoil(folder, how):
    """Put something in the way of an export to a folder, and return the format it hinders."""
    run = folder / RUN
    if how == "another file":
        (run / "notes.txt").write_text("mine")
    elif how == "another seed":
        Image.new("RGB", (5, 4)).save(run / "000123.png")
    elif how == "another picture":
        Image.new("RGB", (5, 4)).save(run / "000003.png")
    elif how == "a grey picture":
        with Image.open(run / "000003.png") as image:
            image.convert("L").save(run / "000003.png")
    elif how == "no picture":
        (run / "000003.png").write_bytes(b"\x89PNG")
    elif how == "another record":
        (folder / f"{RUN}.json").write_text('{"mine": 1}')
    elif how == "a changed npz":
        with (folder / f"{RUN}.npz").open("ab") as file:
            file.write(b"x")
        return "npz"
    elif how == "an npz without record":
        (folder / f"{RUN}.npz.json").unlink()
        return "npz"
    return "png"


@pytest.mark.parametrize(
    "how",
    [
        "another file", "another seed", "another picture", "a grey picture", "no picture",
        "another record", "a changed npz", "an npz without record",
    ],
)  # fmt: skip
def test_nothing_else_is_ever_replaced(tmp_path, how):
    store = filled(tmp_path)
    for form in ("png", "npz"):
        export(store, tmp_path / "out", form)
    form = spoil(tmp_path / "out", how)
    before = contents(tmp_path / "out")
    with pytest.raises(IdentityError, match="Export to another folder"):
        export(store, tmp_path / "out", form)
    assert contents(tmp_path / "out") == before


def test_another_export_of_the_same_name_is_refused_before_anything_is_written(tmp_path):
    store = filled(tmp_path)
    other = run_spec("other", sample_shape=(3, 4, 5))
    write_units(add(store, other, [0]), store.start_session({}))
    export(store, tmp_path / "out", "npz")
    before = contents(tmp_path / "out")
    for values in ({"seeds": "0"}, {"step": 1, "seeds": "0"}):
        with pytest.raises(IdentityError, match="is there already, and is not this export"):
            export(store, tmp_path / "out", "npz", ["other/sampler/none", RUN], **values)
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("form", ["png", "npz"])
def test_a_kill_at_any_moment_leaves_whole_files_and_is_taken_up(tmp_path, form):
    store = filled(tmp_path, [0, 1, 2])
    export(store, tmp_path / "whole", form)
    whole = contents(tmp_path / "whole")
    for changes in itertools.count():
        with killed_after(tmp_path / "out", changes) as fault:
            export(store, tmp_path / "out", form)
        if not fault.killed:
            break
        left = contents(tmp_path / "out") if (tmp_path / "out").exists() else {}
        finished = {name: d for name, d in left.items() if not name.endswith((".partial", ".lock"))}
        assert finished.items() <= whole.items()
        export(store, tmp_path / "out", form)
        assert contents(tmp_path / "out") == whole
        shutil.rmtree(tmp_path / "out")
    assert changes > 5


@pytest.mark.parametrize(
    ("form", "values", "match"),
    [
        ("gif", {}, "'gif' is no format.*png, npz, npy, vectors"),
        ("vectors", {}, "needs an encoder"),
        ("png", {"encoder": "pixel"}, "An encoder is named"),
        ("npz", {"subdirs": True}, "--subdirs"),
        ("png", {"runs": ()}, "Nothing is named"),
        ("png", {"seeds": "1,3-2"}, "runs backwards"),
        ("png", {"seeds": "0-2"}, "no samples of the seeds 1-2.*Written are 0,3,7,999-1000,1500"),
        ("png", {"step": 5}, "no states of step 5.*0-2"),
        ("png", {"runs": ("a/b/c",)}, "no run a/b/c"),
        ("png", {"datasets": [Subset(dataset="d")]}, "no dataset 'd'"),
        ("png", {"runs": (), "datasets": [Subset(dataset="d")], "seeds": "0"}, "no run"),
    ],
)
def test_wrong_requests_write_nothing(tmp_path, form, values, match):
    store = filled(tmp_path)
    with pytest.raises(ReprostoreError, match=match):
        export(store, tmp_path / "out", form, **values)
    assert not (tmp_path / "out").exists()


def test_places_that_cannot_be_are_refused(tmp_path):
    store = filled(tmp_path)
    before = contents(store.path)
    with pytest.raises(SpecError, match="would lie in the store"):
        export(store, store.path / "out", "png")
    assert contents(store.path) == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(IdentityError, match="is a file, and no folder"):
        export(store, tmp_path / "file", "png")
    with pytest.raises(IdentityError, match="is a file, and no folder"):
        export(store, tmp_path / "file" / "below", "npz")


def test_runs_are_chosen_by_model_and_sampler(tmp_path):
    store = filled(tmp_path, [0])
    for model, sampler in (("model", "other"), ("net", "sampler")):
        spec = run_spec(model, sampler)
        write_units(add(store, spec, [0]), store.start_session({}))
    assert matching_runs(store, ["model"], []) == ["model/other/none", RUN]
    assert matching_runs(store, [], ["sampler"]) == [RUN, "net/sampler/none"]
    assert matching_runs(store, ["net"], ["other"]) == []
    with pytest.raises(MissingDataError, match=r"The sampler 'x' has no run.*other, sampler"):
        matching_runs(store, [], ["x"])
    assert named_runs(store, ["net/*", "model/*", "*/sampler/none"]) == [
        "net/sampler/none",
        "model/other/none",
        RUN,
    ]
    with pytest.raises(MissingDataError, match=r"has no run x/\*\. Its runs are model/other"):
        named_runs(store, [RUN, "x/*"])


@pytest.mark.parametrize("form", ["png", "npz"])
def test_an_export_of_damaged_samples_leaves_nothing(tmp_path, form):
    store = filled(tmp_path)
    shards = (store.path / "runs" / RUN / "sample" / "c").rglob("*")
    shard = next(path for path in shards if path.is_file())
    shard.write_bytes(shard.read_bytes()[:-100])
    (tmp_path / "out").mkdir()
    with pytest.raises(CorruptionError):
        export(store, tmp_path / "out", form)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(("form", "place"), [("png", f"folder .*{RUN}"), ("npz", r"file .*\.npz")])
def test_a_full_disk_is_told_by_the_place_that_is_written(tmp_path, monkeypatch, form, place):
    store = filled(tmp_path)
    full = OSError(errno.ENOSPC, "No space left on device")
    written = mock.Mock(side_effect=full)
    monkeypatch.setattr(Path, "write_bytes", written)
    monkeypatch.setattr("reprostore.sharing.exporting.arrays._write_npz", written)
    with pytest.raises(StorageError, match=f"^The {place} cannot be written: no space is left"):
        export(store, tmp_path / "out", form)
    assert not (tmp_path / "out").exists()
