"""How the encoder of each kind is loaded; only this imports the libraries that run networks."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from reprostore.encoders import files
from reprostore.encoders.batching import Encoder
from reprostore.encoders.factory import FactoryEncoder, factory_source
from reprostore.encoders.pixel import PixelEncoder
from reprostore.encoders.request import Request
from reprostore.encoders.weights import missing_package

if TYPE_CHECKING:
    import torch

Shape = tuple[int, ...]
Network = Callable[["torch.Tensor"], object]
Open = Callable[[Request, Path, "torch.device"], Network]
"""Returns a network for a request, its file and a device."""


def pixel(request: Request, item_shape: Shape, _device: str) -> Encoder:
    """Return a "pixel" encoder; it always computes on the CPU."""
    return PixelEncoder(item_shape, math.prod(item_shape), request.spec.batch_size)


def torchscript(request: Request, item_shape: Shape, device: str) -> Encoder:
    """Load a "torchscript" encoder."""
    return _in_file(files.torchscript_file, _torchscript, request, item_shape, device)


def onnx(request: Request, item_shape: Shape, device: str) -> Encoder:
    """Load an "onnx" encoder."""
    return _in_file(files.onnx_file, _onnx, request, item_shape, device)


def sscd(request: Request, item_shape: Shape, device: str) -> Encoder:
    """Load an "sscd" encoder, from an ONNX file where its name ends so."""

    def network(request: Request, path: Path, device: "torch.device") -> Network:
        return (_onnx if path.suffix == ".onnx" else _torchscript)(request, path, device)

    return _in_file(files.sscd_file, network, request, item_shape, device)


def timm(request: Request, item_shape: Shape, device: str) -> Encoder:
    """Load a "timm" encoder."""

    def network(request: Request, path: Path, device: "torch.device") -> Network:
        with _package("timm"):
            from reprostore.encoders.timm_network import timm_network
        return timm_network(str(request.spec.model), path, device)

    return _in_file(files.timm_file, network, request, item_shape, device)


def dinov2(request: Request, item_shape: Shape, device: str) -> Encoder:
    """Load a "dinov2" encoder."""

    def network(request: Request, path: Path, device: "torch.device") -> Network:
        with _package("timm"):
            from reprostore.encoders.timm_network import dinov2_network
        return dinov2_network(str(request.spec.model), path, device)

    return _in_file(files.dinov2_file, network, request, item_shape, device)


def torchvision(request: Request, item_shape: Shape, device: str) -> Encoder:
    """Load a "torchvision" encoder."""

    def network(request: Request, path: Path, device: "torch.device") -> Network:
        with _package("torchvision"):
            from reprostore.encoders.torchvision_network import torchvision_network
        return torchvision_network(str(request.spec.model), path, device, request.spec.layer)

    return _in_file(files.torchvision_file, network, request, item_shape, device)


def python(request: Request, item_shape: Shape, device: str) -> Encoder:
    """Return a "python" encoder: what the factory returns, checked."""
    source, spec = factory_source(request), request.spec
    return FactoryEncoder(
        source, spec.options, request.base, item_shape, spec.batch_size, device, request.metric
    )


def lpips(request: Request, item_shape: Shape, device: str) -> Encoder:
    """Load an "lpips" encoder."""
    from reprostore.encoders.lpips_weights import backbone_file

    net = lpips_net(request)
    path = backbone_file(net, lpips_weights(request), download=request.download)
    with _package("torch", "runs the network", "perceptual"):
        from reprostore.encoders.lpips import LpipsEncoder
    return LpipsEncoder(item_shape, net, path, request.spec.batch_size, device)


def lpips_net(request: Request) -> str:
    """Return the network of an "lpips" encoder."""
    return request.required("net", 'It is "alex", "vgg" or "squeeze".', 'net = "alex"')


def lpips_weights(request: Request) -> Path | None:
    """Return the path of the backbone that a study names."""
    weights = request.spec.weights
    return None if weights is None else request.base / Path(weights).expanduser()


def _in_file(
    find: files.Find, network: Open, request: Request, item_shape: Shape, device: str
) -> Encoder:
    path, preprocessing = find(request)
    with _package("torch", "runs the network or prepares its images", "generate"):
        import torch  # noqa: F401

    from reprostore.encoders.network import NetworkEncoder
    from reprostore.encoders.torch_device import torch_device

    place = torch_device(device)
    loaded = network(request, path, place)
    fixed = getattr(loaded, "fixed_batch", None)
    return NetworkEncoder(
        str(path),
        loaded,
        preprocessing,
        item_shape,
        fixed or request.spec.batch_size,
        place,
        request.metric,
        levels=getattr(loaded, "takes_levels", False),
        fixed_batch=fixed is not None,
    )


def _torchscript(_request: Request, path: Path, device: "torch.device") -> Network:
    from reprostore.encoders.torchscript import torchscript_network

    return torchscript_network(path, device)


def _onnx(request: Request, path: Path, device: "torch.device") -> Network:
    with _package("onnxruntime", "runs ONNX files"):
        from reprostore.encoders.onnx_network import OnnxNetwork
    return OnnxNetwork(path, device, request.spec.layout, request.spec.output)


@contextmanager
def _package(
    name: str, use: str = "defines the network", extra: str = "encoders"
) -> Iterator[None]:
    """Say which extra is needed, instead of failing at an import."""
    try:
        yield
    except ImportError as error:
        raise missing_package(name, use, extra) from error
