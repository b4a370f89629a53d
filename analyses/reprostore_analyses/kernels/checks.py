"""Checks that kernels and statistics share, and the blocks in which they bound their memory."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reprostore.errors import SpecError

Array = NDArray[Any]
Floats = NDArray[np.float64]

BLOCK_VALUES = 2**16
"""Values in one block of a temporary array: 512 KiB in float64, which stays in a core's cache."""


def finite(values: ArrayLike, what: str) -> Floats:
    """Return values as float64.

    Parameters
    ----------
    values : array_like
        Numbers or booleans of any shape.
    what : str
        What they are, in the plural, for the message.

    Returns
    -------
    ndarray of float64
        The same values.

    Raises
    ------
    SpecError
        One of them is NaN or infinite.
    """
    array = np.asarray(values, dtype=np.float64)
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        raise SpecError(
            f"{bad} of {array.size} {what} are NaN or infinite.",
            f"All {what} are finite numbers.",
            "Leave out the samples without a value, and count them, before they are summarized.",
        )
    return array


def per_seed(values: ArrayLike, what: str) -> Floats:
    """Return finite float64 values with seeds along the last axis.

    Parameters
    ----------
    values : array_like, shape (…, seed)
        One value for each seed.
    what : str
        What they are, in the plural, for the message.

    Returns
    -------
    ndarray of float64, shape (…, seed)
        The same values.

    Raises
    ------
    SpecError
        There is no axis of seeds, or a value is NaN or infinite.
    """
    array = finite(values, what)
    if array.ndim == 0:
        raise SpecError(
            f"The {what} are a single number.",
            f"The {what} have the shape (…, seed).",
            "Pass one value for each seed, along the last axis.",
        )
    return array


def one_dimensional(values: ArrayLike, what: str) -> Floats:
    """Return finite float64 values of shape (item,).

    Raises
    ------
    SpecError
        There is not exactly one axis, or a value is NaN or infinite.
    """
    array = finite(values, what)
    if array.ndim != 1:
        raise SpecError(
            f"The {what} have the shape {array.shape}.",
            f"The {what} have the shape (item,).",
            "Pass one value for each item of one set.",
        )
    return array


def same_shape(a: Array, b: Array, what: str) -> None:
    """Check that two arrays that are compared element by element have one shape.

    Raises
    ------
    SpecError
        The shapes differ.
    """
    if a.shape != b.shape:
        raise SpecError(
            f"The two sets of {what} have the shapes {a.shape} and {b.shape}.",
            "Both have the same shape, with the same seeds in the same order.",
            "Select the seeds that both runs have before they are compared.",
        )


def positive(number: int, what: str) -> None:
    """Check a count that has to be at least 1.

    Raises
    ------
    SpecError
        The number is smaller than 1.
    """
    if number < 1:
        raise SpecError(
            f"The number of {what} is {number}.",
            f"The number of {what} is at least 1.",
            f"Ask for a positive number of {what}.",
        )


def fraction(number: float, what: str) -> None:
    """Check a probability that has to lie strictly between 0 and 1.

    Raises
    ------
    SpecError
        The number is NaN, or not between 0 and 1.
    """
    if not 0 < number < 1:
        raise SpecError(
            f"The {what} is {number}.",
            f"The {what} lies between 0 and 1, both excluded.",
            f"Give the {what} as a fraction, not in percent.",
        )


def row_blocks(rows: int, row_size: int) -> Iterator[slice]:
    """Cut rows into blocks of about `BLOCK_VALUES` values, at least one row each.

    Parameters
    ----------
    rows, row_size : int
        Number of rows, and of values in a row.

    Yields
    ------
    slice
        Consecutive slices that cover all rows.
    """
    length = max(1, BLOCK_VALUES // max(1, row_size))
    for start in range(0, rows, length):
        yield slice(start, min(start + length, rows))
