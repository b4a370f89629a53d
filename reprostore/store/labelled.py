"""Labelled results in the store: xarray Datasets whose text coordinates lie in attributes."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from reprostore.canonical import fingerprint, to_jsonable
from reprostore.errors import CorruptionError, SpecError
from reprostore.store.archive import zarr_store
from reprostore.store.arrays import open_array, read_whole, write_array
from reprostore.store.files import store_files
from reprostore.store.groups import staged_group
from reprostore.store.locks import locked
from reprostore.store.present import require_files

if TYPE_CHECKING:
    import xarray as xr


def write_labelled(store_path: Path, target: str, dataset: "xr.Dataset") -> None:
    """Write a small Dataset as a group, replacing what stands there in one move.

    Text is not in the Zarr version 3 specification: a text coordinate is written as the integers
    0, 1, … with its labels in ``attrs.labels``, which `read_labelled` restores.

    Parameters
    ----------
    store_path : Path
        Folder of the store.
    target : str
        Path of the group in the store.
    dataset : xarray.Dataset
        In memory; its attributes are written as JSON, NaN and infinity as text.

    Raises
    ------
    SpecError
        A variable is neither numeric nor a text coordinate of one dimension.
    StorageError
        The store cannot be written.
    """
    with locked(store_path, target), staged_group(store_path, target) as staging:
        labels: dict[str, list[str]] = {}
        forms: dict[str, dict[str, Any]] = {}
        for key, variable in dataset.variables.items():
            values, dims = np.asarray(variable.values), tuple(str(dim) for dim in variable.dims)
            name, about = str(key), to_jsonable(variable.attrs)
            if values.dtype.kind in "UO":
                labels[name] = _labels(name, values)
                values = np.arange(len(values), dtype=np.int64)
            if values.dtype.kind == "b":
                values = values.astype(np.uint8)
            write_array(staging.store, name, values, dims, attributes=about)
            forms[name] = _form(values, dims, about)
        staging.attributes.update(dataset.attrs)
        staging.attributes["labels"] = labels
        staging.attributes["coordinates"] = [str(name) for name in dataset.coords]
        staging.attributes["variables"] = sorted(forms)
        staging.attributes["checksum"] = fingerprint([staging.attributes, forms])


def _form(
    array: "np.ndarray[Any, Any] | zarr.Array[Any]", dims: tuple[str, ...], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what says how the bytes of a variable are read, and what they mean."""
    form = {"dtype": str(array.dtype), "shape": list(array.shape), "dims": list(dims)}
    return {**form, "attributes": dict(about)}


def _labels(name: str, values: np.ndarray[Any, Any]) -> list[str]:
    if values.ndim != 1 or not all(isinstance(value, str) for value in values.tolist()):
        raise SpecError(
            f"The variable {name} of a result has dtype {values.dtype} and shape {values.shape}.",
            "Results hold numbers, and text only as coordinates of one dimension.",
            "Encode it as numbers.",
        )
    return [str(value) for value in values.tolist()]


def read_attributes(store_path: Path, target: str) -> dict[str, Any] | None:
    """Return the attributes of a group, or None where there is none."""
    try:
        group = zarr.open_group(zarr_store(store_path), path=target, mode="r", zarr_format=3)
    except FileNotFoundError:
        return None
    except Exception as error:  # damaged metadata raises errors of every kind
        raise CorruptionError(
            f"The attributes of the group {target} cannot be read ({error}).",
            "A group has a zarr.json file.",
            f"Delete the folder {store_path / target}; it is made again.",
        ) from error
    return dict(group.attrs.asdict())


def read_labelled(store_path: Path, target: str, *, sealed: bool = False) -> "xr.Dataset":
    """Read a group that `write_labelled` wrote, with its text coordinates restored.

    Parameters
    ----------
    store_path : Path
        Folder of the store.
    target : str
        Path of the group in the store.
    sealed : bool
        Refuse a group without a checksum of its attributes, which those that were made earlier
        do not have.

    Raises
    ------
    CorruptionError
        It does not exist or is damaged.
    """
    attributes = read_attributes(store_path, target)
    if attributes is None:
        raise CorruptionError(
            f"The group {target} does not exist in {store_path}.",
            "It was to be read.",
            "Run the analysis again.",
        )
    store, files = zarr_store(store_path), store_files(store_path)
    action = f"Delete the folder {store_path / target}; it is made again."
    checksum = attributes.pop("checksum", None)  # groups that were made earlier have none
    recorded = dict(attributes)
    names, labels, coordinates = (
        attributes.pop(key, None) for key in ("variables", "labels", "coordinates")
    )
    if not (
        isinstance(names, list)
        and isinstance(labels, dict)
        and isinstance(coordinates, list)
        and all(
            isinstance(name, str) and files.size(f"{target}/{name}/zarr.json") for name in names
        )
    ):
        raise CorruptionError(
            f"The group {target} has not all of its variables.",
            "Its attributes name them.",
            action,
        )
    arrays = {name: open_array(store, f"{target}/{name}") for name in names}
    forms = {
        name: _form(array, getattr(array.metadata, "dimension_names", None) or (), array.attrs)
        for name, array in arrays.items()
    }
    if checksum is None and sealed:
        raise CorruptionError(
            f"The group {target} has no checksum of its attributes.",
            "What is used again was made with one.",
            action,
        )
    if checksum not in (None, fingerprint([recorded, forms])):
        raise CorruptionError(
            f"The attributes of the group {target}, or those of its variables, were changed.",
            "They agree with the checksum beside them.",
            action,
        )
    import xarray as xr  # it takes long to import, and most commands read no results

    variables: dict[str, tuple[tuple[str, ...], np.ndarray[Any, Any], dict[str, Any]]] = {}
    for name, array in arrays.items():
        require_files(store_path, array, action)
        values = np.asarray(labels[name]) if name in labels else _values(array)
        variables[name] = (tuple(forms[name]["dims"]), values, forms[name]["attributes"])
    try:
        return xr.Dataset(
            {name: value for name, value in variables.items() if name not in coordinates},
            coords={name: value for name, value in variables.items() if name in coordinates},
            attrs=attributes,
        )
    except (ValueError, KeyError, TypeError) as error:  # shapes or dimensions were changed
        raise CorruptionError(
            f"The variables of the group {target} do not fit each other ({error}).",
            "They are those of one Dataset.",
            action,
        ) from error


def _values(array: "zarr.Array[Any]") -> np.ndarray[Any, Any]:
    if array.ndim:
        return read_whole(array)
    try:
        return np.asarray(array[()])
    except Exception as error:  # whatever a decoder raises
        raise CorruptionError(
            f"The array {array.path} of the store is damaged ({error}).",
            "Every chunk agrees with its checksum.",
            "Delete the group that it is in; it is made again.",
        ) from error


def read_cached(store_path: Path, target: str, key: str, value: Any) -> "xr.Dataset | None":  # noqa: ANN401
    """Read a group that can be made again, if it is whole and made from the same.

    Parameters
    ----------
    store_path : Path
        Folder of the store.
    target : str
        Path of the group in the store.
    key, value
        The attribute that says what it was made from, and what that has to be.

    Returns
    -------
    xarray.Dataset or None
        None where it is absent, stale or damaged, or has no checksum.
    """
    try:
        attributes = read_attributes(store_path, target)
        if attributes is None or attributes.get(key) != value:
            return None
        return read_labelled(store_path, target, sealed=True)
    except CorruptionError:  # what is in doubt is made again
        return None
