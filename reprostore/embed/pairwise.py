"""Vectors that are too large to be kept: how large they may be, and pairs without them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.embed.handle import EncoderHandle
from reprostore.encoders.lpips_nets import lpips_fits
from reprostore.errors import SpecError

MOST_BYTES = 32 * 2**30
"""Of the vectors of one run or dataset."""

Measure = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float64]]


def pairwise_measure(
    encoder: EncoderHandle, item_shape: tuple[int, ...], count: int
) -> Measure | None:
    """Return a measure of pairs of images, where vectors are too large to be kept.

    Parameters
    ----------
    encoder : EncoderHandle
        The encoder.
    item_shape : tuple of int
        (channel, y, x).
    count : int
        How many images of each run are compared.

    Returns
    -------
    callable or None
        (image, channel, y, x) uint8 of two runs → (image,), the squared distance between the
        vectors of each pair; None where vectors are kept and compared.
    """
    spec = encoder.spec
    net = getattr(spec, "net", None)
    if spec is None or net is None or lpips_fits(net, item_shape, count):
        return None
    from reprostore.encoders.lpips_pairs import lpips_pairs

    loaded: Any = encoder.load(item_shape)

    def measure(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float64]:
        return lpips_pairs(loaded, [a], [b])

    return measure


def refuse_too_large(encoder: EncoderHandle, count: int, dimension: int, what: str) -> None:
    """Refuse to write vectors that would fill a disk.

    Parameters
    ----------
    encoder : EncoderHandle
        The encoder.
    count, dimension : int
        Number of vectors, and of values in each.
    what : str
        Whose vectors, for the message.

    Raises
    ------
    SpecError
        They take more than `MOST_BYTES`.
    """
    needed = 4 * count * dimension
    if needed > MOST_BYTES:
        raise SpecError(
            f"The vectors of the encoder {encoder.name!r} for {what} would take "
            f"{needed / 2**30:,.0f} GiB: {count:,} of {dimension:,} values.",
            f"Up to {MOST_BYTES / 2**30:.0f} GiB of vectors are kept.",
            "Choose an encoder with shorter vectors, or fewer samples; the analysis distances "
            "compares LPIPS pair by pair and keeps no vectors.",
        )
