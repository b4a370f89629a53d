"""What was made from runs and datasets: its checksums, and whether it is of what is stored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from reprostore.canonical import fingerprint
from reprostore.sharing.checks.cache_inputs import Inputs
from reprostore.sharing.checks.chunks import each_block, file_chunks
from reprostore.sharing.checks.findings import (
    MAKE_READABLE,
    UNREADABLE,
    Damage,
    Finding,
    Kind,
    Mending,
)
from reprostore.sharing.checks.forms import (
    ArrayForm,
    array_form,
    group_attributes,
    require_no_attributes,
)
from reprostore.sharing.checks.vectors import item_vectors, run_vectors
from reprostore.store.files import StoreFiles, run_folders

MADE_AGAIN = "It is made again when it is asked for."


@dataclass
class CheckedCache:
    """What was found in one group that was made from others.

    Attributes
    ----------
    findings : list of Finding
        What is wrong with it, and whether it is of what is stored.
    chunks : int
        How many were read.
    """

    findings: list[Finding] = field(default_factory=list)
    chunks: int = 0


def cache_groups(files: StoreFiles) -> Iterator[str]:
    """Yield the paths of all groups of vectors, neighbors and results."""
    for encoder in files.folders("embeddings"):
        yield from _items_and_runs(files, f"embeddings/{encoder}")
    for encoder in files.folders("neighbors"):
        for corpus in files.folders(f"neighbors/{encoder}"):
            yield from _items_and_runs(files, f"neighbors/{encoder}/{corpus}")
    for analysis in files.folders("results"):
        for key in files.folders(f"results/{analysis}"):
            yield f"results/{analysis}/{key}"


def _items_and_runs(files: StoreFiles, parent: str) -> Iterator[str]:
    yield from (f"{parent}/datasets/{name}" for name in files.folders(f"{parent}/datasets"))
    yield from (f"{parent}/runs/{path}" for path in run_folders(files, f"{parent}/runs"))


def check_cache(files: StoreFiles, group: str, keys: Sequence[str], inputs: Inputs) -> CheckedCache:
    """Check a group that was made from others.

    Parameters
    ----------
    files : StoreFiles
        Of the store.
    group : str
        Its path.
    keys : sequence of str
        Keys of all its files.
    inputs : Inputs
        What is known of runs, datasets and encoders.
    """
    checked = CheckedCache()
    replaceable = inputs.replaceable(group)

    def wrong(kind: Kind, place: str, what: str) -> None:
        mending: Mending | None = "remove"
        action = f"Remove it with --repair. {MADE_AGAIN}"
        if not replaceable:
            action = "It cannot be made again from this store: restore it from a copy."
        # What is behind a link may only be away for the moment.
        unread = UNREADABLE in what or any(files.dead_end(key) is not None for key in keys)
        if unread:
            action = MAKE_READABLE
        if not replaceable or unread:
            mending = None
        checked.findings.append(Finding(True, kind, place, what, action, group, mending=mending))

    def note(kind: Kind, what: str, action: str) -> None:
        checked.findings.append(Finding(False, kind, group, what, action, group))

    try:
        attributes = group_attributes(files, group)
    except Damage as damage:
        wrong("attributes", group, f"The group {damage}.")
        return checked
    forms: dict[str, ArrayForm] = {}
    about: dict[str, dict[str, Any]] = {}
    for name in files.folders(group):
        try:
            forms[name], about[name] = array_form(files, f"{group}/{name}")
        except Damage as damage:
            wrong("array", f"{group}/{name}", f"The array {name} {damage}.")
    if checked.findings:
        return checked
    family, place = group.split("/")[0], group.split("/")[2:]
    try:
        if family != "embeddings":
            checked.chunks += _labelled(files, group, attributes, forms)
            _check_attributes(attributes, forms, about)
        else:
            for array in about.values():
                require_no_attributes(array)
            if place[0] == "runs":
                kept = inputs.kept("/".join(place[1:]))
                checked.chunks += run_vectors(files, group, keys, forms, kept)
            else:
                kept_items = place[1] in inputs.withheld
                checked.chunks += item_vectors(files, group, keys, forms, kept=kept_items)
    except Damage as damage:
        wrong("checksum", group, f"The group {damage}.")
        return checked
    if family != "embeddings" and "checksum" not in attributes:
        again = MADE_AGAIN if replaceable else "Where its vectors are not here, receive it again."
        note("stale", "Its attributes, made earlier, have no checksum: it is not used.", again)
    for kind, what in inputs.judged(files, group, attributes, forms, keys):
        if kind in ("attributes", "values", "length"):
            wrong(kind, group, what)
        elif kind == "stale":
            note(kind, what, MADE_AGAIN)
        else:
            note(kind, what, "Check it where the study and its models are.")
    return checked


def _labelled(
    files: StoreFiles, group: str, attributes: dict[str, Any], forms: dict[str, ArrayForm]
) -> int:
    """Read all of a Dataset; return the number of its chunks."""
    names, labels = attributes.get("variables"), attributes.get("labels", {})
    if not isinstance(names, list) or not isinstance(labels, dict):
        raise Damage("does not name its variables")
    if sorted(map(str, names)) != sorted(forms):
        raise Damage("has other variables than its attributes name")
    sizes: dict[str, int] = {}
    chunks = 0
    for name, form in forms.items():
        for dim, length in zip(form.dims, form.shape, strict=True):
            if sizes.setdefault(dim, length) != length:
                raise Damage(f"has variables of unequal length along {dim}")
        if name in labels and (form.shape != (len(labels[name]),)):
            raise Damage(f"has not one label for each value of {name}")
        for block in _ndindex(form.files):
            if form.sharded:
                chunks += sum(1 for _ in file_chunks(files, f"{group}/{name}", block, form))
                continue
            ((_, values),) = each_block(files, f"{group}/{name}", form, [block])
            if isinstance(values, Damage):
                raise Damage(f"has the array {name}, which {values}")
            chunks += 1
    return chunks


def _check_attributes(
    attributes: dict[str, Any], forms: dict[str, ArrayForm], about: dict[str, dict[str, Any]]
) -> None:
    """Compare all that says what the numbers mean with its checksum, as readers do."""
    described = {
        name: {
            "dtype": form.dtype,
            "shape": list(form.shape),
            "dims": list(form.dims),
            "attributes": about[name],
        }
        for name, form in forms.items()
    }
    if "checksum" not in attributes:
        for array in about.values():
            require_no_attributes(array)
    rest = {name: value for name, value in attributes.items() if name != "checksum"}
    if attributes.get("checksum") not in (None, fingerprint([rest, described])):
        raise Damage("has attributes, or variables of it have, that do not agree with the checksum")


def _ndindex(lengths: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Count through places one by one: a made-up shape may have more than NumPy counts."""
    if not lengths:
        yield ()
        return
    for first in range(lengths[0]):
        for rest in _ndindex(lengths[1:]):
            yield (first, *rest)
