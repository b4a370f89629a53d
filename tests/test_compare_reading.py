"""What files say of themselves in `repro compare`: seeds, classes, kinds and ranges."""

import numpy as np
import pytest
from importing import images, write_folder

from reprostore.errors import DatasetError, PairingError, ReprostoreError, SpecError
from reprostore_analyses.compare import compare
from reprostore_analyses.compare_request import CompareRequest, Source


def asked(a, b, *, seeds=("names", "names"), **values):
    sides = [Source(side, each) for side, each in zip((a, b), seeds, strict=True)]
    return CompareRequest(*sides, **{"allow_unchecked": True, **values})


def test_seeds_in_a_file_are_not_replaced_by_those_told_of_both(tmp_path):
    pictures = images(12)
    order = np.random.default_rng(0).permutation(12)
    np.savez(tmp_path / "a.npz", arr_0=pictures)
    np.savez(tmp_path / "b.npz", arr_0=pictures[order], seeds=order)
    files = tmp_path / "a.npz", tmp_path / "b.npz"
    with pytest.raises(SpecError, match=r"b\.npz, whose array seeds holds others"):
        compare(asked(*files, seeds=("0-11", "0-11")))
    assert compare(asked(*files, seeds=("0-11", "names")))["rp"] == 1


def test_a_gap_in_the_names_is_not_counted_over(tmp_path):
    pictures = dict(enumerate(images(12)))
    whole = write_folder(tmp_path / "a", pictures)
    gap = write_folder(tmp_path / "b", {k: v for k, v in pictures.items() if k != 3})
    for seeds in ("0-10", "0-11"):
        with pytest.raises(SpecError, match=r"numbers without 3[,.].* read from the names"):
            compare(asked(whole, gap, seeds=("names", seeds)))
    assert compare(asked(whole, gap))["rp"] == 1
    moved = write_folder(tmp_path / "c", {seed + 500: v for seed, v in pictures.items()})
    assert compare(asked(whole, moved, seeds=("names", "0-11")))["rp"] == 1


def cosines(a, b):
    a, b = (x.reshape(len(x), -1).astype(float) for x in (a, b))
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def of_classes(labels, seed):
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(9).integers(0, 256, (5, 6, 6, 3))
    return np.clip(means[labels] + rng.normal(0, 65, (len(labels), 6, 6, 3)), 0, 255).astype("u1")


def test_chance_is_within_a_class(tmp_path):
    """Classes of 30, 6 and 2 samples, and one of a single one: all shifts within, by hand."""
    labels = np.random.default_rng(1).permutation([0] * 30 + [1] * 6 + [2] * 2 + [4])
    a, b = of_classes(labels, 2), of_classes(labels, 3)
    for name, values in (("a", a), ("b", b)):
        np.savez(tmp_path / f"{name}.npz", values, labels)
    files = tmp_path / "a.npz", tmp_path / "b.npz"
    told = asked(*files, seeds=("100-138", "100-138"), mae_threshold=62.0, threshold=0.55)
    row = compare(told)
    assert row["rp"] == (cosines(a, b) > 0.55).mean()
    total, errors, n = 0.0, 0.0, 0
    for each in (0, 1, 2):
        x, y = a[labels == each], b[labels == each]
        steps = range(1, len(x))
        if len(x) == 30:  # 20 shifts spread evenly over 1 … 29, of which 15 is passed over
            steps = [*np.rint(np.linspace(1, 29, 20)[:10]).astype(int)]
            steps += [30 - step for step in steps]
        turned = [np.roll(y, -step, axis=0) for step in steps]
        total += len(x) * np.mean([(cosines(x, other) > 0.55).mean() for other in turned])
        gaps = [np.abs(x.astype(int) - other).mean(axis=(1, 2, 3)) for other in turned]
        errors += len(x) * np.mean([(gap < 62).mean() for gap in gaps])
        n += len(x)
    assert row["chance"] == pytest.approx(total / n)
    assert row["mae_chance"] == pytest.approx(errors / n)
    assert 0.3 < row["chance"] < 0.9
    assert 0.1 < row["mae_chance"] < 0.95
    assert (row["classes"], row["chance_seeds"], row["notes"]) == (3, 38, [])


def test_classes_of_one_sample_have_no_chance_level(tmp_path):
    np.savez(tmp_path / "a.npz", images(120, (5, 5, 3)), np.arange(120))
    row = compare(asked(*[tmp_path / "a.npz"] * 2, seeds=("0-119", "0-119")))
    assert row["rp"] == 1
    assert np.isnan([row["chance"], row["mae_chance"], row["chance_threshold"]]).all()
    assert (row["classes"], row["chance_seeds"]) == (0, 0)


