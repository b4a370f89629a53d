"""Networks of torchvision."""

import warnings
from pathlib import Path
from typing import Any

import torch
import torchvision
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from reprostore.encoders.preprocessing import BICUBIC, BILINEAR, Preprocessing
from reprostore.encoders.states import fill, read_state
from reprostore.errors import SpecError


def torchvision_facts(model: str, weights: str) -> dict[str, Any]:
    """Return the address of trained weights, and the preprocessing they were evaluated with.

    Raises
    ------
    SpecError
        torchvision has no such model or weights, or its preprocessing is not known here.

    References
    ----------
    pytorch/vision, torchvision/transforms/_presets.py::ImageClassification.
    """
    _check(model)
    known = torchvision.models.get_model_weights(model)
    if weights not in known.__members__:
        raise SpecError(
            f"torchvision has no weights {weights} of {model}.",
            f"It has {', '.join(known.__members__) or 'none'}.",
            "Correct weights, or set it to the path of a file.",
        )
    chosen = known[weights]
    transform = chosen.transforms()
    interpolation = {"bilinear": BILINEAR, "bicubic": BICUBIC}.get(
        getattr(getattr(transform, "interpolation", None), "value", "")
    )
    if interpolation is None or len(transform.resize_size) != 1:
        raise SpecError(
            f"torchvision prepares images for {model} in a way that is not known here.",
            "Known are bilinear and bicubic resizes of the shorter side with a centre crop.",
            "Set preprocessing to one of the names in the documentation, or choose another model.",
        )
    crop = list(transform.crop_size) * 2
    preprocessing = Preprocessing(
        shorter=transform.resize_size[0],
        crop=(crop[0], crop[1]),
        interpolation=interpolation,
        channels=3,
        mean=tuple(transform.mean),
        std=tuple(transform.std),
    )
    return {"preprocessing": preprocessing.identity(), "url": chosen.url}


def torchvision_network(
    model: str, path: Path, device: torch.device, layer: str | None
) -> torch.nn.Module:
    """Load a network of torchvision, up to its last linear layer or to a named node.

    Parameters
    ----------
    model : str
        torchvision's name of it.
    path : Path
        State dict of the whole network.
    device : torch.device
        Where it runs.
    layer : str, optional
        A node of torchvision.models.feature_extraction; axes of length 1 after the second are
        dropped. The input of the last linear layer when not given.

    Raises
    ------
    SpecError
        torchvision has no such model, or the network has no such layer.
    ModelError
        The weights are not those of the model.
    """
    _check(model)
    with warnings.catch_warnings():
        # Two networks warn that their initialization is slow; it is replaced here anyway.
        warnings.simplefilter("ignore", FutureWarning)
        network = torchvision.models.get_model(model, weights=None, **_AS_TRAINED.get(model, {}))
    fill(network, read_state(path), path, model)
    if layer is not None:
        return _Node(_extractor(network, model, layer)).to(device).eval()
    last = [name for name, part in network.named_modules() if list(part.parameters(recurse=False))]
    parent, _, name = last[-1].rpartition(".")
    if not isinstance(network.get_submodule(last[-1]), torch.nn.Linear):
        raise SpecError(
            f"The last layer with weights of {model} is {last[-1]}, which is not linear.",
            "The vector is the input of the last linear layer, unless the study names a layer.",
            'Set layer to a node of the network, for example layer = "avgpool".',
        )
    setattr(network.get_submodule(parent), name, torch.nn.Identity())
    loaded: torch.nn.Module = network.to(device)
    return loaded


_AS_TRAINED = {name: {"transform_input": True} for name in ("googlenet", "inception_v3")}
"""What torchvision sets for weights of its own: these two were trained on (x − .5)/.5, and turn
images with ImageNet's mean and deviation into that."""


class _Node(torch.nn.Module):
    """The output of one node of a network, as vectors."""

    def __init__(self, extractor: torch.nn.Module) -> None:
        super().__init__()
        self.extractor = extractor

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.extractor(images)["vector"]
        flat = output.ndim > 2 and all(length == 1 for length in output.shape[2:])
        return output.flatten(1) if flat else output


def _extractor(network: torch.nn.Module, model: str, layer: str) -> torch.nn.Module:
    names = get_graph_node_names(network)[1]
    if layer not in names:
        raise SpecError(
            f"{model} has no layer {layer!r}.",
            f"Its last layers are {', '.join(names[-6:])}.",
            "Set layer to one of torchvision.models.feature_extraction.get_graph_node_names.",
        )
    extractor: torch.nn.Module = create_feature_extractor(network, {layer: "vector"})
    return extractor


def _check(model: str) -> None:
    known = torchvision.models.list_models(module=torchvision.models)
    if model not in known:
        raise SpecError(
            f"torchvision has no classifier {model!r}.",
            f"It has {', '.join(known[:3])} and {len(known) - 3} more.",
            "Correct model, for example resnet50.",
        )
