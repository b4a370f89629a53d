"""Vectors of samples that stay where they are: the features that other tools write."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import DatasetError
from reprostore.importing.request import ImportRequest
from reprostore.importing.rows import require_finite, seeds_of_rows
from reprostore.importing.samples import Samples
from reprostore.importing.stored_arrays import StoredArray


def open_vectors(request: ImportRequest, array: StoredArray) -> Samples:
    """Check an array of vectors; it is read once.

    Parameters
    ----------
    request : ImportRequest
        Seeds and encoder.
    array : StoredArray
        (sample, embedding), floating point.

    Returns
    -------
    Samples
        Vectors as float32.

    Raises
    ------
    SpecError
        Seeds are missing, or not as many as rows.
    DatasetError
        These are no vectors, or a value is not finite in float32.
    """
    what = array.what
    if len(array.shape) != 2 or array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise DatasetError(
            f"{what[0].upper()}{what[1:]} holds an array of shape {array.shape} and type "
            f"{array.dtype}.",
            "Vectors of samples are (sample, embedding), in floating point.",
            "Save the array squeezed to (sample, embedding)."
            if len(array.shape) > 2 and sum(length > 1 for length in array.shape[1:]) < 2
            else "Leave the encoder out, if these are images.",
        )
    seeds = seeds_of_rows(request, array)
    content = array.content()
    content.update(f" {seeds}".encode())
    for start, block in array.blocks():
        content.update(np.ascontiguousarray(block, dtype=array.dtype.newbyteorder("<")).data)
        require_finite(_as_float32(block), start, what)

    def read(rows: NDArray[np.int64]) -> NDArray[Any]:
        return _as_float32(array.read(rows))

    notes = ("The values were rounded from float64 to float32.",)
    return Samples(
        what,
        seeds,
        array.shape[1:],
        "float32",
        content.hexdigest(),
        read,
        1,
        notes if array.dtype.itemsize == 8 else (),
    )


def _as_float32(values: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what does not fit is refused as infinite
        return values.astype(np.float32)