@pytest.mark.parametrize(("shared", "known"), [(2, False), (99, False), (100, True)])
def test_seeds_alone_in_their_class_tell_no_threshold(tmp_path, shared, known):
    """Its quantile, 1 %, needs 100 seeds that have a part in the shifted pairs."""
    labels = np.minimum(np.arange(120), 120 - shared)
    for seed, name in enumerate("ab"):
        np.savez(tmp_path / f"{name}.npz", of_classes(labels % 5, seed), labels)
    row = compare(asked(tmp_path / "a.npz", tmp_path / "b.npz", seeds=("0-119", "0-119")))
    assert (row["classes"], row["chance_seeds"]) == (1, shared)
    assert np.isnan(row["chance_threshold"]) != known
    assert np.isnan(row["rp_beyond_chance"]) != known


def test_labels_that_differ_are_no_pair(tmp_path):
    pictures = images(9, (6, 6, 3))
    np.savez(tmp_path / "a.npz", pictures, np.arange(9) % 3)
    np.savez(tmp_path / "b.npz", pictures, (np.arange(9) + (np.arange(9) > 5)) % 3)
    np.savez(tmp_path / "plain.npz", pictures)
    a, b, plain = (tmp_path / f"{name}.npz" for name in ("a", "b", "plain"))
    with pytest.raises(PairingError, match=r"differ at the seeds 6-8\..*without it"):
        compare(asked(a, b, seeds=("0-8", "0-8")))
    # only seeds of both sides count
    row = compare(asked(a, b, seeds=("0-8", "6-8,0-2,10-12"), threshold=-1.0))
    assert (row["seeds"], row["classes"]) == (6, 3)
    row = compare(asked(a, plain, seeds=("0-8", "0-8")))
    assert row["classes"] is None
    assert row["notes"] == [
        f"{a}: the other side has no class labels, so chance levels are over all classes and not "
        "within each."
    ]


@pytest.mark.parametrize("name", ["features", "arr_0", "x.npy"])
def test_vectors_with_an_axis_of_one_are_not_taken_for_images(tmp_path, name):
    vectors = np.random.default_rng(0).normal(0, 0.3, (20, 1, 16)).astype(np.float32)
    path = tmp_path / ("x.npy" if name == "x.npy" else "x.npz")

    def save(values):
        np.save(path, values) if name == "x.npy" else np.savez(path, **{name: values})

    save(np.clip(vectors, -1, 1))
    for seeds in (("0-19", "0-19"), ("0-19", "20-39")):
        with pytest.raises(ReprostoreError, match=r"squeezed to \(sample, embedding\)"):
            compare(asked(path, path, seeds=seeds))
    save(vectors[:, 0])
    assert compare(asked(path, path, seeds=("0-19", "0-19")))["kind"] == "vectors"


def test_a_value_range_is_told_of_floats_alone(tmp_path):
    pictures = images(10, (5, 5, 3))
    np.savez(tmp_path / "a.npz", samples=pictures)
    np.save(tmp_path / "b.npy", (pictures / 255).astype(np.float32))
    np.save(tmp_path / "c.npy", (pictures / 127.5 - 1).astype(np.float32))
    a, b, c = tmp_path / "a.npz", tmp_path / "b.npy", tmp_path / "c.npy"
    seeds = ("0-9", "0-9")
    row = compare(asked(a, b, seeds=seeds, value_range=(0.0, 1.0), key="samples"))
    assert row["rp"] == row["mae_score"] == 1
    with pytest.raises(SpecError, match="whose values are uint8"):
        compare(asked(a, a, seeds=seeds, value_range=(0.0, 1.0), key="samples"))
    with pytest.raises(ReprostoreError, match=r"c\.npy has .*another --value-range each, import"):
        compare(asked(b, c, seeds=seeds, value_range=(0.0, 1.0)))


def test_grey_and_colour_differ_in_their_channels_and_not_in_their_size(tmp_path):
    grey, colour = (
        write_folder(tmp_path / name, dict(enumerate(images(3, shape))))
        for name, shape in (("grey", (1, 6, 6)), ("colour", (3, 6, 6)))
    )
    with pytest.raises(SpecError, match="The channels differ: make both grey or both RGB"):
        compare(asked(grey, colour))


def test_an_archive_whose_directory_is_damaged_cannot_be_read(tmp_path):
    pictures = images(9, (6, 6, 3))
    np.savez(tmp_path / "a.npz", pictures)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.index(b"PK\x01\x02")] ^= 1
    (tmp_path / "b.npz").write_bytes(content)
    with pytest.raises(DatasetError, match=r"b\.npz cannot be read"):
        compare(asked(tmp_path / "a.npz", tmp_path / "b.npz", seeds=("0-8", "0-8")))
