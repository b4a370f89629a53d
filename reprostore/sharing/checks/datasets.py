"""A dataset in a store: checksums of its items, and the fingerprint of what they are."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.datasets.content import Content
from reprostore.seeds import shorten
from reprostore.sharing.checks.chunks import Shard, each_block, file_key, open_shard, read_chunk
from reprostore.sharing.checks.findings import Damage, Finding, Kind, numbers_text
from reprostore.sharing.checks.forms import (
    LENGTH_LIMIT,
    ArrayForm,
    array_form,
    group_attributes,
    require_no_attributes,
)
from reprostore.sharing.checks.states import workers
from reprostore.specs import DatasetSpec
from reprostore.store.dataset_attributes import unsealed
from reprostore.store.files import StoreFiles

_DIMS = ("train_index", "channel", "y", "x")
_BESIDE_SPEC = ("provenance", "source_digest", "fingerprint")


@dataclass
class CheckedDataset:
    """What is known of a dataset after it was checked.

    Attributes
    ----------
    findings : list of Finding
        What is wrong with it.
    fingerprint : str or None
        As recorded; None where its attributes are damaged.
    length : int
        Number of items.
    chunks : int
        How many were read.
    withheld : bool
        Whether its items are not in the store.
    """

    findings: list[Finding] = field(default_factory=list)
    fingerprint: str | None = None
    length: int = 0
    chunks: int = 0
    withheld: bool = False


def check_dataset(
    files: StoreFiles, name: str, step: Callable[[float], None] = lambda share: None
) -> CheckedDataset:
    """Check a dataset.

    Parameters
    ----------
    files : StoreFiles
        Of the store.
    name : str
        Of the dataset.
    step : callable
        Called after every chunk with the share of the items that was read.
    """
    group = f"datasets/{name}"
    checked = CheckedDataset()

    def wrong(kind: Kind, array: str, what: str) -> None:
        checked.findings.append(
            Finding(
                damage=True,
                kind=kind,
                place=f"{group}/{array}".rstrip("/"),
                what=what,
                action="Delete the dataset's folder: it is read in again from its source. Models "
                "in the store were trained on it, so that nothing is deleted unasked.",
                group=group,
            )
        )

    try:
        attributes = group_attributes(files, group)
        checked.fingerprint = _recorded(name, attributes)
        if "checksum" not in attributes:
            checked.findings.append(_unsealed(group))
        checked.withheld = attributes.get("withheld") is True
        checked.findings += _others(files, group)
        if checked.withheld:
            checked.length = _withheld(files, group, attributes)
            return checked
    except Damage as damage:
        wrong("attributes", "", f"The dataset {damage}.")
        return checked
    try:
        form, about = array_form(files, f"{group}/item")
        _check_form(form, about)
        require_no_attributes(about, "length")
    except Damage as damage:
        wrong("array", "item", f"The array item {damage}.")
        return checked
    checked.length = form.shape[0]
    try:
        labels = _labels(files, group, checked)
    except Damage as damage:
        wrong("checksum", "label", f"The array label {damage}.")
        return checked
    content = Content()
    bad: dict[str, list[int]] = {}
    for rows, values in _chunks(files, f"{group}/item", form):
        if isinstance(values, Damage):
            bad.setdefault(str(values), []).extend(rows)
            continue
        checked.chunks += 1
        step(rows.stop / form.shape[0])
        content.add(values[: len(rows)])
    for reason, items in bad.items():
        wrong("checksum", "item", f"What is stored of the items {numbers_text(items)} {reason}.")
    if not bad and content.finished(form.shape, form.dtype, labels) != checked.fingerprint:
        wrong("fingerprint", "item", "The items are others than those of the fingerprint.")
    return checked


def _recorded(name: str, attributes: dict[str, Any]) -> str:
    about = attributes.keys() - {"checksum", "name"}
    if about not in ({"dataset"}, {"dataset", "withheld", "items"}):
        raise Damage("has other attributes than `dataset`")
    try:
        recorded = unsealed(name, attributes)["dataset"]
    except ValueError as error:
        raise Damage(f"has attributes that cannot be used ({shorten(str(error), 100)})") from error
    except Exception as error:  # whatever an edited attribute leads to
        raise Damage("has attributes that are not those of a dataset") from error
    try:
        beside = [recorded.pop(key) for key in _BESIDE_SPEC]
        DatasetSpec.model_validate(recorded)
    except Exception as error:  # whatever an edited attribute leads to
        raise Damage("has attributes that are not those of a dataset") from error
    if not isinstance(beside[-1], str):
        raise Damage("has no fingerprint")
    return beside[-1]


def _unsealed(group: str) -> Finding:
    return Finding(
        damage=False,
        kind="unchecked",
        place=group,
        what="The attributes of the dataset have no checksum, as those that were made earlier: "
        "whether they were changed, such as which items are held out, cannot be seen.",
        action="Compare them with the study; `repro merge` into a new store gives them one.",
        group=group,
    )


def _others(files: StoreFiles, group: str) -> Iterator[Finding]:
    for name in files.folders(group):
        if name not in ("item", "label"):
            what = f"The dataset has the folder {shorten(name)}, which is none of its arrays."
            action = "Delete this folder when no process writes, or restore it from a copy."
            yield Finding(True, "array", f"{group}/{name}", what, action, group)


def _withheld(files: StoreFiles, group: str, attributes: dict[str, Any]) -> int:
    """Return the number of items of a dataset whose items are not in the store."""
    form = attributes["items"]
    shape, dtype = (form.get("shape"), form.get("dtype")) if isinstance(form, dict) else (None, "")
    lengths = shape if isinstance(shape, list) and len(shape) > 1 else [-1]
    if not all(type(n) is int and 0 <= n <= LENGTH_LIMIT for n in lengths):
        raise Damage("does not say how many items were withheld, of which shape")
    if dtype not in ("uint8", "float32"):
        raise Damage("does not say of which dtype the withheld items are")
    for name in ("item", "label"):
        if files.exists(f"{group}/{name}"):
            raise Damage(f"has the array {name}, although its items are withheld")
    return int(lengths[0])


def _check_form(form: ArrayForm, about: dict[str, Any]) -> None:
    if form.dtype not in ("uint8", "float32") or form.dims != _DIMS:
        raise Damage("is not that of a dataset")
    if about.get("length", form.shape[0]) != form.shape[0]:  # earlier datasets do not say it
        raise Damage(f"has {form.shape[0]} items, and was written with another number")
    if form.chunk[1:] != form.shape[1:] or form.shard[1:] != form.shape[1:]:
        raise Damage("has chunks that do not hold whole items")


def _labels(files: StoreFiles, group: str, checked: CheckedDataset) -> NDArray[np.int64] | None:
    array = f"{group}/label"
    if not files.exists(array):
        return None
    form, about = array_form(files, array)
    require_no_attributes(about)
    if form.shape != (checked.length,) or form.dtype != "int64" or form.sharded:
        raise Damage("is not that of the items")
    parts = []
    for _, values in each_block(files, array, form, ((n,) for n in range(form.files[0]))):
        if isinstance(values, Damage):
            raise values
        checked.chunks += 1
        parts.append(values)
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _chunks(
    files: StoreFiles, array: str, form: ArrayForm
) -> Iterator[tuple[range, NDArray[Any] | Damage]]:
    """Read the items in their order, chunk by chunk, a few chunks ahead."""
    pending: deque[tuple[range, Future[NDArray[Any] | Damage]]] = deque()
    with ThreadPoolExecutor(workers()) as pool:
        for rows, shard in _places(files, array, form):
            pending.append((rows, pool.submit(_read, files, array, form, shard, rows)))
            if len(pending) > 2 * workers():
                done, future = pending.popleft()
                yield done, future.result()
        while pending:
            done, future = pending.popleft()
            yield done, future.result()


def _places(
    files: StoreFiles, array: str, form: ArrayForm
) -> Iterator[tuple[range, Shard | Damage | None]]:
    missing = 0
    for block in range(form.files[0]):
        shard: Shard | Damage | None
        first = block * form.shard[0]
        last = min(first + form.shard[0], form.shape[0])
        try:
            shard = open_shard(files, _key(array, block, form), form)
        except Damage as damage:
            shard = damage
        missing += shard is None
        if missing > 1 and shard is None:
            last = form.shape[0]  # however many there should be, one finding tells of all
        if not isinstance(shard, Shard):
            yield range(first, last), shard
        else:
            for start in range(first, last, form.chunk[0]):
                yield range(start, min(start + form.chunk[0], last)), shard
        if last == form.shape[0]:
            return


def _key(array: str, block: int, form: ArrayForm) -> str:
    return file_key(array, (block, *(0,) * (len(form.shape) - 1)))


def _read(
    files: StoreFiles, array: str, form: ArrayForm, shard: Shard | Damage | None, rows: range
) -> NDArray[Any] | Damage:
    if shard is None:
        return Damage("does not exist")
    if isinstance(shard, Damage):
        return shard
    place = (rows.start % form.shard[0] // form.chunk[0], *(0,) * (len(form.shape) - 1))
    try:
        values = read_chunk(files, shard, place, form)
    except Damage as damage:
        return damage
    return values.view(np.dtype(form.dtype)).reshape(form.chunk)
