"""Packing while others write, or where nothing can be written: whole, or not there at all."""

import itertools
import sys

import numpy as np
import pytest
import xarray as xr
import zarr
from stores import add

from reprostore import layout
from reprostore.embed import EncoderHandle, RunVectors, embed_run
from reprostore.errors import DependencyError, IdentityError, SpecError, StorageError
from reprostore.sharing.pack import pack_store
from reprostore.sharing.packing import files as pack_files
from reprostore.sharing.packing.request import PackRequest
from reprostore.sharing.unpack import unpack
from reprostore.sharing.verify import verify_store
from reprostore.specs import EncoderSpec
from reprostore.store import create_store, open_store
from reprostore.store.files import FolderFiles
from reprostore.store.labelled import write_labelled
from reprostore.store.units import UnitWriter
from reprostore.testing.store import run_spec, write_units

VALUES = {"steps": (0, 1, 2), "batch_size": 2, "denoised": True}
PATH = "model/sampler/none"


@pytest.fixture(autouse=True)
def _small_units(monkeypatch):
    monkeypatch.setattr(layout, "UNIT_SEEDS", 4)


def grown(store, count, written=None):
    """Give the run so many seeds, and write them, or only some units."""
    run = add(store, run_spec(**VALUES), range(count))
    units = run.missing_units()
    write_units(run, store.start_session({}), units if written is None else units[:written])


def started(tmp_path, count=6):
    store = create_store(tmp_path / "s.zarr")
    grown(store, count)
    before = {n: store.run(PATH).array(n)[...] for n in ("sample", "denoised", "digest")}
    return store, before


def interrupted(store, target, moment, meanwhile):
    """Pack a store, and do something else when a number of files was packed."""
    calls = []

    def progress(name, done, total):
        calls.append(name)
        if len(calls) == moment:
            meanwhile()

    pack_store(store, target, progress=progress)
    assert len(calls) > moment
    return open_store(target)


def check(packed, before, seeds=6):
    assert verify_store(packed).damage == []
    run = packed.run(PATH)
    assert run.written()[1].tolist() == list(range(seeds))
    for name, values in before.items():
        np.testing.assert_array_equal(run.array(name)[...], values)


@pytest.mark.parametrize("moment", [1, 4, 10, 16, 24, 32])
def test_a_pack_made_while_seeds_are_added_is_whole(tmp_path, moment):
    store, before = started(tmp_path)
    # The last unit is written again, with new slots; another one is begun.
    packed = interrupted(store, tmp_path / "p.zip", moment, lambda: grown(store, 9, written=1))
    check(packed, before)


def test_a_pack_made_while_it_is_analyzed_is_whole_and_can_be_gone_on_with(tmp_path):
    store, before = started(tmp_path)
    pixel = EncoderHandle("pixel", EncoderSpec(kind="pixel"))
    embed_run(store, pixel, store.run(PATH))

    def more():
        grown(store, 17)
        embed_run(store, pixel, store.run(PATH))

    packed = interrupted(store, tmp_path / "p.zip", 5, more)
    check(packed, before)
    arrays = zarr.open_group(packed.zarr_store, path=f"embeddings/pixel/runs/{PATH}", mode="r")
    assert {name: array.shape[0] for name, array in arrays.members()} == {
        "vector": 6, "source_digest": 6,
    }  # fmt: skip
    folder = unpack(tmp_path / "p.zip", tmp_path / "out")["store"]
    ours = open_store(folder, "r+")
    more_of = RunVectors(ours, pixel, ours.run(PATH))
    assert more_of.missing(-1).tolist() == []
    np.testing.assert_array_equal(
        more_of.read(np.arange(6)),
        RunVectors(store, pixel, store.run(PATH)).read(np.arange(6)),
    )
    grown(ours, 17)
    assert verify_store(open_store(folder)).damage == []
    theirs = store.run(PATH).recorded("digest")
    np.testing.assert_array_equal(ours.run(PATH).recorded("digest"), theirs)


def interrupt(*arguments):
    raise KeyboardInterrupt


