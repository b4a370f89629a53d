"""Imports that are repeated, killed, contradicted or grown, and what is computed from them."""

import numpy as np
import pytest
import torch
from analyzing import open_tree
from importing import assert_stored, images, request, stored, write_folder
from stores import content, finish, python

from reprostore.errors import IdentityError, SpecError, StorageError
from reprostore.generate import Settings, generate
from reprostore.images import to_uint8
from reprostore.importing import import_samples
from reprostore.pending import RunRequest
from reprostore.specs import ConditionSpec, ModelSpec, SamplerSpec, Subset
from reprostore.store import create_store, open_store
from reprostore.testing.faults import killed_after
from reprostore.testing.models import tiny_checkpoint
from reprostore_analyses.context import Context
from reprostore_analyses.reproducibility import ReproducibilityOptions, reproducibility

RUN = "m/imported/none"


@pytest.fixture
def store(tmp_path):
    return create_store(tmp_path / "s.zarr")


def arrays(store, path=RUN):
    """Return all arrays of a run but the sessions, as bytes."""
    group = open_tree(store)[f"runs/{path}"].to_dataset()
    names = [name for name in group.variables if name != "session"]
    return {name: group[name].values.tobytes() for name in names}


def test_a_repetition_changes_no_file(store, tmp_path):
    folder = write_folder(tmp_path / "out", dict(enumerate(images(5))))
    import_samples(store, request(folder, noise="edm-cpu"))
    before = content(store.path)
    reports = []
    again = import_samples(
        store, request(folder, noise="edm-cpu"), progress=lambda *report: reports.append(report)
    )
    assert (again["written"], reports) == (0, [])
    assert content(store.path) == before


def test_a_store_that_was_opened_for_reading_is_not_written(store, tmp_path):
    folder = write_folder(tmp_path / "out", dict(enumerate(images(5))))
    with pytest.raises(StorageError, match="opened for reading only"):
        import_samples(open_store(store.path), request(folder))


def test_an_import_killed_at_any_moment_is_finished_by_the_next(tmp_path):
    samples = dict(enumerate(images(3)))
    folder = write_folder(tmp_path / "out", samples)
    whole = create_store(tmp_path / "whole.zarr")
    import_samples(whole, request(folder, noise="edm-cpu"))
    expected = arrays(whole)
    begun = 0
    for changes in [0, 50, *range(100, 400, 8)]:
        path = tmp_path / f"{changes}.zarr"
        with killed_after(path.parent, changes + 20) as fault:
            import_samples(create_store(path), request(folder, noise="edm-cpu"))
        if not fault.killed:
            break
        again = create_store(path)
        if again.run_paths():
            begun += 1
            assert len(again.run(RUN).written()[0]) in {0, 3}
        import_samples(again, request(folder, noise="edm-cpu"))
        assert arrays(again) == expected
    assert not fault.killed
    assert begun > 1


IMPORT = """
import sys
from pathlib import Path
from reprostore.importing import ImportRequest, import_samples
from reprostore.store import create_store
request = ImportRequest(source=Path(sys.argv[2]), model="m", seeds="0-1399")
row = import_samples(create_store(sys.argv[1]), request)
print(row["written"])
"""


def test_two_processes_share_an_import(tmp_path):
    pictures = images(1400, (1, 5, 5))
    np.save(tmp_path / "x.npy", pictures)
    both = [python(IMPORT, tmp_path / "s.zarr", tmp_path / "x.npy") for _ in range(2)]
    written = [int(finish(process)) for process in both]
    assert sum(written) == 1400
    assert_stored(open_store(tmp_path / "s.zarr"), dict(enumerate(pictures)))


@pytest.mark.parametrize("change", ["pixel", "seed", "fewer"])
def test_other_content_under_the_same_name_is_refused(store, tmp_path, change):
    samples = dict(enumerate(images(5)))
    import_samples(store, request(write_folder(tmp_path / "a", samples)))
    other = dict(samples)
    if change == "pixel":
        other[3] = other[3] ^ np.uint8(1)
    else:
        image = other.pop(4)
        if change == "seed":
            other[5] = image
    with pytest.raises(IdentityError, match=r"from other files, seeds or noise.*with --weights"):
        import_samples(store, request(write_folder(tmp_path / "b", other)))
    assert_stored(store, samples)


