"""Labels that lie beside the items of a dataset."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reprostore.datasets.arrays import is_array_path, open_array, split_key
from reprostore.errors import DatasetError, NotFoundError, SpecError

KINDS = 'Labels are a .npy file, "file.npz:key", or a Zarr array.'


def read_labels(name: str, source: str, base: Path) -> NDArray[np.int64]:
    """Read the labels of a dataset from an array on disk.

    Parameters
    ----------
    name : str
        The dataset's name, for messages.
    source : str
        A .npy file, "file.npz:key", or a Zarr array.
    base : Path
        Folder to which paths are relative.

    Returns
    -------
    ndarray of int64, one-dimensional
        In the order of the source.

    Raises
    ------
    NotFoundError
        The file, or the array in it, does not exist.
    SpecError
        The path is no array.
    DatasetError
        The file is damaged, or holds something else than one whole number for each item.
    """
    what = f"the labels of the dataset {name!r} ({source})"
    file, key = split_key(source)
    path = base / Path(file).expanduser()
    if not path.exists():
        raise NotFoundError(
            f"{what[0].upper()}{what[1:]} do not exist: there is no {path}.",
            KINDS,
            f"Check the path; relative paths start at {base}.",
        )
    if not is_array_path(path):
        raise SpecError(
            f"{what[0].upper()}{what[1:]} are of no known kind.",
            KINDS,
            "Save the labels as one of these, and name it.",
        )
    items = open_array(path, key, what)
    if len(items.shape) != 1 or items.dtype.kind not in "iu":
        raise DatasetError(
            f"{what[0].upper()}{what[1:]} have the shape {items.shape} and the type {items.dtype}.",
            "Labels are one whole number for each item.",
            "Save the labels as a one-dimensional array of integers.",
        )
    return items.read(slice(None)).astype(np.int64)
