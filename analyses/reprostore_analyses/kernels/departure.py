"""How far two paths lie apart, and where one leaves the other for good."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import SpecError
from reprostore_analyses.kernels.checks import Array, Floats, finite, row_blocks, same_shape

STAYS = -1
"""In place of a row: the path is near at its end."""


class Departures(NamedTuple):
    """How many paths end in which way; the three add up to all paths.

    Attributes
    ----------
    left : ndarray of bool, shape (seed,)
        Near in some row, and far from a later one on to the end.
    stayed : ndarray of bool, shape (seed,)
        Near in the last row, whatever came before.
    never_near : ndarray of bool, shape (seed,)
        Far in every row.
    """

    left: NDArray[np.bool_]
    stayed: NDArray[np.bool_]
    never_near: NDArray[np.bool_]


def root_mean_square(a: Array, b: Array) -> Floats:
    """Compute the root mean square difference between the states of the same seed in two runs.

    Parameters
    ----------
    a, b : ndarray, shape (seed, …)
        States of any real dtype, with at least one value each. Differences are taken and
        summed in float64.

    Returns
    -------
    ndarray of float64, shape (seed,)
        √(mean (a − b)²) in the units of the states; the L2 distance is this times the square root
        of the number of values. NaN or infinite where a state is.

    Raises
    ------
    SpecError
        The shapes differ, or a state has no values.

    Notes
    -----
    Rows are converted in blocks, and each row is summed by itself: a value depends on no other.
    """
    same_shape(a, b, "states")
    size = int(np.prod(a.shape[1:]))
    if a.ndim < 2 or size == 0:
        raise SpecError(
            f"The states have the shape {a.shape}.",
            "States have the shape (seed, …), with at least one value each.",
            "Keep the axis of the seeds first, also for a single state.",
        )
    distance = np.empty(a.shape[0])
    for rows in row_blocks(a.shape[0], size):
        left, right = (states[rows].reshape(-1, size).astype(np.float64) for states in (a, b))
        with np.errstate(over="ignore", invalid="ignore"):  # the result says it
            left -= right
            distance[rows] = np.sqrt(np.square(left).mean(axis=1))
    return distance


def departure_row(distance: Array, tolerance: float) -> NDArray[np.int64]:
    """Find the first row after which a path stays away from another to the end.

    A path that goes away and comes back has not left: what counts is the last time it is near.

    Parameters
    ----------
    distance : ndarray, shape (seed, row)
        Finite distances between two paths, in the order in which noise falls.
    tolerance : float
        δ; near is a distance < δ, strictly.

    Returns
    -------
    ndarray of int64, shape (seed,)
        The row of the first of the distances ≥ δ that reach to the end; 0 where all are,
        and `STAYS` where the last is not.

    Raises
    ------
    SpecError
        A distance is NaN or infinite, there are no rows, or `tolerance` is not above 0.
    """
    values = finite(distance, "distances")
    if values.ndim != 2 or values.shape[1] == 0:
        raise SpecError(
            f"The distances have the shape {values.shape}.",
            "Distances have the shape (seed, row), with at least one row.",
            "Pass the distances of each seed at all recorded steps.",
        )
    if not tolerance > 0:
        raise SpecError(
            f"The tolerance is {tolerance}.",
            "No distance is below a tolerance that is not above 0.",
            "Give a positive tolerance, in the units of the distances.",
        )
    near = values < tolerance
    rows = near.shape[1]
    after_last_near = np.where(near.any(axis=1), rows - np.argmax(near[:, ::-1], axis=1), 0)
    return np.where(after_last_near == rows, STAYS, after_last_near).astype(np.int64)


def departures(row: NDArray[np.int64]) -> Departures:
    """Sort paths by how they end.

    Parameters
    ----------
    row : ndarray of int64, shape (seed,)
        Of `departure_row`.

    Returns
    -------
    Departures
        One mask for each way.
    """
    return Departures(left=row > 0, stayed=row == STAYS, never_near=row == 0)
