"""Networks of timm, and DINOv2 in timm's architecture."""

import math
from pathlib import Path
from typing import Any, Final

import timm
import torch
from torch.nn.functional import interpolate

from reprostore.encoders.preprocessing import BICUBIC, BILINEAR, Preprocessing
from reprostore.encoders.states import fill, read_state
from reprostore.errors import ModelError, SpecError

_INTERPOLATIONS: Final = {"bilinear": BILINEAR, "bicubic": BICUBIC}


def timm_facts(model: str) -> dict[str, Any]:
    """Return the preprocessing in timm's data config of a model.

    Raises
    ------
    SpecError
        timm has no such model, or its preprocessing is not known here.

    References
    ----------
    huggingface/pytorch-image-models, timm/data/transforms_factory.py::transforms_imagenet_eval.
    """
    _check(model)
    config = timm.data.resolve_data_config(pretrained_cfg=_config(model).to_dict())
    channels, *size = config["input_size"]
    resized = [math.floor(length / config["crop_pct"]) for length in size]
    mode, crop_mode = config["interpolation"], config["crop_mode"]
    square = crop_mode == "center" and resized[0] == resized[1]
    if mode not in _INTERPOLATIONS or not (square or crop_mode == "squash"):
        raise SpecError(
            f"timm prepares images for {model} with {mode} interpolation and {crop_mode} cropping "
            f"to {size[0]}×{size[1]}.",
            "Bilinear and bicubic, cut from the centre of a square or squashed, are known.",
            "Set preprocessing to one of the names in the documentation, or choose another model.",
        )
    preprocessing = Preprocessing(
        size=None if square else (resized[0], resized[1]),
        shorter=resized[0] if square else None,
        crop=(size[0], size[1]),
        interpolation=_INTERPOLATIONS[mode],
        channels=channels,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )
    return {"preprocessing": preprocessing.identity()}


def timm_network(model: str, path: Path, device: torch.device) -> torch.nn.Module:
    """Load a network of timm without its classifier: its pooled features are the vector.

    Parameters
    ----------
    model : str
        timm's name of it.
    path : Path
        Its weights in timm's names, with or without classifier.
    device : torch.device
        Where it runs.

    Raises
    ------
    SpecError
        timm has no such model.
    ModelError
        The weights are not those of the model.
    """
    _check(model)
    network = timm.create_model(model, pretrained=False, num_classes=0)
    classifier = _config(model).classifier or ()
    ignored = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    return fill(network, read_state(path), path, model, ignored).to(device)


def dinov2_network(model: str, path: Path, device: torch.device) -> torch.nn.Module:
    """Load a DINOv2 network for 224×224 pixels; its normalized class token is the vector.

    Parameters
    ----------
    model : str
        "vit_small_patch14_dinov2", or base or large in place of small.
    path : Path
        Weights for 518×518 pixels, as released by Meta or in timm's repositories: the two share
        their names of weights, but that Meta's have a `mask_token`, which is for training only.
    device : torch.device
        Where it runs.

    Raises
    ------
    ModelError
        The weights are not those of the model.

    Notes
    -----
    Position embeddings are resampled from 37×37 to 16×16 places as Meta's code does it: bicubic,
    without antialias, with scale factors (16 + 0.1)/37. timm's own resampling is antialiased and
    gives other vectors. Checked: architecture, names and class token against timm with random
    weights; that the vectors are those of Meta's code was not checked with trained weights.

    References
    ----------
    facebookresearch/dinov2, dinov2/models/vision_transformer.py::interpolate_pos_encoding.
    """
    network = timm.create_model(
        model, pretrained=False, num_classes=0, img_size=224, global_pool="token"
    )
    state = read_state(path)
    positions = state.get("pos_embed")
    if positions is None or positions.ndim != 3 or positions.shape[:2] != (1, 1 + 37 * 37):
        found = "no pos_embed" if positions is None else f"pos_embed {tuple(positions.shape)}"
        raise ModelError(
            f"The weights {path} are not those of {model}: the file has {found}.",
            "DINOv2 is released for 518×518 pixels, with 1 + 37·37 position embeddings.",
            "Give the weights without registers, such as Meta's dinov2_vits14_pretrain.pth.",
        )
    state = state | {"pos_embed": _resampled(positions.float())}
    return fill(network, state, path, model, ("mask_token",)).to(device)


def _resampled(positions: torch.Tensor) -> torch.Tensor:
    """Resample position embeddings, (1, 1 + 37·37, d), to (1, 1 + 16·16, d)."""
    grid = positions[:, 1:].reshape(1, 37, 37, -1).permute(0, 3, 1, 2)
    factor = (16 + 0.1) / 37
    grid = interpolate(grid, scale_factor=(factor, factor), mode="bicubic")
    return torch.cat([positions[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


def _config(model: str) -> timm.models.PretrainedCfg:
    """Return what timm knows of a model; an architecture without weights has defaults."""
    return timm.models.get_pretrained_cfg(model) or timm.models.PretrainedCfg()


def _check(model: str) -> None:
    if not timm.models.is_model(model):
        near = timm.list_models(f"{model.split('.')[0][:8]}*", pretrained=True)[:3]
        raise SpecError(
            f"timm has no model {model!r}.",
            "Models are named architecture or architecture.tag"
            + (f", for example {', '.join(near)}." if near else ", for example resnet50.a1_in1k."),
            "Correct model.",
        )
