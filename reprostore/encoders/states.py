"""Trained weights that fill a network completely, read without running pickled code."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch

from reprostore.encoders.weights import missing_package
from reprostore.errors import ModelError


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict from a safetensors file or a file of torch.save.

    Parameters
    ----------
    path : Path
        The file; a state dict under "state_dict" or "model" is found too.

    Returns
    -------
    dict of Tensor
        By name, on the CPU.

    Raises
    ------
    ModelError
        The file holds no state dict of finite tensors.
    """
    try:
        content = _read(path)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise _no_state(path, "it cannot be read") from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise _no_state(path, f"it holds a {type(content).__name__}")
    for name, tensor in content.items():
        if not isinstance(tensor, torch.Tensor):
            raise _no_state(path, f"its entry {name} is a {type(tensor).__name__}")
        if not torch.isfinite(tensor).all():
            raise _no_state(path, f"{name} is not finite")
    return {str(name): tensor for name, tensor in content.items()}


def fill(
    network: torch.nn.Module,
    state: dict[str, torch.Tensor],
    path: Path,
    what: str,
    ignored: tuple[str, ...] = (),
) -> torch.nn.Module:
    """Load weights that belong to a network, all of them.

    Parameters
    ----------
    network : Module
        Every parameter and buffer of it is replaced.
    state : dict of Tensor
        The weights.
    path : Path
        Where they are from, for the message.
    what : str
        What the network is called.
    ignored : tuple of str
        Names, or beginnings of names before a dot, that the network need not have.

    Returns
    -------
    Module
        The network, in evaluation mode, without gradients.

    Raises
    ------
    ModelError
        Weights are missing, too many, or of another shape.
    """
    own = network.state_dict()
    rest = {
        name
        for name in state.keys() - own.keys()
        if not any(name == each or name.startswith(f"{each}.") for each in ignored)
    }
    # Old files do not count batches; the count has no part in inference.
    missing = {name for name in own.keys() - state if not name.endswith("num_batches_tracked")}
    wrong = {name for name in own.keys() & state if own[name].shape != state[name].shape}
    for names, problem in (
        (missing, "lacks {}"),
        (wrong, "has another shape of {}"),
        (rest, "has {}, of which the network knows nothing"),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ModelError(
                f"The weights {path} are not those of {what}: the file "
                + problem.format(min(names) + more)
                + ".",
                "Every weight of the network comes from the file, so that none is left random.",
                "Give the weights of this model, or set model to that of the weights.",
            )
    network.load_state_dict({name: state[name] for name in own.keys() & state}, strict=False)
    return network.float().eval().requires_grad_(requires_grad=False)


def _read(path: Path) -> object:
    if path.suffix != ".safetensors":
        return torch.load(path, map_location="cpu", weights_only=True)
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise missing_package("safetensors", "reads the weights", "encoders") from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _no_state(path: Path, problem: str) -> ModelError:
    return ModelError(
        f"{path} is no file of weights: {problem}.",
        "It is a safetensors file, or a state dict that torch.save wrote.",
        "Download it again, or save network.state_dict().",
    )
