"""Dataset sources: what is read is what was written, and what cannot be read says why."""

import io
import json
import re
import struct
import sys
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
import zarr
from PIL import Image

from reprostore.datasets import items as items_module
from reprostore.datasets.sources import open_source, permutation
from reprostore.errors import DatasetError, DependencyError, NotFoundError, SpecError
from reprostore.specs import DatasetSpec

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (7, 5, 6), dtype=np.uint8)
COLOR = RNG.integers(0, 256, (7, 5, 6, 3), dtype=np.uint8)
FLOATS = RNG.uniform(-1, 1, (7, 3, 5, 6)).astype(np.float32)


def opened(base, source, **options):
    return open_source("faces", DatasetSpec(source=source, **options), base)


def read(source, rows=3):
    return np.concatenate(list(source.blocks(rows)))


def saved(base, array, name="x.npy"):
    np.save(base / name, array)
    return name


# Order


def test_permutation_of_raw_outputs_is_frozen():
    # PCG64(0).random_raw(5): 11749869230777074271, 4976686463289251617, 755828109848996024,
    # 304881062738325533, 15002187965291974971; NumPy promises never to change these.
    np.testing.assert_array_equal(permutation(5, 0), [3, 2, 1, 0, 4])


def test_permutation_without_seed_is_the_source_order():
    np.testing.assert_array_equal(permutation(4, None), [0, 1, 2, 3])


def test_permutation_is_one_and_depends_on_the_seed():
    assert sorted(permutation(1000, 1)) == list(range(1000))
    assert not np.array_equal(permutation(1000, 1), permutation(1000, 2))


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
@pytest.mark.parametrize("gather_bytes", [1, 200, 2**28])
def test_shuffled_zarr_array_does_not_depend_on_blocks(tmp_path, monkeypatch, rows, gather_bytes):
    monkeypatch.setattr("reprostore.datasets.arrays.GATHER_BYTES", gather_bytes)
    array = zarr.create_array(tmp_path / "x.zarr", shape=GREY.shape, chunks=(2, 5, 6), dtype="u1")
    array[:] = GREY
    source = opened(tmp_path, "x.zarr", shuffle=3)
    blocks = list(source.blocks(rows))
    assert [len(block) for block in blocks[:-1]] == [rows] * (len(blocks) - 1)
    np.testing.assert_array_equal(np.concatenate(blocks)[:, 0], GREY[permutation(7, 3)])


def test_shuffled_labels_follow_their_items(tmp_path):
    saved(tmp_path, np.arange(7, dtype=np.int32) * 10, "labels.npy")
    images = np.arange(7, dtype=np.uint8)[:, None, None] * np.ones((1, 5, 6), dtype=np.uint8)
    source = opened(tmp_path, saved(tmp_path, images), labels="labels.npy", shuffle=1)
    assert source.labels.dtype == np.int64
    np.testing.assert_array_equal(read(source)[:, 0, 0, 0] * 10, source.labels)
    np.testing.assert_array_equal(source.labels, permutation(7, 1) * 10)


# scikit-learn and torchvision


def test_sklearn_digits():
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    source = opened(None, "sklearn:digits")
    assert (source.length, source.item_dims, source.item_shape, source.dtype) == (
        1797,
        ("channel", "y", "x"),
        (1, 8, 8),
        np.float32,
    )
    items = read(source, 500)
    assert items.dtype == np.float32
    np.testing.assert_array_equal(items[:, 0], digits.images / 8 - 1)
    np.testing.assert_array_equal(source.labels, digits.target)
    assert source.provenance["scikit-learn"] == sys.modules["sklearn"].__version__


def test_other_sklearn_datasets_are_refused(tmp_path):
    with pytest.raises(SpecError, match=r"dataset 'iris'.*one image dataset.*sklearn:digits"):
        opened(tmp_path, "sklearn:iris")


@pytest.mark.parametrize(
    ("package", "source", "extra"),
    [
        ("sklearn", "sklearn:digits", "examples"),
        ("torchvision", "torchvision:MNIST:x", "perceptual"),
        ("PIL", "images", "images"),
    ],
)
def test_missing_package_names_the_extra(tmp_path, monkeypatch, package, source, extra):
    image(tmp_path / "images" / "a.png", GREY[0])
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DependencyError, match=rf"not installed.*reprostore\[{extra}\]"):
        opened(tmp_path, source)


