"""An encoder that is a network behind a preprocessing."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from reprostore.encoders.batching import BatchedEncoder, Metric
from reprostore.encoders.preprocessing import Preprocessing
from reprostore.encoders.torch_device import full_precision
from reprostore.encoders.transform import preprocess


class NetworkEncoder(BatchedEncoder[torch.Tensor]):
    """A network behind a preprocessing.

    Parameters
    ----------
    name : str
        What it is called in messages.
    network : callable
        Maps a prepared batch, (n, channels, height, width) on `device`, to vectors, a
        floating-point Tensor (n, dimension); fails with RuntimeError.
    preprocessing : Preprocessing
        What happens to images before the network.
    item_shape : tuple of int
        (channel, y, x).
    batch_size : int
        Images per forward pass.
    device : torch.device
        Where images are prepared and the network runs.
    metric : {"cosine", "squared_l2"}
        How its vectors are compared.
    levels : bool
        The network takes uint8 and scales it itself: scale, mean and deviation of the
        preprocessing are left out.
    fixed_batch : bool
        The network takes `batch_size` images and no other number.

    Raises
    ------
    ModelError
        The network does not turn such images into vectors.
    """

    def __init__(
        self,
        name: str,
        network: Callable[[torch.Tensor], object],
        preprocessing: Preprocessing,
        item_shape: tuple[int, ...],
        batch_size: int,
        device: torch.device,
        metric: Metric = "cosine",
        *,
        levels: bool = False,
        fixed_batch: bool = False,
    ) -> None:
        super().__init__(name, item_shape, batch_size, metric)
        self._check_channels(preprocessing)
        self._network, self._preprocessing = network, preprocessing
        self._device, self._levels = device, levels
        self.dimension = self._find_dimension(batch_size if fixed_batch else 2)

    def _prepare(self, batch: NDArray[np.uint8]) -> torch.Tensor:
        return preprocess(
            torch.tensor(batch), self._preprocessing, self._device, levels=self._levels
        )

    def _compute(self, prepared: torch.Tensor) -> NDArray[np.float32]:
        try:
            with torch.inference_mode(), full_precision():
                output = self._network(prepared)
        except torch.cuda.OutOfMemoryError:
            raise
        except (RuntimeError, torch.jit.Error) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise self._failed(
                f"the network fails on input of the shape {tuple(prepared.shape)}: {reason}",
                "It takes a batch of images, (item, channel, y, x).",
            ) from error
        if not (isinstance(output, torch.Tensor) and output.is_floating_point()):
            raise self._failed(
                "its output is no floating-point tensor",
                "An encoder returns one vector for each image, (item, embedding).",
            )
        return output.float().cpu().numpy()
