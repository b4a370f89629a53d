"""What metrics of memorization and fidelity are computed from: vectors, and who is near whom."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reprostore.search import Corpus, knn
from reprostore_analyses.kernels.ratio_rule import equal_items

Who = Literal["generated", "held_out", "train"]
"""Whose items: a run's samples, real items that its model never saw, or its training items."""

BLOCK_BYTES = 128 * 2**20
"""Queries that are held in memory at a time while neighbors are searched."""


class Nearest(NamedTuple):
    """The nearest training items.

    Attributes
    ----------
    values : ndarray of float64, shape (item, k)
        Cosine similarities, falling, or unsquared L2 distances, rising.
    positions : ndarray of int64, shape (item, k)
        Of the neighbors among the training items.
    """

    values: NDArray[np.float64]
    positions: NDArray[np.int64]


@dataclass
class Space:
    """Samples, training items and held-out items as vectors of one space.

    Attributes
    ----------
    generated, train : Corpus
        Shapes (sample, d) and (item, d); arrays, or what is read by slices.
    held_out : Corpus, optional
        Shape (item, d).
    k : int
        How many neighbors are searched; fewer are found among fewer training items.
    engine : str
        Search engine.
    """

    generated: Corpus
    train: Corpus
    held_out: Corpus | None = None
    k: int = 2
    engine: str = "auto"
    _arrays: dict[Who, NDArray[np.float32]] = field(default_factory=dict, repr=False)
    _nearest: dict[tuple[Who, str], Nearest] = field(default_factory=dict, repr=False)

    def rows(self, who: Who) -> Corpus:
        """Return the vectors as they are at hand.

        Raises
        ------
        LookupError
            There are no held-out items.
        """
        if who == "held_out":
            if self.held_out is None:
                raise LookupError("there are no held-out items")
            return self.held_out
        return self.generated if who == "generated" else self.train

    def array(self, who: Who) -> NDArray[np.float32]:
        """Return the vectors in memory, (item, d)."""
        if who not in self._arrays:
            rows = self.rows(who)
            self._arrays[who] = np.asarray(rows[0 : rows.shape[0]], dtype=np.float32)
        return self._arrays[who]

    def nearest(self, who: Who, metric: Literal["cosine", "l2"]) -> Nearest:
        """Return the `k` nearest training items; a training item is not its own neighbor.

        Parameters
        ----------
        who : str
            Whose neighbors.
        metric : {"cosine", "l2"}
            Cosine similarity, or unsquared Euclidean distance.

        Returns
        -------
        Nearest
            Searched once, exactly; ties go to the lower position.
        """
        if (who, metric) not in self._nearest:
            self._nearest[who, metric] = self._search(who, metric)
        return self._nearest[who, metric]

    def of_real_items(self) -> dict[tuple[Who, str], Nearest]:
        """Return what was found of training and held-out items, which other runs may share."""
        return {key: found for key, found in self._nearest.items() if key[0] != "generated"}

    def take(self, found: dict[tuple[Who, str], Nearest]) -> None:
        """Use what `of_real_items` of a space with the same items and the same `k` returned."""
        self._nearest |= found

    def _search(self, who: Who, metric: Literal["cosine", "l2"]) -> Nearest:
        queries, itself = self.rows(who), who == "train"
        count = min(self.k + itself, self.train.shape[0])
        values = np.empty((queries.shape[0], count))
        positions = np.empty((queries.shape[0], count), dtype=np.int64)
        length = max(1, BLOCK_BYTES // (4 * queries.shape[1]))
        for start in range(0, queries.shape[0], length):
            part = slice(start, min(start + length, queries.shape[0]))
            found = knn(
                queries[part],
                self.train,
                count,
                "cosine" if metric == "cosine" else "squared_l2",
                self.engine,
            )
            values[part] = found.values if metric == "cosine" else np.sqrt(found.values)
            positions[part] = found.index
        return without_itself(values, positions) if itself else Nearest(values, positions)


def without_itself(values: NDArray[np.float64], positions: NDArray[np.int64]) -> Nearest:
    """Drop each row's own number from a table of neighbors of items among themselves.

    An item with more exact duplicates than the table has columns need not be in its own row; there
    the last neighbor, which is as near as any, is dropped instead.

    Parameters
    ----------
    values, positions : ndarray, shape (item, k + 1)
        Of the search of all items among all items.

    Returns
    -------
    Nearest
        Shape (item, k).
    """
    own = positions == np.arange(len(positions))[:, None]
    absent = ~own.any(axis=1)
    own[absent, -1] = True
    shape = (len(positions), positions.shape[1] - 1)
    return Nearest(values[~own].reshape(shape), positions[~own].reshape(shape))


@dataclass
class Evidence:
    """All that the metrics of one run are computed from.

    Attributes
    ----------
    encoder : Space
        Vectors of the encoder.
    pixels : Space
        Flattened images in [0, 1], as 8-bit images divided by 255.
    cosine : bool
        Whether a cosine of the encoder's vectors means anything.
    item_shape : tuple of int
        (channel, y, x).
    rng : callable
        Makes a new generator of random numbers, so that no metric depends on which others are
        computed.
    kept : dict
        What several metrics are computed from, and one of them has found.
    """

    encoder: Space
    pixels: Space
    cosine: bool
    item_shape: tuple[int, ...]
    rng: Callable[[], np.random.Generator]
    kept: dict[Any, Any] = field(default_factory=dict, repr=False)
    _duplicates: NDArray[np.int64] | None = field(default=None, repr=False)

    @property
    def compared(self) -> int:
        """How many samples, and as many held-out items, metrics of whole sets are computed of."""
        held_out = self.encoder.held_out
        generated = self.encoder.generated.shape[0]
        return generated if held_out is None else min(generated, held_out.shape[0])

    def some(self, who: Who) -> NDArray[np.float32]:
        """Return the vectors of `compared` samples or held-out items, or all.

        Metrics of whole sets depend on their sizes; samples and their control are of one size.
        Those with the smallest digests are taken: as good as drawn at random, whatever the order.
        """
        vectors = self.encoder.array(who)
        if who == "train" or len(vectors) <= self.compared:
            return vectors
        key = ("some", who)
        if key not in self.kept:
            digests = [hashlib.blake2b(row.tobytes()).digest() for row in vectors]
            order = sorted(range(len(vectors)), key=digests.__getitem__)
            self.kept[key] = vectors[np.sort(order[: self.compared])]
        drawn: NDArray[np.float32] = self.kept[key]
        return drawn

    def duplicates(self) -> NDArray[np.int64]:
        """Return for each training item the position of the first that is exactly equal to it."""
        if self._duplicates is None:
            self._duplicates = equal_items(self.pixels.train)
        return self._duplicates
