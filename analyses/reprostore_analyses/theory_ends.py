"""Distances between the final samples of two runs of the same noise, and what chance gives."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reprostore.embed import EncoderHandle
from reprostore.errors import SpecError
from reprostore.images import from_uint8
from reprostore.store import Run
from reprostore.store.checked import CheckedArray
from reprostore_analyses.context import Context
from reprostore_analyses.kernels import (
    chance_level,
    mean_absolute_error,
    root_mean_square,
    rowwise_cosine,
)
from reprostore_analyses.kernels.checks import Array, Floats
from reprostore_analyses.theory_paths import GREY_LEVELS, Member
from reprostore_analyses.vectors import Collection

SHIFTS = 20


@dataclass(frozen=True)
class Ends:
    """How far the final samples of two runs lie apart.

    Attributes
    ----------
    measures : dict of ndarray of float64, (seed,)
        "rms" and "mae" on the 0–255 scale, "l2" of samples in [-1, 1], "similarity" in [-1, 1].
    chance : float
        Share of pairs of different seeds with a similarity above the threshold.
    near_chance : float
        Share of pairs of different seeds with an RMS distance below the tolerance.
    chance_rms : float
        Median RMS distance of pairs of different seeds.
    """

    measures: dict[str, Floats]
    chance: float
    near_chance: float
    chance_rms: float


class _States(Collection):
    """Final states as they were stored, beside vectors and images."""

    def states(self, run: Run, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the last states of a run in [-1, 1], (seed, *sample_shape)."""
        if run.path not in self._arrays:
            checked = CheckedArray(run, "sample")

            def read(part: NDArray[np.int64]) -> NDArray[np.float32]:
                block = checked[int(part[0]) : int(part[-1]) + 1, -1][part - part[0]]
                return from_uint8(block) if block.dtype == np.uint8 else block.astype(np.float32)

            self._fill(run.path, slots, read)
        return self._arrays[run.path]


def final_distances(
    context: Context,
    encoder: EncoderHandle,
    pair: tuple[Member, Member],
    threshold: float,
    tolerance: float,
) -> Ends:
    """Compare the final samples of two runs at common seeds.

    Parameters
    ----------
    context : Context
        Whose store holds the vectors.
    encoder : EncoderHandle
        In whose space similarities are measured.
    pair : (Member, Member)
        The runs, with a slot for every seed.
    threshold : float
        θ of the similarity.
    tolerance : float
        δ of the RMS distance, on the 0–255 scale.

    Returns
    -------
    Ends
        Chance levels are means over 20 cyclic shifts of the seeds, NaN for a single seed.

    Raises
    ------
    SpecError
        The encoder gives vectors of different lengths.
    CorruptionError
        A sample is damaged.
    """
    (first, second), count = pair, len(pair[0].slots)
    with Collection(count, 2) as collection:
        a, b = (
            collection.vectors(context.store, encoder, each.run, each.slots, context.progress)
            for each in pair
        )
        if a.shape != b.shape:
            raise SpecError(
                f"The encoder {encoder.name!r} gives vectors of {a.shape[1]} numbers for "
                f"{first.run.path} and of {b.shape[1]} for {second.run.path}.",
                "Similarity compares vectors of one length.",
                "Choose an encoder whose vectors do not depend on the size of the samples.",
            )
        similarity = rowwise_cosine(a, b)
        chance = chance_level(a, b, threshold, shifts=SHIFTS).level
    with Collection(count, 2) as collection:
        mae = mean_absolute_error(*(collection.images(each.run, each.slots) for each in pair))
    finals = _States(count, 2)
    with finals:
        a, b = (finals.states(each.run, each.slots) for each in pair)
        rms = _pixel_rms(a, b)
        shifted: list[Floats] = []

        def measure(left: Array, right: Array) -> Floats:
            shifted.append(_pixel_rms(left, right))
            return shifted[-1]

        near_chance = chance_level(
            a, b, tolerance, measure=measure, side="below", shifts=SHIFTS
        ).level
        l2 = rms / GREY_LEVELS * np.sqrt(a[0].size)
    return Ends(
        {"rms": rms, "mae": mae, "l2": l2, "similarity": similarity},
        float(chance),
        float(near_chance),
        float(np.median(np.concatenate(shifted))) if shifted else float("nan"),
    )


def _pixel_rms(a: Array, b: Array) -> Floats:
    return GREY_LEVELS * root_mean_square(a, b)
