"""The manifest of a pack: size and sha256 of every file, and what was packed."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reprostore.errors import FormatError, ReprostoreError
from reprostore.seeds import shorten
from reprostore.sharing.archives.manifest_claims import false_claims
from reprostore.sharing.archives.reading import MANIFEST, PackReader, open_pack
from reprostore.sharing.checks.findings import Finding, Progress
from reprostore.specs import is_name
from reprostore.store.files import store_files

VERSION = 1
"""Of the manifest; others are refused."""

BESIDE = ("README.md", "ro-crate-metadata.json", "picture.png")
"""What a pack may hold beside the store and the manifest."""

RECEIVE_AGAIN = "Receive the pack again: it is not as it was made."
"""What to do about damage in a pack, which is never repaired in place."""

LIMIT = 2**28
"""Bytes of a manifest that is read: enough for a million files."""

STORE_KEY = re.compile(
    r"(?:(?:runs|sessions|datasets|embeddings|neighbors|results)/"
    r"(?:[A-Za-z0-9][A-Za-z0-9._+@-]{0,127}/)*)?(?:zarr\.json|c(?:/[0-9]{1,19})*)"
)
"""Keys of the files of a store."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Manifest:
    """A manifest that was read and is well formed.

    Attributes
    ----------
    folder : str
        Name of the store in the pack.
    about : dict
        What was packed, as it was written.
    files : dict of (int, str)
        Bytes and sha256 of every file but the manifest, by name.
    """

    folder: str
    about: dict[str, Any]
    files: dict[str, tuple[int, str]]


def written(about: Mapping[str, Any], files: Mapping[str, Mapping[str, int | str]]) -> bytes:
    """Return the bytes of a manifest, the files in the order of their names."""
    document = {"reprostore_pack": VERSION, **about, "files": dict(sorted(files.items()))}
    return (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_manifest(pack: PackReader) -> Manifest:
    """Read the manifest of a pack.

    Raises
    ------
    FormatError
        There is none, or it is not well formed, or names files that no pack has.
    """
    size = pack.members.get(MANIFEST)
    if size is None or size > LIMIT:
        raise _refused(pack.path, f"it has no {MANIFEST}" if size is None else "it is too large")
    try:
        document = json.loads(b"".join(pack.blocks(MANIFEST)), object_pairs_hook=_unique)
        version, folder = document["reprostore_pack"], document["folder"]
        listed = {
            name: (entry["bytes"], entry["sha256"]) for name, entry in document["files"].items()
        }
        known = version == VERSION and isinstance(folder, str) and is_name(folder)
        known = known and folder not in (*BESIDE, MANIFEST)
    except FormatError:
        raise
    except Exception as error:  # no JSON, other types, nested too deeply
        raise _refused(pack.path, f"it cannot be read ({type(error).__name__})") from error
    if not known:
        raise _refused(pack.path, f"it has the version {shorten(str(version))}, or no folder")
    for name, (count, digest) in listed.items():
        if not _is_packed_name(name, folder):
            raise _refused(pack.path, f"it names {shorten(repr(name))}, which no pack has")
        if type(count) is not int or count < 0 or not isinstance(digest, str):
            raise _refused(pack.path, f"it does not say what {name} is")
        if _SHA256.fullmatch(digest) is None:
            raise _refused(pack.path, f"it does not say what {name} is")
    about = {key: value for key, value in document.items() if key != "files"}
    return Manifest(folder, about, listed)


def _is_packed_name(name: str, folder: str) -> bool:
    if name in BESIDE:
        return True
    top, _, key = name.partition("/")
    return top == folder and STORE_KEY.fullmatch(key) is not None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _refused(path: Path, why: str) -> FormatError:
    return FormatError(
        f"The manifest of {path} is not one of a pack: {why}.",
        f"A pack that `repro pack` made has a {MANIFEST} with the size and sha256 of every file.",
        "Receive the pack again, or ask who made it.",
    )


def differences(pack: PackReader, manifest: Manifest) -> list[tuple[str, str]]:
    """Compare names and sizes with a manifest, without reading the files.

    Returns
    -------
    list of (str, str)
        Names and what is wrong with them, as predicates; empty where all agree.
    """
    found = []
    for name, (size, _) in manifest.files.items():
        if name not in pack.members:
            found.append((name, "is missing"))
        elif pack.members[name] != size:
            found.append((name, f"has {pack.members[name]} bytes instead of {size}"))
    extra = sorted(pack.members.keys() - manifest.files.keys() - {MANIFEST})
    return found + [(name, "is not in the manifest") for name in extra]


def stored_in(path: Path) -> Path:
    """Return the store in a folder that `repro pack` made; any other path as it is.

    Raises
    ------
    FormatError
        The folder's manifest is not one of a pack.
    """
    if not path.is_dir() or (path / "zarr.json").exists() or not (path / MANIFEST).is_file():
        return path
    return _store(path, read_manifest(open_pack(path)))


def check_manifest(path: Path, *, progress: Progress | None = None) -> list[Finding]:
    """Compare all files of a pack with its manifest.

    Parameters
    ----------
    path : Path
        A zip archive or a folder that `repro pack` made.
    progress : callable, optional
        Called with the pack's name, the bytes that were compared and all of them.

    Returns
    -------
    list of Finding
        Damage. Empty where all agree, and of a folder without a manifest, which is no pack. An
        archive without one may have been zipped by other means, which a note says.
    """
    if path.is_dir() and not (path / MANIFEST).exists():
        return []
    try:
        pack = open_pack(path)
        if MANIFEST not in pack.members:
            return [_without_manifest()]
        manifest = read_manifest(pack)
    except ReprostoreError as error:
        return [_finding("", error.parts[0])]
    found = differences(pack, manifest)
    named = {name for name, _ in found}
    done, total = 0, sum(pack.members.values())
    for name, (size, expected) in manifest.files.items():
        if name in named:
            continue
        digest = hashlib.sha256()
        try:
            for block in pack.blocks(name):
                digest.update(block)
        except ReprostoreError:
            found.append((name, "cannot be read"))
            continue
        if digest.hexdigest() != expected:
            found.append((name, "has another sha256 than the manifest says"))
        done += size
        if progress is not None:
            progress(f"{path.name}: manifest", done, total)
    prefix = f"{manifest.folder}/"
    differing = [
        _finding(name.removeprefix(prefix), f"The file {shorten(name)} of the pack {what}.")
        for name, what in found
    ]
    return differing or [
        _finding(MANIFEST, f"The manifest of the pack tells {what}.")
        for what in false_claims(store_files(_store(path, manifest)), manifest.about)
    ]


def _store(path: Path, manifest: Manifest) -> Path:
    return path / manifest.folder if path.is_dir() else path


def _without_manifest() -> Finding:
    what = f"The archive has no {MANIFEST}: what it held when it was packed is not known."
    action = "Ask for a pack of `repro pack` where it matters that nothing was taken out or edited."
    return Finding(False, "unchecked", MANIFEST, what, action)


def _finding(place: str, what: str) -> Finding:
    return Finding(True, "file", place, what, RECEIVE_AGAIN)
