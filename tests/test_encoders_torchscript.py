"""TorchScript encoders, against Pillow and torchvision's transforms."""

import numpy as np
import pytest
from PIL import Image

from reprostore.encoders import load_encoder
from reprostore.errors import ModelError, SpecError
from reprostore.specs import EncoderSpec

torch = pytest.importorskip("torch")

from reprostore.encoders.preprocessing import PRESETS  # noqa: E402
from reprostore.encoders.transform import preprocess  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    # the tests write TorchScript files; the package itself only loads them
    r"ignore:.*torch\.jit\.(script|save|trace|trace_method).* is deprecated"
)
RNG = np.random.default_rng(0)


class Flatten(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)


class Small(torch.nn.Module):
    """A convolution, batch statistics and noise in training mode, as real networks have them."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 32, 3, stride=2),
            torch.nn.BatchNorm2d(32),
            torch.nn.ReLU(),
            torch.nn.Dropout(0.5),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
            torch.nn.Linear(32, 10),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


class NoRows(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((0, 2, 3))


class Integers(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1).long()


class Twice(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return images, images


class Inverse(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 1 / images.flatten(1)


def loaded(base, network, item_shape, preprocessing="none", batch_size=4, device="cpu"):
    torch.jit.save(torch.jit.script(network), str(base / "net.pt"))
    spec = EncoderSpec(
        kind="torchscript", weights="net.pt", preprocessing=preprocessing, batch_size=batch_size
    )
    return load_encoder(spec, base, item_shape, device)


def pillow_320(image):
    resized = Image.fromarray(image.transpose(1, 2, 0).squeeze()).resize(
        (320, 320), Image.Resampling.BILINEAR
    )
    return np.asarray(resized).reshape(320, 320, -1).transpose(2, 0, 1)


SIZES = [(8, 8), (32, 32), (64, 48), (320, 320), (400, 250), (512, 512), (700, 1024)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_sscd_resizes_as_pillow_does(size, channels):
    images = RNG.integers(0, 256, (2, channels, *size), dtype=np.uint8)
    preset = PRESETS["sscd"]
    prepared = preprocess(torch.from_numpy(images), preset, torch.device("cpu")).numpy()
    mean, std = np.reshape(preset.mean, (3, 1, 1)), np.reshape(preset.std, (3, 1, 1))
    levels = (prepared * std + mean) * 255
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)  # the resize stays in 8 bits
    expected = np.stack([pillow_320(image) for image in images]).astype(int)
    difference = np.abs(np.rint(levels) - expected)
    # when shrinking, torch's 16-bit weights may round a half to the other side
    assert difference.max() <= (0 if max(size) <= 320 else 1)


@pytest.mark.parametrize("size", [(32, 32), (320, 320)])
def test_sscd_equals_the_released_transform(tmp_path, size):
    transforms = pytest.importorskip("torchvision.transforms")
    released = transforms.Compose(
        [
            transforms.Resize([320, 320]),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    images = RNG.integers(0, 256, (3, 3, *size), dtype=np.uint8)
    expected = [released(Image.fromarray(image.transpose(1, 2, 0))).flatten() for image in images]
    encoder = loaded(tmp_path, Flatten(), (3, *size), "sscd", batch_size=2)
    assert (encoder.metric, encoder.dimension, encoder.batch_size) == ("cosine", 307200, 2)
    np.testing.assert_allclose(encoder.encode(images), np.stack(expected), atol=1e-6)


def test_grey_equals_three_equal_channels(tmp_path):
    grey = RNG.integers(0, 256, (3, 1, 8, 8), dtype=np.uint8)
    network = Small()
    np.testing.assert_array_equal(
        loaded(tmp_path, network, (1, 8, 8), "sscd").encode(grey),
        loaded(tmp_path, network, (3, 8, 8), "sscd").encode(grey.repeat(3, axis=1)),
    )


def test_without_preprocessing_values_are_between_0_and_1(tmp_path):
    images = np.array([[[[0, 51]]], [[[255, 102]]]], dtype=np.uint8)
    vectors = loaded(tmp_path, Flatten(), (1, 1, 2)).encode(images)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, [[0, 0.2], [1, 0.4]], atol=1e-7)


def test_vectors_equal_those_of_the_network_itself(tmp_path):
    network = Small().eval()
    images = RNG.integers(0, 256, (10, 3, 16, 16), dtype=np.uint8)
    with torch.no_grad():
        expected = network(torch.from_numpy(images).float() / 255).numpy()
    network.train()  # saved in training mode, used for inference all the same
    vectors = loaded(tmp_path, network, (3, 16, 16)).encode(images)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


@pytest.mark.parametrize("preprocessing", ["none", "sscd"])
def test_vector_does_not_depend_on_company(tmp_path, preprocessing):
    images = RNG.integers(0, 256, (10, 3, 16, 16), dtype=np.uint8)
    encoder = loaded(tmp_path, Small(), (3, 16, 16), preprocessing, batch_size=4)
    together = encoder.encode(images)
    order = RNG.permutation(10)
    np.testing.assert_array_equal(encoder.encode(images[order]), together[order])
    apart = np.concatenate([encoder.encode(image[None]) for image in images])
    np.testing.assert_array_equal(apart, together)
    assert encoder.encode(images[:0]).shape == (0, 10)


def test_read_only_and_strided_images(tmp_path):
    images = RNG.integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    images.flags.writeable = False
    encoder = loaded(tmp_path, Small(), (3, 16, 16))
    view = images.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(encoder.encode(view), encoder.encode(view.copy()))


@pytest.mark.parametrize(
    ("network", "shape", "preprocessing", "message"),
    [
        (NoRows(), (3, 8, 8), "none", r"for 2 images has the shape \(3,\).*one vector for each"),
        (torch.nn.Identity(), (3, 8, 8), "none", r"has the shape \(2, 3, 8, 8\)"),
        (Integers(), (3, 8, 8), "none", "output is no floating-point tensor"),
        (Twice(), (3, 8, 8), "none", "output is no floating-point tensor"),
        (Small(), (1, 8, 8), "none", r"fails on input of the shape \(2, 1, 8, 8\).*belong"),
        (Small(), (4, 8, 8), "sscd", r"shape \(4, 8, 8\).*with 1 or 3 channels"),
        (Small(), (16, 2), "none", r"shape \(16, 2\)\. They are images, \(channel, y, x\)\. "),
    ],
)
def test_network_that_is_no_encoder_of_such_images(
    tmp_path, network, shape, preprocessing, message
):
    with pytest.raises(ModelError, match=message):
        loaded(tmp_path, network, shape, preprocessing)


def test_vectors_that_are_not_finite(tmp_path):
    images = np.full((6, 1, 2, 2), 5, dtype=np.uint8)
    encoder = loaded(tmp_path, Inverse(), (1, 2, 2))  # 1 / 0 in the padding is nobody's error
    assert encoder.encode(images).shape == (6, 4)
    images[5, 0, 1, 1] = 0
    with pytest.raises(ModelError, match=r"vector of image 5 of 6 is not finite"):
        encoder.encode(images)


def test_images_are_checked(tmp_path):
    encoder = loaded(tmp_path, Flatten(), (1, 2, 2))
    with pytest.raises(TypeError, match=r"uint8, not float32.*to_uint8"):
        encoder.encode(np.zeros((3, 1, 2, 2), dtype=np.float32))
    with pytest.raises(ValueError, match=r"\(1, 4, 1\), not \(1, 2, 2\)"):
        encoder.encode(np.zeros((3, 1, 4, 1), dtype=np.uint8))


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "state dict"])
def test_damaged_file(tmp_path, damage):
    path = tmp_path / "net.pt"
    torch.jit.save(torch.jit.script(Small()), str(path))
    if damage == "state dict":
        torch.save(Small().state_dict(), path)
    else:
        content = {"empty": b"", "text": b"no network", "truncated": path.read_bytes()[:-100]}
        path.write_bytes(content[damage])
    spec = EncoderSpec(kind="torchscript", weights="net.pt", preprocessing="none")
    with pytest.raises(ModelError, match=r"net\.pt cannot be read.*torch\.jit\.save wrote"):
        load_encoder(spec, tmp_path, (3, 8, 8))


@pytest.mark.parametrize("device", ["cuda:99", "toaster"])
def test_missing_device(tmp_path, device):
    with pytest.raises(SpecError, match=f"There is no device '{device}'.*cpu"):
        loaded(tmp_path, Flatten(), (1, 2, 2), device=device)


@pytest.fixture
def reduced():
    """The switches of a GPU's precision, set to TF32 as torch's are for convolutions."""
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if not hasattr(cuda, "fp32_precision"):
        pytest.skip("this torch has other switches")
    switches = cuda, cudnn.conv, cudnn.rnn
    before = [switch.fp32_precision for switch in switches]
    for switch in switches:
        switch.fp32_precision = "tf32"
    yield switches
    for switch, precision in zip(switches, before, strict=True):
        switch.fp32_precision = precision


def test_networks_compute_in_full_precision(tmp_path, monkeypatch, reduced):
    encoder = loaded(tmp_path, Flatten(), (1, 4, 4))
    network, seen = encoder._network, []

    def look(images):
        seen.extend(switch.fp32_precision for switch in reduced)
        return network(images)

    images = np.zeros((2, 1, 4, 4), dtype=np.uint8)
    monkeypatch.setattr(encoder, "_network", look)
    encoder.encode(images)
    assert seen == ["ieee"] * 3
    assert [switch.fp32_precision for switch in reduced] == ["tf32"] * 3
    monkeypatch.setattr(encoder, "_network", lambda images: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        encoder.encode(images)
    assert [switch.fp32_precision for switch in reduced] == ["tf32"] * 3
