"""Imported vectors: a run that was imported as vectors has its digests from them."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.sharing.checks.chunks import each_block
from reprostore.sharing.checks.findings import Damage, Finding
from reprostore.sharing.checks.forms import ArrayForm, array_form, group_attributes
from reprostore.sharing.checks.run_identity import RunIdentity
from reprostore.sharing.checks.runs import RunCheck
from reprostore.sharing.checks.states import States
from reprostore.store.digest import SeedDigests
from reprostore.store.files import StoreFiles


def check_imported(files: StoreFiles, run: RunCheck, states: States) -> tuple[list[Finding], int]:
    """Compare imported vectors with the digests of their run.

    Vectors that an encoder made of samples cannot be checked in this way: their digests are those
    of the samples.

    Parameters
    ----------
    files : StoreFiles
        Of the store.
    run : RunCheck
        The run.
    states : States
        Its written slots and digests.

    Returns
    -------
    findings : list of Finding
        Seeds whose vectors are damaged, absent or others; a note where the store has none of them.
    compared : int
        Seeds whose digests were compared.
    """
    if not run.identity.of_vectors:
        return [], 0
    groups = list(_groups(files, run.identity))
    if not groups:
        what = "The vectors that this run was imported as are not in the store."
        action = "Ask for the store again, or import them again, if they are needed."
        group = run.identity.group
        return [Finding(False, "unchecked", group, what, action, group)], 0
    why = dict.fromkeys(np.flatnonzero(states.compared).tolist(), "are not there")
    compared = 0
    for group in groups:
        try:
            forms = [
                array_form(files, f"{group}/{name}")[0] for name in ("vector", "source_digest")
            ]
            _check_forms(*forms)
        except Damage:  # told with the group
            return [], 0
        unit = forms[0].chunk[0]
        for block in sorted({slot // unit for slot in why}):
            slots = np.asarray([slot for slot in why if slot // unit == block], dtype=np.int64)
            told = _compared(files, group, forms, slots, states.digests[slots])
            compared += len(slots)
            for slot, reason in zip(slots.tolist(), told, strict=True):
                why.pop(slot) if reason is None else why.update({slot: reason})
    reasons = sorted(set(why.values()))
    told_slots = {r: [slot for slot, reason in why.items() if reason == r] for r in reasons}
    return [
        run.damaged("digest", "digest", f"The imported vectors {reason}.", np.asarray(slots))
        for reason, slots in told_slots.items()
    ], compared


def _groups(files: StoreFiles, identity: RunIdentity) -> Iterator[str]:
    """Yield the groups that hold the vectors of the encoder that the run was imported with."""
    for name in files.folders("embeddings"):
        group = f"embeddings/{name}/runs/{identity.path}"
        try:
            attributes = group_attributes(files, group)
        except Damage:  # there is none, or it is told with the group
            continue
        made_from = attributes.get("made_from")
        if (
            attributes.get("encoder") == identity.spec.scheduler.get("encoder")
            and isinstance(made_from, dict)
            and made_from.get("run") == identity.spec.fingerprint
        ):
            yield group


def _check_forms(vector: ArrayForm, made: ArrayForm) -> None:
    if (vector.dtype, made.dtype, len(vector.shape), len(made.shape)) != (
        "float32",
        "uint64",
        3,
        2,
    ):
        raise Damage("has arrays of other numbers than vectors are")
    if vector.sharded or made.sharded or vector.files[1:] != (1, 1) or made.files[1:] != (1,):
        raise Damage("has vectors of more than one state")
    if vector.chunk[:2] != made.chunk:
        raise Damage("has vectors and digests that are not cut alike")


def _compared(
    files: StoreFiles,
    group: str,
    forms: Sequence[ArrayForm],
    slots: NDArray[np.int64],
    digests: NDArray[np.uint64],
) -> list[str | None]:
    """Say of slots of one unit why their vectors are not those of the digests, or None."""
    block = int(slots[0]) // forms[0].chunk[0]
    read: list[NDArray[Any]] = []
    for name, form, rest in zip(("vector", "source_digest"), forms, ((0, 0), (0,)), strict=True):
        if block >= form.files[0]:
            return ["are not there"] * len(slots)
        ((_, values),) = each_block(files, f"{group}/{name}", form, [(block, *rest)])
        if isinstance(values, Damage):
            return [f"cannot be read: the array {name} {values}"] * len(slots)
        read.append(values[:, 0])
    vectors, made = read
    rows = slots - block * forms[0].chunk[0]
    there = (rows < len(vectors)) & (rows < len(made))
    hashed = SeedDigests(int(there.sum()))
    hashed.add(vectors[rows[there]])
    equal = np.zeros(len(slots), dtype=np.bool_)
    equal[there] = hashed.values() == digests[there]
    marked = np.zeros(len(slots), dtype=np.bool_)
    marked[there] = made[rows[there]] == digests[there]
    return [
        None if e and m else "have another digest than the one that is recorded" if m
        else "are not there"
        for e, m in zip(equal.tolist(), marked.tolist(), strict=True)
    ]  # fmt: skip
