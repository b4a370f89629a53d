"""What surrounds a training: checks of what it is given, its lock, its threads, its randomness."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from reprostore.errors import DatasetError, SpecError, StorageError
from reprostore.training.devices import Devices
from reprostore.training.record import lock_file

_LOG = logging.getLogger(__name__)


def check_items(items: NDArray[Any]) -> None:
    """Refuse what no network can be trained on.

    Raises
    ------
    DatasetError
        `items` are not (item, channel, y, x), there are none, or they are not in [-1, 1].
    """
    if items.ndim != 4:
        found = f"The training items have the shape {items.shape}."
    elif len(items) == 0:
        found = "There are no training items."
    elif not np.isfinite(items).all():
        found = "A training item is not finite."
    elif np.abs(items).max() > 1:
        found = f"The training items have values from {items.min():.9g} to {items.max():.9g}."
    else:
        return
    raise DatasetError(
        found,
        "A model is trained on at least one image (channel, y, x), finite and in [-1, 1].",
        "Correct `trained_on`, or the dataset.",
    )


def check_seed(seed: int) -> None:
    """Refuse a seed that torch would take for another one.

    Raises
    ------
    SpecError
        It is negative or has more than 32 bits.
    """
    if not 0 <= seed < 2**32:
        raise SpecError(
            f"`trainer_seed` is {seed}.",
            "It lies from 0 to 4294967295: torch uses 32 bits of it, and larger seeds would repeat "
            "smaller ones.",
            "Choose a smaller number.",
        )


@contextlib.contextmanager
def locked(folder: Path, devices: Devices) -> Iterator[None]:
    """Let one training at a time write into a folder; another says so once, and waits.

    The file is removed when the model is there, and not before: a process that waited for a file
    which is gone, and one that makes it anew, would both train. Of several processes that train
    one model together, the main one holds the lock, and the others come in when it does: what they
    find is then what it finds.
    """
    if not devices.is_main:
        devices.wait()
        yield
        return
    path = lock_file(folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            _LOG.warning("Waiting for %s, which another process trains.", folder.name)
            lock.acquire()
    except OSError as error:
        raise StorageError(
            f"{path.parent} cannot be written ({error.strerror or error}).",
            "A model is trained in the folder that holds its own.",
            "Give write permission there, or give the model another source.",
        ) from error
    try:
        devices.wait()
        yield
    finally:
        if folder.exists():
            with contextlib.suppress(OSError):
                path.unlink()  # those who wait for it find the model, whatever they lock then
        lock.release()


@contextlib.contextmanager
def threads_set(count: int | None) -> Iterator[None]:
    """Compute with a number of threads; None leaves torch's own."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def seeded(seed: int, devices: Devices) -> Iterator[None]:
    """Seed torch's global generators, from which networks and dropout draw, and put them back."""
    indices = [] if devices.device.type == "cpu" else [devices.device]
    with torch.random.fork_rng(devices=indices):
        torch.manual_seed(seed)
        yield
