"""Named ways to turn 8-bit images into the input of an encoder network; no torch needed."""

from dataclasses import asdict, dataclass
from typing import Any, Final

BILINEAR: Final = "bilinear, antialiased when shrinking, rounded to 8 bits as in Pillow"
BICUBIC: Final = "bicubic, antialiased when shrinking, rounded to 8 bits as in Pillow"


@dataclass(frozen=True)
class Preprocessing:
    """What happens to a uint8 image before the network; all of it is part of the identity.

    Attributes
    ----------
    size : (int, int), optional
        Height and width after a direct resize that does not keep the aspect; None keeps the size.
    interpolation : str, optional
        How it is resized, `BILINEAR` or `BICUBIC`.
    channels : int, optional
        The number of channels the network takes; one channel is repeated. None keeps them.
    scale : float
        Values are divided by this, after resizing in 8 bits.
    mean, std : tuple of float, optional
        Per channel, subtracted and divided by, after scaling.
    shorter : int, optional
        Length of the shorter side after a resize that keeps the aspect, instead of `size`; the
        longer one is rounded down, as in torchvision's Resize.
    crop : (int, int), optional
        Height and width that are cut out of the centre after the resize.
    """

    size: tuple[int, int] | None = None
    interpolation: str | None = None
    channels: int | None = None
    scale: float = 255.0
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    shorter: int | None = None
    crop: tuple[int, int] | None = None

    def identity(self) -> dict[str, Any]:
        """Return all values in JSON types; `shorter` and `crop` where they are used."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
            if value is not None or key not in {"shorter", "crop"}
        }

    @classmethod
    def from_identity(cls, values: dict[str, Any]) -> "Preprocessing":
        """Return what `identity` was made of."""
        own: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**own)

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width after the resize, before the crop."""
        if self.size is not None:
            return self.size
        if self.shorter is None:
            return height, width
        if height <= width:
            return self.shorter, self.shorter * width // height
        return self.shorter * height // width, self.shorter


_IMAGENET: Final[dict[str, Any]] = {
    "channels": 3,
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}

PRESETS: Final = {
    "sscd": Preprocessing(size=(320, 320), interpolation=BILINEAR, **_IMAGENET),
    "sscd-288": Preprocessing(shorter=288, interpolation=BILINEAR, **_IMAGENET),
    "dcr": Preprocessing(
        shorter=256,
        crop=(224, 224),
        interpolation=BILINEAR,
        channels=3,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
    ),
    "imagenet": Preprocessing(shorter=256, crop=(224, 224), interpolation=BILINEAR, **_IMAGENET),
    "dinov2": Preprocessing(size=(224, 224), interpolation=BICUBIC, **_IMAGENET),
    "none": Preprocessing(),
}
"""sscd, sscd-288: facebookresearch/sscd-copy-detection, README, "skew_320" (direct resize to
320×320) and "small_288" (shorter side 288); to [0, 1], ImageNet mean and standard deviation; grey
images repeated to three channels (the released transforms take RGB only). dcr: somepago/DCR,
diff_retrieval.py::main_worker (shorter side 256, centre 224×224, mean and deviation 0.5). imagenet:
torchvision's evaluation of its first weights (shorter side 256, centre 224×224). dinov2:
layer6ai-labs/dgm-eval, DINOv2's direct bicubic resize to 224×224. none: [0, 1], nothing else."""
