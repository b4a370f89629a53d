"""LPIPS of pairs of images, for images whose vectors are too large to keep."""

from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reprostore.encoders.lpips import LpipsEncoder
from reprostore.errors import DatasetError


def lpips_pairs(
    encoder: LpipsEncoder,
    a_batches: Iterable[NDArray[Any]],
    b_batches: Iterable[NDArray[Any]],
) -> NDArray[np.float64]:
    """Compute LPIPS between the images of the same place in two sequences.

    Each image passes the network once, and the features of one batch are all that is kept, so
    that memory does not grow with the number of images.

    Parameters
    ----------
    encoder : LpipsEncoder
        The encoder.
    a_batches, b_batches : iterable of ndarray of uint8, shape (n, channel, y, x)
        Batches of any size, the same in both, such as images of equal seeds from two runs.

    Returns
    -------
    ndarray of float64, shape (item,)
        At least 0; the squared distance between the vectors that the encoder gives, and the
        distance of the package lpips, both to 1e-5.

    Raises
    ------
    DatasetError
        The sequences differ in length.
    TypeError, ValueError
        Images are not uint8, or have another shape than the encoder was made for.
    ModelError
        The network gives values that are not finite.
    """
    found = [np.empty(0)]
    for a, b in zip_longest(a_batches, b_batches):
        if a is None or b is None or len(a) != len(b):
            counts = [0 if images is None else len(images) for images in (a, b)]
            raise DatasetError(
                f"After {sum(map(len, found)):,} pairs there are batches of {counts[0]} and "
                f"{counts[1]} images.",
                "LPIPS is computed between pairs, so that both batches have equally many.",
                "Give both sequences in the same batches.",
            )
        encoder.check(a)
        encoder.check(b)
        for start in range(0, len(a), encoder.batch_size):
            rows = slice(start, start + encoder.batch_size)
            found.append(_distances(encoder.parts(a[rows]), encoder.parts(b[rows])))
    return np.concatenate(found)


def _distances(a: list[torch.Tensor], b: list[torch.Tensor]) -> NDArray[np.float64]:
    total = np.zeros(len(a[0]))
    for left, right in zip(a, b, strict=True):
        total += (left - right).square().sum(dim=1, dtype=torch.float64).cpu().numpy()
    return total
