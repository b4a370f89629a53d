"""Where real items come from: one form for arrays, folders of images and packaged datasets."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.datasets.arrays import is_array_path, open_array, split_key
from reprostore.datasets.folder import open_folder
from reprostore.datasets.items import Items
from reprostore.datasets.labels import read_labels
from reprostore.datasets.packaged import open_sklearn, open_torchvision
from reprostore.datasets.values import channel_axis, check_range
from reprostore.errors import DatasetError, NotFoundError, SpecError
from reprostore.specs import DatasetSpec

KINDS = (
    'Sources are "sklearn:digits", "torchvision:NAME:ROOT", a folder of images, a .npy file, '
    '"file.npz:key", or a Zarr array ("store.zarr" or "store.zarr:path").'
)

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9]+):(.*)")


@dataclass(frozen=True)
class Source:
    """Real items in the order, layout and range in which they are stored.

    Attributes
    ----------
    length : int
        Number of items.
    item_dims : tuple of str
        ("channel", "y", "x").
    item_shape : tuple of int
        Lengths of these.
    dtype : numpy.dtype
        uint8, with values 0 to 255, or float32, with values in [-1, 1].
    labels : ndarray of int64, shape (length,), optional
        In the same order as the items.
    provenance : dict
        Kind, files, versions, in JSON types.
    """

    length: int
    item_dims: tuple[str, ...]
    item_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    labels: NDArray[np.int64] | None
    provenance: dict[str, Any]
    _items: Items
    _order: NDArray[np.int64] | None
    _channel_axis: int | None
    _range: tuple[float, float] | None

    def blocks(self, rows: int) -> Iterator[NDArray[Any]]:
        """Read all items in their order, `rows` at a time (the last block may be shorter).

        Memory: one block, beside 256 MiB when a Zarr array is shuffled.

        Parameters
        ----------
        rows : int
            Items per block, at least 1.

        Yields
        ------
        ndarray of uint8 or float32, shape (rows, channel, y, x)
            0 to 255, or in [-1, 1].

        Raises
        ------
        DatasetError
            An image file or a chunk is damaged.
        """
        gathered = rows
        if self._order is not None:
            gathered = rows * max(1, self._items.gather_bytes // (rows * self._items.item_bytes))
        for start in range(0, self.length, gathered):
            raw = self._gather(start, min(start + gathered, self.length))
            for first in range(0, len(raw), rows):
                yield self._convert(raw[first : first + rows])

    def _gather(self, start: int, stop: int) -> NDArray[Any]:
        if self._order is None:
            return self._items.read(slice(start, stop))
        wanted = self._order[start:stop]
        ascending = np.argsort(wanted)
        read = self._items.read(wanted[ascending])
        raw = np.empty_like(read)
        raw[ascending] = read
        return raw

    def _convert(self, raw: NDArray[Any]) -> NDArray[Any]:
        if self._channel_axis is None:
            raw = raw[:, None]
        elif self._channel_axis != 1:
            raw = np.moveaxis(raw, self._channel_axis, 1)
        if self.dtype == np.uint8 or self._range is None:
            return np.ascontiguousarray(raw, dtype=self.dtype)
        black, white = self._range
        scaled = (raw.astype(np.float64) - black) / (white - black) * 2 - 1
        return np.ascontiguousarray(scaled, dtype=np.float32)


def open_source(name: str, spec: DatasetSpec, base: Path) -> Source:
    """Open a source and check it: one pass over the values, except of 8-bit images.

    Parameters
    ----------
    name : str
        The dataset's name, for messages.
    spec : DatasetSpec
        Source, labels, shuffle and value range.
    base : Path
        Folder to which paths in `spec` are relative.

    Returns
    -------
    Source
        The items in the order of `spec.shuffle`.

    Raises
    ------
    SpecError
        The source is of no known kind, or holds several arrays and none is named.
    NotFoundError
        A file, a folder, or an array in it does not exist.
    DatasetError
        The items are empty, damaged, not finite, out of range, of an unclear layout, or do not
        match the labels.
    DependencyError
        A package that reads this kind of source is not installed.
    """
    what = f"the dataset {name!r} ({spec.source})"
    items = _open_items(spec.source, base, what)
    if items.shape[:1] == (0,):
        raise DatasetError(
            f"{what[0].upper()}{what[1:]} is empty.",
            "A dataset has at least one item.",
            "Check the source.",
        )
    axis = channel_axis(items)
    value_range = check_range(items, spec.value_range)
    height_width = [n for i, n in enumerate(items.shape) if i not in {0, axis}]
    eight_bit = items.dtype == np.uint8 and value_range is None
    labels = items.labels if spec.labels is None else read_labels(name, spec.labels, base)
    if labels is not None and len(labels) != items.shape[0]:
        raise DatasetError(
            f"{what[0].upper()}{what[1:]} has {items.shape[0]} items and {len(labels)} labels.",
            "There is one label for each item.",
            f"Check the labels {spec.labels!r}.",
        )
    order = None if spec.shuffle is None else permutation(items.shape[0], spec.shuffle)
    return Source(
        length=items.shape[0],
        item_dims=("channel", "y", "x"),
        item_shape=(1 if axis is None else items.shape[axis], *height_width),
        dtype=np.dtype(np.uint8 if eight_bit else np.float32),
        labels=labels if labels is None or order is None else labels[order],
        provenance=items.provenance,
        _items=items,
        _order=order,
        _channel_axis=axis,
        _range=value_range,
    )


def permutation(length: int, seed: int | None) -> NDArray[np.int64]:
    """Return the order of the items under a shuffle seed; the same in every NumPy version.

    NumPy promises that the raw output of a bit generator stays, and does not promise it of
    ``Generator.permutation``.

    Parameters
    ----------
    length : int
        Number of items.
    seed : int, optional
        Seed of PCG64; None leaves the source's order.

    Returns
    -------
    ndarray of int64, shape (length,)
        Item i of the dataset is item ``permutation[i]`` of the source.
    """
    if seed is None:
        return np.arange(length, dtype=np.int64)
    keys = np.random.PCG64(seed).random_raw(length)
    return np.argsort(keys, kind="stable").astype(np.int64, copy=False)


def _open_items(source: str, base: Path, what: str) -> Items:
    scheme = _SCHEME.fullmatch(source)
    if scheme and scheme[1] == "sklearn":
        return open_sklearn(scheme[2], what)
    if scheme and scheme[1] == "torchvision":
        return open_torchvision(scheme[2], base, what)
    file, key = split_key(source)
    path = base / Path(file).expanduser()
    if scheme and not path.exists():
        raise SpecError(
            f"{what[0].upper()}{what[1:]} is of the unknown kind {scheme[1]!r}.",
            KINDS,
            "Save the items as one of these, and name it.",
        )
    if not path.exists():
        raise NotFoundError(
            f"{what[0].upper()}{what[1:]} does not exist: there is no {path}.",
            KINDS,
            f"Check the path; relative paths start at {base}.",
        )
    if is_array_path(path):
        return open_array(path, key, what)
    if path.is_dir() and key is None:
        return open_folder(path, what)
    raise SpecError(
        f"{what[0].upper()}{what[1:]} is of no known kind.",
        KINDS,
        "Save the items as one of these, and name it.",
    )
