"""Folders of PNG files as runs: pixels and seeds are those of the files, or it is an error."""

import numpy as np
import pytest
from importing import assert_stored, images, request, stored, write_folder, write_png
from PIL import Image

from reprostore.errors import DatasetError, SpecError
from reprostore.importing import import_samples, prepared_import
from reprostore.store import create_store


@pytest.fixture
def store(tmp_path):
    return create_store(tmp_path / "s.zarr")


@pytest.mark.parametrize("subdirs", [False, True])
@pytest.mark.parametrize("shape", [(3, 6, 5), (1, 4, 4)])
def test_pixels_and_seeds_are_those_of_the_files(store, tmp_path, shape, subdirs):
    seeds = [100000, 7, 999, 1000, 12345, 1234567]  # written in this order
    samples = dict(zip(seeds, images(6, shape), strict=True))
    folder = write_folder(tmp_path / "out", samples, subdirs=subdirs)
    row = import_samples(store, request(folder))
    assert (row["seeds"], row["written"], row["kind"]) == (6, 6, "images")
    assert_stored(store, samples)
    spec = store.run("m/imported/none").spec
    assert (spec.stored_dtype, spec.sample_shape) == ("uint8", shape)


def test_the_order_in_which_files_were_written_does_not_matter(store, tmp_path):
    samples = dict(enumerate(images(40)))
    shuffled = np.random.default_rng(1).permutation(40).tolist()
    for name, order in [("a", range(40)), ("b", shuffled)]:
        folder = write_folder(tmp_path / name, {seed: samples[seed] for seed in order})
        import_samples(store, request(folder, name))
        assert_stored(store, samples, f"{name}/imported/none")
    a, b = (store.run(f"{name}/imported/none").spec for name in "ab")
    assert a.fingerprint == b.fingerprint  # neither path nor date is part of it


def test_flat_and_divided_folders_are_the_same_run(store, tmp_path):
    samples = {998 + seed: image for seed, image in enumerate(images(4))}
    flat = write_folder(tmp_path / "flat", samples)
    divided = write_folder(tmp_path / "divided", samples, subdirs=True)
    assert import_samples(store, request(flat))["written"] == 4
    assert import_samples(store, request(divided))["written"] == 0


def test_seeds_that_are_given_belong_to_the_files_in_the_order_of_their_names(store, tmp_path):
    pictures = images(12)
    for number in np.random.default_rng(0).permutation(12).tolist():
        write_png(tmp_path / "out" / f"sample-{number:02d}.png", pictures[number])
    import_samples(store, request(tmp_path / "out", seeds="50-59,3,1"))
    expected = dict(zip([*range(50, 60), 3, 1], pictures, strict=True))
    assert_stored(store, expected)


def test_hidden_files_are_no_samples(store, tmp_path):
    samples = dict(enumerate(images(3)))
    folder = write_folder(tmp_path / "out", samples)
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "9.txt").write_bytes(b"x")
    import_samples(store, request(folder))
    assert_stored(store, samples)


def test_an_image_of_sixteen_bits_is_refused(store, tmp_path):
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4) * 16
    write_png(tmp_path / "out" / "0.png", grey[None])
    sixteen = Image.fromarray(grey.astype(np.uint16) * 257)
    sixteen.save(tmp_path / "out" / "1.png")
    with pytest.raises(DatasetError, match=r"1\.png .* has more than 8 bits a channel"):
        import_samples(store, request(tmp_path / "out"))