def test_torchvision_mnist(tmp_path):
    pytest.importorskip("torchvision")
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = RNG.integers(0, 256, (4, 28, 28), dtype=np.uint8)
    for split in ("train", "t10k"):  # the IDX format: magic number, lengths, bytes
        header = struct.pack(">IIII", 0x803, 4, 28, 28)
        (raw / f"{split}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        labels = struct.pack(">II", 0x801, 4) + bytes([5, 0, 4, 1])
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(labels)
    source = opened(tmp_path, "torchvision:MNIST:data")
    assert (source.item_shape, source.dtype) == ((1, 28, 28), np.uint8)
    np.testing.assert_array_equal(read(source)[:, 0], images)
    np.testing.assert_array_equal(source.labels, [5, 0, 4, 1])


@pytest.mark.parametrize("name", ["CIFAR10", "MNIST"])
def test_torchvision_downloads_nothing(tmp_path, name):
    pytest.importorskip("torchvision")
    with pytest.raises(NotFoundError, match=rf"is not in .*data.*Download.*{name}\("):
        opened(tmp_path, f"torchvision:{name}:data")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", ["torchvision:CIFAR10", "torchvision:Imagenet:data"])
def test_torchvision_form(tmp_path, source):
    with pytest.raises(SpecError, match=r'"torchvision:NAME:ROOT", NAME one of CIFAR10, CIFAR100'):
        opened(tmp_path, source)


# Folders of images


def image(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def test_folder_of_color_images_by_name(tmp_path):
    for number in (2, 0, 1):
        image(tmp_path / "set" / f"{number:03}.png", COLOR[number])
    (tmp_path / "set" / "notes.txt").write_text("no image")
    (tmp_path / "set" / "._000.png").write_bytes(b"left by another system")
    source = opened(tmp_path, "set")
    assert (source.length, source.item_shape, source.dtype) == (3, (3, 5, 6), np.uint8)
    np.testing.assert_array_equal(read(source, 2), COLOR[:3].transpose(0, 3, 1, 2))
    assert source.labels is None
    assert source.provenance == {"kind": "folder", "files": 3, "mode": "RGB"}


def test_folder_of_grey_images_in_classes(tmp_path):
    image(tmp_path / "set" / "dog" / "a.PNG", GREY[0], format="PNG")
    image(tmp_path / "set" / "cat" / "b.bmp", GREY[1])
    image(tmp_path / "set" / "cat" / "a.png", GREY[2])
    source = opened(tmp_path, "set")
    np.testing.assert_array_equal(read(source)[:, 0], GREY[[2, 1, 0]])  # cat/a, cat/b, dog/a
    np.testing.assert_array_equal(source.labels, [0, 0, 1])
    assert source.provenance["classes"] == ["cat", "dog"]


@pytest.mark.parametrize("other", ["top.png", "cat/deeper/x.png", "dataset.json"])
def test_folder_names_are_no_labels_when_they_only_divide_the_files(tmp_path, other):
    image(tmp_path / "set" / "cat" / "a.png", GREY[0])
    if other == "dataset.json":
        (tmp_path / "set" / other).write_text(json.dumps({"labels": None}))
    else:
        image(tmp_path / "set" / other, GREY[1])
    assert opened(tmp_path, "set").labels is None


def test_shuffled_folder(tmp_path):
    for number in range(7):
        image(tmp_path / "set" / f"{number}.png", GREY[number])
    np.testing.assert_array_equal(
        read(opened(tmp_path, "set", shuffle=5))[:, 0], GREY[permutation(7, 5)]
    )


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (GREY[0, :4], r"a\.png is 6×5 L, b\.png is 6×4 L.*one size and one mode"),
        (COLOR[0], r"a\.png is 6×5 L, b\.png is 6×5 RGB.*one size and one mode"),
        (np.zeros((5, 6, 4), np.uint8), r"b\.png of .* has the mode RGBA.*8-bit, grey"),
        (np.zeros((5, 6), np.uint16), r"b\.png of .* has more than 8 bits a channel.*value_range"),
        (np.zeros((5, 6), bool), r"b\.png of .* has the mode 1"),
    ],
)
def test_folder_refuses_other_images(tmp_path, pixels, message):
    image(tmp_path / "set" / "a.png", GREY[0])
    image(tmp_path / "set" / "b.png", pixels)
    with pytest.raises(DatasetError, match=message):
        opened(tmp_path, "set")


