"""Groups that appear whole or not at all: written beside the store, then moved into place."""

import errno
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import LocalStore

from reprostore.canonical import to_jsonable
from reprostore.errors import StorageError
from reprostore.store.locks import lock_folder, try_lock

_REASONS = {
    errno.ENOSPC: "no space is left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file would be larger than the file system or a limit allows",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
}


@contextmanager
def storage_errors(path: Path, what: str = "The store") -> Iterator[None]:
    """Turn the operating system's refusals to write into one clear paragraph."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EXDEV:
            ends = [Path(end) for end in (error.filename, error.filename2) if end is not None]
            part = next((end for end in ends if end.is_relative_to(path)), path)
            raise StorageError(
                f"{what} {path} lies in part on another file system ({part}).",
                "What is written appears whole, in one move, which leads from one place to another "
                "of the same file system.",
                "Nothing that was finished is lost: put the folder itself in the place of the link "
                "that leads there, or move the whole store to the other file system, and run the "
                "same command again.",
            ) from error
        if isinstance(error, StorageError) or error.errno not in _REASONS:
            raise
        raise StorageError(
            f"{what} {path} cannot be written: {_REASONS[error.errno]} ({error.filename or path}).",
            "Writing needs free space and write permission for it and the folder it lies in.",
            "Nothing that was finished is lost: make room or give permission, and run the same "
            "command again.",
        ) from error


@dataclass
class Staging:
    """A group in the making: its Zarr store, and the attributes it will have."""

    store: LocalStore
    attributes: dict[str, Any] = field(default_factory=dict)


@contextmanager
def staged_group(store_path: Path, target: str) -> Iterator[Staging]:
    """Write a group in a staging folder and move it into the store when the block ends.

    A reader sees the old group, then (after a moment with neither) the new one. A killed writer
    leaves the old group, if need be in the staging folder, from where `sweep_staging` brings it
    back. The caller holds a lock that keeps others from writing the same target.

    Parameters
    ----------
    store_path : Path
        Folder of the store.
    target : str
        Path of the group in the store; what stands there is replaced.

    Yields
    ------
    Staging
        Write arrays into its `store`, and set its `attributes` at any time within the block.
    """
    name = f"staging/{uuid.uuid4().hex}"
    with storage_errors(store_path):
        lock = try_lock(store_path, name)
        folder = lock_folder(store_path) / name
        try:
            staging = Staging(LocalStore(folder))
            yield staging
            zarr.open_group(staging.store, mode="a").attrs.put(to_jsonable(staging.attributes))
            _move_into_place(folder, store_path, target)
        finally:
            try:
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                if lock is not None:
                    lock.release()
                    Path(lock.lock_file).unlink(missing_ok=True)


def _move_into_place(folder: Path, store_path: Path, target: str) -> None:
    for parent in reversed(Path(target).parents[:-1]):
        _make_parent(folder.with_name(folder.name + ".parent"), store_path / parent)
    place = store_path / target
    if place.exists():
        old = folder.with_name(folder.name + ".old")
        old.mkdir()
        (old / "target").write_text(target)
        place.rename(old / "group")
        folder.rename(place)
        shutil.rmtree(old)
    else:
        folder.rename(place)


def _make_parent(folder: Path, place: Path) -> None:
    """Make an empty group in one move: a folder without zarr.json makes readers warn."""
    if place.exists():
        return
    zarr.create_group(LocalStore(folder))
    try:
        folder.rename(place)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # another process made it
            raise
        shutil.rmtree(folder)


def sweep_partial(store_path: Path, target: str) -> None:
    """Remove a group's temporary files of a writer that was killed; the caller holds its lock."""
    for leftover in list((store_path / target).rglob("*.partial")):
        leftover.unlink(missing_ok=True)


def remove_group(store_path: Path, target: str) -> None:
    """Remove a group with all that is in it, in one move; the caller holds its lock."""
    place = store_path / target
    if place.exists():
        with storage_errors(store_path):
            folder = lock_folder(store_path) / "staging"
            folder.mkdir(parents=True, exist_ok=True)
            old = folder / f"{uuid.uuid4().hex}.old"
            place.rename(old)
            shutil.rmtree(old, ignore_errors=True)  # what is left is swept


def _bring_back(leftover: Path, store_path: Path) -> None:
    group, target = leftover / "group", leftover / "target"
    if not (group.exists() and target.exists()):
        return
    place = store_path / target.read_text()
    try:
        if not place.exists():
            group.rename(place)
    except OSError:
        if not place.exists():  # else another process made the group anew
            raise


def sweep_staging(store_path: Path) -> None:
    """Remove what killed writers left in the staging folder; living writers hold a lock.

    A group that was set aside for a new one that did not come is moved back.
    """
    folder = lock_folder(store_path) / "staging"
    for leftover in list(folder.glob("*")) if folder.exists() else []:
        if leftover.suffix == ".lock":
            continue
        lock = try_lock(store_path, f"staging/{leftover.stem}")
        if lock is not None:
            _bring_back(leftover, store_path)
            shutil.rmtree(leftover, ignore_errors=True)
            lock.release()
            Path(lock.lock_file).unlink(missing_ok=True)
