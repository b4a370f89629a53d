"""What every encoder behind a network has in common: batches, overlap and checks."""

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from reprostore.encoders.preprocessing import Preprocessing
from reprostore.errors import ModelError

Metric = Literal["cosine", "squared_l2"]
Prepared = TypeVar("Prepared")


class Encoder(Protocol):
    """Maps items to vectors; the vector of an item does not depend on its company.

    Attributes
    ----------
    metric : str
        Which comparison of two vectors is meant: "cosine" or "squared_l2".
    dimension : int
        Length of a vector.
    batch_size : int
        Items that are encoded together.
    """

    metric: Metric
    dimension: int
    batch_size: int

    def encode(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Encode images, (n, channel, y, x) uint8, as vectors, (n, dimension)."""
        ...


class BatchedEncoder(ABC, Generic[Prepared]):
    """Encodes images in batches of one size; the next batch is prepared meanwhile.

    Parameters
    ----------
    name : str
        What the encoder is called in messages: its file or its model.
    item_shape : tuple of int
        (channel, y, x).
    batch_size : int
        Images per forward pass. The last batch is padded to it: convolutions give other last
        bits at another batch size, and the same ones in any company at the same size.
    metric : {"cosine", "squared_l2"}
        How its vectors are compared.

    Attributes
    ----------
    dimension : int
        Length of a vector.
    """

    def __init__(
        self, name: str, item_shape: tuple[int, ...], batch_size: int, metric: Metric
    ) -> None:
        self.name, self.item_shape = name, item_shape
        self.batch_size, self.metric = batch_size, metric
        self.dimension = 0

    @abstractmethod
    def _prepare(self, batch: NDArray[np.uint8]) -> Prepared:
        """Turn images into the input of the network; called in a thread of its own."""

    @abstractmethod
    def _compute(self, prepared: Prepared) -> NDArray[np.float32]:
        """Return the network's output, of any shape."""

    def encode(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Encode images, `batch_size` at a time.

        Parameters
        ----------
        images : ndarray of uint8, shape (n, channel, y, x)
            Any number of images.

        Returns
        -------
        ndarray of float32, shape (n, dimension)
            In the units of the network's output.

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
        if len(images) <= self.batch_size:
            if len(images):
                self._write(vectors, 0, self._prepared_from(images, 0))
            return vectors
        with ThreadPoolExecutor(1, "reprostore-preprocessing") as pool:
            following = pool.submit(self._prepared_from, images, 0)
            for start in range(0, len(images), self.batch_size):
                prepared = following.result()
                if start + self.batch_size < len(images):
                    following = pool.submit(self._prepared_from, images, start + self.batch_size)
                self._write(vectors, start, prepared)
        return vectors

    def _prepared_from(self, images: NDArray[np.uint8], start: int) -> Prepared:
        batch = images[start : start + self.batch_size]
        padding = np.zeros((self.batch_size - len(batch), *self.item_shape), dtype=np.uint8)
        return self._prepare(np.concatenate([batch, padding]))

    def _write(self, vectors: NDArray[np.float32], start: int, prepared: Prepared) -> None:
        rows = vectors[start : start + self.batch_size]
        output = self._checked(self._compute(prepared), self.batch_size)
        if output.shape[1] != self.dimension:
            raise self._failed(
                f"its vectors have {output.shape[1]} numbers, and before {self.dimension}",
                "All vectors of an encoder have the same length.",
            )
        rows[:] = output[: len(rows)]
        if not np.isfinite(rows).all():
            bad = start + int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
            raise self._failed(
                f"its vector of image {bad} of {len(vectors)} is not finite",
                "Vectors consist of finite numbers.",
            )

    def _find_dimension(self, count: int = 2) -> int:
        """Encode black images, two by default: a network that drops the batch axis is found out."""
        black = np.zeros((count, *self.item_shape), dtype=np.uint8)
        return int(self._checked(self._compute(self._prepare(black)), count).shape[1])

    def _checked(self, output: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        if output.ndim != 2 or len(output) != count or output.shape[1] == 0:
            raise self._failed(
                f"its output for {count} images has the shape {output.shape}",
                "An encoder returns one vector for each image, (item, embedding).",
            )
        return output

    def _check_channels(self, preprocessing: Preprocessing) -> None:
        wanted = preprocessing.channels
        if len(self.item_shape) != 3 or (wanted and self.item_shape[0] not in {1, wanted}):
            raise self._failed(
                f"the items have the shape {self.item_shape}",
                f"They are images, (channel, y, x), with 1 or {wanted} channels."
                if wanted
                else "They are images, (channel, y, x).",
            )
        resized = preprocessing.resized(*self.item_shape[1:])
        crop = preprocessing.crop or resized
        if crop[0] > resized[0] or crop[1] > resized[1]:
            raise self._failed(
                f"resized images have {resized[0]}×{resized[1]} pixels, fewer than the crop",
                f"The preprocessing cuts {crop[0]}×{crop[1]} pixels out of the centre.",
            )

    def _failed(self, found: str, expected: str) -> ModelError:
        return ModelError(
            f"The encoder {self.name} cannot be used: {found}.",
            expected,
            "Check that the weights, the preprocessing and the images belong together.",
        )
