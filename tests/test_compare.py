"""`repro compare`: two folders or files against scores that NumPy alone computes."""

import shutil
import tempfile

import numpy as np
import pytest
from PIL import Image

from reprostore.errors import MissingDataError, PairingError, ReprostoreError, SpecError
from reprostore_analyses.compare import compare
from reprostore_analyses.compare_request import CompareRequest, Source


def pictures(count=40, seed=0, shape=(6, 5, 3)):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def like(images, share, seed=1):
    """Return pictures that are near those of the first share of seeds, and unlike the rest."""
    rng = np.random.default_rng(seed)
    near = np.clip(images + rng.normal(0, 12, images.shape), 0, 255).astype(np.uint8)
    far = rng.integers(0, 256, images.shape, dtype=np.uint8)
    return np.where(np.arange(len(images))[:, None, None, None] < share * len(images), near, far)


def save(folder, images, seeds):
    folder.mkdir()
    for seed, image in zip(seeds, images, strict=True):
        Image.fromarray(image).save(folder / f"{seed:06d}.png")
    return folder


def cosines(a, b, *, centred=True):
    """Return the cosine of every pair of rows, in float64."""
    a, b = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (a, b))
    if centred:
        a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    return np.array([x @ y / np.sqrt((x @ x) * (y @ y)) for x, y in zip(a, b, strict=True)])


def chance(score, a, b, shifts=20):
    """Return the mean of a score over cyclic shifts of the seeds, as docs/metrics.md defines it."""
    steps = sorted({max(1, round(k * len(a) / (shifts + 1))) for k in range(1, shifts + 1)})
    return np.mean([score(a, np.roll(b, -step, axis=0)) for step in steps])


def asked(a, b, **values):
    sides = [side if isinstance(side, Source) else Source(side) for side in (a, b)]
    return CompareRequest(*sides, **{"allow_unchecked": True, **values})


def test_folders_get_the_scores_of_numpy(tmp_path):
    a = pictures()
    b = like(a, 0.7)
    row = compare(asked(save(tmp_path / "a", a, range(40)), save(tmp_path / "b", b, range(40))))
    similar = cosines(a, b) > 0.6
    near = np.abs(a.astype(int) - b.astype(int)).mean(axis=(1, 2, 3)) < 15
    assert 0.5 < similar.mean() < 0.9
    assert 0.5 < near.mean() < 0.9
    assert row["rp"] == similar.mean()
    assert row["mae_score"] == near.mean()
    assert row["rp_low"] < row["rp"] < row["rp_high"]
    assert row["chance"] == 0
    assert row["mae_chance"] == 0
    assert (row["seeds"], row["only_a"], row["only_b"]) == (40, 0, 0)
    assert (row["kind"], row["encoder"], row["threshold"]) == ("images", "pixel", 0.6)
    assert row["checked"] is False
    assert row["notes"] == []


def test_seeds_are_those_in_the_names_in_whatever_order_files_were_made(tmp_path):
    a = pictures(12)
    seeds = [5, 900, 31, 2, 77, 1004, 3, 8, 600, 41, 12, 10]
    first = save(tmp_path / "a", a, seeds)
    order = np.random.default_rng(3).permutation(12)
    second = save(tmp_path / "b", a[order], [seeds[i] for i in order])
    row = compare(asked(first, second))
    assert row["rp"] == row["mae_score"] == 1
    # the same pictures under other seeds are other pairs
    third = save(tmp_path / "c", np.roll(a, 1, axis=0), seeds)
    row = compare(asked(first, third))
    assert row["rp"] == (cosines(a, np.roll(a, 1, axis=0)) > 0.6).mean() < 0.2


def test_independent_pictures_are_at_the_chance_level(tmp_path):
    """Grey values of one number a picture and little noise: a third of all pairs are alike."""
    rng = np.random.default_rng(5)
    patterns = rng.normal(0, 60, (3, 6, 5, 3))

    def drawn():
        kinds = rng.integers(0, 3, 60)
        return np.clip(128 + patterns[kinds] + rng.normal(0, 10, (60, 6, 5, 3)), 0, 255).astype(
            np.uint8
        )

    a, b = drawn(), drawn()
    row = compare(asked(save(tmp_path / "a", a, range(60)), save(tmp_path / "b", b, range(60))))
    assert row["rp"] == (cosines(a, b) > 0.6).mean()
    every = np.mean([(cosines(a, np.roll(b, k, axis=0)) > 0.6).mean() for k in range(1, 60)])
    assert row["chance"] == pytest.approx(every, abs=0.05)
    assert 0.2 < row["chance"] < 0.5
    assert row["rp_low"] < row["chance"] < row["rp_high"]


