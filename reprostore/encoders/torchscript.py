"""Encoders from TorchScript files, such as those that SSCD is released as."""

import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from reprostore.encoders.preprocessing import Preprocessing
from reprostore.encoders.torch_device import full_precision, torch_device
from reprostore.errors import ModelError


class TorchScriptEncoder:
    """A TorchScript network behind a preprocessing; the cosine of its outputs is meant.

    What is trusted: `torch.jit.load` unpickles no Python objects, as `torch.load` of a whole module
    would, and runs no Python. It runs the TorchScript program in the file, made of torch's own
    operators; some of these can open files, so take the file from a publisher you trust.

    Parameters
    ----------
    path : Path
        File written by `torch.jit.save`.
    preprocessing : Preprocessing
        What happens to images before the network.
    item_shape : tuple of int
        (channel, y, x).
    batch_size : int
        Images per forward pass. The last batch is padded to it: convolutions give other last
        bits at another batch size, and the same ones in any company at the same size.
    device : str
        Where the network runs. Images are resized on the CPU, so the same on every device.

    Attributes
    ----------
    metric : str
        "cosine".
    dimension : int
        Length of a vector, found by a forward pass.

    Raises
    ------
    SpecError
        torch does not find the device.
    ModelError
        The file is no TorchScript file, or does not turn such images into vectors.
    """

    metric: Literal["cosine", "squared_l2"] = "cosine"

    def __init__(
        self,
        path: Path,
        preprocessing: Preprocessing,
        item_shape: tuple[int, ...],
        batch_size: int,
        device: str = "cpu",
    ) -> None:
        self.batch_size = batch_size
        self.item_shape = item_shape
        self._path = path
        self._preprocessing = preprocessing
        self._check_channels()
        self._network, self._device = _load(path), torch_device(device)
        self._network.to(self._device).eval()
        # Two images, so that a network which drops the batch axis of one is found out.
        self.dimension = self._forward(np.zeros((2, *item_shape), dtype=np.uint8)).shape[1]

    def encode(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Encode images, `batch_size` at a time.

        Parameters
        ----------
        images : ndarray of uint8, shape (n, channel, y, x)
            Any number of images.

        Returns
        -------
        ndarray of float32, shape (n, dimension)
            As the network returns them, not normalized.

        Raises
        ------
        TypeError
            The images are not uint8.
        ValueError
            The images have another shape than the encoder was loaded for.
        ModelError
            The network fails, or returns something else than finite vectors.
        """
        if images.dtype != np.uint8:
            raise TypeError(f"images are uint8, not {images.dtype}: see reprostore.images.to_uint8")
        if images.shape[1:] != self.item_shape:
            raise ValueError(f"images have the shape {images.shape[1:]}, not {self.item_shape}")
        vectors = np.empty((len(images), self.dimension), dtype=np.float32)
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size]
            padding = np.zeros((self.batch_size - len(batch), *self.item_shape), dtype=np.uint8)
            output = self._forward(np.concatenate([batch, padding]))[: len(batch)]
            if not np.isfinite(output).all():
                bad = start + int(np.flatnonzero(~np.isfinite(output).all(axis=1))[0])
                raise self._failed(
                    f"its vector of image {bad} of {len(images)} is not finite",
                    "Vectors consist of finite numbers.",
                )
            vectors[start : start + len(batch)] = output
        return vectors

    def _forward(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        prepared = preprocess(torch.tensor(batch), self._preprocessing, self._device)
        try:
            with torch.inference_mode(), full_precision():
                output = self._network(prepared)
        except (RuntimeError, torch.jit.Error) as error:
            reason = str(error).strip().splitlines()[-1]
            raise self._failed(
                f"the network fails on input of the shape {tuple(prepared.shape)}: {reason}",
                "It takes a batch of images, (item, channel, y, x).",
            ) from error
        if not (isinstance(output, torch.Tensor) and output.is_floating_point()):
            raise self._failed(
                "its output is no floating-point tensor",
                "An encoder returns one vector for each image, (item, embedding).",
            )
        if output.ndim != 2 or len(output) != len(batch) or output.shape[1] == 0:
            raise self._failed(
                f"its output for {len(batch)} images has the shape {tuple(output.shape)}",
                "An encoder returns one vector for each image, (item, embedding).",
            )
        return output.float().cpu().numpy()

    def _check_channels(self) -> None:
        wanted = self._preprocessing.channels
        if len(self.item_shape) != 3 or (wanted and self.item_shape[0] not in {1, wanted}):
            raise self._failed(
                f"the items have the shape {self.item_shape}",
                f"They are images, (channel, y, x), with 1 or {wanted} channels."
                if wanted
                else "They are images, (channel, y, x).",
            )

    def _failed(self, found: str, expected: str) -> ModelError:
        return ModelError(
            f"The encoder {self._path} cannot be used: {found}.",
            expected,
            "Check that the weights, the preprocessing and the images belong together.",
        )


def preprocess(
    images: torch.Tensor, preprocessing: Preprocessing, device: torch.device
) -> torch.Tensor:
    """Turn 8-bit images into the input of a network.

    Parameters
    ----------
    images : Tensor of uint8, shape (n, channel, y, x)
        On the CPU.
    preprocessing : Preprocessing
        What to do.
    device : torch.device
        Where the result is wanted.

    Returns
    -------
    Tensor of float32, shape (n, channels, height, width)
        Resized in 8 bits, as Pillow does it (equal when enlarging; when shrinking, up to one grey
        level, for torch rounds its integer weights to other bits), then scaled and normalized.
    """
    if preprocessing.size is not None:
        images = torch.nn.functional.interpolate(
            images, preprocessing.size, mode="bilinear", antialias=True
        )
    scaled = images.to(device).float() / preprocessing.scale
    if preprocessing.channels is not None and scaled.shape[1] == 1:
        scaled = scaled.expand(-1, preprocessing.channels, -1, -1)
    if preprocessing.mean is not None and preprocessing.std is not None:
        mean, std = (
            torch.tensor(values, device=device).reshape(-1, 1, 1)
            for values in (preprocessing.mean, preprocessing.std)
        )
        scaled = (scaled - mean) / std
    return scaled.contiguous()


def _load(path: Path) -> torch.jit.ScriptModule:
    try:
        with warnings.catch_warnings():
            # SSCD is released as TorchScript files only; torch has no other loader for them.
            warnings.filterwarnings("ignore", r".*torch\.jit\.load.* is deprecated", FutureWarning)
            warnings.filterwarnings(
                "ignore", r".*torch\.jit\.load.* is deprecated", DeprecationWarning
            )
            load: Any = torch.jit.load
            network: torch.jit.ScriptModule = load(path, map_location="cpu")
    except (RuntimeError, ValueError, OSError, EOFError) as error:
        raise ModelError(
            f"The encoder {path} cannot be read: it is damaged or no TorchScript file.",
            "It is a file that torch.jit.save wrote; a file of weights alone has no network.",
            "Download the file again, or save the network with torch.jit.save.",
        ) from error
    return network