def test_a_checkpoint_is_the_identity_and_more_seeds_may_follow(store, tmp_path):
    (tmp_path / "net.pkl").write_bytes(b"net")
    pictures = images(700, (1, 5, 5))
    known = {"weights": tmp_path / "net.pkl", "noise": "edm-cpu"}
    np.save(tmp_path / "a.npy", pictures[:300])
    np.save(tmp_path / "b.npy", pictures[200:])
    np.save(tmp_path / "whole.npy", pictures)
    import_samples(store, request(tmp_path / "a.npy", seeds="0-299", **known))
    row = import_samples(store, request(tmp_path / "b.npy", seeds="200-699", **known))
    assert (row["seeds"], row["written"]) == (500, 400)
    assert_stored(store, dict(enumerate(pictures)))
    other = create_store(tmp_path / "other.zarr")
    import_samples(other, request(tmp_path / "whole.npy", seeds="0-699", **known))
    assert arrays(store) == arrays(other)
    (tmp_path / "net.pkl").write_bytes(b"other")
    with pytest.raises(IdentityError, match=r"weights\.net\.pkl"):
        import_samples(store, request(tmp_path / "a.npy", seeds="0-299", **known))


def test_samples_of_written_seeds_must_be_equal(store, tmp_path):
    (tmp_path / "net.pkl").write_bytes(b"net")
    pictures = images(6, (1, 5, 5))
    noise = torch.randn((6, 1, 5, 5), generator=torch.Generator().manual_seed(0)).numpy()
    changed = pictures.copy()
    changed[3, 0, 2, 2] ^= 1
    files = {"x": pictures, "y": changed, "noise": noise, "turned": noise[::-1]}
    for name, values in files.items():
        np.save(tmp_path / f"{name}.npy", values)

    def run(name, noise, seeds="0-5"):
        fields = {"weights": tmp_path / "net.pkl", "noise": str(tmp_path / f"{noise}.npy")}
        return import_samples(store, request(tmp_path / f"{name}.npy", seeds=seeds, **fields))

    run("x", "noise")
    before = content(store.path)
    with pytest.raises(IdentityError, match="the samples or the noise of the seeds 3 are others"):
        run("y", "noise")
    with pytest.raises(IdentityError, match="the samples or the noise of the seeds 0-5 are"):
        run("x", "turned")
    assert content(store.path) == before
    assert run("x", "noise")["written"] == 0


def test_an_unfinished_import_is_not_mixed_with_another(store, tmp_path):
    (tmp_path / "net.pkl").write_bytes(b"net")
    pictures = images(6, (1, 5, 5))
    np.save(tmp_path / "a.npy", pictures[:3])
    np.save(tmp_path / "b.npy", pictures[3:])
    known = {"weights": tmp_path / "net.pkl"}
    first = request(tmp_path / "a.npy", seeds="0-2", **known)
    second = request(tmp_path / "b.npy", seeds="3-5", **known)
    import_samples(store, first)
    store.run(RUN).array("status")[...] = 0  # as if it had been killed
    with pytest.raises(SpecError, match=r"no samples of the seeds 0-2\. .* First finish"):
        import_samples(store, second)
    assert store.run(RUN).seeds.tolist() == [0, 1, 2]
    import_samples(store, first)
    import_samples(store, second)
    assert_stored(store, dict(enumerate(pictures)))


def test_what_is_said_of_the_model_is_recorded_and_does_not_change(store, tmp_path):
    folder = write_folder(tmp_path / "out", dict(enumerate(images(3))))
    known = {
        "trained_on": Subset(dataset="digits", index="0-63"), "held_out": "100-199",
        "family": "unet", "parameters": 1000, "width": 64, "training_step": 5, "trainer_seed": 2,
    }  # fmt: skip
    import_samples(store, request(folder, steps=18, **known))
    spec = store.run(RUN).spec
    assert spec.model_spec == ModelSpec(source="imported", **known)
    assert (spec.steps, spec.sampler_spec.scheduler) == ((18,), "imported")
    assert import_samples(store, request(folder, steps=18))["written"] == 0
    other = Subset(dataset="digits", index="0-9")
    with pytest.raises(IdentityError, match=r"trained_on\.index is '0-63' in the store and '0-9'"):
        import_samples(store, request(folder, steps=18, trained_on=other))
    with pytest.raises(SpecError, match="`held_out` stands without `trained_on`"):
        import_samples(store, request(folder, steps=18, held_out="1"))
    with pytest.raises(SpecError, match=r"`parameters` of the model is '0'"):
        import_samples(store, request(folder, steps=18, parameters=0))