def test_npz_files_of_guided_diffusion(tmp_path):
    a = pictures(20)
    b = like(a, 0.5)
    np.savez(tmp_path / "a.npz", a)
    np.savez(tmp_path / "b.npz", b[:15], np.arange(15))
    with pytest.raises(SpecError, match=r"seeds of the 20 rows of the file .*a\.npz are not given"):
        compare(asked(tmp_path / "a.npz", tmp_path / "b.npz"))
    row = compare(asked(Source(tmp_path / "a.npz", "0-19"), Source(tmp_path / "b.npz", "5-19")))
    common = cosines(a[5:], b[:15]) > 0.6
    assert row["rp"] == common.mean()
    assert (row["seeds"], row["only_a"], row["only_b"]) == (15, 5, 0)
    assert len(row["notes"]) == 1  # class labels are left out, and this is said
    row = compare(asked(Source(tmp_path / "a.npz", "0-19"), Source(tmp_path / "b.npz", "0-14")))
    assert row["rp"] == (cosines(a[:15], b[:15]) > 0.6).mean() > 0.5


def test_a_folder_and_an_array_of_floats(tmp_path):
    a = pictures(10)
    np.save(tmp_path / "b.npy", (a / 255).transpose(0, 3, 1, 2).astype(np.float32))
    folder = save(tmp_path / "a", a, range(10))
    source = Source(tmp_path / "b.npy", "0-9")
    row = compare(asked(folder, source, value_range=(0.0, 1.0)))
    assert row["rp"] == row["mae_score"] == 1


@pytest.mark.parametrize("beside", [False, True])
def test_vectors_are_compared_as_they_are(tmp_path, beside):
    rng = np.random.default_rng(2)
    a = rng.normal(size=(30, 7)).astype(np.float32)
    b = (a + rng.normal(0, 1, (30, 7))).astype(np.float32)
    if beside:  # as `repro export` writes them
        np.savez(tmp_path / "a.npz", features=a, seeds=np.arange(30))
        np.savez(tmp_path / "b.npz", features=b[::-1], seeds=np.arange(30)[::-1])
        row = compare(asked(tmp_path / "a.npz", tmp_path / "b.npz"))
    else:
        np.save(tmp_path / "a.npy", a)
        np.savez(tmp_path / "b.npz", features=b)
        row = compare(asked(Source(tmp_path / "a.npy", "0-29"), Source(tmp_path / "b.npz", "0-29")))
    similar = cosines(a, b, centred=False) > 0.6
    assert 0.2 < similar.mean() < 0.9
    assert row["rp"] == similar.mean()
    assert np.isnan([row["mae_score"], row["mae_score_low"], row["mae_chance"]]).all()
    assert (row["kind"], row["encoder"]) == ("vectors", "features")
    mismatched = [
        (cosines(a, np.roll(b, k, axis=0), centred=False) > 0.6).mean() for k in range(1, 30)
    ]
    assert row["chance"] == pytest.approx(np.mean(mismatched), abs=0.03)


def test_the_threshold_and_the_name_of_the_encoder(tmp_path):
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, 25, 3))
    for name, values in (("a", a), ("b", b)):
        np.savez(tmp_path / f"{name}.npz", features=values.astype(np.float32), seeds=range(25))
    row = compare(asked(tmp_path / "a.npz", tmp_path / "b.npz", encoder="sscd", threshold=-0.2))
    assert row["encoder"] == "sscd"
    assert row["rp"] == (cosines(a, b, centred=False) > -0.2).mean()


def noise_of(seeds, shape=(3, 6, 5)):
    import torch

    return np.stack(
        [torch.randn(shape, generator=torch.Generator().manual_seed(s)).numpy() for s in seeds]
    )


def test_noise_that_is_known_is_checked(tmp_path):
    a = pictures(10)
    first = save(tmp_path / "a", a, range(10))
    second = save(tmp_path / "b", a, range(10))
    row = compare(
        asked(Source(first, noise="edm-cpu"), Source(second, noise="edm-cpu"),
              allow_unchecked=False)
    )  # fmt: skip
    assert (row["checked"], row["noise"]) == (False, "declared")  # both by their seeds alone
    np.save(tmp_path / "noise.npy", noise_of(range(10)))
    recorded = Source(second, noise=str(tmp_path / "noise.npy"))
    row = compare(asked(Source(first, noise="edm-cpu"), recorded, allow_unchecked=False))
    assert (row["checked"], row["noise"]) == (True, "checked")
    assert (row["noise_a"], row["noise_b"]) == ("cpu-torch-normal-v1", "recorded")
    (tmp_path / "link.npy").symlink_to("noise.npy")
    for spelling in ("a/../noise.npy", "link.npy"):  # one file says nothing of two sets
        named = Source(first, noise=f"{tmp_path}/{spelling}")
        assert compare(asked(named, recorded, allow_unchecked=False))["noise"] == "declared"
    shutil.copy(tmp_path / "noise.npy", tmp_path / "theirs.npy")
    named = Source(first, noise=str(tmp_path / "theirs.npy"))
    assert compare(asked(named, recorded, allow_unchecked=False))["noise"] == "checked"
    np.save(tmp_path / "noise.npy", noise_of(range(1, 11)))
    with pytest.raises(PairingError, match=r"different noise at the seeds 0-9"):
        compare(asked(Source(first, noise="edm-cpu"), recorded))


