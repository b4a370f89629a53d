"""Evidence of a run's memorization and fidelity, read from a store block by block."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.embed import embed_dataset, embed_run
from reprostore.images import to_uint8
from reprostore.store.checked import CheckedArray
from reprostore_analyses.context import Context
from reprostore_analyses.metrics.evidence import Evidence, Space
from reprostore_analyses.subjects import Subject


@dataclass(frozen=True)
class Rows:
    """Some rows of something larger, read by slices of their own order.

    Attributes
    ----------
    numbers : ndarray of int64, (row,)
        Which rows, in any order.
    width : int
        Values in a row.
    read : callable
        Reads rows by their rising numbers, which lie close together.
    """

    numbers: NDArray[np.int64]
    width: int
    read: Callable[[NDArray[np.int64]], NDArray[Any]]

    @property
    def shape(self) -> tuple[int, int]:
        """(row, value)."""
        return len(self.numbers), self.width

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        """Read rows, (row, value) float32."""
        numbers = self.numbers[rows]
        result = np.empty((len(numbers), self.width), dtype=np.float32)
        ascending = np.argsort(numbers, kind="stable")
        for part in self._parts(ascending, numbers):
            result[part] = self.read(numbers[part])
        return result

    def _parts(
        self, ascending: NDArray[np.int64], numbers: NDArray[np.int64]
    ) -> list[NDArray[np.int64]]:
        """Cut rows where so many lie between two of them that reading these would cost more."""
        gaps = np.diff(numbers[ascending])
        return np.split(ascending, np.flatnonzero(gaps > _GAP) + 1) if len(ascending) else []


_GAP = 1024
"""Rows that are read for nothing rather than in two steps."""


def store_evidence(context: Context, subject: Subject, encoder: str, k: int, seed: int) -> Evidence:
    """Return what the metrics of one run are computed from.

    Parameters
    ----------
    context : Context
        The store, and what the study says.
    subject : Subject
        A run of images, its training items and held-out items.
    encoder : str
        In whose space.
    k : int
        Neighbors that are searched.
    seed : int
        Of the random numbers of each metric.

    Returns
    -------
    Evidence
        Read from the store when asked for; vectors that are missing are made first.
    """
    handle = context.encoder(encoder)
    dataset, run = subject.dataset, subject.run
    slots = subject.written.slots
    sampled = embed_run(context.store, handle, run, progress=context.progress)
    items = embed_dataset(context.store, handle, dataset, context.progress)
    size = int(np.prod(run.spec.sample_shape))
    states = CheckedArray(run, "sample")

    # Metrics that are not of a cosine depend on the scale: pixels are in [0, 1] for all of them.
    scale = np.float32(1 / 255 if handle.identity.get("kind") == "pixel" else 1)

    def item_vectors(numbers: NDArray[np.int64]) -> NDArray[Any]:
        read: NDArray[Any] = items[_span(numbers)]
        rows: NDArray[Any] = read[numbers - numbers[0]] * scale
        return rows

    def sample_vectors(numbers: NDArray[np.int64]) -> NDArray[Any]:
        return sampled.read(numbers) * scale

    def item_pixels(numbers: NDArray[np.int64]) -> NDArray[Any]:
        return _pixels(dataset.read(_span(numbers))[numbers - numbers[0]])

    def sample_pixels(numbers: NDArray[np.int64]) -> NDArray[Any]:
        return _pixels(states[int(numbers[0]) : int(numbers[-1]) + 1, -1][numbers - numbers[0]])

    seen = dataset.index(subject.index)
    unseen = None if subject.held_out is None else dataset.index(subject.held_out)

    def space(
        width: int,
        sample: Callable[[NDArray[np.int64]], NDArray[Any]],
        item: Callable[[NDArray[np.int64]], NDArray[Any]],
    ) -> Space:
        held_out = None if unseen is None else Rows(unseen, width, item)
        generated, train = Rows(slots, width, sample), Rows(seen, width, item)
        return Space(generated, train, held_out, k=k, engine=context.engine)

    return Evidence(
        encoder=space(items.shape[1], sample_vectors, item_vectors),
        pixels=space(size, sample_pixels, item_pixels),
        cosine=handle.metric == "cosine",
        item_shape=run.spec.sample_shape,
        rng=lambda: np.random.default_rng(seed),
    )


def _span(numbers: NDArray[np.int64]) -> slice:
    return slice(int(numbers[0]), int(numbers[-1]) + 1)


def _pixels(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return images as vectors in [0, 1], rounded to 8 bits first as in a PNG file."""
    flat = to_uint8(values).reshape(len(values), -1)
    return np.divide(flat, np.float32(255), dtype=np.float32)
