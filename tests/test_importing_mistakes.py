"""What people give by mistake, which looks right and would make numbers wrong."""

import os
import zipfile

import numpy as np
import pytest
import torch
from analyzing import open_tree
from importing import assert_stored, images, request, write_folder

from reprostore.errors import DatasetError, SpecError
from reprostore.importing import folders, import_samples, write
from reprostore.store import create_store
from reprostore.store.run import WRITTEN
from reprostore_analyses.context import Context
from reprostore_analyses.reproducibility import ReproducibilityOptions, reproducibility

RUN = "m/imported/none"


@pytest.fixture
def store(tmp_path):
    return create_store(tmp_path / "s.zarr")


@pytest.fixture
def net(tmp_path):
    (tmp_path / "net.pkl").write_bytes(b"net")
    return tmp_path / "net.pkl"


def values(low, high):
    return np.random.default_rng(3).uniform(low, high, (4, 3, 6, 6)).astype(np.float32)


# --- values


@pytest.mark.parametrize("low", [-0.25, -0.01, 0.0])
def test_values_of_0_to_1_that_undershoot_are_not_taken_for_those_of_minus_1_to_1(
    store, tmp_path, low
):
    array = values(0, 1)
    array[0, 0, 0, 0] = low
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(DatasetError, match="black could be 0 or -1"):
        import_samples(store, request(tmp_path / "x.npy", seeds="0-3"))
    import_samples(store, request(tmp_path / "x.npy", seeds="0-3", value_range=(0, 1)))
    assert_stored(store, dict(enumerate((array.astype(np.float64) * 2 - 1).astype(np.float32))))


def test_a_range_in_which_all_images_would_be_black_is_refused(store, tmp_path):
    np.save(tmp_path / "x.npy", values(0, 1))
    with pytest.raises(DatasetError, match="all samples would have one and the same grey"):
        import_samples(store, request(tmp_path / "x.npy", seeds="0-3", value_range=(0, 255)))
    assert store.run_paths() == []


@pytest.mark.parametrize(
    ("array", "ranges"),
    [
        (values(0, 1), [(0, 1), (0.0, 1.0)]),
        (values(-1, 1), [None, (-1, 1), (-1.0, 1.0)]),
        (images(4), [None, (0, 255), (0.0, 255.0)]),
    ],
)
def test_one_range_written_in_two_ways_is_one_run(store, tmp_path, array, ranges):
    np.save(tmp_path / "x.npy", array)
    written = [
        import_samples(store, request(tmp_path / "x.npy", seeds="0-3", value_range=each))["written"]
        for each in ranges
    ]
    assert written == [4] + [0] * (len(ranges) - 1)


# --- files


def test_a_linked_folder_is_not_left_out_without_a_word(store, tmp_path):
    folder = write_folder(tmp_path / "out", {0: images(1)[0]}, subdirs=True)
    other = write_folder(tmp_path / "other", {1001: images(1)[0]})
    (folder / "001000").symlink_to(other)
    with pytest.raises(DatasetError, match="holds 001000, which is no PNG file"):
        import_samples(store, request(folder))


