"""Named ways to turn 8-bit images into the input of an encoder network; no torch needed."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Preprocessing:
    """What happens to a uint8 image before the network; all of it is part of the identity.

    Attributes
    ----------
    size : (int, int), optional
        Height and width after a direct resize that does not keep the aspect; None keeps the size.
    interpolation : str, optional
        How it is resized.
    channels : int, optional
        The number of channels the network takes; one channel is repeated. None keeps them.
    scale : float
        Values are divided by this, after resizing in 8 bits.
    mean, std : tuple of float, optional
        Per channel, subtracted and divided by, after scaling.
    """

    size: tuple[int, int] | None = None
    interpolation: str | None = None
    channels: int | None = None
    scale: float = 255.0
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def identity(self) -> dict[str, Any]:
        """Return all values in JSON types."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }


PRESETS = {
    "sscd": Preprocessing(
        size=(320, 320),
        interpolation="bilinear, antialiased when shrinking, rounded to 8 bits as in Pillow",
        channels=3,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    ),
    "none": Preprocessing(),
}
"""sscd: facebookresearch/sscd-copy-detection, README, "skew_320": direct resize to 320×320,
to [0, 1], ImageNet mean and standard deviation; grey images repeated to three channels (the
released transform takes RGB only). none: [0, 1], nothing else."""
