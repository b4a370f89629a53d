"""Streaming a corpus in blocks of rows, and refusing vectors that cannot be searched."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from reprostore.errors import DatasetError, SpecError
from reprostore.search.kernel import Index, Reals, Rows
from reprostore.search.rowwise import by_rows

_BLOCK_VALUES = 2**21
"""Values of one block that is read from elsewhere, 8 MiB in float32."""

_MEMORY_BLOCK_VALUES = 2**24
"""Values of one block of an array in memory, whose rows are not copied to be read."""


class Corpus(Protocol):
    """What can be searched: rows of equal length that are read by slices."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows and their length, (N, d)."""

    def __getitem__(self, rows: slice, /) -> Any:  # noqa: ANN401
        """Return some rows as an array, shape (row, d)."""


@dataclass(frozen=True)
class Block:
    """Some rows of the corpus.

    Attributes
    ----------
    numbers : ndarray of int64, shape (row,)
        Their increasing row numbers in the corpus.
    rows : ndarray, shape (row, d)
        The vectors in the dtype they are stored in, finite.
    norms : ndarray of float64, shape (row,)
        Their squared norms.
    """

    numbers: Index
    rows: Rows
    norms: Reals


@dataclass(frozen=True)
class Blocks:
    """A corpus, or some rows of it, as blocks; may be iterated again.

    Attributes
    ----------
    corpus : Corpus
        The vectors, shape (N, d).
    numbers : ndarray of int64, optional
        Increasing row numbers of a subset.
    block_rows : int
        Corpus rows that are read at a time.
    """

    corpus: Corpus
    numbers: Index | None
    block_rows: int

    def __len__(self) -> int:
        """Return how many rows are searched."""
        return self.corpus.shape[0] if self.numbers is None else len(self.numbers)

    def __iter__(self) -> Iterator[Block]:
        """Read block after block, in the order of the corpus."""
        for start in range(0, self.corpus.shape[0], self.block_rows):
            stop = min(start + self.block_rows, self.corpus.shape[0])
            if self.numbers is None:
                yield self._block(np.arange(start, stop))
            else:
                first, last = np.searchsorted(self.numbers, (start, stop))
                if first < last:
                    yield self._block(self.numbers[first:last])

    def _block(self, numbers: Index) -> Block:
        start, stop = int(numbers[0]), int(numbers[-1]) + 1
        rows = np.asarray(self.corpus[start:stop])
        if rows.shape != (stop - start, self.corpus.shape[1]):
            raise DatasetError(
                f"Rows {start} to {stop - 1} of the corpus have shape {rows.shape}.",
                f"The corpus says that its shape is {tuple(self.corpus.shape)}.",
                "Search an array whose slices have the shape that it declares.",
            )
        if len(numbers) < len(rows):
            rows = rows[numbers - start]
        return Block(numbers, rows, checked_norms(rows, "corpus", numbers))


def checked_norms(rows: Rows, what: str, numbers: Index) -> Reals:
    """Return the squared norms of rows, having made sure that every value is a finite number.

    Parameters
    ----------
    rows : ndarray, shape (row, d)
        Vectors.
    what : str
        What they are, for the message.
    numbers : ndarray of int64, shape (row,)
        Their row numbers, for the message.

    Returns
    -------
    ndarray of float64, shape (row,)
        Squared norms.

    Raises
    ------
    DatasetError
        The values are no real numbers, or a row holds NaN, infinity or what float32 cannot hold.
    """
    if rows.dtype.kind not in "fiu":
        raise DatasetError(
            f"The {what} has dtype {rows.dtype}.",
            "Vectors are real numbers, such as float32.",
            "Convert them before the search.",
        )
    norms = np.empty(len(rows))

    def fill(part: slice) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            np.einsum(
                "ij,ij->i",
                rows[part],
                rows[part],
                dtype=np.float64,
                casting="same_kind",
                out=norms[part],
            )

    by_rows(fill, *rows.shape)
    wrong = ~(norms <= float(np.finfo(np.float32).max) ** 2)
    if wrong.any():
        raise DatasetError(
            f"Row {numbers[np.argmax(wrong)]} of the {what} holds NaN, infinity or a value that "
            "is too large for float32.",
            "Every value of a vector is a finite number.",
            "Find out where the vectors were made, mend or remove this one, and search again.",
        )
    return norms


def make_blocks(corpus: Corpus, index: Any, block_rows: int | None) -> Blocks:  # noqa: ANN401
    """Check a corpus and a subset of it, and cut them into blocks.

    Parameters
    ----------
    corpus : Corpus
        The vectors, shape (N, d).
    index : array_like of int, optional
        Row numbers of a subset, in any order.
    block_rows : int, optional
        Corpus rows that are read at a time; 8 MiB of float32 when not given
        (64 MiB of an array in memory).

    Returns
    -------
    Blocks
        What to search.

    Raises
    ------
    DatasetError
        The corpus or the subset is empty or has the wrong number of dimensions.
    SpecError
        `block_rows` is not positive, or a row number is out of range or repeated.
    """
    if len(corpus.shape) != 2 or 0 in corpus.shape:
        raise DatasetError(
            f"The corpus has shape {tuple(corpus.shape)}.",
            "A corpus is a non-empty array of vectors, shape (N, d).",
            "Search a dataset that holds items, one flat vector each.",
        )
    if block_rows is not None and block_rows < 1:
        raise SpecError(
            f"block_rows is {block_rows}.",
            "At least one row is read at a time.",
            "Leave block_rows out, or give a positive number.",
        )
    values = _MEMORY_BLOCK_VALUES if isinstance(corpus, np.ndarray) else _BLOCK_VALUES
    length = block_rows or max(1, values // corpus.shape[1])
    chunk = getattr(corpus, "chunks", (1,))[0]
    if block_rows is None and chunk < length:
        length -= length % chunk  # no chunk is read and decoded twice
    return Blocks(corpus, _checked_index(index, corpus.shape[0]), length)


def _checked_index(index: Any, length: int) -> Index | None:  # noqa: ANN401
    if index is None:
        return None
    numbers = np.asarray(index)
    if numbers.ndim != 1 or numbers.size == 0 or numbers.dtype.kind not in "iu":
        raise DatasetError(
            f"The index of the corpus has shape {numbers.shape} and dtype {numbers.dtype}.",
            "An index is a non-empty list of row numbers.",
            "Give the row numbers of the items to search among, or leave the index out.",
        )
    numbers = np.sort(numbers)
    if numbers[0] < 0 or numbers[-1] >= length:
        worst = numbers[0] if numbers[0] < 0 else numbers[-1]
        raise SpecError(
            f"{worst} in the index is no row of the corpus.",
            f"The corpus has the rows 0 to {length - 1}.",
            "Give row numbers that exist.",
        )
    twice = numbers[1:][numbers[1:] == numbers[:-1]]
    if twice.size:
        raise SpecError(
            f"{twice[0]} stands twice in the index.",
            "Every row is searched once.",
            "Remove the repetition.",
        )
    return numbers.astype(np.int64)