def test_a_folder_that_cannot_be_read_is_not_left_out_without_a_word(store, tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "out", {0: images(1)[0], 1001: images(1)[0]}, subdirs=True)
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("001000"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(folders.os, "scandir", refusing)
    with pytest.raises(DatasetError, match=r"cannot be read: .*Permission denied: .*001000"):
        import_samples(store, request(folder))


def test_members_of_an_archive_that_are_no_arrays_are_not_taken_for_some(store, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("arr_0", b"text")
    with pytest.raises(SpecError, match=r"does not hold the array 'arr_0'\. It holds no array\."):
        import_samples(store, request(tmp_path / "x.npz", seeds="0-3"))


def test_more_solver_steps_than_a_run_can_record_are_refused(tmp_path):
    with pytest.raises(SpecError, match="at most 1000000"):
        request(tmp_path, steps=1_000_001)


# --- noise


def test_seeds_beside_the_noise_are_those_of_the_samples(store, tmp_path):
    folder = write_folder(tmp_path / "out", dict(enumerate(images(4))))
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 2, 1, 0)]
    noise = np.stack([torch.randn((3, 6, 6), generator=each).numpy() for each in generators])
    fields = {"noise": str(tmp_path / "noise.npz")}
    np.savez(tmp_path / "noise.npz", arr_0=noise, seeds=[3, 2, 1, 0])
    with pytest.raises(SpecError, match="names other seeds than the samples have, or another"):
        import_samples(store, request(folder, **fields))
    assert store.run_paths() == []
    np.savez(tmp_path / "noise.npz", arr_0=noise[::-1], seeds=np.arange(4))
    import_samples(store, request(folder, **fields))
    found = store.run(RUN).recorded("noise_probe")
    np.testing.assert_array_equal(found, noise[::-1].reshape(4, -1)[:, :8])


# --- imports that are repeated


def test_a_finished_import_may_be_repeated_while_another_of_the_run_is_not_finished(
    store, tmp_path, net, monkeypatch
):
    pictures = images(6, (1, 5, 5))
    np.save(tmp_path / "a.npy", pictures[:3])
    np.save(tmp_path / "b.npy", pictures[3:])
    first = request(tmp_path / "a.npy", seeds="0-2", weights=net)
    second = request(tmp_path / "b.npy", seeds="3-5", weights=net)
    import_samples(store, first)
    with monkeypatch.context() as stopped:
        stopped.setattr(write._Writing, "all", lambda self: 0)
        import_samples(store, second)
    assert len(store.run(RUN).seeds) == 6  # begun, and not written
    assert import_samples(store, first)["written"] == 0
    assert import_samples(store, second)["written"] == 3
    assert_stored(store, dict(enumerate(pictures)))


def test_vectors_that_are_imported_again_leave_the_others_alone(store, tmp_path, net):
    features = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)
    fields = {"encoder": "sscd", "sample_shape": (3, 6, 6), "weights": net, "noise": "edm-cpu"}
    np.save(tmp_path / "all.npy", features)
    np.save(tmp_path / "one.npy", features[2:3])
    import_samples(store, request(tmp_path / "all.npy", seeds="0-5", **fields))

    def arrays():
        run = open_tree(store)[f"runs/{RUN}"].to_dataset()
        vectors = open_tree(store)[f"embeddings/sscd/runs/{RUN}"].to_dataset()
        return {
            **{k: v.values for k, v in run.items()},
            **{k: v.values for k, v in vectors.items()},
        }

    before = arrays()
    run = store.run(RUN)
    for name in ("status", "session", "digest"):
        array = run.array(name)
        changed = array[...]
        changed[2] = 0
        array[...] = changed
    assert import_samples(store, request(tmp_path / "one.npy", seeds="2", **fields))["written"] == 1
    after = arrays()
    assert (run.status == WRITTEN).all()
    sessions = after.pop("session") == before.pop("session")
    assert sessions.tolist() == [True, True, False, True, True, True]
    assert after.keys() == before.keys()
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array, err_msg=name)


def test_two_imported_samplers_of_a_model_are_no_ceiling(store, tmp_path, net):
    """Nothing but their names is known of them, and these differ."""
    for model, sampler in [("m", "heun"), ("m", "ddim"), ("again", "heun")]:
        seed = {"heun": 0, "ddim": 1}[sampler]
        folder = write_folder(tmp_path / sampler, dict(enumerate(images(5, seed=seed))))
        known = {"sampler": sampler, "weights": net, "noise": "edm-cpu"}
        import_samples(store, request(folder, model, **known))
    result = reproducibility(Context(store), ReproducibilityOptions())
    assert result.attrs["ceiling"] == {"again/heun/none | m/heun/none": 1.0}
