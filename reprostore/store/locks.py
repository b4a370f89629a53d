"""Locks between processes that write into one store, freed when a process dies."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from reprostore.errors import StorageError


def lock_folder(store_path: Path) -> Path:
    """Return the folder of a store's locks, beside it: files inside a group make readers warn."""
    return store_path.with_name(store_path.name + ".lock")


def _acquire(store_path: Path, name: str, timeout: float) -> FileLock:
    path = lock_folder(store_path) / f"{name}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, thread_local=False)
        lock.acquire(timeout=timeout)
    except Timeout:
        raise
    except OSError as error:
        raise StorageError(
            f"The lock {path} cannot be taken ({error.strerror or error}).",
            "Writing into a store needs a folder for locks beside it.",
            "Make room, or give write permission to the folder that holds the store.",
        ) from error
    return lock


@contextmanager
def locked(store_path: Path, name: str) -> Iterator[None]:
    """Hold a lock, waiting for it as long as another process holds it."""
    lock = _acquire(store_path, name, timeout=-1)
    try:
        yield
    finally:
        lock.release()


def try_lock(store_path: Path, name: str) -> FileLock | None:
    """Take a lock if it is free; the caller releases it.

    Returns
    -------
    filelock.FileLock or None
        The held lock, or None when another process (or this one) holds it.
    """
    try:
        return _acquire(store_path, name, timeout=0)
    except Timeout:
        return None
