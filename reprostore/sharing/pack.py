"""Packing a store, or a part of it, into one archive or folder for others."""

import hashlib
import re
from pathlib import Path
from typing import Any

from reprostore.errors import CorruptionError
from reprostore.seeds import shorten
from reprostore.sharing.archives.manifest import check_manifest, written
from reprostore.sharing.archives.reading import MANIFEST
from reprostore.sharing.archives.writing import FolderWriter, PackWriter, ZipWriter, whole
from reprostore.sharing.checks.findings import Progress
from reprostore.sharing.packing.about import About
from reprostore.sharing.packing.card import readme
from reprostore.sharing.packing.crate import METADATA, crate_metadata, require_rocrate
from reprostore.sharing.packing.files import planned_bytes, store_members
from reprostore.sharing.packing.picture import picture
from reprostore.sharing.packing.request import PackRequest
from reprostore.sharing.packing.selection import Selection, select
from reprostore.sharing.packing.snapshot import group_metadata
from reprostore.sharing.verify import verify_store
from reprostore.store import SampleStore, open_store
from reprostore.store.targets import require_target

_PICTURE = "picture.png"


def pack_store(
    store: SampleStore,
    target: Path,
    request: PackRequest | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Pack a store, or a part of it, into one zip archive or a folder.

    In it are README.md, a picture, RO-Crate metadata and a manifest, and the store in a folder
    ``NAME.zarr``. The members of an archive are not compressed: reprostore, and zarr's ZipStore
    with the path ``NAME.zarr``, read it in place. Equal content and dates give equal archives.

    Others may write into the store meanwhile: what was written before is packed. The pack is read
    back and verified before it gets its name, so that damage in the store does not travel.

    Parameters
    ----------
    store : SampleStore
        The store; reading is enough, also from a packed one.
    target : Path
        ``NAME.zip`` for an archive, anything else for a folder.
    request : PackRequest, optional
        What is packed; all but the items of datasets when left out.
    progress : callable, optional
        Called with a name, the bytes that are done and all of them.

    Returns
    -------
    dict
        `path`, `store` (path in the pack), `content`, `files`, `bytes`, `sha256` of the archive
        or of the folder's manifest, `runs` and `datasets` as in the manifest, and `left_out`.

    Raises
    ------
    MissingDataError
        There is no such run or encoder, or nothing to be packed.
    SpecError
        Vectors would give withheld images away, or the target lies in a store.
    IdentityError
        Something stands at the target, or it lies below what is no folder.
    CorruptionError
        The store is damaged; nothing is left of the pack.
    DependencyError
        The package rocrate or Pillow is not installed.
    StorageError
        The pack cannot be written.
    """
    require_rocrate()
    request, target = request or PackRequest(), target.absolute()
    require_target(target, "The pack")
    zipped = target.suffix == ".zip"
    chosen = select(store, request)
    about = About.of(chosen, request, _folder(target))
    with whole(target, "A pack") as partial:
        writer: PackWriter = ZipWriter(partial) if zipped else FolderWriter(partial)
        try:
            _write_beside(writer, chosen, about, target.name, zipped=zipped)
            _write_store(writer, chosen, about, target.name, progress)
            content = written(about.manifest(), writer.files)
            writer.add(MANIFEST, len(content), [content])
        finally:
            writer.close()
        _verify(partial, None if zipped else about.folder, store, progress)
        summed = partial if zipped else partial / MANIFEST
        with summed.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "path": str(target),
        "store": about.folder,
        "content": about.content,
        "files": len(writer.files),
        "bytes": sum(int(entry["bytes"]) for entry in writer.files.values()),
        "sha256": digest,
        "runs": list(about.runs),
        "datasets": list(about.datasets),
        "left_out": list(about.left_out),
    }


def _folder(target: Path) -> str:
    """Return the name of the store in a pack: that of the pack, as a name in the format."""
    stem = target.name.removesuffix(".zip").removesuffix(".zarr")
    plain = re.sub(r"[^A-Za-z0-9._+@-]", "-", stem)[:100].lstrip("._+@-")
    return f"{plain or 'store'}.zarr"


def _write_beside(
    writer: PackWriter, chosen: Selection, about: About, name: str, *, zipped: bool
) -> None:
    drawn = picture(chosen.runs)
    shown = None if drawn is None else _PICTURE
    files = {"README.md": readme(about, name, zipped=zipped, picture=shown)}
    media = {"README.md": "text/markdown", MANIFEST: "application/json"}
    if drawn is not None:
        files[_PICTURE], media[_PICTURE] = drawn, "image/png"
    files[METADATA] = crate_metadata(about, media)
    for key, content in files.items():
        writer.add(key, len(content), [content])


def _write_store(
    writer: PackWriter, chosen: Selection, about: About, name: str, progress: Progress | None
) -> None:
    root = group_metadata({"reprostore": about.root})
    writer.add(f"{about.folder}/zarr.json", len(root), [root])
    done, total = 0, planned_bytes(chosen)
    for key, size, blocks in store_members(chosen):
        writer.add(f"{about.folder}/{key}", size, blocks)
        done += size
        if progress is not None:
            progress(f"{name}: written", min(done, total), total)


def _verify(
    packed: Path, folder: str | None, store: SampleStore, progress: Progress | None
) -> None:
    """Read the pack back; what is wrong with it was wrong with the store."""
    report = verify_store(open_store(packed / (folder or "")), progress=progress)
    if folder is not None:  # the manifest of an archive is compared already
        report.add(check_manifest(packed, progress=progress))
    if report.damage:
        first = report.damage[0]
        seeds = "" if first.seeds is None else f" (seeds {shorten(first.seeds)})"
        raise CorruptionError(
            f"The pack would hold damaged data, in {len(report.damage)} places; at "
            f"{first.place}{seeds}: {first.what}",
            "What is handed on was read back and agrees with its checksums.",
            f"Nothing was written. Look at it with `repro verify {store.path}`, and repair it "
            "there.",
        )
