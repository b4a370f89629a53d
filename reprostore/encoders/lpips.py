"""LPIPS as vectors: its distance is the squared L2 distance between them."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from reprostore.encoders.lpips_loading import load_features, load_linear_weights
from reprostore.encoders.lpips_nets import lpips_dimension, lpips_net
from reprostore.encoders.lpips_weights import PREPROCESSING
from reprostore.encoders.torch_device import full_precision, torch_device
from reprostore.errors import ModelError


class LpipsEncoder:
    """Features of a trained network, scaled so that squared distances are LPIPS.

    ======================  ==============================================================
    symbol                  here
    ======================  ==============================================================
    y_l (C_l, H_l, W_l)     output of layer l
    ŷ_l = y_l/(‖y_l‖ + ε)   over channels, at each place, ε = 1e-10
    w_l (C_l,)              linear weights of LPIPS v0.1, none of them negative
    φ = (√(w_l/(H_l W_l))   the vector: all layers, the channels with w > 0
    ŷ_l)_l
    ======================  ==============================================================

    LPIPS(a, b) = Σ_l 1/(H_l W_l) Σ_hw Σ_c w_lc (ŷ_lc(a) - ŷ_lc(b))² = ‖φ(a) - φ(b)‖². It agrees
    with the package lpips to 1e-5 for each network and 32, 64 and 128 pixels (its options: no
    `spatial`, no `normalize`, since [-1, 1] is made here).

    Parameters
    ----------
    item_shape : tuple of int
        (channel, y, x), with 1 or 3 channels; images are not resized.
    net : {"alex", "vgg", "squeeze"}
        The network.
    backbone : Path
        torchvision's state dict of it, with classifier or `features` only; see `backbone_file`.
    batch_size : int
        Images per forward pass. The last batch is padded to it: convolutions give other last
        bits at another batch size, and the same ones in any company at the same size.
    device : str
        Where the network runs.

    Attributes
    ----------
    metric : str
        "squared_l2".
    dimension : int
        Length of a vector; see `lpips_dimension` for how large it is.

    Raises
    ------
    SpecError
        There is no such network or device, or the images do not suit the network.
    ModelError
        The weights are not those of the network.
    DependencyError
        torchvision or lpips is not installed.

    References
    ----------
    Zhang, Isola, Efros, Shechtman & Wang 2018, "The unreasonable effectiveness of deep features
    as a perceptual metric" (arXiv 1801.03924), eq. 1; richzhang/PerceptualSimilarity,
    lpips/lpips.py::LPIPS.forward and lpips/__init__.py::normalize_tensor.
    """

    metric: Literal["cosine", "squared_l2"] = "squared_l2"

    def __init__(
        self,
        item_shape: tuple[int, ...],
        net: str,
        backbone: Path,
        batch_size: int = 64,
        device: str = "cpu",
    ) -> None:
        self.item_shape, self.batch_size = item_shape, batch_size
        self.dimension = lpips_dimension(net, item_shape)
        self._backbone, self._device = backbone, torch_device(device)
        self._stops = [layer.stop for layer in lpips_net(net).layers]
        self._weights = [weights.to(self._device) for weights in load_linear_weights(net)]
        self._features = load_features(net, backbone).to(self._device)
        self._shift, self._scale = (
            torch.tensor(PREPROCESSING[key], device=self._device).reshape(3, 1, 1)
            for key in ("shift", "scale")
        )

    def encode(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Encode images, `batch_size` at a time.

        Parameters
        ----------
        images : ndarray of uint8, shape (n, channel, y, x)
            Any number of images.

        Returns
        -------
        ndarray of float32, shape (n, dimension)
            The squared distance between two of them is LPIPS, from 0 upward.

        Raises
        ------
        TypeError
            The images are not uint8.
        ValueError
            The images have another shape than the encoder was made for.
        ModelError
            The network gives values that are not finite.
        """
        self.check(images)
        vectors = np.empty((len(images), self.dimension), dtype=np.float32)
        for start in range(0, len(images), self.batch_size):
            rows = vectors[start : start + self.batch_size]
            column = 0
            for part in self.parts(images[start : start + self.batch_size]):
                rows[:, column : column + part.shape[1]] = part.cpu().numpy()
                column += part.shape[1]
        return vectors

    def check(self, images: NDArray[Any]) -> None:
        """Refuse images of another type or shape.

        Raises
        ------
        TypeError, ValueError
            As in `encode`.
        """
        if images.dtype != np.uint8:
            raise TypeError(f"images are uint8, not {images.dtype}: see reprostore.images.to_uint8")
        if images.shape[1:] != self.item_shape:
            raise ValueError(f"images have the shape {images.shape[1:]}, not {self.item_shape}")

    def parts(self, images: NDArray[np.uint8]) -> list[torch.Tensor]:
        """Compute the vectors of at most one batch, in parts.

        Parameters
        ----------
        images : ndarray of uint8, shape (n, channel, y, x)
            At most `batch_size` images.

        Returns
        -------
        list of Tensor, each of shape (n, channels with a weight × places)
            By layer, on the device; together the vectors.

        Raises
        ------
        ModelError
            The network gives values that are not finite.
        """
        padding = np.zeros((self.batch_size - len(images), *self.item_shape), dtype=np.uint8)
        batch = torch.from_numpy(np.concatenate([images, padding])).to(self._device)
        found, start = [], 0
        with torch.inference_mode(), full_precision():
            values = (batch.float() / 127.5 - 1).expand(-1, 3, -1, -1)
            values = ((values - self._shift) / self._scale).contiguous()
            for stop, weights in zip(self._stops, self._weights, strict=True):
                values = self._features[start:stop](values)
                start = stop
                found.append(_scaled(values, weights)[: len(images)])
                if not torch.isfinite(found[-1]).all():
                    raise ModelError(
                        f"The network {self._backbone} gives values that are not finite.",
                        "Its outputs are finite numbers for every image.",
                        "Check the file: its weights may be damaged.",
                    )
        return found


def _scaled(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Normalize by the norm over all channels, and keep those that have a weight."""
    norm = values.square().sum(dim=1, keepdim=True).sqrt() + 1e-10
    used = weights.nonzero().flatten()
    scale = (weights[used] / (values.shape[2] * values.shape[3])).sqrt().reshape(1, -1, 1, 1)
    return (values[:, used] / norm * scale).flatten(1)
