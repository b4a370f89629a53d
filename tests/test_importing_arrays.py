"""Arrays as runs: values, layout and seeds are as the user said, or it is an error."""

import zipfile

import numpy as np
import pytest
from importing import assert_stored, images, request

from reprostore.errors import DatasetError, NotFoundError, ReprostoreError, SpecError
from reprostore.importing import import_samples, stored_arrays
from reprostore.store import create_store


@pytest.fixture
def store(tmp_path):
    return create_store(tmp_path / "s.zarr")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_guided_diffusions_file_is_turned_into_channels_first(store, tmp_path, save, monkeypatch):
    monkeypatch.setattr(stored_arrays, "BLOCK_BYTES", 250)  # several blocks
    pictures = images(300)  # more than one batch
    save(tmp_path / "samples_300x6x6x3.npz", pictures.transpose(0, 2, 3, 1), np.arange(300))
    row = import_samples(store, request(tmp_path / "samples_300x6x6x3.npz", seeds="1000-1299"))
    assert row["notes"][0] == (
        "The class labels in arr_1 were left out: a run is of one condition."
    )
    assert_stored(store, dict(zip(range(1000, 1300), pictures, strict=True)))


@pytest.mark.parametrize(
    ("shape", "layout", "axes"),
    [
        ((4, 6, 5), None, None),  # grey, (sample, y, x)
        ((4, 3, 6, 5), None, (0, 1, 2, 3)),
        ((4, 6, 5, 3), None, (0, 3, 1, 2)),
        ((4, 3, 6, 3), "nchw", (0, 1, 2, 3)),
        ((4, 3, 6, 3), "nhwc", (0, 3, 1, 2)),
        ((4, 8, 6, 5), "nchw", (0, 1, 2, 3)),  # latents of eight channels
        ((4, 16, 4, 4), "nchw", (0, 1, 2, 3)),
        ((4, 16, 4, 4), "nhwc", (0, 3, 1, 2)),
        ((4, 32, 4, 4), "nchw", (0, 1, 2, 3)),
        ((4, 16, 8, 4), "nchw", (0, 1, 2, 3)),
        ((4, 4, 8, 8), "nchw", (0, 1, 2, 3)),
        ((4, 4, 8, 8), None, (0, 1, 2, 3)),
        ((4, 8, 8, 4), None, (0, 3, 1, 2)),
        ((4, 4, 6, 8), None, (0, 1, 2, 3)),
    ],
)
def test_axes_are_understood_or_named(store, tmp_path, shape, layout, axes):
    values = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.save(tmp_path / "x.npy", values)
    import_samples(store, request(tmp_path / "x.npy", seeds="0-3", layout=layout))
    expected = values[:, None] if axes is None else values.transpose(axes)
    assert_stored(store, dict(enumerate(expected)))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 3, 6, 3), r"unclear: its shape is \(4, 3, 6, 3\)\. .*Give the layout, nchw or nhwc"),
        ((4, 8, 6, 5), r"unclear: its shape is"),
        ((4, 16, 4, 4), r"unclear: its shape is .* Give the layout, nchw or nhwc"),
        ((4, 60), r"Name the encoder, if these are vectors"),
        ((4, 2, 3, 6, 6), "unclear"),
        ((4, 1, 64), r"look like vectors of samples\. Save the array squeezed"),
        ((4, 64, 1), r"look like vectors of samples"),
        ((4, 64, 1, 1), r"look like vectors of samples"),
        ((4, 1, 1, 1), r"look like vectors of samples"),
        ((0, 3, 6, 6), r"an array of shape \(0, 3, 6, 6\)"),
        ((), r"an array of shape \(\)"),
    ],
)
def test_a_shape_that_is_unclear_is_refused(store, tmp_path, shape, message):
    np.save(tmp_path / "x.npy", np.zeros(shape, dtype=np.uint8))
    with pytest.raises(DatasetError, match=message):
        import_samples(store, request(tmp_path / "x.npy", seeds="0-3"))
    assert store.run_paths() == []


