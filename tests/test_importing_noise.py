"""The noise of imported samples, drawn again, recorded or unknown, and what it says of pairs."""

import re
import sys

import numpy as np
import pytest
import torch
from importing import images, request, write_folder, write_png

from reprostore.errors import PairingError, ReprostoreError
from reprostore.importing import import_samples, stored_arrays
from reprostore.importing.noise import known_noise
from reprostore.store import create_store
from reprostore_analyses.pairing import check_pairing

SHAPE = (3, 6, 6)


@pytest.fixture
def store(tmp_path):
    return create_store(tmp_path / "s.zarr")


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "out", dict(enumerate(images(20), start=10)))


def edm_noise(seeds, shape=SHAPE):
    """Return the latents of EDM's StackedRandomGenerator on the CPU, written anew."""
    generators = [torch.Generator("cpu").manual_seed(int(seed) % (1 << 32)) for seed in seeds]
    return torch.stack([torch.randn(shape, generator=each) for each in generators]).numpy()


def probes(store, model="m"):
    return store.run(f"{model}/imported/none").recorded("noise_probe")


def pairing(store, a, b, **options):
    runs = [store.run(f"{name}/imported/none") for name in (a, b)]
    slots = [run.written()[0] for run in runs]
    assert [run.seeds.tolist() for run in runs] == [list(range(10, 30))] * 2
    return check_pairing(*runs, *slots, **options)


def test_noise_of_edm_is_that_of_one_generator_per_seed(store, folder):
    row = import_samples(store, request(folder, noise="edm-cpu"))
    assert (row["noise"], row["notes"]) == ("cpu-torch-normal-v1", [])
    expected = edm_noise(range(10, 30)).reshape(20, -1)[:, :8]
    np.testing.assert_allclose(probes(store), expected, rtol=0, atol=2e-6)  # of float32


