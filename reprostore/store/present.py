"""Chunk files that must exist: what is absent would be read as zeros or NaN."""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reprostore.errors import CorruptionError
from reprostore.store.files import store_files

if TYPE_CHECKING:
    import zarr


def require_files(
    store_path: Path, array: "zarr.Array[Any]", action: str, rows: slice = slice(None)
) -> None:
    """Make sure that an array which was written whole has all of its files.

    Parameters
    ----------
    store_path : Path
        The store, a folder or an archive.
    array : zarr.Array
        An array in it.
    action : str
        What to do when a file is absent, as a full sentence.
    rows : slice
        Part of the first axis; all of it when left out.

    Raises
    ------
    CorruptionError
        A file is absent or empty.
    """
    lengths = array.shards or array.chunks
    spans = [slice(0, length) for length in array.shape]
    if spans:
        spans[0] = slice(*rows.indices(array.shape[0])[:2])
    if any(span.start >= span.stop for span in spans):
        return
    blocks = (
        range(span.start // length, (span.stop - 1) // length + 1)
        for span, length in zip(spans, lengths, strict=True)
    )
    files = store_files(store_path)
    for place in itertools.product(*blocks):
        key = f"{array.path}/{array.metadata.encode_chunk_key(place)}"
        if not files.size(key):
            raise CorruptionError(
                f"The file {key} of the store {store_path} does not exist or is empty.",
                "Everything that was written is there.",
                action,
            )
