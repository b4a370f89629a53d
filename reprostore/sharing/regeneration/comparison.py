"""How far samples that were generated anew are from those that are stored, seed by seed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.embed import EncoderHandle, RunVectors
from reprostore.embed.handle import checked_vectors
from reprostore.encoders import Encoder
from reprostore.errors import ModelError
from reprostore.images import to_uint8
from reprostore.search.kernel import pair_distances, squared_norms
from reprostore.seeds import seeds_text
from reprostore.store import Run, SampleStore
from reprostore.store.checked import CheckedArray
from reprostore.store.digest import SeedDigests

States = NDArray[Any]


class Comparison:
    """Compares the states of chosen seeds, batch by batch, and keeps a few numbers of each seed.

    Parameters
    ----------
    store : SampleStore
        The store.
    run : Run
        The run. Where its samples were withheld, digests and vectors are compared alone.
    slots : ndarray of int64, shape (sample,)
        Where the chosen samples are in the run.
    digests : ndarray of uint64, shape (sample,)
        Of the stored samples.
    encoders : sequence of (EncoderHandle, Encoder)
        In whose spaces the last states are compared.

    Attributes
    ----------
    identical : ndarray of bool, shape (sample,)
        Whether the digest of all recorded states came out again.
    state_difference, denoised_difference : ndarray of float64, shape (sample, step)
        Largest absolute difference between the values of a state, in the units of the samples;
        8-bit samples count as values in [-1, 1]. NaN where nothing is stored.
    median_difference : ndarray of float64, shape (sample,)
        Median over the values of the last state.
    grey_difference, median_grey_difference : ndarray of float64, shape (sample,)
        Of the last state as an 8-bit image, 0 to 255; NaN where samples are no images.
    similarity, distance : ndarray of float64, shape (encoder, sample)
        Cosine, or squared L2 distance, of the vectors of the two last states; NaN in the one that
        is not the encoder's metric.
    stored_vectors : list of bool
        By encoder, whether the vectors of the stored samples are those in the store; else they
        were made now.
    """

    def __init__(
        self,
        store: SampleStore,
        run: Run,
        slots: NDArray[np.int64],
        digests: NDArray[np.uint64],
        encoders: Sequence[tuple[EncoderHandle, Encoder]],
    ) -> None:
        self._run, self._slots, self._digests, self._encoders = run, slots, digests, encoders
        names = ["denoised"] if run.spec.sampler_spec.denoised else []
        self._stored = (
            {} if run.withheld else {name: CheckedArray(run, name) for name in ["sample", *names]}
        )
        known = [RunVectors(store, handle, run) for handle, _ in encoders]
        self._vectors = [
            each if not np.isin(slots, each.missing(len(run.spec.steps) - 1)).any() else None
            for each in known
        ]
        self.stored_vectors = [each is not None for each in self._vectors]
        count, steps = len(slots), len(run.spec.steps)
        self.identical = np.zeros(count, dtype=np.bool_)
        self.state_difference, self.denoised_difference = np.full((2, count, steps), np.nan)
        self.median_difference, self.grey_difference, self.median_grey_difference = np.full(
            (3, count), np.nan
        )
        self.similarity, self.distance = np.full((2, len(encoders), count), np.nan)

    def add(self, rows: slice, states: Iterable[tuple[States, States | None]]) -> None:
        """Compare one batch.

        Parameters
        ----------
        rows : slice
            Which of the chosen samples.
        states : iterable
            For each recorded step, sample and denoised, (len, *sample_shape) in the stored dtype.

        Raises
        ------
        ModelError
            A sample that was generated anew is not finite.
        CorruptionError
            A stored sample is damaged.
        """
        slots = self._slots[rows]
        digests = SeedDigests(len(slots))
        last = len(self._run.spec.steps) - 1
        for row, (sample, denoised) in enumerate(states):
            self._require_finite(slots, row, sample)
            digests.add(sample) if denoised is None else digests.add(sample, denoised)
            anew = {"sample": sample, "denoised": denoised}
            for name, array in self._stored.items():
                stored, again = _states_at(array, slots, row), anew[name]
                assert again is not None  # the sampler records what the run does
                target = self.state_difference if name == "sample" else self.denoised_difference
                target[rows, row] = [
                    absolute_difference(*pair).max() for pair in zip(again, stored, strict=True)
                ]
                if name == "sample" and row == last:
                    self._compare_last(rows, again, stored)
            if row == last:
                self._compare_vectors(rows, sample)
        self.identical[rows] = digests.values() == self._digests[rows]

    def _require_finite(self, slots: NDArray[np.int64], row: int, sample: States) -> None:
        fine = np.isfinite(sample).reshape(len(sample), -1).all(axis=1)
        if not fine.all():
            spec = self._run.spec
            raise ModelError(
                f"The model {spec.model}, computed again, gave samples that are not finite for "
                f"the seeds {seeds_text(self._run.seeds[slots[~fine]])} after step "
                f"{spec.steps[row]}.",
                f"The samples of the run {spec.path} are finite numbers.",
                "Compute in a dtype of a larger range, such as float32 or bfloat16.",
            )

    def _compare_last(self, rows: slice, again: States, stored: States) -> None:
        self.median_difference[rows] = [
            np.median(absolute_difference(*pair)) for pair in zip(again, stored, strict=True)
        ]
        if self._run.spec.kind != "image":
            return
        for place, pair in enumerate(zip(again, stored, strict=True), rows.start):
            a, b = (to_uint8(image).astype(np.int16) for image in pair)
            grey = np.abs(a - b)
            self.grey_difference[place] = grey.max()
            self.median_grey_difference[place] = np.median(grey)

    def _compare_vectors(self, rows: slice, sample: States) -> None:
        slots = self._slots[rows]
        for place, (handle, encoder) in enumerate(self._encoders):
            known = self._vectors[place]
            if known is not None:
                stored = known.read(slots)
            elif "sample" in self._stored:
                last = len(self._run.spec.steps) - 1
                stored = self._encode(encoder, _states_at(self._stored["sample"], slots, last))
            else:  # withheld, and without vectors in this encoder's space
                continue
            again = self._encode(encoder, sample)
            each = np.arange(len(slots))
            found = pair_distances(
                again, squared_norms(again), each, stored, each, encoder.metric
            )  # fmt: skip
            if handle.metric == "cosine":
                self.similarity[place, rows] = -found
            else:
                self.distance[place, rows] = found

    def _encode(self, encoder: Encoder, states: States) -> NDArray[np.float32]:
        """Encode states as those of the store are: images as the PNG they would be."""
        is_image = self._run.spec.kind == "image"
        items = to_uint8(states) if is_image else states.astype(np.float32)
        return checked_vectors(
            encoder.encode(items), "of the comparison", f"samples of the run {self._run.path}"
        )

    def variables(self) -> Mapping[str, tuple[tuple[str, ...], NDArray[Any]]]:
        """Return the numbers of every seed as variables of a Dataset; rows are seeds."""
        found: dict[str, tuple[tuple[str, ...], NDArray[Any]]] = {
            "identical": (("seed",), self.identical),
            "state_difference": (("seed", "step"), self.state_difference),
            "median_difference": (("seed",), self.median_difference),
            "grey_difference": (("seed",), self.grey_difference),
            "median_grey_difference": (("seed",), self.median_grey_difference),
            "similarity": (("encoder", "seed"), self.similarity),
            "distance": (("encoder", "seed"), self.distance),
        }
        if self._run.spec.sampler_spec.denoised:
            found["denoised_difference"] = (("seed", "step"), self.denoised_difference)
        return found


def absolute_difference(a: States, b: States) -> NDArray[np.float64]:
    """Return |a − b| in float64; 0 where both are NaN, infinity where one of them is.

    8-bit values are taken as what they stand for in [-1, 1].
    """
    left, right = (
        each.astype(np.float64) / (127.5 if each.dtype == np.uint8 else 1.0) for each in (a, b)
    )
    difference: NDArray[np.float64] = np.abs(left - right)
    difference[np.isnan(left) & np.isnan(right)] = 0
    difference[np.isnan(difference)] = np.inf
    return difference


def _states_at(array: CheckedArray, slots: NDArray[np.int64], row: int) -> States:
    """Read single states, in ascending order of slots; each chunk that holds some is read once."""
    blocks = slots // array.chunks[0]
    parts = []
    for block in np.unique(blocks).tolist():
        own = slots[blocks == block]
        parts.append(array[int(own[0]) : int(own[-1]) + 1, row][own - own[0]])
    return np.concatenate(parts)