def test_units_that_are_being_written_are_left_out(tmp_path, monkeypatch):
    store = create_store(tmp_path / "s.zarr")
    run = add(store, run_spec(**VALUES), range(10))
    write_units(run, store.start_session({}), run.units()[1:2])
    folder = store.path / run.group / "sample" / "c"
    done = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    session = store.start_session({"host": "killed"})
    monkeypatch.setattr(UnitWriter, "finish", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_units(run, session, run.units()[:1])
    left = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert left > done
    made = pack_store(store, tmp_path / "p.zip")
    assert made["runs"][0]["seeds"] == "4-7"
    files = open_store(tmp_path / "p.zip").files
    place = f"{run.group}/sample/c/"
    assert {key.removeprefix(place) for key in files.walk(place.rstrip("/"))} == done
    assert files.folders("sessions") != []
    assert f"{session:016x}" not in files.folders("sessions")
    assert verify_store(open_store(tmp_path / "p.zip")).findings == []


def test_a_result_that_is_replaced_all_the_time_is_told(tmp_path, monkeypatch):
    store, _ = started(tmp_path)
    write_labelled(store.path, "results/answer/0", xr.Dataset({"x": ("y", [1.0])}))
    original = FolderFiles.read
    count = iter(range(10**6))

    def read(self, key, *part):
        content = original(self, key, *part)
        if key.startswith("results/") and key.endswith("0/zarr.json"):
            return content.replace(b"{", b"{ " + b" " * next(count), 1)
        return content

    monkeypatch.setattr(FolderFiles, "read", read)
    with pytest.raises(StorageError, match="is made again while it is packed"):
        pack_store(store, tmp_path / "p.zip")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.zarr", "s.zarr.lock"]


def test_a_pack_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    store, _ = started(tmp_path)
    original = pack_files.store_members

    def full(chosen):
        yield from itertools.islice(original(chosen), 20)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("reprostore.sharing.pack.store_members", full)
    for target, what in (("p.zip", "archive"), ("folder", "folder")):
        told = f"^The {what} {tmp_path / target} cannot be written: no space is left"
        with pytest.raises(StorageError, match=told):
            pack_store(store, tmp_path / target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.zarr", "s.zarr.lock"]


def test_what_is_not_in_a_pack_is_not_in_its_readme(tmp_path):
    store, _ = started(tmp_path, count=1)
    pack_store(store, tmp_path / "päck age")
    text = (tmp_path / "päck age" / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# s\n"), "the store's own name, where it has no title"
    assert "- Content: samples\n" in text
    assert "Samples of diffusion models: 1 sample in 1 run, " in text
    assert "| states after step |" in text
    assert (tmp_path / "päck age" / "p-ck-age.zarr").is_dir()
    embed_run(store, EncoderHandle("pixel", EncoderSpec(kind="pixel")), store.run(PATH))
    pack_store(store, tmp_path / "more")
    text = (tmp_path / "more" / "README.md").read_text(encoding="utf-8")
    assert "- Content: samples and vectors\n" in text


def test_pixels_are_allowed_only_where_images_are_withheld(tmp_path):
    store, _ = started(tmp_path)
    embed_run(store, EncoderHandle("pixel", EncoderSpec(kind="pixel")), store.run(PATH))
    with pytest.raises(SpecError, match="no images are withheld"):
        pack_store(store, tmp_path / "p.zip", PackRequest(allow_pixel=True))
    assert not (tmp_path / "p.zip").exists()
    pack_store(store, tmp_path / "p.zip", PackRequest(content="vectors", allow_pixel=True))


def test_nothing_is_replaced(tmp_path):
    store, _ = started(tmp_path / "lab")
    (tmp_path / "p.zip").write_text("mine")
    (tmp_path / "q").mkdir()
    (tmp_path / "q" / "mine").write_text("mine")
    for place in ("p.zip", "q"):
        with pytest.raises(IdentityError, match="nothing is ever replaced"):
            pack_store(store, tmp_path / place)
    with pytest.raises(SpecError, match="would lie in the store"):
        pack_store(store, store.path / "p.zip")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lab", "p.zip", "q"]
    assert [p.name for p in (tmp_path / "q").iterdir()] == ["mine"]


def test_without_rocrate_nothing_is_written(tmp_path, monkeypatch):
    store, _ = started(tmp_path / "lab")
    monkeypatch.setitem(sys.modules, "rocrate", None)
    with pytest.raises(DependencyError, match=r"reprostore\[share\]"):
        pack_store(store, tmp_path / "p.zip")
    assert [p.name for p in tmp_path.iterdir()] == ["lab"]
