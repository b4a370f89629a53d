"""Batches are resized and cut as Pillow and torchvision do it image by image."""

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from reprostore.encoders.preprocessing import (  # noqa: E402
    BICUBIC,
    BILINEAR,
    PRESETS,
    Preprocessing,
)
from reprostore.encoders.transform import preprocess  # noqa: E402

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)
MODES = {BILINEAR: Image.Resampling.BILINEAR, BICUBIC: Image.Resampling.BICUBIC}


def pictures(height, width, channels=3, count=2):
    """Noise, and edges between black and white, where bicubic weights overshoot."""
    noise = RNG.integers(0, 256, (count, channels, height, width), dtype=np.uint8)
    noise[0] = np.where(noise[0] > 127, 255, 0)
    return noise


def levels(images, preprocessing, device=CPU):
    prepared = preprocess(torch.from_numpy(images), preprocessing, device, levels=True)
    return prepared.cpu().numpy().astype(int)


def horizontal_first(image, size, mode):
    """Resize one axis at a time: Pillow 13 chooses which pass is first."""
    return image.resize((size[1], image.height), mode).resize(size[::-1], mode)


def pillow(images, size, mode):
    return np.stack(
        [
            np.asarray(horizontal_first(Image.fromarray(image.transpose(1, 2, 0)), size, mode))
            for image in images
        ]
    ).transpose(0, 3, 1, 2)


SIZES = [((7, 11), (33, 21)), ((63, 41), (17, 29)), ((31, 90), (64, 45)), ((100, 99), (99, 100))]


@pytest.mark.parametrize("mode", MODES, ids=["bilinear", "bicubic"])
@pytest.mark.parametrize(("size", "target"), SIZES)
def test_resize_equals_pillow_within_one_level(mode, size, target):
    images = pictures(*size)
    found = levels(images, Preprocessing(size=target, interpolation=mode))
    assert np.abs(found - pillow(images, target, MODES[mode])).max() <= 1


@pytest.mark.parametrize("mode", MODES, ids=["bilinear", "bicubic"])
@pytest.mark.parametrize(("size", "target"), SIZES)
def test_resize_of_other_devices_equals_pillow_within_one_level(mode, size, target):
    class Elsewhere:
        """A tensor on the CPU that says it is on a GPU."""

        def __init__(self, values):
            self.values, self.shape = values, values.shape
            self.device = torch.device("cuda")

        def float(self):
            return self.values.float()

    from reprostore.encoders import transform

    images = pictures(*size)
    found = transform._resize(Elsewhere(torch.from_numpy(images)), *target, mode.split(",")[0])
    assert np.abs(found.numpy().astype(int) - pillow(images, target, MODES[mode])).max() <= 1


@pytest.mark.parametrize("size", [(40, 61), (61, 40), (300, 301), (290, 517)])
@pytest.mark.parametrize("name", ["sscd-288", "dcr", "imagenet", "dinov2"])
def test_presets_equal_torchvision_transforms(size, name):
    transforms = pytest.importorskip("torchvision.transforms")
    steps = {
        "sscd-288": [transforms.Resize(288)],
        "dcr": [transforms.Resize(256), transforms.CenterCrop(224)],
        "imagenet": [transforms.Resize(256), transforms.CenterCrop(224)],
        "dinov2": [lambda image: horizontal_first(image, (224, 224), MODES[BICUBIC])],
    }[name]
    half = ([0.5], [0.5])
    normalize = half if name == "dcr" else ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    whole = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(*normalize)])
    images = pictures(*size)
    expected = torch.stack([whole(Image.fromarray(image.transpose(1, 2, 0))) for image in images])
    found = preprocess(torch.from_numpy(images), PRESETS[name], CPU)
    assert found.shape == expected.shape
    smallest = min(PRESETS[name].std)
    assert (found - expected).abs().max() <= 1.001 / 255 / smallest


def test_crop_of_odd_margins_is_torchvisions():
    transforms = pytest.importorskip("torchvision.transforms")
    images = torch.arange(9 * 12, dtype=torch.uint8).reshape(1, 1, 9, 12)
    for crop in [(4, 5), (6, 9), (9, 12), (8, 11)]:
        found = preprocess(images, Preprocessing(crop=crop), CPU, levels=True)
        torch.testing.assert_close(found, transforms.CenterCrop(crop)(images))


def test_identity_leaves_out_what_is_not_used_and_round_trips():
    assert set(PRESETS["sscd"].identity()) == {
        "size",
        "interpolation",
        "channels",
        "scale",
        "mean",
        "std",
    }
    for preset in PRESETS.values():
        assert Preprocessing.from_identity(preset.identity()) == preset
    assert len({str(preset.identity()) for preset in PRESETS.values()}) == len(PRESETS)


@pytest.mark.gpu
@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("size", [(32, 32), (61, 40), (500, 333)])
def test_gpu_equals_the_cpu_within_one_level(name, size):
    images = pictures(*size)
    found = levels(images, PRESETS[name], torch.device("cuda"))
    assert np.abs(found - levels(images, PRESETS[name])).max() <= 1
