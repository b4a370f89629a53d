"""A dataset in a store: its items, or what is known of items that were withheld."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reprostore.canonical import fingerprint
from reprostore.errors import CorruptionError, DatasetError, MissingDataError
from reprostore.seeds import check_ranges, format_ranges, parse_ranges, shorten
from reprostore.specs import DatasetSpec, Subset
from reprostore.store import SampleStore
from reprostore.store.arrays import open_array, read_whole
from reprostore.store.dataset_attributes import unsealed
from reprostore.store.files import store_files
from reprostore.store.forms import check_rows
from reprostore.store.labelled import read_attributes
from reprostore.store.present import require_files

if TYPE_CHECKING:
    import zarr


class StoredDataset:
    """A dataset in a store, indexed by `train_index`.

    Parameters
    ----------
    store : SampleStore
        The store.
    name : str
        Name of the dataset.

    Raises
    ------
    MissingDataError
        The store has no such dataset.
    CorruptionError
        Its attributes are damaged, or those of another dataset.
    """

    def __init__(self, store: SampleStore, name: str) -> None:
        attributes = read_attributes(store.path, f"datasets/{name}")
        if attributes is None or "dataset" not in attributes:
            known = store_files(store.path).folders("datasets")
            raise MissingDataError(
                f"The store {store.path} has no dataset {name!r}.",
                f"Its datasets are {', '.join(known) or 'none yet'}.",
                "Define it in the study under [datasets]; `repro analyze` then reads it in.",
            )
        self.store = store
        self.name = name
        self.group = f"datasets/{name}"
        try:
            recorded: dict[str, Any] = unsealed(name, attributes)["dataset"]
            self.fingerprint = str(recorded.pop("fingerprint"))
            self.provenance: dict[str, Any] = dict(recorded.pop("provenance"))
            self.source_digest: str | None = recorded.pop("source_digest")
            self.spec = DatasetSpec.model_validate(recorded)
        except (ValueError, LookupError, TypeError) as error:
            raise CorruptionError(
                f"The attributes of the dataset {name!r} cannot be read ({shorten(str(error))}).",
                "A dataset's group carries its name, DatasetSpec, fingerprint and provenance, and "
                "a checksum over these.",
                f"Restore {store.path / self.group / 'zarr.json'} from a copy, or move the folder "
                "back if it was moved.",
            ) from error
        self.withheld: bool = attributes.get("withheld") is True
        if self.withheld:
            self._shape, self.dtype = _recorded_form(self, attributes)
        else:
            items = self.items
            self._shape, self.dtype = items.shape, np.dtype(items.dtype)

    @cached_property
    def items(self) -> "zarr.Array[Any]":
        """The items, (train_index, channel, y, x).

        Raises
        ------
        MissingDataError
            They were withheld: the store holds at most vectors of them.
        """
        self.require_items()
        return open_array(self.store.zarr_store, f"{self.group}/item", _check_items)

    def require_items(self) -> None:
        """Raise MissingDataError where the items were withheld."""
        if self.withheld:
            raise MissingDataError(
                f"The items of the dataset {self.name!r} are not in the store {self.store.path}.",
                "Who made the store withheld them; it holds at most what was made of them.",
                "Merge it with a store that has the dataset (`repro merge`), or ask for its items.",
            )

    def __len__(self) -> int:
        """Return the number of items."""
        return self._shape[0]

    @property
    def item_shape(self) -> tuple[int, ...]:
        """Shape of one item, (channel, y, x)."""
        return self._shape[1:]

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """Labels, (train_index,), where the source has them."""
        if not store_files(self.store.path).exists(f"{self.group}/label"):
            return None
        array = open_array(self.store.zarr_store, f"{self.group}/label", _check_labels)
        if array.shape != (len(self),):
            raise CorruptionError(
                f"The dataset {self.name!r} has {array.shape[0]} labels of {len(self)} items.",
                "Every item has a label.",
                self._action,
            )
        require_files(self.store.path, array, self._action)
        return read_whole(array)

    @property
    def _action(self) -> str:
        return f"Delete {self.store.path / self.group}; it is read in again from its source."

    def index(self, ranges: str) -> NDArray[np.int64]:
        """Return the `train_index` numbers of ranges such as "0-63,99", or of "all".

        Raises
        ------
        DatasetError
            A number is not below the number of items.
        """
        if ranges == "all":
            return np.arange(len(self), dtype=np.int64)
        last = max(part.stop for part in check_ranges(ranges, "index")) - 1
        if last >= len(self):
            raise DatasetError(
                f"The index {shorten(ranges)!r} of the dataset {self.name!r} names item {last}.",
                f"The dataset has {len(self)} items, 0 to {len(self) - 1}.",
                "Correct the index in the study.",
            )
        return np.asarray(parse_ranges(ranges, "index"), dtype=np.int64)

    def named(self, ranges: str) -> dict[str, str]:
        """Return which items these are, as JSON; see `index` for the ranges and errors."""
        index = format_ranges(self.index(ranges).tolist())
        return {"dataset": self.name, "index": index, "fingerprint": self.fingerprint}

    def read(self, rows: NDArray[np.int64] | slice) -> NDArray[Any]:
        """Read items, uint8 in 0 to 255 or float32 in [-1, 1].

        Parameters
        ----------
        rows : ndarray of int64 or slice
            Their `train_index` numbers, in any order.

        Returns
        -------
        ndarray, shape (item, channel, y, x)
            In the order of `rows`.

        Raises
        ------
        DatasetError
            There is no such item.
        CorruptionError
            A chunk is damaged or absent.
        """
        first, last = _extent(rows, len(self))
        if first < 0 or last > len(self):
            raise DatasetError(
                f"Items {first} to {last - 1} of the dataset {self.name!r} were asked for.",
                f"The dataset has {len(self)} items, 0 to {len(self) - 1}.",
                "Ask for items that it has.",
            )
        require_files(self.store.path, self.items, self._action, slice(first, last))
        try:
            if isinstance(rows, slice):
                return np.asarray(self.items[rows])
            return np.asarray(self.items.oindex[rows])
        except Exception as error:
            raise CorruptionError(
                f"The dataset {self.name!r} in the store is damaged ({error}).",
                "Every chunk agrees with its checksum.",
                self._action,
            ) from error


def _check_items(array: "zarr.Array[Any]") -> None:
    check_rows(array, "uint8", "float32")
    length = array.attrs.get("length", array.shape[0])  # earlier datasets do not say it
    if length != array.shape[0]:
        raise ValueError(f"it has {array.shape[0]} items, and was written with {length}")


def _check_labels(array: "zarr.Array[Any]") -> None:
    check_rows(array, "int64")


def _recorded_form(
    dataset: StoredDataset, attributes: dict[str, Any]
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and dtype of items that were withheld."""
    form = attributes.get("items")
    form = form if isinstance(form, dict) else {}
    shape, dtype = form.get("shape"), form.get("dtype")
    if (
        isinstance(shape, list)
        and len(shape) > 1
        and all(isinstance(length, int) and length >= 0 for length in shape)
        and dtype in ("uint8", "float32")
    ):
        return tuple(shape), np.dtype(dtype)
    raise CorruptionError(
        f"The attributes of the dataset {dataset.name!r} do not say what its items were.",
        "A dataset whose items are withheld has shape and dtype among its attributes.",
        f"Restore {dataset.store.path / dataset.group / 'zarr.json'} from a copy.",
    )


def _extent(rows: NDArray[np.int64] | slice, length: int) -> tuple[int, int]:
    if isinstance(rows, slice):
        start, stop, _ = rows.indices(length)
        return start, max(start, stop)
    return (int(rows.min()), int(rows.max()) + 1) if rows.size else (0, 0)


def subset_text(subset: Subset) -> str:
    """Return the name of a subset in paths: ``digits@0-63``, with + for commas."""
    if subset.index == "all":
        return subset.dataset
    text = subset.index.replace(" ", "").replace(",", "+")
    return f"{subset.dataset}@{text if len(text) <= 60 else fingerprint(text)}"
