"""Pixels as vectors: what similarity is without any network."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


@dataclass
class PixelEncoder:
    """The flattened sample without its mean, so that the cosine is a correlation of pixels.

    uint8 images keep their scale of 0 to 255 and floating-point samples theirs (latents and
    trajectories are taken as they are): the cosine does not depend on it. A constant image
    becomes the zero vector, whose cosine with every vector is taken to be 0.

    Attributes
    ----------
    item_shape : tuple of int
        Shape of one item, of any number of dimensions.
    dimension : int
        Product of `item_shape`.
    batch_size : int
        Items that are encoded together.

    References
    ----------
    Kadkhodaie et al. 2024, "Generalization in diffusion models arises from geometry-adaptive
    harmonic representations" (arXiv 2310.02557): cosine of mean-removed images.
    """

    item_shape: tuple[int, ...]
    dimension: int
    batch_size: int
    metric: Literal["cosine", "squared_l2"] = "cosine"

    def encode(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Flatten items and subtract the mean of each.

        Parameters
        ----------
        images : ndarray, shape (n, *item_shape)
            uint8 or floating point.

        Returns
        -------
        ndarray of float32, shape (n, dimension)
            In the units of `images`.

        Raises
        ------
        ValueError
            The items have another shape.
        """
        if images.shape[1:] != self.item_shape:
            raise ValueError(f"items have the shape {images.shape[1:]}, not {self.item_shape}")
        vectors = images.reshape(len(images), self.dimension).astype(np.float32)
        # In float64, where sums of equal float32 values are exact: a constant image leaves 0.
        vectors -= vectors.mean(axis=1, keepdims=True, dtype=np.float64)
        return vectors
