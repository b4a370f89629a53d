"""Encoders: what turns samples into vectors whose similarity is measured."""

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reprostore.encoders.batching import Encoder
from reprostore.encoders.kinds import KINDS, Kind
from reprostore.encoders.request import Request
from reprostore.errors import SpecError
from reprostore.specs import EncoderSpec

__all__ = ["Encoder", "encoder_identity", "load_encoder", "require_device"]


def encoder_identity(spec: EncoderSpec, base: Path, *, download: bool = False) -> dict[str, Any]:
    """Return everything that determines an encoder's vectors, without loading it.

    Parameters
    ----------
    spec : EncoderSpec
        The encoder.
    base : Path
        Folder to which the path of the weights is relative.
    download : bool
        Whether weights that are not on this machine may be downloaded.

    Returns
    -------
    dict
        Kind, version of our code, metric, preprocessing in full and sha256 of the weights, in
        JSON types. The batch size is left out: it changes the last bits only. torch is not
        imported, but once for each model of timm or weights of torchvision whose preprocessing
        the library has to be asked for.

    Raises
    ------
    SpecError
        An option is missing or means nothing for this kind.
    NotFoundError
        The weights file does not exist, or would have to be downloaded.
    DependencyError
        A package is not installed.
    """
    kind = _kind(spec)
    request = Request(spec, base, download)
    identity: dict[str, Any] = {"kind": spec.kind, "version": kind.version}
    return identity | {"metric": request.metric} | kind.identity(request)


def load_encoder(
    spec: EncoderSpec,
    base: Path,
    item_shape: tuple[int, ...],
    device: str = "cpu",
    *,
    download: bool = False,
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
        Where it computes, such as "cpu" or "cuda"; "pixel" always computes on the CPU.
    download : bool
        Whether weights that are not on this machine may be downloaded.

    Returns
    -------
    Encoder
        Ready to encode.

    Raises
    ------
    SpecError
        An option is missing or means nothing for this kind, or there is no such device.
    NotFoundError
        The weights file does not exist, or would have to be downloaded.
    ModelError
        The weights file is damaged, of another kind, or does not encode items of this shape.
    DependencyError
        A package is not installed.
    """
    return _kind(spec).load(Request(spec, base, download), item_shape, device)


def require_device(device: str, specs: Iterable[EncoderSpec]) -> None:
    """Refuse a device that does not exist, also where no encoder is loaded or needs it.

    Parameters
    ----------
    device : str
        Where encoders are to compute.
    specs : iterable of EncoderSpec
        The encoders; those of the kind "python" judge a device themselves.

    Raises
    ------
    SpecError
        There is no such device.
    """
    if device == "cpu" or any(spec.kind == "python" for spec in specs):
        return
    if find_spec("torch") is None:
        raise SpecError(
            f"The device {device!r} was asked for, and torch is not installed.",
            'Other devices than "cpu" are those of torch.',
            "Choose \"cpu\", or run: pip install 'reprostore[generate]'",
        )
    from reprostore.encoders.torch_device import torch_device

    torch_device(device)


def _kind(spec: EncoderSpec) -> Kind:
    kind = KINDS[spec.kind]
    known = {*kind.options, "kind", "batch_size"}
    for option in sorted(spec.model_fields_set - known):
        if getattr(spec, option) is not None:
            raise SpecError(
                f'An encoder of the kind "{spec.kind}" has the option {option}.',
                f"Its options are {', '.join([*kind.options, 'batch_size'])}.",
                f"Remove {option}, or choose another kind.",
            )
    return kind
