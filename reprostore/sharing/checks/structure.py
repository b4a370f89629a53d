"""The tree of a store: its groups, its sessions, and files that belong to nothing."""

import re
from collections.abc import Container, Iterator, Sequence
from pathlib import PurePosixPath

from reprostore.seeds import shorten
from reprostore.sharing.checks.findings import MAKE_READABLE, UNREADABLE, Damage, Finding
from reprostore.sharing.checks.forms import (
    GROUP_KEYS,
    ArrayForm,
    array_form,
    group_attributes,
    read_json,
)
from reprostore.sharing.checks.run_forms import STEP_ARRAYS
from reprostore.specs import is_name
from reprostore.store.files import StoreFiles
from reprostore.store.run import SEED_ARRAYS

_SESSION = re.compile(r"[0-9a-f]{16}")
_ARRAYS = frozenset(
    [*SEED_ARRAYS, *STEP_ARRAYS, "item", "label", "vector", "source_digest", "block_done"]
)
MANIFEST = "manifest-sha256.json"
_FAMILIES = ("runs", "sessions", "datasets", "embeddings", "neighbors", "results")
_FOLLOW = "Bring back what is to be found there, or delete the name: nothing below it was checked."
_LIST = (
    "Find out why the system does not list it: permissions, a disk or a network. Nothing below it "
    "was checked."
)
_LISTED = 20
"""Files that are named one by one; of more, the number is told."""


def parents(files: StoreFiles, keys: Sequence[str]) -> Iterator[Finding]:
    """Find groups on the way to others whose zarr.json is absent or damaged.

    These hold nothing of their own, so that an empty one is as good.
    """
    below = {
        parent
        for key in keys
        if key.endswith("/zarr.json") and not _is_foreign(files, key)
        for parent in _above(key)
    }
    for group in sorted(below - {""}):
        if not _is_parent(group):
            continue
        try:
            attributes = group_attributes(files, group)
            reason = "has attributes, which it has no use for" if attributes else None
        except Damage as damage:
            reason = str(damage)
        if reason is not None:
            unread = UNREADABLE in reason
            yield Finding(
                damage=True,
                kind="group",
                place=group,
                what=f"The group {reason}.",
                action=MAKE_READABLE
                if unread
                else "Write it anew with --repair: it only holds other groups.",
                mending=None if unread else "group",
            )
        strange = [part for part in group.split("/") if not is_name(part)]
        if strange:
            yield _note("stray", group, f"The group is not named as in this format: {strange[0]!r}")
    for name in files.folders():
        if name not in _FAMILIES:
            yield _note("stray", name, "The folder is none of this format")


def _is_foreign(files: StoreFiles, key: str) -> bool:
    """Say whether a file lies in a folder of an operating system or editor, such as a snapshot."""
    return any(
        not is_name(PurePosixPath(folder).name) and not files.exists(f"{folder}/zarr.json")
        for folder in _above(f"{key}/")
        if folder
    )


def unknown_entries(files: StoreFiles, keys: Sequence[str]) -> Iterator[Finding]:
    """Find entries in the zarr.json of groups that are none of this format.

    Readers may take them for what is stored: `consolidated_metadata` says how all arrays below
    are read.
    """
    documents = [key for key in keys if PurePosixPath(key).name == "zarr.json"]
    arrays = {_array_of(key) for key in set(keys) - {*documents}}
    for key in documents:
        group = key.removesuffix("zarr.json").rstrip("/")
        if group in arrays or _is_foreign(files, key):
            continue
        try:
            document = read_json(files, key)
        except Damage:  # told where the group is checked
            continue
        unknown = sorted(document.keys() - GROUP_KEYS)
        if unknown and document.get("node_type") == "group":
            names = shorten(", ".join(unknown))
            yield Finding(
                damage=True,
                kind="attributes" if group else "store",
                place=group,
                what=f"The {'group' if group else 'store'} has the unknown entries {names} in its "
                "zarr.json.",
                action="Delete these entries from zarr.json, or use --repair.",
                group=group,
                mending="entries",
            )


