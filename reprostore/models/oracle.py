"""The optimal denoiser of a finite set of items, which can only memorize.

| variable    | symbol                                                          |
|-------------|-----------------------------------------------------------------|
| x           | x = x_0 + σ ε                                                   |
| precision   | 1/σ²                                                            |
| logits      | (x·y_i − ‖y_i‖²/2)/σ², which is −‖x − y_i‖²/2σ² up to a constant |
| highest     | largest logit so far                                            |
| total       | Σ exp(logit − highest) so far                                   |
| average     | Σ exp(logit − highest) y_i so far                               |
| bound       | how far a logit of the matrix product may be off                |

References
----------
Karras et al. 2022, equation 57 (appendix B.3): D*(x, σ) = Σ_i softmax_i(−‖x − y_i‖²/2σ²) y_i.
Higham 2002, "Accuracy and Stability of Numerical Algorithms", equation 3.5 (the bound).
Milakov & Gimelshein 2018, "Online normalizer calculation for softmax" (the running sum).
"""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from reprostore.models.items import Items

_NEGLIGIBLE = -600.0
"""Logit beside the largest from which on a weight, e^-600, changes no bit of a result."""

_ROUNDING = 1e-6
"""Logits of the matrix product are good enough if they are off by at most this."""

_REACH = 60.0
"""Logit below the largest within which an item has a weight that matters, e^-60 = 9e-27."""

_PAIR_VALUES = 2**20
"""Values of the differences that are held at a time, 8 MiB."""

_LEAST = 1e-100
"""Noise levels below count as this, whose square can be divided by."""


class OptimalDenoiser:
    """D*(x, σ), computed in float64 from blocks of items.

    Distances come from matrix products of centered items, which a common shift leaves unchanged.
    Their rounding error moves a logit by about 1e-16·‖x‖‖y‖/σ², which grows as σ falls. Where it
    may exceed 1e-6 (below σ ≈ 0.03 for images of 3×32×32), the products only say which items are
    near enough to matter, and ‖x − y_i‖² of these is summed from the differences. Those are one
    or two items, unless very many lie within a few σ of each other. Nothing of the size
    (batch, N, values) is ever made, and memory does not grow with N beyond what `Items.cached`
    keeps and one number per item.

    Parameters
    ----------
    items : Items
        The items, at least one.
    device : torch.device
        Where to compute.
    """

    def __init__(self, items: Items, device: torch.device) -> None:
        self._source, self._device = items, device

    @cached_property
    def _items(self) -> Items:
        return self._source.cached()

    @cached_property
    def _center(self) -> torch.Tensor:
        """Mean of the items, (values,) float64: D* at pure noise."""
        total = np.zeros(self._items.size)
        for block in self._items.blocks():
            total += block.sum(axis=0, dtype=np.float64)
        return torch.from_numpy(total / self._items.count).to(self._device)

    @cached_property
    def _half_norms(self) -> torch.Tensor:
        """‖y_i‖²/2 of the centered items, (N,) float64."""
        norms = torch.empty(self._items.count, dtype=torch.float64, device=self._device)
        for rows, _, block in self._blocks():
            torch.sum(block.square_(), dim=1, out=norms[rows])
        return norms.div_(2)

    def _blocks(self) -> Iterator[tuple[slice, NDArray[np.float32], torch.Tensor]]:
        """Yield positions, items and centered items, (row, values); float64 ones in one buffer.

        Blocks that are allocated anew, with what is kept of them in between, scatter memory.
        """
        buffer, start = None, 0
        for block in self._items.blocks():
            if buffer is None:  # the first block is the longest
                buffer = torch.empty(block.shape, dtype=torch.float64, device=self._device)
            part = buffer[: len(block)]
            part.copy_(torch.from_numpy(block)).sub_(self._center)
            yield slice(start, start + len(block)), block, part
            start += len(block)

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Return D*(x, σ).

        Parameters
        ----------
        x : torch.Tensor
            (batch, *item shape).
        sigma : torch.Tensor
            (batch,) σ ≥ 0; at ∞ D* is the mean of the items, whatever `x` is, and at 0 that of the
            nearest ones.

        Returns
        -------
        torch.Tensor
            Of the shape and dtype of `x`.
        """
        flat = x.flatten(1).to(torch.float64)
        centered = flat - self._center
        precision = sigma.to(torch.float64)[:, None].clamp(min=_LEAST) ** -2
        bound = self._bound(centered) * precision
        doubtful = bound > _ROUNDING
        nearest = highest = centered.new_full((len(x), 1), -torch.inf)
        total = torch.zeros_like(highest)
        average = torch.zeros_like(centered)
        half_norms = self._half_norms
        for rows, items, block in self._blocks():
            logits = torch.addmm(half_norms[rows], centered, block.T, beta=-1).mul_(precision)
            own = logits.amax(1, keepdim=True)
            if (own - nearest < _NEGLIGIBLE - 2 * bound).all():
                continue
            nearest = torch.maximum(nearest, own)
            if doubtful.any():
                near = doubtful & (logits >= nearest - _REACH - 2 * bound)
                logits.masked_fill_(doubtful, -torch.inf)
                _settle(logits, near, flat, items, precision)
                own = logits.amax(1, keepdim=True)
            best = torch.maximum(highest, own)
            # Weights below e^-600 count as that: subnormal numbers would slow the product down.
            weights = logits.sub_(best).clamp_(min=_NEGLIGIBLE).exp_()
            kept = (highest - best).exp()
            total = total * kept + weights.sum(1, keepdim=True)
            average = torch.addmm(average.mul_(kept), weights, block)
            highest = best
        return (average / total + self._center).view(x.shape).to(x.dtype)

    def _bound(self, centered: torch.Tensor) -> torch.Tensor:
        """Bound the rounding error of x·y_i − ‖y_i‖²/2, (batch, 1), in whatever order it is summed.

        γ_{d+8} ‖y‖ (‖x‖ + ‖y‖) covers both sums of d products and the rounding of what is centered.
        """
        terms = (centered.shape[1] + 8) * torch.finfo(torch.float64).eps / 2
        longest = (2 * self._half_norms.max()).sqrt()
        norms: torch.Tensor = torch.linalg.vector_norm(centered, dim=1, keepdim=True)
        return terms / (1 - terms) * longest * (norms + longest)


def _settle(
    logits: torch.Tensor,
    near: torch.Tensor,
    flat: torch.Tensor,
    items: NDArray[np.float32],
    precision: torch.Tensor,
) -> None:
    """Write −‖x − y_i‖²/2σ², summed from the differences, where an item is `near`."""
    row, item = near.nonzero(as_tuple=True)
    step = max(1, _PAIR_VALUES // flat.shape[1])
    for at in range(0, len(row), step):
        pair = row[at : at + step], item[at : at + step]
        values = torch.from_numpy(items[pair[1].cpu().numpy()]).to(flat.device)
        squared = (flat[pair[0]] - values).square_().sum(1)
        logits[pair] = squared * precision[pair[0], 0] / -2