def test_rows_are_no_seeds_by_themselves(store, tmp_path):
    np.savez(tmp_path / "x.npz", images(4))
    np.save(tmp_path / "x.npy", images(4))
    for name in ("x.npz", "x.npy"):
        with pytest.raises(SpecError, match=r"never taken for them\. .* such as \"0-3\""):
            import_samples(store, request(tmp_path / name))
    with pytest.raises(SpecError, match="5 seeds were given for the 4 rows"):
        import_samples(store, request(tmp_path / "x.npz", seeds="0-4"))
    with pytest.raises(SpecError, match="stands twice"):
        import_samples(store, request(tmp_path / "x.npz", seeds="0-2,1"))


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((4, 3, 8, 9), "nhwc"),
        ((4, 8, 9, 3), "nchw"),
        ((4, 1, 6, 8), "nhwc"),
        ((4, 4, 8, 8), "nhwc"),
        ((4, 8, 8, 4), "nchw"),
    ],
)
def test_a_layout_that_takes_rows_for_channels_is_refused(store, tmp_path, shape, layout):
    np.save(tmp_path / "x.npy", images(4, shape[1:]))
    with pytest.raises(
        DatasetError, match=f"The layout {layout} was given .* Give the other layout\\.$"
    ):
        import_samples(store, request(tmp_path / "x.npy", seeds="0-3", layout=layout))
    assert store.run_paths() == []


@pytest.mark.parametrize("vectors", [False, True])
def test_seeds_that_are_given_do_not_replace_those_in_the_file(store, tmp_path, vectors):
    array = images(4) if not vectors else np.ones((4, 5), dtype=np.float32)
    name = "features" if vectors else "arr_0"
    fields = {"encoder": "sscd", "sample_shape": (3, 6, 6)} if vectors else {}
    np.savez(tmp_path / "x.npz", **{name: array}, seeds=[0, 1, 3, 4])
    for seeds in ("0-3", "1,0,3,4"):
        with pytest.raises(SpecError, match="whose array seeds holds others"):
            import_samples(store, request(tmp_path / "x.npz", seeds=seeds, **fields))
    assert store.run_paths() == []
    row = import_samples(store, request(tmp_path / "x.npz", seeds="0,1,3-4", **fields))
    assert row["written"] == 4


def test_an_array_beside_images_that_holds_no_labels_is_told(store, tmp_path):
    for number, other in enumerate([np.zeros((4, 2)), np.zeros(4), np.zeros(3, np.int64)]):
        np.savez(tmp_path / "x.npz", images(4), other)
        row = import_samples(store, request(tmp_path / "x.npz", f"m{number}", seeds="0-3"))
        assert "arr_1 was left out: it does not hold one class label" in row["notes"][0]


def test_seeds_that_an_npz_file_holds_are_used(store, tmp_path):
    pictures, seeds = images(4), np.asarray([9, 2, 4_294_967_295, 0])
    np.savez(tmp_path / "x.npz", arr_0=pictures, seeds=seeds)
    import_samples(store, request(tmp_path / "x.npz"))
    assert_stored(store, dict(zip(seeds.tolist(), pictures, strict=True)))


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        (np.asarray([1, 2, 1, 3]), "Row 0 and row 2 of .* both stand for the seed 1"),
        (np.arange(3), r"shape \(3,\)"),
        (np.arange(4.0), "type float64"),
        (np.arange(-1, 3), "-1 was given as a seed"),
        (np.asarray([None] * 4), r"the array seeds in .* cannot be read"),
    ],
)
def test_seeds_in_a_file_that_are_none_are_refused(store, tmp_path, seeds, message):
    np.savez(tmp_path / "x.npz", arr_0=images(4), seeds=seeds)
    with pytest.raises(ReprostoreError, match=f"(?i){message}"):
        import_samples(store, request(tmp_path / "x.npz"))
    assert store.run_paths() == []


