"""A store in one archive reads as its folder does."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore

import reprostore as rs
from reprostore.contents import store_contents
from reprostore.errors import CorruptionError, FormatError, MissingDataError, StorageError
from reprostore.ingest import StoredDataset
from reprostore.store.archive import zarr_store
from reprostore.store.creation import create_run
from reprostore.store.files import run_folders, store_files
from reprostore.testing.store import run_spec, step_table, write_units

FORMAT1 = Path(__file__).parent / "data" / "format1.zarr"


def zipped(folder: Path, archive: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(archive, "w", compression) as made:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                made.write(file, file.relative_to(folder).as_posix())
    return archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    return zipped(FORMAT1, tmp_path_factory.mktemp("archive") / "store.zip")


def test_files_of_archive_and_folder_are_the_same(archive):
    folder, packed = store_files(FORMAT1), store_files(archive)
    keys = list(folder.walk())
    assert list(packed.walk()) == keys
    assert list(packed.walk("runs")) == list(folder.walk("runs"))
    for key in keys:
        assert packed.read(key) == (FORMAT1 / key).read_bytes()
        assert packed.size(key) == folder.size(key)
        assert packed.read(key, 3, 7) == folder.read(key, 3, 7) == packed.read(key)[3:7]
        beyond = packed.size(key) + 5
        assert packed.read(key, beyond) == folder.read(key, beyond) == b""
    for key in ("", "runs", "datasets", "runs/alpha", "nothing"):
        assert packed.folders(key) == folder.folders(key)
        assert packed.exists(key) == folder.exists(key)
    assert packed.size("runs") is folder.size("runs") is None
    assert run_folders(packed, "runs") == run_folders(folder, "runs")
    for files in (folder, packed):
        with pytest.raises(FileNotFoundError):
            files.read("runs/nothing")


async def _bytes(store, key, part):
    buffer = await store.get(key, default_buffer_prototype(), part)
    return None if buffer is None else buffer.to_bytes()


@pytest.mark.parametrize(
    "part",
    [
        None,
        RangeByteRequest(2, 9),
        OffsetByteRequest(5),
        SuffixByteRequest(4),
        SuffixByteRequest(10**6),
    ],
)
def test_zarr_reads_the_same_bytes_of_both(archive, part):
    import asyncio

    async def compare():
        ours, local = zarr_store(archive), LocalStore(FORMAT1)
        for key in ("zarr.json", "runs/beta/all/none/sample/zarr.json", "nothing"):
            assert await _bytes(ours, key, part) == await _bytes(local, key, part)
        for prefix in ("", "runs", "runs/beta"):
            listed = {name async for name in ours.list_dir(prefix)}
            assert listed == {name async for name in local.list_dir(prefix)}

    asyncio.run(compare())


def test_a_packed_store_has_the_values_of_its_folder(archive):
    folder, packed = rs.open_store(FORMAT1), rs.open_store(archive)
    assert packed.attributes == folder.attributes
    assert packed.run_paths() == folder.run_paths()
    assert store_contents(packed) == store_contents(folder)
    for path in folder.run_paths():
        if not len(folder.run(path).written()[0]):
            continue
        model, sampler, _ = path.split("/")
        ours, theirs = (s.samples(models=[model], samplers=[sampler]) for s in (packed, folder))
        xr.testing.assert_identical(ours.compute(), theirs.compute())
        assert (packed.run(path).recorded("digest") == folder.run(path).recorded("digest")).all()
    name = folder.files.folders("datasets")[0]
    items, same = StoredDataset(packed, name), StoredDataset(folder, name)
    assert (items.read(slice(None)) == same.read(slice(None))).all()


def test_zarr_and_xarray_read_the_archive_without_us(archive):
    store = zarr.storage.ZipStore(archive, mode="r")
    tree = xr.open_datatree(store, engine="zarr", chunks={}, consolidated=False)
    expected = xr.open_datatree(FORMAT1, engine="zarr", chunks={}, consolidated=False)
    run = next(path for path in rs.open_store(FORMAT1).run_paths() if path.startswith("beta/all"))
    got, want = (np.asarray(t[f"runs/{run}"]["sample"]) for t in (tree, expected))
    np.testing.assert_array_equal(got, want)


def test_a_packed_store_is_not_written(archive):
    with pytest.raises(StorageError, match="repro unpack"):
        rs.open_store(archive, mode="r+")
    with pytest.raises(ValueError, match="read-only"):
        zarr.open_group(zarr_store(archive), mode="r+").create_group("new")


def test_what_is_no_archive_or_compressed_is_refused(tmp_path):
    junk = tmp_path / "junk.zip"
    junk.write_bytes(b"PK no archive")
    with pytest.raises(FormatError, match="zip archive"):
        rs.open_store(junk)
    with pytest.raises(FormatError, match="compressed"):
        rs.open_store(zipped(FORMAT1, tmp_path / "small.zip", zipfile.ZIP_DEFLATED))


def test_damage_in_an_archive_is_an_error(tmp_path, archive):
    run = rs.open_store(archive).run("beta/all/none")
    key = next(k for k in store_files(archive).walk("runs/beta/all/none/sample/c"))
    content = bytearray(archive.read_bytes())
    at = content.index(store_files(archive).read(key))
    content[at + 20] ^= 1
    broken = tmp_path / "broken.zip"
    broken.write_bytes(content)
    seed = int(run.written()[1][0])
    with pytest.raises(CorruptionError, match="beta/all/none"):
        rs.open_store(broken).samples("beta", "all")["sample"].sel(seed=seed).compute()


def test_archives_survive_pickling(archive):
    store = pickle.loads(pickle.dumps(zarr_store(archive)))
    assert zarr.open_group(store, mode="r").attrs.asdict()["reprostore"]["format"] == 1


def test_withheld_samples_are_told(tmp_path):
    store = rs.create_store(tmp_path / "s.zarr")
    spec = run_spec()
    create_run(store.path, spec, step_table(spec), [0, 1])
    full = store.run(spec.path)
    write_units(full, store.start_session({}))
    other = run_spec(model="other")
    create_run(store.path, other, step_table(other), [0, 1], withheld=True)
    run = store.run(other.path)
    assert run.withheld
    assert not full.withheld
    xr.open_datatree(store.path, engine="zarr", chunks={}, consolidated=False)
    run.array("status")[...] = np.ones(2, np.uint8)
    with pytest.raises(MissingDataError, match="withheld"):
        store.samples(models="other")["sample"].compute()
    assert store_contents(store)[1]["written"] == 2
    with pytest.raises(MissingDataError, match="withheld"):
        store.add_run(other, step_table(other), [2])
    assert run.seeds.tolist() == [0, 1]
