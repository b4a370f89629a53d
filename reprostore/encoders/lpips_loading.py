"""The two files of LPIPS, loaded without running pickled code and checked."""

import warnings
from pathlib import Path

import torch

from reprostore.encoders.lpips_nets import lpips_net
from reprostore.encoders.lpips_weights import linear_file
from reprostore.errors import DependencyError, ModelError


def load_features(net: str, path: Path) -> torch.nn.Sequential:
    """Load the layers of a network up to the last one that LPIPS compares.

    Parameters
    ----------
    net : {"alex", "vgg", "squeeze"}
        The network.
    path : Path
        torchvision's state dict of it, with classifier or `features` only.

    Returns
    -------
    torch.nn.Sequential
        In float32 on the CPU, in evaluation mode, without gradients.

    Raises
    ------
    SpecError
        There is no such network.
    ModelError
        The file cannot be read, or is not of this network.
    DependencyError
        torchvision is not installed.
    """
    network = lpips_net(net)
    try:
        import torchvision
    except ImportError as error:
        raise DependencyError(
            "torchvision is not installed, and LPIPS needs it.",
            "It defines the network.",
            'Install it: pip install "reprostore[perceptual]".',
        ) from error
    with torch.device("meta"):
        whole = getattr(torchvision.models, network.architecture)(weights=None).features
    features: torch.nn.Sequential = whole[: network.layers[-1].stop]
    found, taken = _state(path), {}
    prefix = "features." if any(name.startswith("features.") for name in found) else ""
    for name, empty in features.state_dict().items():
        tensor = found.get(prefix + name)
        if tensor is None:
            problem = f"it has no {prefix}{name}"
        elif tensor.shape != empty.shape:
            problem = f"{prefix}{name} has the shape {tuple(tensor.shape)}"
        elif not torch.isfinite(tensor).all():
            problem = f"{prefix}{name} is not finite"
        else:
            taken[name] = tensor.float()
            continue
        raise ModelError(
            f"{path} holds no weights of {network.architecture}: {problem}.",
            f'LPIPS with net = "{net}" needs torchvision\'s {network.file}.',
            f"Download it from {network.url}, or correct net or weights.",
        )
    features.load_state_dict(taken, assign=True)
    return features.eval().requires_grad_(requires_grad=False)


def load_linear_weights(net: str) -> list[torch.Tensor]:
    """Load the linear weights of LPIPS v0.1 from the package lpips.

    Parameters
    ----------
    net : {"alex", "vgg", "squeeze"}
        The network.

    Returns
    -------
    list of Tensor of float32, each of shape (channel,)
        By layer, none negative, so that LPIPS is a squared distance.

    Raises
    ------
    SpecError
        There is no such network.
    ModelError
        The file cannot be read, or its weights are not those of v0.1.
    DependencyError
        The package lpips is not installed.
    """
    path, taken = linear_file(net), []
    found = _state(path)
    for index, layer in enumerate(lpips_net(net).layers):
        name = f"lin{index}.model.1.weight"
        weights = found.get(name, torch.empty(0)).flatten().float()
        # NaN is not ≥ 0, so that one test refuses both.
        if (
            len(weights) != layer.channels
            or not (weights >= 0).all()
            or int(weights.count_nonzero()) != layer.used
        ):
            raise ModelError(
                f"{name} in {path} is not that of LPIPS v0.1.",
                f"It has {layer.channels} weights, {layer.used} of them positive and none "
                "negative.",
                "Install the package lpips again: pip install --force-reinstall lpips.",
            )
        taken.append(weights)
    return taken


def _state(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict; `weights_only` refuses every other object."""
    try:
        with warnings.catch_warnings():
            # Of a pickle that torch.save did not write, which is refused right after.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler of damaged bytes raises whatever it runs into
        raise _unreadable(path) from error
    if not isinstance(found, dict) or not all(
        isinstance(value, torch.Tensor) for value in found.values()
    ):
        raise _unreadable(path)
    return {str(name): value for name, value in found.items()}


def _unreadable(path: Path) -> ModelError:
    return ModelError(
        f"The weights {path} of LPIPS cannot be read: the file is damaged or no state dict.",
        "It is a file of tensors by name that torch.save wrote, without any other object.",
        "Download the file again.",
    )
