"""Backbones of LPIPS with random weights, and the package lpips with the same ones."""

import math
from types import SimpleNamespace

import numpy as np
import torch
import torchvision

from reprostore.encoders.lpips_nets import NETS


def features(net):
    """Build the layers of torchvision's network without values."""
    with torch.device("meta"):
        return getattr(torchvision.models, NETS[net].architecture)(weights=None).features


def random_state(net, seed=0):
    """Draw weights under which activations keep their size from layer to layer."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, empty in features(net).state_dict().items():
        values = torch.randn(empty.shape, generator=generator)
        fan_in = math.prod(empty.shape[1:])
        state[name] = values * (math.sqrt(2 / fan_in) if empty.ndim > 1 else 0.1)
    return state


def save(path, state, prefix="features."):
    """Write a state dict as torchvision does."""
    torch.save({prefix + name: value for name, value in state.items()}, path)
    return path


def package(net, state, monkeypatch):
    """Build the LPIPS of the package lpips on the same backbone."""
    import lpips
    from lpips import pretrained_networks

    trunk = features(net)
    trunk.load_state_dict(state, assign=True)
    whole = SimpleNamespace(features=trunk)
    models = SimpleNamespace(**{NETS[net].architecture: lambda pretrained: whole})
    monkeypatch.setattr(pretrained_networks, "tv", models)
    return lpips.LPIPS(net=net, pnet_rand=True, verbose=False)


def package_distances(model, a, b):
    """LPIPS of pairs of uint8 images by the package's own forward pass."""
    left, right = (
        torch.from_numpy(images).expand(-1, 3, -1, -1).float() / 127.5 - 1 for images in (a, b)
    )
    with torch.inference_mode():
        return model(left, right).flatten().double().numpy()


def images(count, shape, seed=0):
    """Draw images with structure at several scales."""
    rng = np.random.default_rng(seed)
    channels, height, width = shape
    total = np.zeros((count, *shape))
    for scale in (1, 4, 16):
        coarse = rng.normal(size=(count, channels, -(-height // scale), -(-width // scale)))
        total += coarse.repeat(scale, 2).repeat(scale, 3)[..., :height, :width]
    return np.clip(128 + 40 * total, 0, 255).astype(np.uint8)
