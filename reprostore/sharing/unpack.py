"""Unpacking: files are compared with the manifest, and none is written outside of the folder."""

import hashlib
import shutil
from pathlib import Path
from typing import Any, BinaryIO

from reprostore.errors import CorruptionError, FormatError, SpecError, StorageError
from reprostore.paths import without_links
from reprostore.seeds import shorten
from reprostore.sharing.archives.manifest import Manifest, differences, read_manifest
from reprostore.sharing.archives.manifest_claims import false_claims
from reprostore.sharing.archives.reading import MANIFEST, PackReader, open_pack
from reprostore.sharing.archives.writing import whole
from reprostore.sharing.checks.findings import Progress
from reprostore.store.files import store_files
from reprostore.store.targets import require_target

_SPARE = 2**20
"""Bytes that are left free."""


def unpack(
    archive: Path, target: Path | None = None, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Unpack a pack into a folder, if every file of it is the one that was packed.

    Parameters
    ----------
    archive : Path
        A zip archive or a folder that `repro pack` made; from anybody.
    target : Path, optional
        The new folder, which holds the store and what is beside it. When left out, the name of
        the archive without ``.zip``, in the working directory.
    progress : callable, optional
        Called with the pack's name, the bytes that were written and all of them.

    Returns
    -------
    dict
        `folder`, `store` (its path), `files`, `bytes`, and `runs` as the manifest names them.

    Raises
    ------
    NotFoundError
        There is no pack.
    FormatError
        It is none, or holds something that a pack never holds; nothing was written.
    CorruptionError
        A file is missing, is not in the manifest, or has other bytes; nothing is left of it.
    SpecError
        The target lies in a store, or in the pack.
    IdentityError
        Something stands at the target, or it lies below what is no folder.
    StorageError
        There is no space.
    """
    pack = open_pack(archive)
    manifest = read_manifest(pack)
    for name, what in differences(pack, manifest)[:1]:
        raise CorruptionError(
            f"The file {shorten(repr(name))} of {archive} {what}.",
            "A pack holds the files of its manifest, and no others.",
            "Nothing was written. Receive the pack again.",
        )
    place = Path(archive.name.removesuffix(".zip")) if target is None else target
    place = place.absolute()
    require_target(place, "The unpacked pack")
    if without_links(place).is_relative_to(without_links(archive)):
        raise SpecError(
            f"The folder {place} lies in the pack {archive} itself.",
            "A pack holds the files of its manifest, and no others.",
            "Name a folder outside of the pack.",
        )
    total = sum(pack.members.values())
    with whole(place, "An unpacked pack") as partial:
        free = shutil.disk_usage(place.parent).free
        if free < total + _SPARE:
            raise StorageError(
                f"The pack {archive} takes {total:,} bytes, and {free:,} are free in "
                f"{place.parent}.",
                "There is room for all of it.",
                "Make room, or unpack it elsewhere.",
            )
        partial.mkdir()
        _write(pack, manifest, partial, total, progress)
        for what in false_claims(store_files(partial / manifest.folder), manifest.about):
            raise CorruptionError(
                f"The manifest of {archive} tells {what}.",
                "A manifest says what is in the pack.",
                "Nothing is left of it here. Ask who made it.",
            )
    return {
        "folder": str(place),
        "store": str(place / manifest.folder),
        "files": len(pack.members),
        "bytes": total,
        "runs": manifest.about.get("runs", []),
    }


def _write(
    pack: PackReader, manifest: Manifest, folder: Path, total: int, progress: Progress | None
) -> None:
    done = 0
    for name, size in sorted(pack.members.items()):
        digest = hashlib.sha256()
        with _new_file(pack, folder / name) as out:
            for block in pack.blocks(name):
                digest.update(block)
                out.write(block)
        if name != MANIFEST and digest.hexdigest() != manifest.files[name][1]:
            raise CorruptionError(
                f"The file {name} of {pack.path} has another sha256 than its manifest says.",
                "Every file of a pack is as it was packed.",
                "Nothing is left of it here. Receive the pack again.",
            )
        done += size
        if progress is not None:
            progress(pack.path.name, done, total)


def _new_file(pack: PackReader, file: Path) -> BinaryIO:
    """Open a file that does not exist, and make the folders above it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return file.open("xb")
    except (FileExistsError, NotADirectoryError) as error:
        raise FormatError(
            f"The pack {pack.path} has a file {shorten(file.name)!r} where it has another file, "
            "or where this system sees no difference between their names.",
            "Every file of a pack has a place of its own.",
            "Nothing is left of it here. Ask who made it.",
        ) from error