def test_folder_refuses_16_bit_color_which_pillow_would_reduce(tmp_path):
    def chunk(kind, data):
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    rows = (b"\0" + bytes(2 * 6)) * 2  # two rows of two pixels, six bytes each, no filter
    header = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    with Image.open(tmp_path / "a.png") as opened_by_pillow:
        assert opened_by_pillow.mode == "RGB"
    with pytest.raises(DatasetError, match="more than 8 bits a channel"):
        opened(tmp_path, ".")


def test_folder_with_damaged_images(tmp_path):
    image(tmp_path / "set" / "a.png", RNG.integers(0, 256, (64, 64), dtype=np.uint8))
    whole = (tmp_path / "set" / "a.png").read_bytes()
    (tmp_path / "set" / "a.png").write_bytes(whole[: len(whole) // 2])
    source = opened(tmp_path, "set")
    with pytest.raises(DatasetError, match=r"image a\.png of .* cannot be read.*Copy"):
        read(source)
    (tmp_path / "set" / "a.png").write_bytes(b"no image at all")
    with pytest.raises(DatasetError, match=r"image a\.png of .* cannot be read"):
        opened(tmp_path, "set")


def test_empty_folder(tmp_path):
    with pytest.raises(DatasetError, match=r"dataset 'faces' \(\.\) holds no images.*\.png"):
        opened(tmp_path, ".")


# Arrays


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (GREY, GREY[:, None]),
        (COLOR, COLOR.transpose(0, 3, 1, 2)),
        (COLOR[..., :1], COLOR[..., :1].transpose(0, 3, 1, 2)),
        (np.concatenate([COLOR, COLOR[..., :1]], 3), None),
        (FLOATS, FLOATS),
        (FLOATS.astype(np.float64), FLOATS),
        (np.asfortranarray(FLOATS), FLOATS),
        (FLOATS.astype(">f4"), FLOATS),
    ],
)
@pytest.mark.parametrize("kind", ["npy", "npz", "zarr"])
def test_layouts(tmp_path, array, expected, kind):
    if expected is None:
        expected = array.transpose(0, 3, 1, 2)
    if kind == "npy":
        name = saved(tmp_path, array)
    elif kind == "npz":
        np.savez_compressed(tmp_path / "x.npz", images=array, labels=np.arange(7))
        name = "x.npz:images"
    else:
        group = zarr.create_group(tmp_path / "x.zarr")
        group.create_array("deep/images", data=np.ascontiguousarray(array))
        name = "x.zarr:deep/images"
    source = opened(tmp_path, name)
    assert source.item_shape == expected.shape[1:]
    assert source.dtype == expected.dtype
    assert source.labels is None
    assert source.provenance["kind"] == kind
    assert json.loads(json.dumps(source.provenance)) == source.provenance
    for block in source.blocks(3):
        assert block.dtype == expected.dtype
    np.testing.assert_array_equal(read(source), expected)


def test_single_array_needs_no_key(tmp_path):
    np.savez(tmp_path / "x.npz", GREY)
    zarr.create_group(tmp_path / "x.zarr").create_array("images", data=GREY)
    zarr.create_array(tmp_path / "folder", data=GREY, zarr_format=2)
    for name in ("x.npz", "x.zarr", "folder"):
        np.testing.assert_array_equal(read(opened(tmp_path, name))[:, 0], GREY)


def test_absolute_paths_do_not_depend_on_the_base(tmp_path):
    saved(tmp_path, GREY)
    source = opened(tmp_path / "elsewhere", str(tmp_path / "x.npy"))
    np.testing.assert_array_equal(read(source)[:, 0], GREY)