MISTAKES = {
    "text": (
        lambda f: write_png(f / "cat.png", images(1)[0]),
        SpecError,
        r"cat\.png .* is no number\. .* never guessed .* such as \"0-999\"",
    ),
    "signed": (
        lambda f: write_png(f / "-1.png", images(1)[0]),
        SpecError,
        "is no number",
    ),
    "twice": (
        lambda f: write_png(f / "1.png", images(1)[0]),
        SpecError,
        r"000001\.png and 1\.png .* both stand for the seed 1",
    ),
    "large seed": (
        lambda f: write_png(f / f"{2**32}.png", images(1)[0]),
        SpecError,
        "4294967296 was given as a seed",
    ),
    "wrong folder": (
        lambda f: write_png(f / "002000" / "001999.png", images(1)[0]),
        SpecError,
        r"002000/001999\.png .* lies in the folder 002000\. .* in 001000",
    ),
    "class folder": (
        lambda f: write_png(f / "cats" / "5.png", images(1)[0]),
        SpecError,
        r"lies in the folder cats",
    ),
    "size": (
        lambda f: write_png(f / "5.png", images(1, (3, 6, 7))[0]),
        DatasetError,
        r"mixes images: 000000\.png is 6×6 RGB, 5\.png is 7×6 RGB",
    ),
    "mode": (
        lambda f: write_png(f / "5.png", images(1, (1, 6, 6))[0]),
        DatasetError,
        r"5\.png is 6×6 L",
    ),
    "alpha": (
        lambda f: write_png(f / "5.png", images(1, (4, 6, 6))[0]),
        DatasetError,
        r"5\.png .* has the mode RGBA",
    ),
    "other file": (
        lambda f: (f / "stats.npz").write_bytes(b"x"),
        DatasetError,
        r"holds stats\.npz, which is no PNG file",
    ),
    "truncated": (
        lambda f: (f / "000002.png").write_bytes((f / "000002.png").read_bytes()[:-30]),
        DatasetError,
        r"000002\.png .* cannot be read",
    ),
    "flipped": (
        lambda f: _flip(f / "000002.png"),
        DatasetError,
        r"000002\.png .* cannot be read",
    ),
    "no png": (
        lambda f: Image.fromarray(images(1, (6, 6, 3))[0]).save(f / "7.png", format="bmp"),
        DatasetError,
        r"7\.png .* cannot be read",
    ),
    "empty": (
        lambda f: [file.unlink() for file in f.glob("*")],
        DatasetError,
        "holds no PNG files",
    ),
}


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_and_nothing_is_written(store, tmp_path, name):
    make, error, message = MISTAKES[name]
    folder = write_folder(tmp_path / "out", dict(enumerate(images(4))))
    make(folder)
    with pytest.raises(error, match=message):
        import_samples(store, request(folder))
    assert store.run_paths() == []


@pytest.mark.parametrize(
    ("names", "seeds", "message"),
    [
        (["a0", "a1", "a2"], "0-3", "4 seeds were given for the 3 files"),
        ([f"a{i}" for i in range(11)], "0-10", r"by letters a10\.png comes .* numbers a2\.png"),
        (["000001", "000003", "000005"], "5,3,1", r"000001\.png .* has the seed 5, and 000003"),
        (["000000", "000001", "000003"], "0-2", r"000003\.png the seed 2\. .* numbers without 2,"),
        (["10", "11", "14"], "0-4", r"numbers without 12-13\. .* read from the names"),
    ],
)  # fmt: skip
def test_given_seeds_that_may_be_meant_otherwise_are_refused(
    store, tmp_path, names, seeds, message
):
    for name, image in zip(names, images(len(names)), strict=True):
        write_png(tmp_path / "out" / f"{name}.png", image)
    with pytest.raises(SpecError, match=message):
        import_samples(store, request(tmp_path / "out", seeds=seeds))
    assert store.run_paths() == []


def test_numbers_in_names_may_be_replaced_by_other_seeds(store, tmp_path):
    pictures = images(3)
    folder = write_folder(tmp_path / "out", dict(enumerate(pictures)))
    import_samples(store, request(folder, seeds="100000-100002"))
    assert sorted(stored(store)) == [100000, 100001, 100002]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"key": "arr_0"}, "Key is given for the folder"),
        ({"layout": "nhwc"}, "Layout is given for the folder"),
        ({"value_range": (0, 1)}, "Value range is given for the folder"),
        ({"encoder": "sscd", "sample_shape": (3, 6, 6)}, "Encoder is given for the folder"),
        ({"sample_shape": (3, 6, 7)}, r"have the shape \(3, 6, 6\), and \(3, 6, 7\) was given"),
    ],
)
def test_options_of_arrays_are_refused_for_folders(store, tmp_path, fields, message):
    folder = write_folder(tmp_path / "out", dict(enumerate(images(2))))
    with pytest.raises(SpecError, match=message):
        import_samples(store, request(folder, **fields))


def test_a_file_that_changes_meanwhile_is_refused(store, tmp_path):
    folder = write_folder(tmp_path / "out", dict(enumerate(images(3))))
    with prepared_import(request(folder)) as prepared:
        write_png(folder / "000001.png", images(1, seed=9)[0])
        with pytest.raises(DatasetError, match=r"000001\.png .* changed while it was imported"):
            prepared.states(np.arange(3))


def test_seeds_are_those_of_the_names_where_these_sort_otherwise(store, tmp_path):
    """Names without leading zeros: 10.png comes before 9.png by letters."""
    samples = dict(zip([9, 10, 100, 2], images(4), strict=True))
    for seed, image in samples.items():
        write_png(tmp_path / "out" / f"{seed}.png", image)
    import_samples(store, request(tmp_path / "out"))
    assert_stored(store, samples)
    padded = write_folder(tmp_path / "padded", samples)
    assert import_samples(store, request(padded))["written"] == 0  # it is the same run