def test_an_array_is_named_by_its_key(store, tmp_path):
    pictures = images(4)
    np.savez(tmp_path / "x.npz", samples=pictures, other=images(4, seed=1))
    with pytest.raises(SpecError, match=r"'arr_0'\. It holds samples, other\."):
        import_samples(store, request(tmp_path / "x.npz", seeds="0-3"))
    with pytest.raises(NotFoundError, match="'sample'"):
        import_samples(store, request(tmp_path / "x.npz", seeds="0-3", key="sample"))
    import_samples(store, request(tmp_path / "x.npz", seeds="0-3", key="samples"))
    assert_stored(store, dict(enumerate(pictures)))
    np.save(tmp_path / "x.npy", pictures)
    with pytest.raises(SpecError, match="holds one array, without a name"):
        import_samples(store, request(tmp_path / "x.npy", seeds="0-3", key="samples"))


def test_pickled_objects_are_never_loaded(store, tmp_path):
    class Trap:
        def __reduce__(self):
            return (print, ("pwned",))

    trap = np.asarray([Trap() for _ in range(4)], dtype=object)
    np.save(tmp_path / "x.npy", trap)
    np.savez(tmp_path / "x.npz", trap)
    for name in ("x.npy", "x.npz"):
        with pytest.raises(DatasetError, match=r"cannot be read: .*objects"):
            import_samples(store, request(tmp_path / name, seeds="0-3"))


def test_columns_first_are_read_from_npy_and_refused_in_npz(store, tmp_path):
    pictures = images(4)
    np.save(tmp_path / "x.npy", np.asfortranarray(pictures))
    np.savez(tmp_path / "x.npz", np.asfortranarray(pictures))
    import_samples(store, request(tmp_path / "x.npy", seeds="0-3"))
    assert_stored(store, dict(enumerate(pictures)))
    with pytest.raises(DatasetError, match="Fortran's order"):
        import_samples(store, request(tmp_path / "x.npz", "n", seeds="0-3"))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("kind", ["cut", "flip"])
def test_a_damaged_archive_is_refused_before_anything_is_written(store, tmp_path, kind, save):
    path = tmp_path / "x.npz"
    save(path, images(60))
    content = bytearray(path.read_bytes())
    if kind == "cut":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 2] ^= 1  # only the checksum of the archive tells
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="cannot be read"):
        import_samples(store, request(path, seeds="0-59"))
    assert store.run_paths() == []


def test_a_member_shorter_or_longer_than_its_header_is_refused(store, tmp_path):
    np.save(tmp_path / "x.npy", images(4))
    whole = (tmp_path / "x.npy").read_bytes()
    for content in (whole[:-5], whole + b"12345"):
        with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
            archive.writestr("arr_0.npy", content)
        with pytest.raises(DatasetError, match=r"(shorter|longer) than its header says"):
            import_samples(store, request(tmp_path / "x.npz", seeds="0-3"))
    (tmp_path / "x.npy").write_bytes(whole[:-5])
    with pytest.raises(DatasetError, match="cannot be read"):
        import_samples(store, request(tmp_path / "x.npy", seeds="0-3"))


def test_the_same_array_in_another_file_is_the_same_run(store, tmp_path):
    pictures = images(4)
    np.savez(tmp_path / "a.npz", pictures)
    np.savez_compressed(tmp_path / "b.npz", samples=pictures)
    np.save(tmp_path / "c.npy", pictures)
    written = [
        import_samples(store, request(tmp_path / name, seeds="0-3", key=key))["written"]
        for name, key in [("a.npz", None), ("b.npz", "samples"), ("c.npy", None)]
    ]
    assert written == [4, 0, 0]


def test_what_is_no_source_is_refused(store, tmp_path):
    with pytest.raises(NotFoundError, match="is not there"):
        import_samples(store, request(tmp_path / "absent"))
    (tmp_path / "x.pt").write_bytes(b"x")
    with pytest.raises(SpecError, match="is of no known kind"):
        import_samples(store, request(tmp_path / "x.pt"))
    (tmp_path / "x.npz").write_bytes(b"x")
    with pytest.raises(DatasetError, match="cannot be read"):
        import_samples(store, request(tmp_path / "x.npz", seeds="0"))