def test_the_session_says_where_samples_come_from(store, tmp_path):
    folder = write_folder(tmp_path / "out", dict(enumerate(images(3))))
    import_samples(store, request(folder, noise="edm-cpu"))
    (number,) = np.unique(store.run(RUN).recorded("session")).tolist()
    session = store.session(number)
    assert session["imported_from"] == str(folder)
    assert (session["files"], session["noise"]) == (3, "edm-cpu")
    assert {"reprostore", "numpy", "pillow"} == session["read_with"].keys()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "a/b"}, "'a/b' is no valid name of a model"),
        ({"sampler": ""}, "no valid name of a sampler"),
        ({"condition": "zarr.json"}, "no valid name of a condition"),
        ({"steps": 0}, "The number of solver steps is 0"),
        ({"noise_scale": 0.0}, "The noise scale is 0"),
        ({"noise_scale": float("inf")}, "The noise scale is inf"),
        (
            {"noise_scale": 80.0, "noise": "edm-cpu"},
            "The noise scale is 80, and the noise is 'edm-",
        ),
        ({"metric": "squared_l2"}, "The metric squared_l2 is given, and no encoder"),
        ({"value_range": (1, 1)}, "The value range is 1 to 1"),
        ({"layout": "hwc"}, "The layout is 'hwc'. It is nhwc or nchw"),
    ],
)
def test_options_are_checked_before_anything_is_read(tmp_path, fields, message):
    with pytest.raises(SpecError, match=message):
        request(tmp_path / "absent", **{"model": "m", **fields})


def test_scores_of_an_imported_folder_are_those_of_the_images_in_it(store, tmp_path):
    """EDM's naming, exported by hand from generated samples: RP as of their PNG roundings."""
    seeds = list(range(40))
    models = {name: tiny_checkpoint(tmp_path / name, seed=n) for n, name in enumerate("ab")}
    asked = [
        RunRequest(name, "ddim", "none", ModelSpec(source=str(path)),
                   SamplerSpec(scheduler="ddim", steps=2), ConditionSpec())
        for name, path in models.items()
    ]  # fmt: skip
    generate(lambda: store, asked, seeds, tmp_path, batch_size=40, settings=Settings(device="cpu"))
    generated = {name: stored(store, f"{name}/ddim/none") for name in "ab"}
    files = {seed: to_uint8(sample) for seed, sample in generated["b"].items()}
    import_samples(store, request(write_folder(tmp_path / "out", files), "png", noise="edm-cpu"))
    result = reproducibility(Context(store), ReproducibilityOptions(threshold=0.6))
    runs = {"a": "a/ddim/none", "b": "b/ddim/none", "png": "png/imported/none"}

    def at(first, second, name):
        return result[name].sel(run_a=runs[first], run_b=runs[second]).values

    assert bool(at("a", "png", "checked"))
    assert float(at("b", "png", "rp")) == 1.0
    np.testing.assert_array_equal(at("a", "png", "similarity"), at("a", "b", "similarity"))
    expected = []
    for seed in seeds:
        pixels = [to_uint8(generated["a"][seed]), files[seed]]
        x, y = (p.astype(np.float64).ravel() - p.astype(np.float64).mean() for p in pixels)
        expected.append(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
    np.testing.assert_allclose(at("a", "png", "similarity"), expected, atol=1e-5)
    assert float(at("a", "png", "rp")) == np.mean(np.asarray(expected) > 0.6)


def test_scores_of_vectors_are_those_of_the_vectors_alone(store, tmp_path):
    rng = np.random.default_rng(0)
    first = rng.standard_normal((30, 5)).astype(np.float32)
    second = (first + rng.standard_normal((30, 5))).astype(np.float32)
    for name, values in [("a", first), ("b", second)]:
        np.savez(tmp_path / f"{name}.npz", features=values)
        fields = {"encoder": "sscd", "sample_shape": (3, 6, 6), "noise": "edm-cpu"}
        import_samples(store, request(tmp_path / f"{name}.npz", name, seeds="0-29", **fields))
    options = ReproducibilityOptions(encoder="sscd", threshold=0.6)
    at = reproducibility(Context(store), options).sel(
        run_a="a/imported/none", run_b="b/imported/none"
    )
    x, y = first.astype(np.float64), second.astype(np.float64)
    cosine = (x * y).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    np.testing.assert_allclose(at["similarity"], cosine, atol=1e-6)
    assert float(at["rp"]) == np.mean(cosine > 0.6)
    assert bool(at["checked"])
    assert np.isnan(at["mae_score"])