def test_unknown_noise_is_refused_before_anything_is_read(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()  # reading it would tell that it is empty
    with pytest.raises(PairingError) as refused:
        compare(asked(tmp_path / "a", tmp_path / "b", allow_unchecked=False))
    assert "--noise edm-cpu" in str(refused.value)
    assert "--allow-unchecked" in str(refused.value)
    known = Source(tmp_path / "a", noise="edm-cpu")
    with pytest.raises(PairingError, match=r"of \S+/b began from is not known"):
        compare(asked(known, tmp_path / "b", allow_unchecked=False))


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        ("vectors", SpecError, r"holds images, and .*b\.npz holds vectors"),
        ("seeds", MissingDataError, r"the seeds 0-5.* the seeds 6-11"),
        ("lengths", SpecError, r"have 4 numbers, those of .* 5"),
        ("shapes", PairingError, r"3×6×5.*3×3×3.*different shapes"),
        ("sizes", SpecError, r"3×6×5.*3×3×3\. Pixels are compared of images of one shape"),
        ("both", SpecError, r"arr_0 and features.*--key"),
        ("options", SpecError, r"'weights'.*holds vectors"),
        ("kind", SpecError, r"'nonsense' is not valid as `kind`"),
        ("weights", ReprostoreError, r"none\.pt"),
        ("nothing", ReprostoreError, r"not there"),
        ("threshold", SpecError, r"1\.5"),
    ],
)
def test_what_cannot_be_compared(tmp_path, monkeypatch, make, error, match):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    first = save(tmp_path / "a", pictures(6), range(6))
    second, values = tmp_path / "b", {}
    if make in {"vectors", "lengths", "both", "options"}:
        second = tmp_path / "b.npz"
        arrays = {"features": np.ones((6, 5), np.float32), "seeds": np.arange(6)}
        np.savez(second, **arrays, **({"arr_0": pictures(6)} if make == "both" else {}))
    if make == "lengths":
        first = tmp_path / "a.npz"
        np.savez(first, features=np.ones((6, 4), np.float32), seeds=np.arange(6))
    elif make == "options":
        first, values = second, {"encoder": "sscd", "encoder_options": {"weights": "x.pt"}}
    elif make == "seeds":
        save(second, pictures(6), range(6, 12))
    elif make in {"shapes", "sizes"}:
        save(second, pictures(6, shape=(3, 3, 3)), range(6))
        first, second = (Source(side, noise="edm-cpu") for side in (first, second))
        values = {"allow_unchecked": make == "sizes"}
    elif make in {"kind", "weights", "threshold"}:
        save(second, pictures(6), range(6))
        values = {
            "kind": {"encoder": "nonsense"},
            "weights": {"encoder": "sscd", "encoder_options": {"weights": "none.pt"}},
            "threshold": {"threshold": 1.5},
        }[make]
    with pytest.raises(error, match=match):
        compare(asked(first, second, **values))
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize("threshold", [9.5, 15.0, 80.0])
def test_the_mae_threshold_is_the_one_that_was_asked_for(tmp_path, threshold):
    a = pictures()
    b = like(a, 0.7)
    folders = save(tmp_path / "a", a, range(40)), save(tmp_path / "b", b, range(40))
    row = compare(asked(*folders, mae_threshold=threshold))
    errors = np.abs(a.astype(int) - b.astype(int)).mean(axis=(1, 2, 3))
    assert 0 < (errors < threshold).mean() < 1
    assert (row["mae_score"], row["mae_threshold"]) == ((errors < threshold).mean(), threshold)


def test_noise_that_was_saved_multiplied_is_checked_by_its_scale(tmp_path):
    folders = [save(tmp_path / name, pictures(10), range(10)) for name in "ab"]
    np.save(tmp_path / "noise.npy", 80 * noise_of(range(10)))
    recorded = Source(folders[1], noise=str(tmp_path / "noise.npy"))
    row = compare(
        asked(Source(folders[0], noise="edm-cpu"), recorded, allow_unchecked=False, noise_scale=80)
    )
    assert row["checked"] is True
