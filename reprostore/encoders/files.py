"""Which file the weights of an encoder are in, and what is done to images before it; no torch."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from reprostore.encoders.library import library_facts
from reprostore.encoders.preprocessing import Preprocessing
from reprostore.encoders.request import Request
from reprostore.encoders.weights import hub_file, named_file, torch_hub_file
from reprostore.errors import SpecError

Find = Callable[[Request], tuple[Path, Preprocessing]]
"""Finds the weights file of an encoder and its preprocessing."""

_SSCD: Final = (
    "Meta's TorchScript file (https://dl.fbaipublicfiles.com/sscd-copy-detection/"
    "sscd_disc_mixup.torchscript.pt) or an ONNX file"
)
_DINOV2: Final = tuple(f"vit_{size}_patch14_dinov2" for size in ("small", "base", "large"))


def torchscript_file(request: Request) -> tuple[Path, Preprocessing]:
    """Return the file of a "torchscript" encoder, and its preprocessing."""
    path = request.file("a TorchScript file", "sscd_disc_mixup.torchscript.pt")
    return path, request.preset()


def onnx_file(request: Request) -> tuple[Path, Preprocessing]:
    """Return the file of an "onnx" encoder, and its preprocessing."""
    return request.file("an ONNX file", "network.onnx"), request.preset()


def sscd_file(request: Request) -> tuple[Path, Preprocessing]:
    """Return the file of an "sscd" encoder, and its preprocessing."""
    return request.file(_SSCD, "sscd_disc_mixup.torchscript.pt"), request.preset("sscd")


def timm_file(request: Request) -> tuple[Path, Preprocessing]:
    """Return the weights of a "timm" encoder, and its preprocessing: timm's unless it is named."""
    model = request.required("model", "model is timm's name of it.", 'model = "resnet50.a1_in1k"')
    if request.spec.weights is not None:
        path = named_file(request.spec.weights, request.base, "timm", "a file of weights")
    else:
        path = hub_file(f"timm/{model}", "model.safetensors", download=request.download)
    if request.spec.preprocessing is not None:
        return path, request.preset()
    return path, Preprocessing.from_identity(library_facts("timm", model)["preprocessing"])


def dinov2_file(request: Request) -> tuple[Path, Preprocessing]:
    """Return the weights of a "dinov2" encoder, and its preprocessing."""
    model = request.required(
        "model", f"It is one of {', '.join(_DINOV2)}.", f'model = "{_DINOV2[1]}"'
    )
    if model not in _DINOV2:
        raise SpecError(
            f"There is no DINOv2 model {model!r} here.",
            f"Those without registers are {', '.join(_DINOV2)}.",
            'Correct model, or use kind = "timm".',
        )
    if request.spec.weights is not None:
        path = named_file(request.spec.weights, request.base, "dinov2", "a file of weights")
    else:
        path = hub_file(f"timm/{model}.lvd142m", "model.safetensors", download=request.download)
    return path, request.preset("dinov2")


def torchvision_file(request: Request) -> tuple[Path, Preprocessing]:
    """Return the weights of a "torchvision" encoder, and its preprocessing.

    That of named weights is torchvision's unless the study names another.
    """
    model = request.required("model", "model is torchvision's name of it.", 'model = "resnet50"')
    weights = request.required(
        "weights",
        "weights is the path of a state dict, or the name of weights that torchvision knows.",
        'for example weights = "IMAGENET1K_V1"',
    )
    if not re.fullmatch(r"[A-Z0-9_]+", weights) or (request.base / weights).is_file():
        path = named_file(weights, request.base, "torchvision", "a file of weights")
        return path, request.preset()
    facts = library_facts("torchvision", model, weights)
    path = torch_hub_file(facts["url"], f"{model} ({weights})", download=request.download)
    if request.spec.preprocessing is not None:
        return path, request.preset()
    return path, Preprocessing.from_identity(facts["preprocessing"])
