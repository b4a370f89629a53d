"""What an .npz file says of the rows of its array: their seeds and classes."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import DatasetError, SpecError
from reprostore.importing.request import NAMES, ImportRequest
from reprostore.importing.samples import distinct_seeds, named_seeds
from reprostore.importing.stored_arrays import StoredArray
from reprostore.seeds import seeds_text

LABELS: Final = "arr_1"
"""Class labels beside `arr_0`, by guided-diffusion's names."""


def seeds_of_rows(request: ImportRequest, array: StoredArray) -> list[int]:
    """Return the seeds of an array's rows: those given, or those beside it in the .npz file.

    Raises
    ------
    SpecError
        There are none, or not as many as rows, or those given are not those in the file.
    """
    beside = array.beside("seeds") if "seeds" in array.names else None
    if request.seeds not in {"", NAMES}:
        seeds = named_seeds(request.seeds, len(array), array.what, "rows")
        if beside is not None and beside.shape == (len(array),) and beside.tolist() != seeds:
            raise SpecError(
                f"The seeds {seeds_text(seeds)} were given for {array.what}, whose array seeds "
                "holds others, or these in another order.",
                "The seeds beside an array are those of its rows.",
                f'Give no seeds for this file, or "{NAMES}", and they are read from it; where they '
                "are wrong, save the file without them.",
            )
        return seeds
    if beside is None:
        raise SpecError(
            f"The seeds of the {len(array)} rows of {array.what} are not given.",
            "Rows of an array are no seeds by themselves, and are never taken for them.",
            f'Give the seeds of the rows in their order, such as "0-{len(array) - 1}".',
        )
    if beside.shape != (len(array),) or beside.dtype.kind not in "iu":
        raise SpecError(
            f"The array seeds in {array.what} has the shape {beside.shape} and the type "
            f"{beside.dtype}.",
            f"It holds one whole number for each of the {len(array)} rows.",
            "Give the seeds, or write the file again.",
        )
    names = [f"Row {row}" if row == 0 else f"row {row}" for row in range(len(array))]
    return distinct_seeds([int(value) for value in beside], names, array.what)


def class_labels(request: ImportRequest, array: StoredArray) -> list[int] | None:
    """Return the class of each row of `arr_0`, where the .npz file says it.

    References
    ----------
    openai/guided-diffusion, ``scripts/image_sample.py``.
    """
    if request.key not in {None, "arr_0"} or LABELS not in array.names:
        return None
    try:
        with StoredArray(request.source, LABELS, LABELS, array.what) as labels:
            if labels.shape != (len(array),) or labels.dtype.kind not in "iu":
                return None
            read: list[int] = labels.read(np.arange(len(labels))).tolist()
    except DatasetError:  # of another kind or order: no labels, which is told
        return None
    return read


def require_finite(block: NDArray[Any], start: int, what: str) -> None:
    """Refuse NaN and infinity, naming the first row that has them.

    Raises
    ------
    DatasetError
        A value is not finite.
    """
    fine = np.isfinite(block).reshape(len(block), -1).all(axis=1)
    if not fine.all():
        raise DatasetError(
            f"Row {start + int(np.flatnonzero(~fine)[0])} of {what} contains NaN or infinite "
            "values.",
            "All values are finite (rows are counted from 0).",
            "Remove the row and its seed, or make it again.",
        )
