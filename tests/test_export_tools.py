"""Exports as they are used: by torch-fidelity, from the shell, from a packed store."""

import zipfile

import numpy as np
import pytest
from commands import Repro, contents
from exporting import RUN, export, filled
from PIL import Image
from scipy.linalg import sqrtm
from stores import add

from reprostore.images import to_uint8
from reprostore.store import open_store
from reprostore.testing.store import fake_states, run_spec, write_units


@pytest.fixture
def repro(capsys):
    return Repro(capsys)


def quadrants(images):
    """Return the mean of each channel in the upper and the lower half, (image, 6) float64."""
    halves = np.stack([images[:, :, :2], images[:, :, 2:]], axis=1).astype(np.float64)
    return halves.mean(axis=(3, 4)).reshape(len(images), 6)


def fid(a, b):
    """Return the Fréchet distance of two sets of vectors, by the principal square root."""
    gap = a.mean(axis=0) - b.mean(axis=0)
    first, second = (np.cov(values, rowvar=False) for values in (a, b))
    return gap @ gap + np.trace(first + second - 2 * sqrtm(first @ second).real)


@pytest.fixture(scope="module")
def extractor():
    """Register the halves' means as a feature extractor: nothing is downloaded."""
    import torch
    import torch_fidelity
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    class Halves(FeatureExtractorBase):
        def __init__(self, name, features_list, **kwargs):
            super().__init__(name, features_list)

        @staticmethod
        def get_provided_features_list():
            return ("halves",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric):
            return "halves"

        @staticmethod
        def can_be_compiled():
            return False

        def forward(self, images):
            assert images.dtype == torch.uint8
            return (torch.from_numpy(quadrants(images.numpy())),)

    torch_fidelity.register_feature_extractor("reprostore-halves", Halves)
    return "reprostore-halves"


@pytest.mark.parametrize("subdirs", [False, True])
def test_torch_fidelity_reads_an_export(tmp_path, extractor, subdirs):
    import torch_fidelity

    store = filled(tmp_path, range(990, 1020))
    values = {"sample_shape": (3, 4, 5), "steps": (0, 1, 2)}
    other = add(store, run_spec("other", **values), range(40))

    def states(spec, seed, row):
        return fake_states(spec, seed + 10**6, row)[0] ** 3, None  # another distribution

    write_units(other, store.start_session({}), states=states)
    rows = export(store, tmp_path / "out", "png", [RUN, "other/sampler/none"], subdirs=subdirs)
    found = torch_fidelity.calculate_metrics(
        input1=rows[0]["path"],
        input2=rows[1]["path"],
        fid=True,
        feature_extractor=extractor,
        samples_find_deep=subdirs,
        batch_size=16,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    spec = run_spec(**values)
    vectors = [
        quadrants(to_uint8(np.stack(samples)))
        for samples in (
            [fake_states(spec, seed, 2)[0] for seed in range(990, 1020)],
            [states(spec, seed, 2)[0] for seed in range(40)],
        )
    ]
    assert found["frechet_inception_distance"] == pytest.approx(fid(*vectors), rel=1e-6)
    assert fid(*vectors) > 1


def test_a_packed_store_is_exported_as_it_lies(tmp_path):
    store = filled(tmp_path)
    packed = tmp_path / "s.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(store.path.rglob("*")):
            archive.write(file, file.relative_to(store.path))
    before = packed.read_bytes()
    for form in ("png", "npz", "npy"):
        export(store, tmp_path / "folder", form)
        export(open_store(packed), tmp_path / "zip", form)
    assert contents(tmp_path / "zip") == contents(tmp_path / "folder")
    assert packed.read_bytes() == before


def test_a_store_that_cannot_be_written_is_exported(tmp_path):
    store = filled(tmp_path)
    before = contents(tmp_path)
    for path in (store.path, *store.path.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    export(open_store(store.path), tmp_path / "out", "npz")
    for path in (store.path, *store.path.rglob("*")):
        path.chmod(0o755)
    assert before.items() <= contents(tmp_path).items()
    assert {name.split("/")[0] for name in contents(tmp_path).keys() - before} == {"out"}


def test_from_the_shell(tmp_path, repro):
    store = filled(tmp_path)
    write_units(add(store, run_spec("net", sample_shape=(3, 4, 5)), [0]), store.start_session({}))
    done = repro("export", store.path, "--sampler", "sampler", "--to", tmp_path / "out",
                 "--format", "png", "--seeds", "0", "--json")  # fmt: skip
    assert done.code == 0
    assert [(row["name"], row["count"], row["new"]) for row in done.rows] == [
        (RUN, 1, 1),
        ("net/sampler/none", 1, 1),
    ]
    for row in done.rows:
        with Image.open(f"{row['path']}/000000.png") as image:
            assert image.size == (5, 4)
    again = repro("export", store.path, "--run", RUN, "--to", tmp_path / "out", "--format", "png",
                  "--seeds", "0")  # fmt: skip
    assert again.code == 0
    assert f"{RUN}" in again.out
    assert str(tmp_path / "out" / RUN) in again.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "Nothing is named to be exported"),
        (["--run", "x/y/z"], "no run x/y/z"),
        (["--run", RUN, "--model", "model"], "--run is given together with"),
        (["--model", "x"], "The model 'x' has no run"),
        (["--dataset", "digits@9-1"], "runs backwards"),
        (["--dataset", "digits"], "no dataset 'digits'"),
    ],
)
def test_mistakes_are_told_in_one_paragraph(tmp_path, repro, options, said):
    store = filled(tmp_path, [0])
    done = repro("export", store.path, *options, "--to", tmp_path / "out", "--format", "png")
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("Error:")
    assert done.err.count("\n") == 1
    assert said in done.err
    assert not (tmp_path / "out").exists()
