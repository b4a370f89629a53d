"""Vectors in a store: every one that counts as made is there and finite."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.sharing.checks.chunks import blocks_of, each_block
from reprostore.sharing.checks.findings import Damage
from reprostore.sharing.checks.forms import ArrayForm
from reprostore.store.files import StoreFiles


def run_vectors(
    files: StoreFiles,
    group: str,
    keys: Sequence[str],
    forms: dict[str, ArrayForm],
    kept: NDArray[np.bool_] | None = None,
) -> int:
    """Read the vectors of a run and the digests that they were made from.

    Parameters
    ----------
    files : StoreFiles
        Of the store.
    group : str
        Path of the vectors.
    keys : sequence of str
        Keys of all their files.
    forms : dict
        Of their arrays.
    kept : ndarray of bool, (slot,), optional
        Which slots of a run are written whose samples are not in the store. Their vectors are
        not made again, so that one without its digest is lost.

    Returns
    -------
    int
        The number of chunks.

    Raises
    ------
    Damage
        A chunk is damaged, a vector is absent that counts as made, or digests of kept ones are.
    """
    vector, made = _pair(forms, ("vector", "source_digest"), ("float32", "uint64"))
    if (vector.dims, made.dims) != (("seed", "step", "embedding"), ("slot", "step")):
        raise Damage("has arrays of other dimensions than vectors have")
    if vector.shape[1] != made.shape[1] or vector.files[2] > 1:
        raise Damage("has arrays of another shape than vectors have")
    if vector.chunk[:2] != made.chunk or made.chunk[1] != 1:
        raise Damage("has vectors and digests that are not cut alike")
    there = {block[:2] for block in blocks_of(f"{group}/vector", keys) if len(block) == 3}
    known = {block for block in blocks_of(f"{group}/source_digest", keys) if len(block) == 2}
    chunks = 0
    for block in sorted(there | known):
        if block[0] >= made.files[0] or block[1] >= made.files[1]:
            continue
        digests = np.zeros(0, dtype=np.uint64)
        start = block[0] * made.chunk[0]
        if block not in known and kept is not None and kept[start : start + made.chunk[0]].any():
            raise Damage("has vectors without the digests of what they were made from")
        if block in known:
            ((_, values),) = each_block(files, f"{group}/source_digest", made, [block])
            digests = _values(values, "source_digest")[:, 0]
            chunks += 1
        count = np.flatnonzero(digests)
        if block in there:
            ((_, values),) = each_block(files, f"{group}/vector", vector, [(*block, 0)])
            vectors = _values(values, "vector")[:, 0]
            chunks += 1
            count = count[count < len(vectors)][~np.isfinite(vectors[count]).all(axis=1)]
        if len(count):
            raise Damage(f"has {len(count)} vectors that are not there, although they were made")
    return chunks


def stale_vectors(
    files: StoreFiles,
    group: str,
    form: ArrayForm,
    keys: Sequence[str],
    today: NDArray[np.uint64],
) -> int:
    """Count the vectors of samples that are no longer those that are stored.

    Parameters
    ----------
    files, group, keys
        As in `run_vectors`.
    form : ArrayForm
        Of `source_digest`.
    today : ndarray of uint64, (slot,)
        Digests of the stored samples, 0 where there is none.
    """
    stale = 0
    blocks = [block for block in blocks_of(f"{group}/source_digest", keys) if len(block) == 2]
    inside = [b for b in blocks if b[0] < form.files[0] and b[1] < form.files[1]]
    for (block, _), values in each_block(files, f"{group}/source_digest", form, inside):
        if isinstance(values, Damage):
            continue
        made, start = values[:, 0], block * form.chunk[0]
        now = np.zeros(len(made), dtype=np.uint64)
        there = today[start : start + len(made)]
        now[: len(there)] = there
        stale += int(((made != 0) & (made != now)).sum())
    return stale


def item_vectors(
    files: StoreFiles,
    group: str,
    keys: Sequence[str],
    forms: dict[str, ArrayForm],
    *,
    kept: bool = False,
) -> int:
    """Read the vectors of a dataset, and which blocks of them are made.

    Where they are `kept`, the items are not in the store: vectors are not made again, so that
    without the marks that say so they are lost.

    Returns
    -------
    int
        The number of chunks.

    Raises
    ------
    Damage
        A chunk is damaged, or a vector is absent that counts as made.
    """
    vector, done = _pair(forms, ("vector", "block_done"), ("float32", "uint8"))
    if (vector.dims, done.dims) != (("train_index", "embedding"), ("block",)):
        raise Damage("has arrays of other dimensions than vectors have")
    if vector.files[1] > 1:
        raise Damage("has arrays of another shape than vectors have")
    if done.shape[0] != vector.files[0] or done.files not in ((0,), (1,)):
        raise Damage("has marks of other blocks than it has")
    there = {block[0] for block in blocks_of(f"{group}/vector", keys) if len(block) == 2}
    finished: set[int] = set()
    chunks = 0
    for _, values in each_block(files, f"{group}/block_done", done, _first(done, group, keys)):
        finished = set(np.flatnonzero(_values(values, "block_done")).tolist())
        chunks += 1
    if kept and there and not chunks:
        raise Damage("has vectors without the marks that say which of them are made")
    for block in sorted(there | finished):
        if block not in there:
            raise Damage(f"has no vectors in block {block}, although they were made")
        if block >= vector.files[0]:
            continue
        ((_, values),) = each_block(files, f"{group}/vector", vector, [(block, 0)])
        chunks += 1
        if block in finished and not np.isfinite(_values(values, "vector")).all():
            raise Damage(f"has vectors in block {block} that are not finite")
    return chunks


def _first(done: ArrayForm, group: str, keys: Sequence[str]) -> list[tuple[int, ...]]:
    return [(0,)] if (0,) in blocks_of(f"{group}/block_done", keys) and done.files == (1,) else []


def _pair(
    forms: dict[str, ArrayForm], names: tuple[str, str], dtypes: tuple[str, str]
) -> tuple[ArrayForm, ArrayForm]:
    if forms.keys() != set(names):
        raise Damage(f"has the arrays {', '.join(sorted(forms))[:80]}, not {' and '.join(names)}")
    first, second = (forms[name] for name in names)
    if (first.dtype, second.dtype) != dtypes or first.sharded or second.sharded:
        raise Damage("has arrays of other numbers than vectors are")
    return first, second


def _values(values: NDArray[Any] | Damage, name: str) -> NDArray[Any]:
    if isinstance(values, Damage):
        raise Damage(f"has the array {name}, which {values}")
    return values
