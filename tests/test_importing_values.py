"""Values of arrays: kept or mapped to -1 and 1 as the user said, or it is an error."""

import numpy as np
import pytest
from importing import assert_stored, images, request, stored

from reprostore.errors import DatasetError, ReprostoreError
from reprostore.importing import import_samples, stored_arrays
from reprostore.store import create_store


@pytest.fixture
def store(tmp_path):
    return create_store(tmp_path / "s.zarr")


def levels(count, low=-1.0, high=1.0, shape=(3, 6, 6)):
    return np.random.default_rng(5).uniform(low, high, (count, *shape))


@pytest.mark.parametrize(
    ("dtype", "kept"), [("float32", "float32"), ("float16", "float16"), (">f4", "float32")]
)
@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_floats_are_kept_to_the_bit(store, tmp_path, dtype, kept, name):
    values = levels(5).astype(dtype)
    if name == "x.npy":
        np.save(tmp_path / name, values)
    else:
        np.savez(tmp_path / name, arr_0=values)
    import_samples(store, request(tmp_path / name, seeds="0-4"))
    assert_stored(store, dict(enumerate(values.astype(kept))))


def test_doubles_are_rounded_and_that_is_told(store, tmp_path):
    values = levels(5)
    np.save(tmp_path / "x.npy", values)
    row = import_samples(store, request(tmp_path / "x.npy", seeds="0-4"))
    assert "The values were rounded from float64 to float32." in row["notes"]
    assert_stored(store, dict(enumerate(values.astype(np.float32))))


@pytest.mark.parametrize(("black", "white"), [(0, 1), (1, 0), (0, 255), (-2, 2)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_value_range_is_mapped_to_minus_one_and_one(store, tmp_path, black, white, dtype):
    values = levels(3, min(black, white), max(black, white)).astype(dtype)
    np.save(tmp_path / "x.npy", values)
    import_samples(
        store, request(tmp_path / "x.npy", seeds="0-2", value_range=(black, white))
    )  # fmt: skip
    exact = (values.astype(np.float64) - (black + white) / 2) / ((white - black) / 2)
    for seed, found in stored(store).items():
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, exact[seed], atol=1e-6)


def test_samples_that_overshoot_keep_their_values_where_the_range_is_given(store, tmp_path):
    values = levels(3, -2.1, 3.9).astype(np.float32)
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(DatasetError, match="overshoot have the range -1 and 1"):
        import_samples(store, request(tmp_path / "x.npy", seeds="0-2"))
    import_samples(store, request(tmp_path / "x.npy", seeds="0-2", value_range=(-1, 1)))
    assert_stored(store, dict(enumerate(values)))


def bad(value, dtype=np.float32):
    values = levels(4).astype(dtype)
    values[2, 1, 3, 3] = value
    return values


RANGES = [
    (bad(np.nan), None, r"Row 2 of .* contains NaN"),
    (bad(np.inf), None, r"Row 2 of .* contains NaN or infinite"),
    (levels(4, 0, 1), None, "black could be 0 or -1"),
    (levels(4, 0, 255), None, "values from .* to 25[45]"),
    (levels(4, 0, 255), (-1, 1), "Black and white were given as -1 and 1"),
    (levels(4, 0, 4.5), (-1, 1), "outside by 3 at most"),
    (levels(4, 0, 1.5), (0, 1), "outside by 0.25 at most"),
    (levels(4, 0, 255), (0, 1), "Black and white were given as 0 and 1"),
    (levels(4, -1, 1), (0, 1), "Black and white were given as 0 and 1"),
    (levels(4, 0, 255).astype(np.int64), (0, 255), "values of the type int64"),
    (levels(4).astype(np.complex64), None, "values of the type complex64"),
    (images(4), (0, 1), "whose values are uint8"),
    (images(4) % 2, None, "8-bit values of 0 and 1 alone"),
    (np.zeros((4, 3, 6, 6), dtype="U1"), None, "values of the type <U1"),
]


@pytest.mark.parametrize(("values", "value_range", "message"), RANGES)
def test_values_that_fit_no_range_are_refused(store, tmp_path, values, value_range, message):
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(ReprostoreError, match=message):
        import_samples(
            store, request(tmp_path / "x.npy", seeds="0-3", value_range=value_range)
        )  # fmt: skip
    assert store.run_paths() == []


def test_black_images_are_taken_where_that_is_said(store, tmp_path):
    pictures = images(4) % 2
    np.save(tmp_path / "x.npy", pictures)
    import_samples(store, request(tmp_path / "x.npy", seeds="0-3", value_range=(0, 255)))
    assert_stored(store, dict(enumerate(pictures)))


@pytest.mark.parametrize("value", [-1.001, 1.001])
def test_a_single_value_beyond_minus_one_and_one_needs_a_range(store, tmp_path, value):
    np.save(tmp_path / "x.npy", bad(value))
    with pytest.raises(DatasetError, match="overshoot have the range -1 and 1"):
        import_samples(store, request(tmp_path / "x.npy", seeds="0-3"))
    assert store.run_paths() == []


def test_a_row_that_is_not_finite_is_named_by_its_number_in_the_file(store, tmp_path, monkeypatch):
    monkeypatch.setattr(stored_arrays, "BLOCK_BYTES", 2 * 3 * 6 * 6 * 4)  # two rows
    values = levels(9).astype(np.float32)
    values[7, 0, 0, 0] = np.nan
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(DatasetError, match=r"Row 7 of .* contains NaN"):
        import_samples(store, request(tmp_path / "x.npy", seeds="0-8"))
