"""The files of the store in a pack, one after the other, while others may write into the store."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from reprostore.errors import CorruptionError, StorageError
from reprostore.sharing.archives.manifest import STORE_KEY
from reprostore.sharing.archives.writing import stored_blocks
from reprostore.sharing.packing.selection import Selection
from reprostore.sharing.packing.snapshot import cut_metadata, group_metadata
from reprostore.store import SampleStore
from reprostore.store.dataset_attributes import sealed
from reprostore.store.files import StoreFiles
from reprostore.store.labelled import read_attributes
from reprostore.stored_dataset import StoredDataset

Member = tuple[str, int, Iterator[bytes]]
"""Key in the store, bytes, and these block by block."""

_MARKS = ("source_digest", "block_done")
"""Arrays that say which vectors count; they are written after these, and so are read before."""

_ATTEMPTS = 5


def planned_bytes(chosen: Selection) -> int:
    """Return about how many bytes are to be packed, for the progress."""
    files = chosen.store.files
    groups = [*chosen.groups]
    groups += [f"datasets/{name}" for name, withheld in chosen.datasets.items() if not withheld]
    groups += [s.run.group for s in chosen.runs if not s.withheld]
    return sum(files.size(key) or 0 for group in groups for key in files.walk(group))


def store_members(chosen: Selection) -> Iterator[Member]:
    """Yield the files of all that was chosen, and the groups above.

    Raises
    ------
    CorruptionError
        A file is missing.
    StorageError
        A group was made again and again meanwhile.
    """
    sessions = [f"sessions/{number:016x}" for number in chosen.sessions()]
    groups = [s.run.group for s in chosen.runs] + sessions + chosen.groups
    groups += [f"datasets/{name}" for name in chosen.datasets]
    parents = {str(p) for group in groups for p in PurePosixPath(group).parents} - {"."}
    for parent in sorted(parents):
        yield _given(f"{parent}/zarr.json", group_metadata({}))
    yield from _runs(chosen)
    files = chosen.store.files
    for session in sessions:
        yield _stored(chosen.store, f"{session}/zarr.json")
    for name, withheld in chosen.datasets.items():
        if withheld:
            yield _withheld(chosen.store, name)
        else:
            for key in _own(files, f"datasets/{name}"):
                yield _stored(chosen.store, key)
    lengths = {s.run.path: len(s.status) for s in chosen.runs}
    for group in chosen.groups:
        if group.startswith("embeddings/"):
            path = "/".join(group.split("/")[3:])
            yield from _vectors(chosen.store, group, lengths.get(path))
        else:
            yield from _labelled(files, group)


def _runs(chosen: Selection) -> Iterator[Member]:
    for snapshot in chosen.runs:
        for key, content in snapshot.members():
            if content is None:
                yield _stored(chosen.store, key)
            else:
                yield _given(key, content)


def _own(files: StoreFiles, group: str) -> Iterator[str]:
    """Yield the keys below a group that are those of groups and arrays: others are nobody's."""
    return (key for key in files.walk(group) if STORE_KEY.fullmatch(key))


def _given(key: str, content: bytes) -> Member:
    return key, len(content), iter([content])


def _stored(store: SampleStore, key: str) -> Member:
    try:
        size, blocks = stored_blocks(store.files, key)
    except FileNotFoundError as error:
        raise CorruptionError(
            f"The file {key} of the store {store.path} does not exist.",
            "Everything that was written is there.",
            f"See what is damaged with `repro verify {store.path}`.",
        ) from error
    return key, size, blocks


def _withheld(store: SampleStore, name: str) -> Member:
    dataset = StoredDataset(store, name)
    attributes = read_attributes(store.path, dataset.group) or {}
    shape = [len(dataset), *dataset.item_shape]
    attributes |= {"withheld": True, "items": {"shape": shape, "dtype": str(dataset.dtype)}}
    return _given(f"{dataset.group}/zarr.json", group_metadata(sealed(name, attributes)))


def _vectors(store: SampleStore, group: str, length: int | None) -> Iterator[Member]:
    """Yield vectors after the marks that say which of them count, and none without.

    Those of a run are cut to its length, where it has grown meanwhile.
    """
    marks: set[str] = set()
    files = store.files
    yield _stored(store, f"{group}/zarr.json")
    names = files.folders(group)
    for name in sorted(names, key=lambda name: (name not in _MARKS, name)):
        place = f"{group}/{name}"
        cut = None if length is None else cut_metadata(files, f"{place}/zarr.json", length)
        for key in _own(files, place):
            inside = key.removeprefix(f"{place}/")
            if name in _MARKS:
                marks.add(inside)
            elif inside != "zarr.json":
                mark = inside.rpartition("/")[0] if "source_digest" in names else "c/0"
                if mark not in marks:  # its writer died, or has not come to it yet
                    continue
            yield _given(key, cut) if cut and inside == "zarr.json" else _stored(store, key)


def _labelled(files: StoreFiles, group: str) -> Iterator[Member]:
    """Yield a group that is replaced as a whole: all files of the same one."""
    key = f"{group}/zarr.json"
    for _ in range(_ATTEMPTS):
        try:
            before = files.read(key)
            held = {key: files.read(key) for key in _own(files, group)}
            if held.get(key) == before == files.read(key):
                yield from (_given(name, content) for name, content in held.items())
                return
        except FileNotFoundError:  # it is being replaced
            continue
    raise StorageError(
        f"The group {group} is made again while it is packed.",
        "A group is read as it was at one moment.",
        "Pack the store when the analyses that write it have ended.",
    )
