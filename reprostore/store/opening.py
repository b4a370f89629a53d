"""Making and opening stores."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from reprostore.errors import CorruptionError, SpecError, StorageError
from reprostore.store.about import FORMAT, now, read_root_attributes
from reprostore.store.files import checked_files, run_folders
from reprostore.store.groups import staged_group, storage_errors, sweep_staging
from reprostore.store.locks import locked
from reprostore.store.root import SampleStore
from reprostore.store.run import Run
from reprostore.store.targets import require_target


def create_store(
    path: str | Path,
    *,
    title: str | None = None,
    license: str | None = None,  # the attribute's name in the format
    creators: Sequence[str] = (),
) -> SampleStore:
    """Create a store, or open the one that stands there.

    Parameters
    ----------
    path : path
        Folder of the store, by custom ``NAME.zarr``.
    title, license, creators
        Root attributes for those who receive the store.

    Returns
    -------
    SampleStore
        The store, open for writing.

    Raises
    ------
    FormatError
        Something else stands at this path.
    IdentityError
        It would lie below a file, or a link that leads nowhere.
    SpecError
        It lies in another store, or is named like an archive.
    StorageError
        The folder cannot be written.
    """
    path = Path(path).absolute()
    with storage_errors(path):
        if not _is_free(path):
            return open_store(path, mode="r+")
        require_target(path, "The new store")
        if path.suffix == ".zip":
            raise SpecError(
                f"A new store was to be made at {path}.",
                "A store that is written is a folder; an archive is made of it by `repro pack`.",
                "Name the store otherwise, for example NAME.zarr.",
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path, "root"):
            if _is_free(path):
                attributes = {
                    "format": FORMAT,
                    "title": title,
                    "license": license,
                    "creators": list(creators),
                    "created": now(),
                }
                with staged_group(path, "") as staging:
                    staging.attributes["reprostore"] = attributes
    return open_store(path, mode="r+")


def _is_free(path: Path) -> bool:
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


def open_store(path: str | Path, mode: Literal["r", "r+"] = "r") -> SampleStore:
    """Open a store.

    Parameters
    ----------
    path : path
        Folder of the store, or a zip archive that it was packed into, which is read in place.
    mode : {"r", "r+"}
        Reading only, or also writing.

    Raises
    ------
    NotFoundError
        Nothing stands at this path.
    FormatError
        It is no sample store, or one of a newer format.
    StorageError
        It is to be written, and cannot be.
    """
    path = Path(path).absolute()
    read_root_attributes(path)
    if mode == "r+":
        if path.is_file():
            raise StorageError(
                f"The store {path} is packed into one file.",
                "A packed store is read in place; only a folder can be written.",
                "Unpack it with `repro unpack`, and write into the folder.",
            )
        if not os.access(path, os.W_OK):
            raise StorageError(
                f"The store {path} is read-only.",
                "It is to be written.",
                "Give write permission to the folder, or copy the store to a place where you "
                "may write.",
            )
        with storage_errors(path):
            sweep_staging(path)
    store = SampleStore(path, read_only=mode == "r")
    if mode == "r+":
        for name in run_folders(checked_files(path), "runs"):
            run = Run(path, name, read_only=False)
            if run.is_half_grown():  # or growing right now, and then the lock makes us wait
                with contextlib.suppress(CorruptionError), run.locked():
                    pass  # damage is told to who writes into the run, not to all others
    return store
