"""sha256 of files, remembered per user so that unchanged weights are not read again."""

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path

from reprostore.errors import NotFoundError
from reprostore.paths import require_file

_RACY_NS = 2_000_000_000
"""A file changed less than this before it was read may change again within its mtime's grain."""

_LIMIT = 4096
"""The oldest entries are dropped beyond this many, so that the cache stays small."""


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's content.

    The digest is cached by (path, size, mtime, inode). A cache that cannot be read or written is
    ignored: it only ever saves time.

    Parameters
    ----------
    path : Path
        The file; links are followed.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    NotFoundError
        There is no such file.
    """
    try:
        path = require_file(path.resolve(strict=True))
        before = _identity(path)
        cache = _read_cache()
        entry = cache.get(str(path))
        if entry is not None and entry[:3] == before:
            return str(entry[3])
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        after = _identity(path)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFoundError(
            f"{path} is not there, or is no file.",
            "A file whose digest can be taken was expected.",
            "Check the path.",
        ) from error
    if before == after and time.time_ns() - after[1] > _RACY_NS:
        _write_cache(cache, str(path), [*after, digest])
    return digest


def folder_digest(folder: Path) -> str:
    """Return one sha256 of the names and contents of all files below a folder, but hidden ones.

    Cached like `file_digest`, under the names, sizes, times and inodes of all the files.

    Parameters
    ----------
    folder : Path
        The folder; a file that vanishes meanwhile counts as absent.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    folder = folder.resolve()
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not _is_hidden(path.relative_to(folder))
    )
    names = [path.relative_to(folder).as_posix() for path in files]
    stats = [_identity(path) for path in files]
    state = hashlib.sha256(json.dumps([names, stats]).encode()).hexdigest()
    key = f"{folder}/ {state}"  # a name that no file has
    cache = _read_cache()
    if key in cache:
        return str(cache[key][3])
    whole = hashlib.sha256()
    for path, name, (size, *_) in zip(files, names, stats, strict=True):
        whole.update(json.dumps([name, size]).encode())
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    newest = max((stat[1] for stat in stats), default=0)
    if time.time_ns() - newest > _RACY_NS:
        _write_cache(cache, key, [len(files), newest, 0, whole.hexdigest()])
    return whole.hexdigest()


def _is_hidden(path: Path) -> bool:
    """Say whether a path below a folder is hidden, as what file managers leave behind is."""
    return any(part.startswith(".") for part in path.parts)


def _identity(path: Path) -> list[int]:
    """Return size, mtime in nanoseconds and inode: what changes when a file is written."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]


def cache_file(name: str) -> Path:
    """Return a file in this user's cache folder."""
    for variable, parts in (("REPROSTORE_CACHE", ()), ("XDG_CACHE_HOME", ("reprostore",))):
        if folder := os.environ.get(variable):
            return Path(folder, *parts, name)
    return Path("~/.cache/reprostore", name).expanduser()


def _read_cache() -> dict[str, list[int | str]]:
    """Return the entries of the cache that are well formed; none if it cannot be read."""
    try:
        content = json.loads(cache_file("digests.json").read_bytes())
    except (OSError, RuntimeError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {key: entry for key, entry in content.items() if _is_entry(entry)}


def _is_entry(entry: object) -> bool:
    """Say whether an entry is [size, mtime, inode, digest]."""
    return (
        isinstance(entry, list)
        and len(entry) == 4
        and all(isinstance(item, int) for item in entry[:3])
        and isinstance(entry[3], str)
        and len(entry[3]) == 64
    )


def _write_cache(cache: dict[str, list[int | str]], key: str, entry: list[int | str]) -> None:
    """Add an entry and replace the cache file in one step; give up silently if that fails."""
    with contextlib.suppress(OSError, RuntimeError):
        path = cache_file("digests.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Read again: another process may have added entries while this file was hashed.
        cache = {**cache, **_read_cache()}
        cache.pop(key, None)
        cache[key] = entry
        temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
        temporary.write_text(json.dumps(dict(list(cache.items())[-_LIMIT:])))
        temporary.replace(path)
