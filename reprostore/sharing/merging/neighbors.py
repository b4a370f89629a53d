"""Neighbors of the sources' samples, joined: each sample's do not depend on the others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from reprostore.canonical import fingerprint
from reprostore.errors import CorruptionError
from reprostore.neighbors import Written
from reprostore.sharing.merging.derived import Derived
from reprostore.store import Run, SampleStore
from reprostore.store.labelled import read_labelled, write_labelled


def join_run_neighbors(target: SampleStore, items: Sequence[Derived]) -> tuple[int, str]:
    """Join the neighbors that several stores have of the samples of one run.

    They are used where their group was made from samples with the very digests of the merged
    store, and written when they cover all of its samples, as many for each as there are for all.

    Parameters
    ----------
    target : SampleStore
        The merged store; what it has itself is joined too.
    items : sequence of Derived
        Neighbors of one run, under one encoder, among the same items.

    Returns
    -------
    copied : int
        Samples whose neighbors were written.
    lacking : str
        What the merged store has not of what the stores have, as a full sentence; may be empty.
    """
    nothing = (
        "Neighbors of some samples are in none of the stores: they are searched again when they "
        "are asked for."
    )
    first = items[0]
    assert first.encoder is not None
    written = Written.of(Run(target.path, first.merged_name))
    run = Run(target.path, first.merged_name).spec.fingerprint
    made_from = {"run": run, "samples": written.fingerprint, "encoder": first.encoder.fingerprint}
    places = [(target, first.merged_group), *((one.source.store, one.group) for one in items)]
    groups = [g for store, place in places if (g := _read(store, place)) is not None]
    groups = [group for group in groups if _is_about(group, made_from, written)]
    if not groups:
        return 0, nothing
    made_from["corpus"] = groups[0].attrs["made_from"]["corpus"]
    groups = [g for g in groups if g.attrs["made_from"]["corpus"] == made_from["corpus"]]
    joined = _joined(groups, written.seeds)
    if joined is None:
        return 0, nothing
    k, most = (max(each.sizes["neighbor"] for each in sets) for sets in ([joined], groups))
    lacking = "" if k == most else (
        f"{k} neighbors of each sample are kept, not {most}, which only some samples have: more "
        "are searched again when they are asked for."
    )  # fmt: skip
    own = _read(target, first.merged_group)
    if own is not None and own.attrs.get("made_from") == made_from and own.sizes["neighbor"] >= k:
        return 0, lacking
    write_labelled(target.path, first.merged_group, joined.assign_attrs(made_from=made_from))
    return len(written.seeds), lacking


def _read(store: SampleStore, place: str) -> xr.Dataset | None:
    if not store.files.exists(place):
        return None
    try:
        return read_labelled(store.path, place, sealed=True)
    except CorruptionError:  # it is made again
        return None


def _is_about(group: xr.Dataset, made_from: dict[str, Any], written: Written) -> bool:
    """Say whether neighbors are of samples that the merged store has, bit for bit."""
    recorded = group.attrs.get("made_from")
    if not isinstance(recorded, dict) or "seed" not in group or "corpus" not in recorded:
        return False
    if any(recorded.get(key) != made_from[key] for key in ("run", "encoder")):
        return False
    seeds = np.asarray(group["seed"].values, dtype=np.int64)
    at = _positions(written.seeds, seeds)
    if (at < 0).any():
        return False
    return recorded.get("samples") == fingerprint([seeds.tolist(), written.digests[at].tolist()])


def _joined(groups: Sequence[xr.Dataset], seeds: NDArray[np.int64]) -> xr.Dataset | None:
    """Return the rows of all seeds, as long as all can be; None where some are in no group."""
    for k in sorted({group.sizes["neighbor"] for group in groups}, reverse=True):
        long = [group for group in groups if group.sizes["neighbor"] >= k]
        if np.isin(seeds, np.concatenate([group["seed"].values for group in long])).all():
            return _rows([group.isel(neighbor=slice(k)) for group in long], seeds)
    return None


def _rows(parts: Sequence[xr.Dataset], seeds: NDArray[np.int64]) -> xr.Dataset:
    """Return the row of each seed from the first part that has it; each is in one."""
    which = np.full(len(seeds), -1)
    rows = np.zeros(len(seeds), dtype=np.int64)
    for number, part in enumerate(parts):
        at = _positions(part["seed"].values, seeds)
        new = (which < 0) & (at >= 0)
        which[new], rows[new] = number, at[new]
    names = [str(name) for name in parts[0].data_vars]
    values = {
        name: np.stack(
            [parts[p][name].values[r] for p, r in zip(which.tolist(), rows.tolist(), strict=True)]
        )
        for name in names
    }
    return xr.Dataset(
        {name: (("seed", "neighbor"), value) for name, value in values.items()},
        coords={"seed": ("seed", seeds)},
        attrs={"metric": parts[0].attrs.get("metric")},
    )


def _positions(known: NDArray[np.int64], asked: NDArray[np.int64]) -> NDArray[np.int64]:
    if len(known) == 0:
        return np.full(len(asked), -1, dtype=np.int64)
    order = np.argsort(known)
    near = np.minimum(np.searchsorted(known[order], asked), len(order) - 1)
    return np.where(known[order[near]] == asked, order[near], -1)


def copy_labelled(target: SampleStore, item: Derived) -> int:
    """Copy neighbors of real items, or a numerical floor, unless the merged store has the same.

    Returns
    -------
    int
        1 where it was copied.
    """
    theirs, ours = _read(item.source.store, item.group), _read(target, item.merged_group)
    if theirs is None:
        return 0
    if item.encoder is not None:
        made_from = theirs.attrs.get("made_from")
        if not isinstance(made_from, dict) or made_from.get("encoder") != item.encoder.fingerprint:
            return 0  # made by an encoder that its name stood for earlier
    if ours is not None and (item.kind == "floor" or _as_good(ours, theirs)):
        return 0
    write_labelled(target.path, item.merged_group, theirs)
    return 1


def _as_good(ours: xr.Dataset, theirs: xr.Dataset) -> bool:
    same = ours.attrs.get("made_from") == theirs.attrs.get("made_from")
    return same and ours.sizes.get("neighbor", 0) >= theirs.sizes.get("neighbor", 0)
