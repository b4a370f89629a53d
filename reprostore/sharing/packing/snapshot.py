"""A run at one moment, while others may write into it: which slots, and which files hold them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from reprostore.canonical import to_jsonable
from reprostore.sharing.checks.run_forms import STEP_ARRAYS, UNIT_ARRAYS
from reprostore.store import Run
from reprostore.store.arrays import open_array, read_whole
from reprostore.store.files import StoreFiles, store_files
from reprostore.store.run import WRITTEN


@dataclass(frozen=True)
class RunSnapshot:
    """A run as its `status` was at one moment.

    What a status calls written was in its place before the status was, and old slots keep their
    bytes when a unit is written again. So files that are read after the status hold at least what
    it says; what came later lies in slots that it calls missing, or beyond its length.

    Attributes
    ----------
    run : Run
        The run.
    withheld : bool
        Whether samples are left out.
    status_files : dict of bytes
        The files of `status`, by their keys in the store.
    status : ndarray of uint8, (slot,)
        What they say.
    """

    run: Run
    withheld: bool
    status_files: dict[str, bytes]
    status: NDArray[np.uint8]

    @classmethod
    def of(cls, run: Run, *, withheld: bool) -> "RunSnapshot":
        """Read the status of a run.

        Raises
        ------
        CorruptionError
            It is damaged.
        """
        files, place = store_files(run.store_path), f"{run.group}/status"
        array = open_array(run.zarr_store, place)
        kept = {f"{place}/zarr.json": files.read(f"{place}/zarr.json")}
        length = int(json.loads(kept[f"{place}/zarr.json"])["shape"][0])
        for index in range(-(-length // array.chunks[0])):
            key = f"{place}/{array.metadata.encode_chunk_key((index,))}"
            if files.size(key) is not None:
                kept[key] = files.read(key)
        buffer = default_buffer_prototype().buffer
        copied = MemoryStore({key: buffer.from_bytes(value) for key, value in kept.items()})
        return cls(run, withheld, kept, read_whole(open_array(copied, place)))

    @cached_property
    def slots(self) -> NDArray[np.int64]:
        """The written slots, (written,)."""
        return np.flatnonzero(self.status == WRITTEN)

    @cached_property
    def seeds(self) -> NDArray[np.int64]:
        """Their seeds, (written,)."""
        return np.asarray(self.run.seeds[self.slots])

    @cached_property
    def sessions(self) -> list[int]:
        """Numbers of the sessions that wrote them."""
        numbers = self.run.recorded("session", slice(len(self.status)))[self.slots]
        return [int(number) for number in np.unique(numbers)]

    def attributes(self) -> dict[str, Any]:
        """Return what the group's attributes are in the pack."""
        files = store_files(self.run.store_path)
        metadata = json.loads(files.read(f"{self.run.group}/zarr.json"))
        attributes: dict[str, Any] = metadata["attributes"]
        if self.withheld:
            attributes["withheld"] = True
        return attributes

    def members(self) -> Iterator[tuple[str, bytes | None]]:
        """Yield the keys of all files of the run, with their bytes where these are not as stored.

        The group's own metadata comes first.
        """
        group, files = self.run.group, store_files(self.run.store_path)
        yield f"{group}/zarr.json", group_metadata(self.attributes())
        yield from self.status_files.items()
        length = len(self.status)
        names = ["seed", *UNIT_ARRAYS, *STEP_ARRAYS]
        if not self.withheld:
            names += [n for n in ("sample", "denoised") if files.exists(f"{group}/{n}/zarr.json")]
        for name in names:
            place = f"{group}/{name}"
            array = open_array(self.run.zarr_store, place)
            grows = name not in STEP_ARRAYS
            yield (
                f"{place}/zarr.json",
                cut_metadata(files, f"{place}/zarr.json", length) if grows else None,
            )
            counts = [
                -(-size // part)
                for size, part in zip(array.shape, array.shards or array.chunks, strict=True)
            ]
            first = range(counts[0])
            if name == "seed":
                first = range(-(-length // array.chunks[0]))
            elif grows:
                part = (array.shards or array.chunks)[0]
                first = np.unique(self.slots // part).tolist()
            for index in first:
                for rest in np.ndindex(*counts[1:]):
                    yield f"{place}/{array.metadata.encode_chunk_key((index, *rest))}", None


def group_metadata(attributes: dict[str, Any]) -> bytes:
    """Return the zarr.json of a group."""
    document = {"attributes": attributes, "zarr_format": 3, "node_type": "group"}
    return (json.dumps(to_jsonable(document), indent=2, allow_nan=False)).encode()


def cut_metadata(files: StoreFiles, key: str, length: int) -> bytes | None:
    """Return the zarr.json of an array with its first axis cut, None where it is as long."""
    content = files.read(key)
    document = json.loads(content)
    if document["shape"][0] <= length:
        return None
    document["shape"][0] = length
    return json.dumps(document, indent=2).encode()
