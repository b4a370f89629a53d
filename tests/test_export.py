"""`repro export`: what other tools read is what the store holds, seed by seed."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from commands import contents
from exporting import ORDERED, RUN, expected, export, filled
from PIL import Image
from stores import add

from reprostore.embed import EncoderHandle, embed_run
from reprostore.errors import MissingDataError, SpecError
from reprostore.images import to_uint8
from reprostore.sharing.exporting import sources as export_sources
from reprostore.specs import EncoderSpec
from reprostore.store import open_store
from reprostore.testing.store import fake_states, run_spec, write_units


@pytest.mark.parametrize("subdirs", [False, True])
def test_png_files_are_named_by_seed_and_hold_the_rounded_samples(tmp_path, subdirs):
    store = filled(tmp_path)
    rows = export(store, tmp_path / "out", "png", subdirs=subdirs)
    folder = tmp_path / "out" / RUN
    assert rows == [
        {"kind": "run", "name": RUN, "format": "png", "path": str(folder), "count": 6, "new": 6}
    ]
    names = {
        False: ["000000", "000003", "000007", "000999", "001000", "001500"],
        True: ["000000/000000", "000000/000003", "000000/000007", "000000/000999",
               "001000/001000", "001000/001500"],
    }[subdirs]  # fmt: skip
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    assert [f.relative_to(folder).as_posix() for f in files] == [f"{name}.png" for name in names]
    for file, seed in zip(files, ORDERED, strict=True):
        with Image.open(file) as image:
            assert image.mode == "RGB"
            shown = np.asarray(image)
        # worked out apart from the library: (x + 1) * 127.5 to the nearest whole number
        values = expected(seed).astype(np.float64).transpose(1, 2, 0)
        assert np.abs((values + 1) * 127.5 - shown).max() <= 0.5 + 1e-4
        assert np.array_equal(shown, to_uint8(expected(seed)).transpose(1, 2, 0))


def test_grey_images_are_grey_files(tmp_path):
    store = filled(tmp_path, [5], sample_shape=(1, 4, 5), dtype="uint8", steps=(2,))
    export(store, tmp_path / "out", "png")
    with Image.open(tmp_path / "out" / RUN / "000005.png") as image:
        assert image.mode == "L"
        assert image.size == (5, 4)
        stored = expected(5, 0, shape=(1, 4, 5), dtype="uint8", steps=(2,))
        assert np.array_equal(np.asarray(image), stored[0])


def test_npz_is_that_of_guided_diffusion_in_the_order_of_seeds(tmp_path):
    store = filled(tmp_path)
    (row,) = export(store, tmp_path / "out", "npz")
    assert row["path"] == str(tmp_path / "out" / f"{RUN}.npz")
    with np.load(row["path"], allow_pickle=False) as arrays:
        assert arrays.files == ["arr_0", "seeds"]
        assert arrays["seeds"].dtype == np.int64
        assert arrays["seeds"].tolist() == ORDERED
        images = arrays["arr_0"]
    assert images.dtype == np.uint8
    assert images.flags.c_contiguous
    wanted = np.stack([to_uint8(expected(seed)).transpose(1, 2, 0) for seed in ORDERED])
    assert np.array_equal(images, wanted)
    with zipfile.ZipFile(row["path"]) as archive:  # its evaluator streams this member
        assert archive.infolist()[0].filename == "arr_0.npy"
        with archive.open("arr_0.npy") as member:
            assert np.lib.format.read_magic(member) == (1, 0)
            assert np.lib.format.read_array_header_1_0(member) == ((6, 4, 5, 3), False, np.uint8)
            assert member.read(60) == wanted[0].tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_npy_holds_the_stored_values(tmp_path, dtype):
    steps = (2,) if dtype == "uint8" else (0, 1, 2)
    store = filled(tmp_path, dtype=dtype, steps=steps)
    (row,) = export(store, tmp_path / "out", "npy")
    values = np.load(row["path"], allow_pickle=False)
    assert values.dtype == np.float32
    assert values.shape == (6, 3, 4, 5)
    stored = np.stack([expected(s, len(steps) - 1, dtype=dtype, steps=steps) for s in ORDERED])
    if dtype == "uint8":
        assert np.abs(values.astype(np.float64) - (stored / 127.5 - 1)).max() < 1e-6
        assert np.array_equal(to_uint8(values), stored)
    else:
        assert np.array_equal(values, stored.astype(np.float32))


def test_seeds_and_a_step_are_chosen(tmp_path):
    store = filled(tmp_path)
    (row,) = export(store, tmp_path / "out", "npy", seeds="999,0,3", step=1)
    values = np.load(row["path"])
    assert np.array_equal(values, np.stack([expected(seed, 1) for seed in (0, 3, 999)]))


def test_samples_that_are_no_images_are_exported_as_values_alone(tmp_path):
    values = {"kind": "trajectory", "sample_shape": (5, 2), "steps": (1,)}
    store = filled(tmp_path, [4, 2], **values)
    (row,) = export(store, tmp_path / "out", "npy")
    wanted = [fake_states(run_spec(**values), seed, 0)[0] for seed in (2, 4)]
    assert np.array_equal(np.load(row["path"]), np.stack(wanted))
    for form in ("png", "npz"):
        with pytest.raises(SpecError, match=r"no images.*--format npy"):
            export(store, tmp_path / "images", form)
    assert not (tmp_path / "images").exists()


def test_latents_of_four_channels_are_no_pictures(tmp_path):
    store = filled(tmp_path, [0], sample_shape=(4, 2, 2))
    with pytest.raises(SpecError, match="images of 4 channels"):
        export(store, tmp_path / "out", "png")
    assert export(store, tmp_path / "out", "npy")[0]["new"] == 1


def test_a_small_reading_buffer_gives_the_same_files(tmp_path, monkeypatch):
    """Blocks of two samples, in chunks of two slots, read out of order."""
    store = filled(tmp_path, list(np.random.default_rng(1).permutation(23)))
    for form in ("png", "npz", "npy"):
        export(store, tmp_path / "whole", form)
    monkeypatch.setattr(export_sources, "READ_BYTES", 2 * 3 * 4 * 5 * 4)
    for form in ("png", "npz", "npy"):
        export(store, tmp_path / "blocks", form)
    assert contents(tmp_path / "blocks") == contents(tmp_path / "whole")
    assert len(contents(tmp_path / "whole")) > 23


def test_vectors_are_those_in_the_store(tmp_path):
    store = filled(tmp_path)
    encoder = EncoderHandle("pixel", EncoderSpec(kind="pixel"))
    embed_run(store, encoder, store.run(RUN), rows=(0, 2))
    reading = open_store(store.path)
    (row,) = export(reading, tmp_path / "out", "vectors", encoder="pixel", seeds="7,1500,0")
    assert row["path"] == str(tmp_path / "out" / f"{RUN}.pixel.npz")
    with np.load(row["path"]) as arrays:
        assert arrays.files == ["features", "seeds"]
        assert arrays["seeds"].tolist() == [0, 7, 1500]
        features = arrays["features"]
    assert features.dtype == np.float32
    for seed, vector in zip([0, 7, 1500], features, strict=True):
        pixels = to_uint8(expected(seed)).astype(np.float64).ravel()
        centred = pixels - pixels.mean()
        cosine = vector @ centred / np.linalg.norm(vector) / np.linalg.norm(centred)
        assert cosine == pytest.approx(1, abs=1e-6)
    with pytest.raises(MissingDataError, match=r"no vectors of the encoder 'pixel'.*step 1"):
        export(reading, tmp_path / "out", "vectors", encoder="pixel", step=1)
    with pytest.raises(MissingDataError, match=r"no vectors of the encoder 'sscd'.*: pixel"):
        export(reading, tmp_path / "out", "vectors", encoder="sscd")


def test_vectors_of_samples_that_were_added_since_are_missed(tmp_path):
    store = filled(tmp_path, [0, 1])
    embed_run(store, EncoderHandle("pixel", EncoderSpec(kind="pixel")), store.run(RUN))
    write_units(add(store, run_spec(sample_shape=(3, 4, 5)), [2, 3]), store.start_session({}))
    with pytest.raises(MissingDataError, match="seeds 2-3 of the run"):
        export(store, tmp_path / "out", "vectors", encoder="pixel")
    assert export(store, tmp_path / "out", "vectors", encoder="pixel", seeds="0-1")[0]["new"] == 2


def test_withheld_samples_have_vectors_alone(tmp_path):
    """As in a store whose images were not given away: arrays of samples removed, run marked."""
    store = filled(tmp_path)
    embed_run(store, EncoderHandle("pixel", EncoderSpec(kind="pixel")), store.run(RUN))
    export(store, tmp_path / "before", "vectors", encoder="pixel")
    group = store.path / "runs" / RUN
    shutil.rmtree(group / "sample")
    metadata = json.loads((group / "zarr.json").read_text())
    metadata["attributes"]["withheld"] = True
    (group / "zarr.json").write_text(json.dumps(metadata))
    withheld = open_store(store.path)
    for form in ("png", "npz", "npy"):
        with pytest.raises(MissingDataError, match="withheld"):
            export(withheld, tmp_path / "out", form)
    assert not (tmp_path / "out").exists()
    export(withheld, tmp_path / "after", "vectors", encoder="pixel")
    assert contents(tmp_path / "after") == contents(tmp_path / "before")


def test_the_record_says_where_files_come_from(tmp_path):
    from reprostore.canonical import fingerprint

    store = filled(tmp_path)
    export(store, tmp_path / "out", "npz", seeds="0,3,7")
    record = json.loads((tmp_path / "out" / f"{RUN}.npz.json").read_text())
    run = store.run(RUN)
    digests = dict(zip(run.seeds.tolist(), run.recorded("digest").tolist(), strict=True))
    assert record["run"] == RUN
    assert record["fingerprint"] == run.spec.fingerprint
    assert record["seeds"] == "0,3,7"
    assert record["samples"] == fingerprint([[0, 3, 7], [digests[s] for s in (0, 3, 7)]])
    assert record["store"]["license"] == "CC0-1.0"
    assert record["store"]["creators"] == ["A", "B"]
    assert list(record["sha256"]) == ["none.npz"]
    export(store, tmp_path / "out", "png")
    # beside the folder, since dgm-eval takes every name in it for an image or a class
    assert (tmp_path / "out" / f"{RUN}.json").is_file()
    assert {f.suffix for f in (tmp_path / "out" / RUN).iterdir()} == {".png"}