@pytest.mark.parametrize("shuffle", [None, 0])
def test_npy_is_streamed_in_bounded_memory(tmp_path, shuffle):
    block, item = 2**20, 2**16
    array = np.random.default_rng(0).uniform(-1, 1, (512, 128, 128)).astype(np.float32)
    source_bytes = array.nbytes
    name = saved(tmp_path, array)
    del array
    tracemalloc.start()  # NumPy reports its allocations; mapped files are none
    for _ in opened(tmp_path, name, shuffle=shuffle).blocks(block // item):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert source_bytes == 32 * block
    # the scan: 16 MiB at a time, mapped, and two masks of a quarter of that
    assert peak < 10 * block


@pytest.mark.parametrize(
    ("values", "value_range", "expected"),
    [
        (np.array([0, 0.25, 1.0]), (0, 1), [-1, -0.5, 1]),
        (np.array([0, 0.25, 1.0]), (1, 0), [1, 0.5, -1]),  # white is the lower value
        (np.array([0, 0.25, 1.0]), (-1, 1), [0, 0.25, 1]),
        (np.array([-1e-20, 0.25, 1.0], np.float32), (-1, 1), np.float32([-1e-20, 0.25, 1])),
        (np.array([0, 1, 1], np.uint8), (0, 1), [-1, 1, 1]),
        (np.array([False, True]), (0, 1), [-1, 1]),
        (np.array([0, 16384, 65536]), (0, 65536), [-1, -0.5, 1]),
        (np.array([-1000, 3000], np.int16), (-1000, 3000), [-1, 1]),
        (np.array([-1.0, 0.1, 1.0], np.float16), None, np.float16([-1, 0.1, 1])),
        (np.zeros(3), None, [0, 0, 0]),
    ],
)
def test_value_ranges(tmp_path, values, value_range, expected):
    name = saved(tmp_path, values.reshape(-1, 1, 1))
    source = opened(tmp_path, name, value_range=value_range)
    assert source.dtype == np.float32
    np.testing.assert_array_equal(read(source).ravel(), np.float32(expected))


def test_full_range_of_uint8_stays_uint8(tmp_path):
    source = opened(tmp_path, saved(tmp_path, GREY), value_range=(0, 255))
    assert source.dtype == np.uint8
    np.testing.assert_array_equal(read(source)[:, 0], GREY)


def test_digits_written_to_a_file_equal_the_packaged_ones(tmp_path):
    images = pytest.importorskip("sklearn.datasets").load_digits().images
    source = opened(tmp_path, saved(tmp_path, images), value_range=(0, 16), shuffle=0)
    expected = read(opened(tmp_path, "sklearn:digits", shuffle=0))
    np.testing.assert_array_equal(read(source), expected)


@pytest.mark.parametrize(
    ("array", "options", "error", "message"),
    [
        (GREY[:0], {}, DatasetError, r"is empty.*at least one item"),
        (GREY[0], {}, DatasetError, r"layout of .* is unclear: its shape is \(5, 6\)"),
        (GREY[:, :0], {}, DatasetError, r"unclear"),
        (GREY[:, None, None], {}, DatasetError, r"unclear.*\(item, y, x\), \(item, channel"),
        (np.zeros((7, 2, 5, 6), np.uint8), {}, DatasetError, r"unclear.*1, 3 or 4 channels"),
        (np.zeros((7, 3, 5, 4), np.uint8), {}, DatasetError, r"second and the last.*channels"),
        (FLOATS * 3, {}, DatasetError, r"values from -2\.9\d+ to 2\.9\d+\..*Set value_range"),
        (FLOATS * 3, {"value_range": (-1, 2)}, DatasetError, r"range is \[-1\.0, 2\.0\], and no"),
        (np.abs(FLOATS), {}, DatasetError, r"none of them negative.*\[0, 1\] or \[-1, 1\]"),
        (GREY.astype(np.int32), {}, DatasetError, r"values from 0 to 249, of the type int32"),
        (FLOATS.astype(complex), {}, DatasetError, r"values of the type complex128"),
        (GREY.astype("U3"), {}, DatasetError, r"values of the type <U3"),
        (GREY, {"labels": "nope.npy"}, NotFoundError, r"labels of .*'faces'.*do not exist"),
        (GREY, {"labels": "."}, SpecError, r"labels of .* are of no known kind"),
        (GREY, {"labels": "short.npy"}, DatasetError, r"has 7 items and 6 labels"),
        (GREY, {"labels": "flat.npy"}, DatasetError, r"shape \(7,\) and the type float64"),
        (GREY, {"labels": "x.npy"}, DatasetError, r"labels of .* have the shape \(7, 5, 6\)"),
    ],
)
def test_refused_arrays(tmp_path, array, options, error, message):
    saved(tmp_path, array)
    saved(tmp_path, np.arange(6), "short.npy")
    saved(tmp_path, np.zeros(7), "flat.npy")
    with pytest.raises(error, match=message):
        opened(tmp_path, "x.npy", **options)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_first_item_that_is_not_finite_is_named(tmp_path, monkeypatch, bad):
    monkeypatch.setattr(items_module, "SCAN_BYTES", 2 * FLOATS[0].nbytes)
    array = FLOATS.copy()
    array[5:, 1, 2, 3] = bad
    with pytest.raises(DatasetError, match=r"Item 5 of .*'faces'.* contains NaN or infinite"):
        opened(tmp_path, saved(tmp_path, array), shuffle=1)


def test_range_is_that_of_all_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(items_module, "SCAN_BYTES", 1)
    array = FLOATS.copy()
    array[2, 0, 0, 0], array[6, 0, 0, 0] = -5, 7
    with pytest.raises(DatasetError, match="values from -5 to 7"):
        opened(tmp_path, saved(tmp_path, array))


# Files that are missing, damaged or of another kind


def npy_bytes(array, **options):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


@pytest.mark.parametrize("content", [b"", b"no array", npy_bytes(GREY)[:-1], npy_bytes(GREY)[:20]])
def test_damaged_npy(tmp_path, content):
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(DatasetError, match=r"\(x\.npy\) cannot be read.*Copy or write") as caught:
        opened(tmp_path, "x.npy")
    assert "allow_pickle" not in str(caught.value)  # no advice to load it unsafely


def test_pickles_are_not_read(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("exploded").touch, ())

    objects = np.array([Bomb()], dtype=object)
    (tmp_path / "x.npy").write_bytes(npy_bytes(objects, allow_pickle=True))
    np.savez(tmp_path / "x.npz", x=objects)
    for name in ("x.npy", "x.npz:x"):
        with pytest.raises(DatasetError, match=r"cannot be read.*pickled objects are never read"):
            opened(tmp_path, name)
    assert not (tmp_path / "exploded").exists()


def test_damaged_npz(tmp_path):
    np.savez(tmp_path / "x.npz", x=GREY)
    whole = (tmp_path / "x.npz").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (b"", whole[:-30], bytes(flipped)):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(DatasetError, match=r"\(x\.npz\) cannot be read"):
            opened(tmp_path, "x.npz")


def test_npz_keys(tmp_path):
    np.savez(tmp_path / "x.npz", images=GREY, labels=np.arange(7))
    with pytest.raises(SpecError, match=r"several arrays: images, labels.*file\.npz:key"):
        opened(tmp_path, "x.npz")
    with pytest.raises(NotFoundError, match=r"does not hold the array 'image'. It holds images"):
        opened(tmp_path, "x.npz:image")
    with zipfile.ZipFile(tmp_path / "none.npz", "w"):
        pass
    with pytest.raises(NotFoundError, match=r"does not hold an array\. It holds no array"):
        opened(tmp_path, "none.npz")


def test_zarr_paths(tmp_path):
    zarr.create_group(tmp_path / "x.zarr").create_array("images", data=GREY)
    zarr.create_array(tmp_path / "y.zarr", data=GREY)
    with pytest.raises(NotFoundError, match=r"does not hold the array 'a/b'. It holds images"):
        opened(tmp_path, "x.zarr:a/b")
    with pytest.raises(NotFoundError, match=r"does not hold the array 'a'. y\.zarr is itself one"):
        opened(tmp_path, "y.zarr:a")


def test_damaged_zarr(tmp_path):
    array = zarr.create_array(tmp_path / "x.zarr", shape=GREY.shape, chunks=(2, 5, 6), dtype="u1")
    array[:] = GREY
    (tmp_path / "x.zarr" / "c" / "1" / "0" / "0").write_bytes(b"damaged")
    source = opened(tmp_path, "x.zarr")
    with pytest.raises(DatasetError, match=r"\(x\.zarr\) cannot be read"):
        read(source)
    (tmp_path / "x.zarr" / "zarr.json").write_text("{")
    with pytest.raises(DatasetError, match=r"\(x\.zarr\) cannot be read"):
        opened(tmp_path, "x.zarr")


@pytest.mark.parametrize("name", ["nope.npy", "nope.npz:x", "nope", "nope.zarr", "nope.zarr:a/b"])
def test_missing_path(tmp_path, name):
    with pytest.raises(
        NotFoundError, match=rf"\({name}\) does not exist.*{re.escape(str(tmp_path))}"
    ):
        opened(tmp_path, name)


def test_unknown_kinds_list_the_known_ones(tmp_path):
    (tmp_path / "x.csv").write_text("1,2")
    known = r'"sklearn:digits", "torchvision:NAME:ROOT", a folder of images, a \.npy file'
    with pytest.raises(SpecError, match=f"unknown kind 'hf'.*{known}"):
        opened(tmp_path, "hf:cifar10")
    with pytest.raises(SpecError, match=f"no known kind.*{known}"):
        opened(tmp_path, "x.csv")
