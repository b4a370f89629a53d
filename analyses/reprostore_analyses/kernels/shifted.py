"""Chance levels of the RP and MAE scores: the numbers of `chance_level`, with less work."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from reprostore.errors import SpecError
from reprostore_analyses.kernels.chance import ChanceLevel, cyclic_shifts
from reprostore_analyses.kernels.checks import Array, Floats, row_blocks, same_shape
from reprostore_analyses.kernels.similarity import mean_absolute_error
from reprostore_analyses.kernels.thresholds import ExceedanceCounts

_BLOCK_VALUES = 2**19  # 4 MiB in float64: larger blocks than elsewhere, since each is used often

_GROUPS = 64
"""Groups of pixels whose sums bound an error from below."""


def cosine_chance_levels(
    others: Sequence[Array], b: Array, thresholds: ArrayLike, *, shifts: int = 20
) -> list[ChanceLevel]:
    """Compute P(cos(a_i, b_(i+s)) > θ), averaged over cyclic shifts s, of several runs a.

    Parameters
    ----------
    others : sequence of ndarray, shape (seed, d)
        Vectors of the runs a, of any real dtype.
    b : ndarray, shape (seed, d)
        Vectors of the run that is shifted.
    thresholds : array_like, shape () or (threshold,)
        θ; the whole curve costs no more than one point of it.
    shifts : int
        Number of cyclic shifts.

    Returns
    -------
    list of ChanceLevel
        For each a, equal to that of `chance_level` with `rowwise_cosine`.

    Raises
    ------
    SpecError
        The arrays are not (seed, d) of one shape, or a vector contains NaN or infinity.

    Notes
    -----
    Each vector's square is summed once, a block of each a is converted to float64 once for all
    shifts, and a shifted block of b once for all a; no array is copied as a whole.
    """
    for a in others:
        same_shape(a, b, "vectors")
    if b.ndim != 2:
        raise SpecError(
            f"The vectors have the shape {b.shape}.",
            "Vectors have the shape (seed, d).",
            "Flatten each sample, or embed it, before cosines are computed.",
        )
    seeds, width = b.shape
    chosen = cyclic_shifts(seeds, shifts)
    right_squares = _squares(b)
    counts = [ExceedanceCounts(thresholds) for _ in others]
    length = max(1, _BLOCK_VALUES // max(1, width * (len(others) + 1)))
    for start in range(0, seeds if others and chosen else 0, length):
        lefts = np.stack([a[start : start + length] for a in others], dtype=np.float64)
        left_squares = np.stack([_squares(left, start) for left in lefts])
        rows = lefts.shape[1]
        right, squares = np.empty((rows, width)), np.empty(rows)
        norms = np.empty((len(others), len(chosen), rows))
        dots = np.empty_like(norms)
        for row, shift in enumerate(chosen):
            _copy_rolled(b, start + shift, right)
            _copy_rolled(right_squares, start + shift, squares)
            np.vecdot(lefts, right, out=dots[:, row])
            with np.errstate(over="ignore"):
                np.multiply(left_squares, squares, out=norms[:, row])
        _refuse_non_finite(norms, start)
        np.sqrt(norms, out=norms)
        cosine = np.divide(dots, norms, out=np.zeros_like(dots), where=norms > 0)
        np.clip(cosine, -1.0, 1.0, out=cosine)
        for count, values in zip(counts, cosine, strict=True):
            count.update(values)
    return [_level(count, chosen, seeds) for count in counts]


def mae_chance_level(a: Array, b: Array, thresholds: ArrayLike, *, shifts: int = 20) -> ChanceLevel:
    """Compute P(MAE(a_i, b_(i+s)) < θ), averaged over cyclic shifts s of the seeds.

    Parameters
    ----------
    a, b : ndarray of uint8, shape (seed, …)
        Images on the scale 0–255.
    thresholds : array_like, shape () or (threshold,)
        θ on that scale.
    shifts : int
        Number of cyclic shifts.

    Returns
    -------
    ChanceLevel
        Equal to that of `chance_level` with `mean_absolute_error` and the side "below".

    Raises
    ------
    SpecError
        The arrays are not uint8, have no pixels, or differ in shape.

    Notes
    -----
    Σ_g |Σ_{p in g} (a_p − b_p)| ≤ Σ_p |a_p − b_p| for disjoint groups g of pixels. Unrelated
    images nearly always differ by more than θ in these few sums already, which decides them; the
    others are compared pixel by pixel. All sums are of integers, and exact.
    """
    mean_absolute_error(a[:1], b[:1])  # refuses what are no images
    same_shape(a, b, "images")
    seeds, pixels = len(a), int(np.prod(a.shape[1:]))
    chosen = cyclic_shifts(seeds, shifts)
    largest = np.max(ExceedanceCounts(thresholds, "below").thresholds, initial=-np.inf)
    sums = _group_sums(a.reshape(seeds, pixels)), _group_sums(b.reshape(seeds, pixels))
    # What a lower bound says is no value, but it lies on the same side of all thresholds as that.
    values = np.empty((len(chosen), seeds))
    for rows in row_blocks(seeds, _GROUPS):
        right = np.empty_like(sums[0][rows])
        for row, shift in enumerate(chosen):
            _copy_rolled(sums[1], rows.start + shift, right)
            np.subtract(sums[0][rows], right, out=right)
            np.abs(right, out=right)
            values[row, rows] = right.sum(axis=1, dtype=np.int64) / pixels
    for row, shift in enumerate(chosen):
        open_rows = np.flatnonzero(values[row] < largest)
        for block in row_blocks(len(open_rows), pixels // 8 + 1):
            at = open_rows[block]
            values[row, at] = mean_absolute_error(a[at], b[(at + shift) % seeds])
    counts = ExceedanceCounts(thresholds, "below")
    return _level(counts.update(values) if chosen else counts, chosen, seeds)


def _level(counts: ExceedanceCounts, chosen: tuple[int, ...], seeds: int) -> ChanceLevel:
    if not chosen:
        nothing = np.full(counts.thresholds.shape, np.nan)
        reason = f"A chance level needs at least two seeds; there are {seeds}."
        return ChanceLevel(nothing, np.empty((0, *nothing.shape)), (), reason)
    by_shift = counts.finalize()
    return ChanceLevel(np.asarray(by_shift.mean(axis=0)), by_shift, chosen)


def _copy_rolled(array: Array, start: int, out: Array) -> None:
    """Copy the rows from `start` on, from the first again after the last, into `out`."""
    start %= len(array)
    first = min(len(out), len(array) - start)
    np.copyto(out[:first], array[start : start + first])
    np.copyto(out[first:], array[: len(out) - first])


def _squares(vectors: Array, start: int = 0) -> Floats:
    squares = np.empty(len(vectors))
    for rows in row_blocks(*vectors.shape):
        block = vectors[rows].astype(np.float64, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):
            np.vecdot(block, block, out=squares[rows])
    _refuse_non_finite(squares, start)
    return squares


def _refuse_non_finite(values: Floats, start: int) -> None:
    """Refuse values, (…, row), that no finite vectors of an ordinary length have."""
    if not np.isfinite(values).all():
        row = start + int(np.argwhere(~np.isfinite(values))[0, -1])
        raise SpecError(
            f"The vectors of row {row} contain NaN or infinity, or are too large.",
            "All vectors are finite.",
            "Check the samples and the encoder, or leave out this seed in both runs.",
        )


def _group_sums(images: Array) -> Array:
    """Sum groups of consecutive pixels; a rest that fills no group is left out."""
    count, pixels = images.shape
    length = max(1, pixels // _GROUPS)
    used = pixels // length * length
    sums = np.empty((count, pixels // length), dtype=np.int64 if pixels >= 2**23 else np.int32)
    for rows in row_blocks(count, pixels // 8 + 1):
        groups = images[rows, :used].reshape(-1, pixels // length, length)
        np.sum(groups, axis=2, dtype=sums.dtype, out=sums[rows])
    return sums
