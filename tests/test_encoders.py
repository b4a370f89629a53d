"""Encoders: identity without loading, pixels by hand, and what is refused."""

import hashlib
import math
import subprocess
import sys

import numpy as np
import pytest

from reprostore.encoders import encoder_identity, load_encoder
from reprostore.errors import DependencyError, NotFoundError, SpecError
from reprostore.specs import EncoderSpec

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REPROSTORE_CACHE", str(tmp_path / "cache"))


def pixel(item_shape, **options):
    return load_encoder(EncoderSpec(kind="pixel", **options), None, item_shape)


def torchscript(preprocessing="sscd", weights="net.pt", **options):
    return EncoderSpec(kind="torchscript", weights=weights, preprocessing=preprocessing, **options)


def cosine(vectors):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit @ unit.T


def test_pixel_subtracts_the_mean_of_each_image():
    encoder = pixel((1, 2, 2), batch_size=7)
    assert (encoder.metric, encoder.dimension, encoder.batch_size) == ("cosine", 4, 7)
    images = np.array([[[[0, 4], [8, 0]]], [[[255, 255], [255, 251]]]], dtype=np.uint8)
    vectors = encoder.encode(images)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, [[-3, 1, 5, -3], [1, 1, 1, -3]])


def test_pixel_cosine_is_the_correlation_of_pixels():
    images = RNG.integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)
    vectors = pixel((3, 8, 8)).encode(images)
    expected = np.corrcoef(images.reshape(20, -1))  # Pearson, in float64
    np.testing.assert_allclose(cosine(vectors), expected, atol=1e-6)


def test_pixel_cosine_is_free_of_scale():
    images = RNG.integers(0, 256, (20, 1, 8, 8), dtype=np.uint8)
    encoder = pixel((1, 8, 8))
    samples = images / np.float32(127.5) - np.float32(1)
    np.testing.assert_allclose(
        cosine(encoder.encode(images)), cosine(encoder.encode(samples)), atol=1e-6
    )


@pytest.mark.parametrize("value", [np.uint8(77), np.float32(0.1), np.float32(1 / 3)])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 11)])
def test_constant_image_is_the_zero_vector(value, shape):
    np.testing.assert_array_equal(pixel(shape).encode(np.full((2, *shape), value)), 0)


@pytest.mark.parametrize("item_shape", [(16, 2), (10,), (4, 8, 8)])
def test_pixel_takes_floats_of_any_shape_unchanged(item_shape):
    samples = RNG.normal(size=(5, *item_shape)).astype(np.float32)
    vectors = pixel(item_shape).encode(samples)
    flat = samples.reshape(5, -1).astype(np.float64)
    assert vectors.shape == (5, math.prod(item_shape))
    np.testing.assert_allclose(vectors, flat - flat.mean(axis=1, keepdims=True), atol=1e-6)


def test_pixel_does_not_depend_on_company_and_leaves_input_alone():
    samples = RNG.normal(size=(9, 3, 8, 8)).astype(np.float32)
    before = samples.copy()
    encoder = pixel((3, 8, 8))
    together = encoder.encode(samples)
    apart = np.concatenate([encoder.encode(sample[None]) for sample in samples])
    np.testing.assert_array_equal(together, apart)
    np.testing.assert_array_equal(samples, before)
    assert encoder.encode(samples[:0]).shape == (0, 192)


def test_pixel_refuses_another_shape():
    with pytest.raises(ValueError, match=r"\(1, 4, 2\), not \(1, 2, 4\)"):
        pixel((1, 2, 4)).encode(np.zeros((3, 1, 4, 2), dtype=np.uint8))


def test_identity_of_pixel():
    assert encoder_identity(EncoderSpec(kind="pixel"), None) == {
        "kind": "pixel",
        "version": 1,
        "metric": "cosine",
        "preprocessing": {"centering": "mean of each sample"},
    }


def test_identity_holds_weights_and_preprocessing_in_full(tmp_path):
    (tmp_path / "net.pt").write_bytes(b"weights")
    identity = encoder_identity(torchscript(batch_size=3), tmp_path)
    assert identity["weights"] == hashlib.sha256(b"weights").hexdigest()
    assert identity["preprocessing"] == {
        "size": [320, 320],
        "interpolation": "bilinear, antialiased when shrinking, rounded to 8 bits as in Pillow",
        "channels": 3,
        "scale": 255.0,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    assert identity == encoder_identity(torchscript(batch_size=4), tmp_path)
    assert identity != encoder_identity(torchscript("none"), tmp_path)
    (tmp_path / "net.pt").write_bytes(b"changed")
    assert identity != encoder_identity(torchscript(), tmp_path)


def test_identity_needs_no_torch(tmp_path):
    (tmp_path / "net.pt").write_bytes(b"weights")
    code = (
        "import sys, pathlib; from reprostore.encoders import encoder_identity as identity;"
        "from reprostore.specs import EncoderSpec as Spec;"
        "spec = Spec(kind='torchscript', weights='net.pt', preprocessing='sscd');"
        f"identity(spec, pathlib.Path({str(tmp_path)!r})); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("use", [encoder_identity, lambda s, b: load_encoder(s, b, (3, 8, 8))])
@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        (torchscript(), NotFoundError, r"weights file .*net\.pt .*does not exist.*Download"),
        (torchscript(weights="."), NotFoundError, "does not exist"),
        (torchscript(weights=None), SpecError, "does not name its weights.*path of a TorchScript"),
        (EncoderSpec(kind="pixel", weights="x"), SpecError, 'kind "pixel" has the option weights'),
        (
            EncoderSpec(kind="pixel", preprocessing="none"),
            SpecError,
            "has the option preprocessing.*Remove preprocessing",
        ),
    ],
)
def test_refused_specs(tmp_path, use, spec, error, message):
    with pytest.raises(error, match=message):
        use(spec, tmp_path)


def test_preprocessing_is_not_assumed(tmp_path):
    (tmp_path / "net.pt").write_bytes(b"weights")
    for use in (encoder_identity, lambda s, b: load_encoder(s, b, (3, 8, 8))):
        with pytest.raises(SpecError, match=r"does not say its preprocessing.*none is assumed"):
            use(torchscript(None), tmp_path)


def test_missing_torch_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "net.pt").write_bytes(b"weights")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DependencyError, match=r"torch is not installed.*reprostore\[generate\]"):
        load_encoder(torchscript(), tmp_path, (3, 8, 8))


def test_options_of_another_kind_are_refused(tmp_path):
    for spec in ({"kind": "pixel", "metric": "squared_l2"}, {"kind": "sscd", "layer": "x"}):
        with pytest.raises(SpecError, match=r"has the option (metric|layer).*Remove"):
            encoder_identity(EncoderSpec(**spec), tmp_path)