def test_torch_is_not_needed_for_it(store, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    import_samples(store, request(folder, noise="edm-cpu"))
    assert np.isfinite(probes(store)).all()


def test_unknown_noise_is_marked_and_pairing_is_refused(store, folder):
    row = import_samples(store, request(folder))
    assert row["noise"] == "unknown"
    assert "comparisons with other runs are refused unless allow_unchecked" in row["notes"][-1]
    assert np.isnan(probes(store)).all()
    import_samples(store, request(folder, "n", noise="edm-cpu"))
    with pytest.raises(PairingError, match="the noise of m/imported/none is not known"):
        pairing(store, "m", "n")
    assert not pairing(store, "m", "n", allow_unchecked=True).checked


@pytest.mark.parametrize(("name", "key"), [("noise.npy", None), ("noise.npz", "arr_0")])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("scale", [1.0, 80.0])
def test_recorded_noise_gives_the_probes(store, folder, tmp_path, name, key, dtype, scale):
    noise = edm_noise(range(10, 30))
    values = (noise * scale).astype(dtype)
    if key is None:
        np.save(tmp_path / name, values)
    else:
        np.savez(tmp_path / name, values)
    fields = {"noise": str(tmp_path / name), "noise_scale": scale}
    assert import_samples(store, request(folder, **fields))["noise"] == "recorded"
    tolerance = 2e-3 if dtype == "float16" else 1e-6  # half of a step of float16 near 4
    np.testing.assert_allclose(probes(store), noise.reshape(20, -1)[:, :8], atol=tolerance)
    spec = store.run("m/imported/none").spec
    assert (spec.noise, spec.noise_scale) == ("recorded", scale)


@pytest.mark.parametrize("scale", [1.0, 80.0])
def test_noise_in_half_precision_is_the_noise_that_was_rounded(store, tmp_path, scale):
    """Beyond 4 the rounding of float16 is larger than 10⁻³, as it may be after a division."""
    noise = edm_noise(range(60))
    noise[5, 0, 0, :2] = [4.2482, -4.7511]
    rounded = (noise * scale).astype(np.float16)
    assert np.abs(rounded.astype(np.float32) / scale - noise).reshape(60, -1)[:, :8].max() > 1e-3
    other = noise.copy()
    other[5, 0, 0, 0] += 0.01
    np.save(tmp_path / "x.npy", images(60))
    for name, values in (("rounded", rounded), ("exact", noise * scale), ("other", other * scale)):
        np.save(tmp_path / f"{name}.npy", values)
        fields = {"noise": str(tmp_path / f"{name}.npy"), "noise_scale": scale, "seeds": "0-59"}
        import_samples(store, request(tmp_path / "x.npy", name, **fields))
    runs = {name: store.run(f"{name}/imported/none") for name in ("rounded", "exact", "other")}
    slots = np.arange(60)
    assert check_pairing(runs["rounded"], runs["exact"], slots, slots).checked
    for name in ("rounded", "exact"):
        with pytest.raises(PairingError, match="different noise at the seeds 5"):
            check_pairing(runs[name], runs["other"], slots, slots)


def test_the_only_array_of_an_archive_is_the_noise(store, folder, tmp_path):
    noise = edm_noise(range(10, 30))
    path = tmp_path / "noise.npz"
    fields = {"noise": str(path)}
    np.savez(path, latents=noise, other=noise)
    with pytest.raises(ReprostoreError, match=r"latents, other\. .* Save it as arr_0"):
        import_samples(store, request(folder, **fields))
    assert store.run_paths() == []
    np.savez(path, latents=noise, seeds=np.arange(10, 30))
    import_samples(store, request(folder, **fields))
    np.testing.assert_array_equal(probes(store), noise.reshape(20, -1)[:, :8])


def test_recorded_noise_pairs_with_equal_noise_alone(store, folder, tmp_path):
    noise = edm_noise(range(10, 30))
    np.save(tmp_path / "noise.npy", noise)
    np.save(tmp_path / "turned.npy", np.roll(noise, 1, axis=0))
    import_samples(store, request(folder, "drawn", noise="edm-cpu"))
    import_samples(store, request(folder, "recorded", noise=str(tmp_path / "noise.npy")))
    import_samples(store, request(folder, "turned", noise=str(tmp_path / "turned.npy")))
    assert pairing(store, "drawn", "recorded").checked
    for other in ("drawn", "recorded"):
        with pytest.raises(PairingError, match="began from different noise at the seeds 10-29"):
            pairing(store, other, "turned", allow_unchecked=True)


def test_noise_is_in_the_order_of_the_seeds_and_not_of_the_slots(store, tmp_path):
    noise = edm_noise(range(4))
    np.save(tmp_path / "x.npy", images(4))
    np.save(tmp_path / "noise.npy", noise)
    import_samples(
        store, request(tmp_path / "x.npy", seeds="7,5,9,1", noise=str(tmp_path / "noise.npy"))
    )
    run = store.run("m/imported/none")
    assert run.seeds.tolist() == [7, 5, 9, 1]
    np.testing.assert_array_equal(probes(store), noise.reshape(4, -1)[:, :8])


def test_probes_of_samples_with_fewer_than_eight_values_are_filled_up(store, tmp_path):
    np.save(tmp_path / "x.npy", images(300, (1, 2, 2)))
    noise = edm_noise(range(300), (1, 2, 2))
    np.save(tmp_path / "noise.npy", noise)
    import_samples(
        store, request(tmp_path / "x.npy", seeds="0-299", noise=str(tmp_path / "noise.npy"))
    )
    found = probes(store)
    np.testing.assert_array_equal(found[:, :4], noise.reshape(300, 4))
    assert np.isnan(found[:, 4:]).all()


def wrong():
    """Return noise that is none, by a change of true noise."""
    noise = edm_noise(range(10, 30))
    return {
        "shape": lambda: noise[:-1],
        "size": lambda: noise[:, :, :5],
        "channels last": lambda: noise.transpose(0, 2, 3, 1),
        "integers": lambda: images(20),
        "images": lambda: images(20) / 127.5 - 1,
        "normalised images": lambda: _smooth(noise),
        "signs": lambda: np.sign(noise),
        "shifted": lambda: noise + 0.5,
        "scaled": lambda: noise * 80,
        "nan": lambda: np.where(noise > 3, np.nan, noise),
        "repeated": lambda: np.repeat(noise[:10], 2, axis=0),
        "twice": lambda: np.concatenate([noise[:19], noise[:1]]),
    }


def _smooth(values):
    """Return the values of noise in another order, in which neighbors are alike as in images."""
    rank = np.argsort(np.argsort(np.cumsum(values)))
    return np.sort(values, axis=None)[rank].reshape(values.shape)


MESSAGES = {
    "shape": "has the shape (19, 3, 6, 6). The noise of 20 samples of shape (3, 6, 6)",
    "size": "has the shape (20, 3, 5, 6)",
    "channels last": "has the shape (20, 6, 6, 3)",
    "integers": "has values of the type uint8",
    "images": "Initial noise is standard normal",
    "normalised images": "Initial noise is standard normal",
    "signs": "the mean fourth power 1 and",
    "shifted": "Initial noise is standard normal",
    "scaled": "give as noise scale the number by which it was multiplied, such as 80",
    "nan": "Initial noise is standard normal",
    "repeated": "Several samples in the noise",
    "twice": "Several samples in the noise",
}


@pytest.mark.parametrize("kind", MESSAGES)
def test_a_file_that_is_not_the_noise_is_refused(store, folder, tmp_path, kind):
    np.save(tmp_path / "noise.npy", wrong()[kind]())
    with pytest.raises(ReprostoreError, match=re.escape(MESSAGES[kind])):
        import_samples(store, request(folder, noise=str(tmp_path / "noise.npy")))
    assert store.run_paths() == []


def test_true_noise_is_hardly_ever_refused(store, tmp_path):
    rng = np.random.default_rng(0)
    for number, count in enumerate([1, 2, 5, 30]):
        np.save(tmp_path / "x.npy", images(count, (1, 5, 2)))
        for repeat in range(5):
            np.save(tmp_path / "noise.npy", rng.standard_normal((count, 1, 5, 2)))
            fields = {"seeds": f"0-{count - 1}", "noise": str(tmp_path / "noise.npy")}
            import_samples(store, request(tmp_path / "x.npy", f"m{number}{repeat}", **fields))


@pytest.mark.parametrize("noise", ["edm", "absent.npy", "cuda", ""])
def test_noise_that_is_no_file_is_refused(store, folder, noise):
    with pytest.raises(ReprostoreError, match=r'Noise is "unknown", "edm-cpu"'):
        import_samples(store, request(folder, noise=noise))


def test_other_noise_is_another_run(store, folder, tmp_path):
    noise = edm_noise(range(10, 30))
    np.save(tmp_path / "a.npy", noise)
    np.save(tmp_path / "b.npy", noise[::-1])
    import_samples(store, request(folder, noise=str(tmp_path / "a.npy")))
    with pytest.raises(ReprostoreError, match="imported from other files, seeds or noise"):
        import_samples(store, request(folder, noise=str(tmp_path / "b.npy")))
    for other in ("unknown", "edm-cpu"):
        with pytest.raises(ReprostoreError, match="noise is 'recorded' in the store"):
            import_samples(store, request(folder, noise=other))


def test_noise_of_a_folder_is_in_the_order_of_the_numbers_in_its_names(store, tmp_path):
    for seed, image in zip([10, 9, 2], images(3), strict=True):
        write_png(tmp_path / "out" / f"{seed}.png", image)  # by letters 10, 2, 9
    noise = edm_noise([2, 9, 10])
    np.save(tmp_path / "noise.npy", noise)
    import_samples(store, request(tmp_path / "out", noise=str(tmp_path / "noise.npy")))
    assert store.run("m/imported/none").seeds.tolist() == [2, 9, 10]
    np.testing.assert_array_equal(probes(store), noise.reshape(3, -1)[:, :8])


def test_recorded_noise_that_is_read_in_several_blocks_gives_the_probes(
    store, folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(stored_arrays, "BLOCK_BYTES", 3 * 3 * 6 * 6 * 4)  # three rows
    noise = edm_noise(range(10, 30))
    np.save(tmp_path / "noise.npy", noise)
    import_samples(store, request(folder, noise=str(tmp_path / "noise.npy")))
    np.testing.assert_array_equal(probes(store), noise.reshape(20, -1)[:, :8])


def test_much_noise_that_was_clipped_far_out_is_noise(tmp_path):
    """Of a million values the fourth power shows a cut at 3 (2.84 for 3) beyond all chance."""
    shape = (3, 128, 128)
    noise = edm_noise(range(20), shape).clip(-3, 3)
    assert abs((noise.astype(np.float64) ** 4).mean() - 3) > 6 * np.sqrt(96 / noise.size)
    np.save(tmp_path / "noise.npy", noise)
    named = request(tmp_path, noise=str(tmp_path / "noise.npy"))
    assert known_noise(named, range(20), shape).contract == "recorded"
