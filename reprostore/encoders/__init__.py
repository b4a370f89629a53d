"""Encoders: what turns samples into vectors whose similarity is measured."""

import math
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from reprostore.digests import file_digest
from reprostore.encoders.pixel import PixelEncoder
from reprostore.encoders.preprocessing import PRESETS
from reprostore.errors import DependencyError, NotFoundError, SpecError
from reprostore.specs import EncoderSpec

VERSIONS = {"pixel": 1, "torchscript": 1}
"""Raised when a change to our code changes the vectors: vectors in stores are then made again."""


class Encoder(Protocol):
    """Maps items to vectors; the vector of an item does not depend on its company.

    Attributes
    ----------
    metric : str
        Which comparison of two vectors is meant: "cosine" or "squared_l2".
    dimension : int
        Length of a vector.
    batch_size : int
        Items that are encoded together.
    """

    metric: Literal["cosine", "squared_l2"]
    dimension: int
    batch_size: int

    def encode(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Encode images, (n, channel, y, x) uint8, as vectors, (n, dimension)."""
        ...


def encoder_identity(spec: EncoderSpec, base: Path) -> dict[str, Any]:
    """Return everything that determines an encoder's vectors, without loading it.

    Parameters
    ----------
    spec : EncoderSpec
        The encoder.
    base : Path
        Folder to which the path of the weights is relative.

    Returns
    -------
    dict
        Kind, version of our code, metric, preprocessing in full and sha256 of the weights, in
        JSON types. The batch size is left out: it changes the last bits only.

    Raises
    ------
    SpecError
        An option is missing or means nothing for this kind.
    NotFoundError
        The weights file does not exist.
    """
    identity: dict[str, Any] = {"kind": spec.kind, "version": VERSIONS[spec.kind]}
    identity["metric"] = "cosine"
    if spec.kind == "pixel":
        _refuse_options(spec)
        return identity | {"preprocessing": {"centering": "mean of each sample"}}
    path, preset = _weights(spec, base), PRESETS[_preprocessing(spec)]
    return identity | {"preprocessing": preset.identity(), "weights": file_digest(path)}


def load_encoder(
    spec: EncoderSpec, base: Path, item_shape: tuple[int, ...], device: str = "cpu"
) -> Encoder:
    """Load an encoder for items of one shape.

    Parameters
    ----------
    spec : EncoderSpec
        The encoder.
    base : Path
        Folder to which the path of the weights is relative.
    item_shape : tuple of int
        Shape of one item, (channel, y, x) for images.
    device : str
        Where torch computes, such as "cpu" or "cuda"; "pixel" always computes on the CPU.

    Returns
    -------
    Encoder
        Ready to encode.

    Raises
    ------
    SpecError
        An option is missing or means nothing for this kind, or there is no such device.
    NotFoundError
        The weights file does not exist.
    ModelError
        The weights file is no TorchScript file, or does not encode items of this shape.
    DependencyError
        torch is not installed.
    """
    if spec.kind == "pixel":
        _refuse_options(spec)
        return PixelEncoder(item_shape, math.prod(item_shape), spec.batch_size)
    path, preset = _weights(spec, base), PRESETS[_preprocessing(spec)]
    try:
        from reprostore.encoders.torchscript import TorchScriptEncoder
    except ImportError as error:
        raise DependencyError(
            'torch is not installed, and the encoder kind "torchscript" needs it.',
            "TorchScript files are run by torch.",
            "Install it with: pip install 'reprostore[generate]'",
        ) from error
    return TorchScriptEncoder(path, preset, item_shape, spec.batch_size, device)


def _refuse_options(spec: EncoderSpec) -> None:
    for option in ("weights", "preprocessing"):
        if getattr(spec, option) is not None:
            raise SpecError(
                f'An encoder of the kind "pixel" has the option {option}.',
                "Pixels are compared as they are, without weights or preprocessing.",
                f'Remove {option}, or set kind = "torchscript".',
            )


def _preprocessing(spec: EncoderSpec) -> str:
    if spec.preprocessing is None:
        raise SpecError(
            'An encoder of the kind "torchscript" does not say its preprocessing.',
            "The same weights give other scores under another preprocessing, so none is assumed.",
            'Set preprocessing = "sscd", or "none" when the file does its own.',
        )
    return spec.preprocessing


def _weights(spec: EncoderSpec, base: Path) -> Path:
    if spec.weights is None:
        raise SpecError(
            'An encoder of the kind "torchscript" does not name its weights.',
            "weights is the path of a TorchScript file.",
            'Set weights, for example weights = "sscd_disc_mixup.torchscript.pt".',
        )
    path = base / Path(spec.weights).expanduser()
    if not path.is_file():
        raise NotFoundError(
            f"The weights file {path} of the encoder does not exist.",
            "weights is the path of a TorchScript file.",
            f"Download the file, or correct the path; relative paths start at {base}.",
        )
    return path