def _above(key: str) -> Iterator[str]:
    """Yield the groups above the group or array of a zarr.json."""
    parts = key.split("/")[:-2]
    for depth in range(len(parts) + 1):
        yield "/".join(parts[:depth])


def _is_parent(group: str) -> bool:
    """Say whether a group is one that only holds others."""
    family, *rest = group.split("/")
    if family in _FAMILIES:
        depth = len(rest)
        if family == "runs":
            return depth < 3
        if family == "results":
            return depth < 2
        if family in ("sessions", "datasets"):
            return depth < 1
        first = 1 if family == "embeddings" else 2
        kind = rest[first] if depth > first else ""
        return depth <= first + 1 if kind != "runs" else depth < first + 4
    return False


def sessions(files: StoreFiles, told: Container[str] = ()) -> Iterator[Finding]:
    """Find sessions that are not named like one, and damaged ones that were not told of yet.

    No seed needs to name a session: some say from which stores seeds were merged.
    """
    for name in files.folders("sessions"):
        place = f"sessions/{name}"
        if _SESSION.fullmatch(name) is None:
            yield _note("stray", place, "The group is named like no session")
            continue
        try:
            record = group_attributes(files, place).get("session")
            reason = None if isinstance(record, dict) else "does not say what it was"
        except Damage as damage:
            reason = str(damage)
        if reason is not None and place not in told:
            action = "Restore the file from a copy of the store. No seed names this session."
            yield Finding(True, "session", place, f"The session {reason}.", action)


def strays(files: StoreFiles, keys: Sequence[str]) -> Iterator[Finding]:
    """Find files that belong to no array, what killed writers left, and names that lead nowhere.

    What a packed store has beside its groups, at the top, is no stray file.
    """
    packed = files.exists(MANIFEST)
    forms: dict[str, ArrayForm | None] = {}
    left, foreign = [], []
    for key in keys:
        name = key.rpartition("/")[2]
        if name == "zarr.json" or (packed and "/" not in key):
            continue
        if name.endswith(".partial"):
            left.append(key)
            continue
        array = _array_of(key)
        if array is not None and _is_chunk(files, key, array, forms):
            continue  # where it cannot be read, that is told with the array
        reason = files.dead_end(key) if all(map(is_name, key.split("/"))) else None
        if reason is None:
            foreign.append(key)
        else:
            what = f"{reason[0].upper()}{reason[1:]}."
            action = _LIST if reason.endswith("cannot be listed") else _FOLLOW
            yield Finding(True, "file", key, what, action)
    for key in left[:_LISTED]:
        yield _note("leftover", key, "A writer that was killed left this file")
    for key in foreign[:_LISTED]:
        yield _note("stray", key, "The file belongs to no array")
    rest = len(left[_LISTED:]) + len(foreign[_LISTED:])
    if rest:
        yield _note("stray", "", f"{rest} more files belong to no array")


def _array_of(key: str) -> str | None:
    head, mark, _ = f"{key}/".rpartition("/c/")
    return head if mark else None


def _is_chunk(files: StoreFiles, key: str, array: str, forms: dict[str, ArrayForm | None]) -> bool:
    if array not in forms:
        try:
            forms[array], _ = array_form(files, array)
        except Damage:  # told where the array is checked, if it is one
            forms[array] = None
    form = forms[array]
    if form is None:  # where an array is to be, its loss is told with its run, dataset or cache
        return array.rpartition("/")[2] in _ARRAYS or files.exists(f"{array}/zarr.json")
    parts = PurePosixPath(key.removeprefix(f"{array}/")).parts[1:]
    if len(parts) != len(form.files) or not all(p.isascii() and p.isdecimal() for p in parts):
        return False
    return all(int(part) < count for part, count in zip(parts, form.files, strict=True))


def _note(kind: str, place: str, what: str) -> Finding:
    return Finding(
        damage=False,
        kind=kind,  # type: ignore[arg-type]  # one of two literals
        place=place,
        what=f"{what}.",
        action="It does no harm and may be deleted when no process writes.",
    )
