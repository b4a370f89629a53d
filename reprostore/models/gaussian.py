"""The optimal denoiser of a normal distribution: the Wiener filter.

D(x, σ) = μ + C (C + σ² I)⁻¹ (x − μ), with the mean μ and the covariance C of a set of items.

References
----------
Wiener 1949; Wang & Vastola 2024, arXiv 2412.09726, equation 8, for diffusion models.
"""

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from reprostore.errors import ModelError
from reprostore.models.items import Items

LARGEST = 16_384
"""The largest matrix whose eigenvectors are computed; its square bounds what is held, 2 GiB."""


class WienerDenoiser:
    """The Wiener filter of a set of items, computed in float64.

    The covariance is that of the items as they are, Σ (y_i − μ)(y_i − μ)ᵀ/N. Of fewer items than
    values it is singular; there the result lies in the affine space that the items span.

    Parameters
    ----------
    items : Items
        The items, at least one.
    device : torch.device
        Where to compute.

    Raises
    ------
    ModelError
        There are too many items and too many values to diagonalize the covariance.
    """

    def __init__(self, items: Items, device: torch.device) -> None:
        axes = min(items.count, items.size)
        if axes > LARGEST or axes * items.size > LARGEST**2:
            raise ModelError(
                f"The Gaussian of {items.count} items of {items.size} values needs the "
                f"eigenvectors of a matrix of {axes} rows, and {axes} axes.",
                f"At most {LARGEST} rows are diagonalized, and axes are kept of at most "
                f"{LARGEST**2} values.",
                "Leave the Gaussian out, or take fewer items.",
            )
        self._items, self._device = items, device

    @cached_property
    def _moments(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Mean (values,), variances (axis,) > 0 and principal axes (values, axis), float64."""
        items = self._items.cached()
        mean = sum(block.sum(axis=0, dtype=np.float64) for block in items.blocks()) / items.count
        if items.count < items.size:
            rows = np.concatenate([block - mean for block in items.blocks()])
            gram = rows @ rows.T / items.count
            variances, vectors = np.linalg.eigh(gram)
            kept = _positive(variances)
            axes = rows.T @ vectors[:, kept] / np.sqrt(variances[kept] * items.count)
        else:
            covariance = np.zeros((items.size, items.size))
            for block in items.blocks():
                rows = block - mean
                covariance += rows.T @ rows
            variances, vectors = np.linalg.eigh(covariance / items.count)
            kept = _positive(variances)
            axes = vectors[:, kept]
        moments = (np.asarray(mean), variances[kept], axes)
        first, second, third = (torch.from_numpy(m.copy()).to(self._device) for m in moments)
        return first, second, third

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Return D(x, σ).

        Parameters
        ----------
        x : torch.Tensor
            (batch, *item shape).
        sigma : torch.Tensor
            (batch,) σ > 0; at ∞ D is the mean of the items, whatever `x` is.

        Returns
        -------
        torch.Tensor
            Of the shape and dtype of `x`.
        """
        mean, variances, axes = self._moments
        centered = x.flatten(1).to(torch.float64) - mean
        gain = variances / (variances + sigma.to(torch.float64)[:, None] ** 2)
        denoised = mean + (centered @ axes * gain) @ axes.T
        return denoised.view(x.shape).to(x.dtype)


def _positive(variances: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which variances are more than rounding errors of the largest."""
    limit = variances.max() * len(variances) * np.finfo(np.float64).eps
    positive: NDArray[np.bool_] = variances > limit
    return positive
