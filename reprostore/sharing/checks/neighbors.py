"""Nearest neighbors against what they are of: their seeds or items, and which items were searched.

The search itself is not repeated: `neighbor_pairs` computes the stored pairs alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.sharing.checks.chunks import each_block
from reprostore.sharing.checks.findings import Damage
from reprostore.sharing.checks.forms import ArrayForm
from reprostore.store.files import StoreFiles

_ROUNDING = 1e-6
"""By how much a value may be out of its range."""


def neighbor_values(
    files: StoreFiles,
    group: str,
    forms: Mapping[str, ArrayForm],
    queries: Sequence[int] | NDArray[np.int64] | None,
    corpus: Sequence[int] | None,
) -> Iterator[str]:
    """Say which values cannot be those of a search.

    Parameters
    ----------
    files : StoreFiles
        Of the store.
    group : str
        Path of the neighbors.
    forms : mapping
        Of its arrays, whose checksums were compared.
    queries : sequence of int, optional
        Seeds or numbers of the items that were searched for, in their order, where they are known.
    corpus : sequence of int, optional
        Numbers of the items among which was searched, where they are known.

    Yields
    ------
    str
        What is wrong, as a full sentence.
    """
    name = "similarity" if "similarity" in forms else "distance"
    coordinate = "item" if "item" in forms else "seed"
    if forms.keys() != {name, "train_index", coordinate}:
        yield f"Its arrays {', '.join(sorted(forms))[:60]} are not those of neighbors."
        return
    try:
        asked, found, values = (
            whole_array(files, f"{group}/{array}", forms[array])
            for array in (coordinate, "train_index", name)
        )
    except Damage as damage:  # replaced while it was read
        yield f"One of its arrays {damage}."
        return
    if asked.ndim != 1 or found.ndim != 2 or values.shape != found.shape:
        yield "Its arrays have other shapes than neighbors have."
        return
    if len(asked) != len(found):
        yield f"It has neighbors of {len(found)} and names {len(asked)}."
        return
    if queries is not None and not np.array_equal(asked, np.asarray(queries, dtype=np.int64)):
        yield f"The array {coordinate} holds others than those that were searched for."
    if corpus is not None and not np.isin(found, np.asarray(corpus, dtype=np.int64)).all():
        yield "The array train_index names items among which was not searched."
    ordered = np.sort(found, axis=1)
    if (ordered[:, 1:] == ordered[:, :-1]).any():
        yield "The array train_index names an item twice for one query."
    sign = -1.0 if name == "similarity" else 1.0
    if (np.diff(sign * values, axis=1) < -_ROUNDING * (1 + np.abs(values[:, 1:]))).any():
        yield f"The array {name} does not hold the nearest neighbors first."
    if name == "similarity" and (np.abs(values) > 1 + _ROUNDING).any():
        yield "The array similarity holds values beyond -1 and 1."
    if name == "distance" and (values < 0).any():
        yield "The array distance holds values below 0."


def whole_array(files: StoreFiles, array: str, form: ArrayForm) -> NDArray[Any]:
    """Read all of an array.

    Raises
    ------
    Damage
        A block of it cannot be read.
    """
    values = np.empty(form.shape, dtype=form.dtype)
    for block in np.ndindex(*form.files):
        ((_, part),) = each_block(files, array, form, [block])
        if isinstance(part, Damage):
            raise part
        at = zip(block, form.shard, part.shape, strict=True)
        values[tuple(slice(b * s, b * s + n) for b, s, n in at)] = part
    return values
