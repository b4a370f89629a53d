"""8-bit images as the input of a network: batches are resized as Pillow resizes images."""

import torch
from torch.nn.functional import interpolate

from reprostore.encoders.preprocessing import Preprocessing


def preprocess(
    images: torch.Tensor,
    preprocessing: Preprocessing,
    device: torch.device,
    *,
    levels: bool = False,
) -> torch.Tensor:
    """Turn 8-bit images into the input of a network.

    Parameters
    ----------
    images : Tensor of uint8, shape (n, channel, y, x)
        On the CPU.
    preprocessing : Preprocessing
        What to do.
    device : torch.device
        Where it is done, and where the result is wanted.
    levels : bool
        Leave the grey levels as they are after the resize: the network scales them itself.

    Returns
    -------
    Tensor of float32, or uint8 with `levels`, shape (n, channels, height, width)
        Resized in 8 bits, as Pillow does it with the horizontal pass first (up to one grey level
        apart where a value is near a half), cut, then scaled and normalized.
    """
    images = images.to(device)
    height, width = preprocessing.resized(*images.shape[2:])
    if (height, width) != tuple(images.shape[2:]):
        images = _resize(images, height, width, str(preprocessing.interpolation).split(",")[0])
    if preprocessing.crop is not None:
        images = _cut_centre(images, *preprocessing.crop)
    if preprocessing.channels is not None and images.shape[1] == 1:
        images = images.expand(-1, preprocessing.channels, -1, -1)
    if levels:
        return images.contiguous()
    scaled = images.float() / preprocessing.scale
    if preprocessing.mean is not None and preprocessing.std is not None:
        mean, std = (
            torch.tensor(values, device=device).reshape(-1, 1, 1)
            for values in (preprocessing.mean, preprocessing.std)
        )
        scaled = (scaled - mean) / std
    return scaled.contiguous()


def _resize(images: torch.Tensor, height: int, width: int, mode: str) -> torch.Tensor:
    if images.device.type == "cpu" and mode == "bilinear":
        return interpolate(images, (height, width), mode=mode, antialias=True)
    # Other devices interpolate no bytes, and torch's bicubic weights for bytes are two levels off.
    # Two passes with a rounding after each, horizontal first: Pillow 13 begins with the cheaper
    # one, which matters where bicubic values are cut off at black or white.
    for size in ((images.shape[2], width), (height, width)):
        values = interpolate(images.float(), size, mode=mode, antialias=True)
        images = (values + 0.5).floor().clamp(0, 255).to(torch.uint8)
    return images


def _cut_centre(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Cut as torchvision's CenterCrop does: halves are rounded to even."""
    top, left = (
        round((have - want) / 2.0)
        for have, want in zip(images.shape[2:], (height, width), strict=True)
    )
    return images[:, :, top : top + height, left : left + width]
