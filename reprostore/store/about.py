"""What a store says of itself: its format, title, licence, creators and date."""

import contextlib
import datetime as dt
import json
from pathlib import Path
from typing import Any

from reprostore.errors import FormatError, NotFoundError
from reprostore.paths import exists
from reprostore.store.files import StoreFiles, store_files
from reprostore.store.targets import is_store

FORMAT = 1
"""Version of the store format that this package writes; docs/format.md describes it."""

_NAMED = 5
"""Stores that a message names at most."""


def read_root_attributes(path: Path) -> dict[str, Any]:
    """Return the root attributes of a store, checking that it is one that can be read."""
    if not exists(path):
        raise NotFoundError(
            f"There is no store at {path}.",
            "A store is a folder that `repro generate` or `create_store` made.",
            _beside(path),
        )
    files = store_files(path)
    try:
        attributes = json.loads(files.read("zarr.json"))["attributes"]["reprostore"]
        version = int(attributes["format"])
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        reason = files.dead_end("zarr.json")
        raise FormatError(
            f"{path} is no sample store: it has no zarr.json with a reprostore entry."
            if reason is None
            else f"{path} cannot be read as a store: {reason}.",
            "A sample store is a Zarr version 3 group whose attributes name its format.",
            _where_instead(path, files)
            if reason is None
            else "Bring back what is to be found there.",
        ) from error
    if version > FORMAT:
        raise FormatError(
            f"The store {path} has format {version}.",
            f"This version of reprostore reads formats up to {FORMAT}.",
            "Install a newer version of reprostore.",
        )
    return dict(attributes)


def _beside(path: Path) -> str:
    """Say what to do where nothing stands at a path: stores that lie beside it are named."""
    found = []
    with contextlib.suppress(OSError):
        found = sorted(place.name for place in path.parent.glob("*.zarr") if is_store(place))
    if not found:
        return "Check the path, or generate the store first."
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"Check the path: in {path.parent} there are {', '.join(found[:_NAMED])}{more}."


def _where_instead(path: Path, files: StoreFiles) -> str:
    """Say what to do where a path is no store; an unpacked pack is a folder that holds one."""
    for name in files.folders():
        if name.endswith(".zarr") and files.exists(f"{name}/zarr.json"):
            return f"Name the store that lies in it, {path / name}."
    if files.exists("runs/zarr.json"):
        return f"There are runs in it: restore {path / 'zarr.json'} from a copy."
    return "Check the path; to make a store, use `repro generate` or `create_store`."


def now() -> str:
    """Return the time as ISO 8601 text in UTC."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
