"""The kinds of encoders: what determines the vectors of each, and how it is loaded."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reprostore.digests import file_digest
from reprostore.encoders import files, loading
from reprostore.encoders.batching import Encoder
from reprostore.encoders.factory import factory_source
from reprostore.encoders.lpips_weights import lpips_identity
from reprostore.encoders.onnx_files import external_digests
from reprostore.encoders.request import Request


@dataclass(frozen=True)
class Kind:
    """One kind of encoder.

    Attributes
    ----------
    version : int
        Raised when a change to our code changes the vectors: those in stores are made again.
    options : tuple of str
        Keys of `EncoderSpec` that mean something, beside `kind` and `batch_size`.
    identity : callable
        Returns what determines the vectors, beside kind, version and metric.
    load : callable
        Returns the encoder for a request, the shape of an item and a device.
    """

    version: int
    options: tuple[str, ...]
    identity: Callable[[Request], dict[str, Any]]
    load: Callable[[Request, tuple[int, ...], str], Encoder]


def _lpips(request: Request) -> dict[str, Any]:
    path = loading.lpips_weights(request)
    return lpips_identity(loading.lpips_net(request), path, download=request.download)


def _pixel(request: Request) -> dict[str, Any]:
    return {"preprocessing": {"centering": "mean of each sample"}}


def _of_file(find: files.Find, *options: str) -> Callable[[Request], dict[str, Any]]:
    """Return the identity of a network in a file: preprocessing, digests and named options."""

    def identity(request: Request) -> dict[str, Any]:
        path, preprocessing = find(request)
        found: dict[str, Any] = {key: getattr(request.spec, key) for key in options}
        found = {key: value for key, value in found.items() if value is not None}
        found |= {"preprocessing": preprocessing.identity(), "weights": file_digest(path)}
        if path.suffix == ".onnx" and (beside := external_digests(path)):
            found["external_weights"] = beside
        return found

    return identity


def _python(request: Request) -> dict[str, Any]:
    source = factory_source(request)
    return {
        "preprocessing": "the factory's own",
        "factory": source.function,
        "file": file_digest(source.file),
        "options": request.spec.options,
        "files": _option_files(request),
    }


def _option_files(request: Request) -> dict[str, str]:
    """Return the sha256 of the files that options name, such as weights."""
    found = {}
    for key, value in request.spec.options.items():
        path = request.base / Path(value).expanduser() if isinstance(value, str) else None
        with contextlib.suppress(OSError, ValueError):  # a text that can be no path
            if path is not None and path.is_file():
                found[key] = file_digest(path)
    return found


_ONNX: Final = ("output", "layout")

KINDS: Final = {
    "pixel": Kind(
        1,
        (),
        _pixel,
        loading.pixel,
    ),
    "sscd": Kind(
        1,
        ("weights", "preprocessing", *_ONNX),
        _of_file(files.sscd_file, *_ONNX),
        loading.sscd,
    ),
    "torchscript": Kind(
        1,
        ("weights", "preprocessing", "metric"),
        _of_file(files.torchscript_file),
        loading.torchscript,
    ),
    "onnx": Kind(
        1,
        ("weights", "preprocessing", "metric", *_ONNX),
        _of_file(files.onnx_file, *_ONNX),
        loading.onnx,
    ),
    "timm": Kind(
        1,
        ("model", "weights", "preprocessing", "metric"),
        _of_file(files.timm_file, "model"),
        loading.timm,
    ),
    "torchvision": Kind(
        2,
        ("model", "weights", "preprocessing", "metric", "layer"),
        _of_file(files.torchvision_file, "model", "layer"),
        loading.torchvision,
    ),
    "dinov2": Kind(
        1,
        ("model", "weights", "preprocessing", "metric"),
        _of_file(files.dinov2_file, "model"),
        loading.dinov2,
    ),
    "lpips": Kind(1, ("net", "weights"), _lpips, loading.lpips),
    "python": Kind(2, ("factory", "options", "metric"), _python, loading.python),
}
