"""A source's seeds added to a run, and whatever contradicts that."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.canonical import to_jsonable
from reprostore.layout import RunLayout, probes_agree
from reprostore.seeds import seeds_text
from reprostore.sharing.merging.conflicts import Findings
from reprostore.sharing.merging.kept import require_kept
from reprostore.sharing.merging.runs import Addition, MergedRun
from reprostore.sharing.merging.states import largest_difference
from reprostore.store.identity import first_difference


def join(
    merged: MergedRun, added: Addition, tolerance: float | None, findings: Findings
) -> dict[str, Any]:
    """Add a source's seeds to a run, and find what contradicts that.

    Parameters
    ----------
    merged : MergedRun
        What the run has so far; it gains the seeds.
    added : Addition
        What the source has.
    tolerance : float, optional
        By how much states of equal seeds may differ, in units in which images span [-1, 1].
    findings : Findings
        Takes conflicts and notes.

    Returns
    -------
    dict
        The row of the result: counts of seeds `copied`, `equal` and `differing`, the
        `largest_difference` of the latter (None where there are none), and `bytes` to be copied.
    """
    name, before = merged.spec.path, len(findings.conflicts)
    row = {"kind": "run", "name": name, "source": added.source, "from": added.run.path,
           "copied": 0, "equal": 0, "differing": 0, "largest_difference": None, "bytes": 0,
           "withheld": added.run.withheld}  # fmt: skip
    _check_same_run(merged, added, findings)
    if len(findings.conflicts) > before:
        return row
    at = merged.positions(added.seeds)
    both = at >= 0
    both[both] = merged.holder[at[both]] >= 0
    _check_noise(merged, added, at, both, findings)
    other = np.zeros(len(at), dtype=np.bool_)
    other[both] = merged.digests[at[both]] != added.digests[both]
    difference = _differing(merged, added, at, other, tolerance, findings)
    upgrade = merged.withheld and not added.run.withheld
    if len(findings.conflicts) == before:
        _check_withheld(merged, added, both & ~other, upgrade, findings)
    row |= {"equal": int((both & ~other).sum()), "differing": int(other.sum()),
            "largest_difference": difference}  # fmt: skip
    if len(findings.conflicts) == before:
        require_kept(merged, at[both & ~other], added.source)
        chosen = np.ones(len(at), dtype=np.bool_) if upgrade else ~both
        row["copied"] = int(chosen.sum())
        if not added.run.withheld:
            row["bytes"] = RunLayout.of(added.spec).nbytes(int(chosen.sum()))
        _add(merged, added, at, chosen, kept=both)
        merged.withheld = merged.withheld and added.run.withheld
    return row


def _check_same_run(merged: MergedRun, added: Addition, findings: Findings) -> None:
    ours, theirs = merged.spec, added.spec
    action = f"Give the model of {added.source} another name with --rename {added.source}:NAME=NEW."
    if ours.fingerprint != theirs.fingerprint:
        difference = first_difference(
            to_jsonable(ours.identity()), to_jsonable(theirs.identity())
        ).replace("in what was asked for", f"in {added.source}")
        found = f"The run {ours.path} of {added.source} is another one: {difference}."
        findings.conflict("run", ours.path, added.source, found, action)
        return
    table = added.run.step_table()
    for key in ("sigma", "alpha", "timestep"):
        one, two = getattr(merged.table, key), getattr(table, key)
        if one.shape != two.shape or not np.allclose(one, two, rtol=1e-6, atol=0, equal_nan=True):
            found = (
                f"The run {ours.path} of {added.source} has other values of {key} "
                f"({two.tolist()}) than there are so far ({one.tolist()})."
            )
            findings.conflict("run", ours.path, added.source, found, action)


def _check_noise(
    merged: MergedRun,
    added: Addition,
    at: NDArray[np.int64],
    both: NDArray[np.bool_],
    findings: Findings,
) -> None:
    one, two = merged.probes[at[both]], added.probes[both]
    close = (probes_agree(one, two) | (np.isnan(one) & np.isnan(two))).all(axis=1)
    if not close.all():
        findings.conflict(
            "noise",
            merged.spec.path,
            added.source,
            f"The run {merged.spec.path} of {added.source} began from other noise at the seeds "
            f"{seeds_text(added.seeds[both][~close])}.",
            f"Leave the run out, or give the model of {added.source} another name with --rename.",
        )


def _differing(
    merged: MergedRun,
    added: Addition,
    at: NDArray[np.int64],
    other: NDArray[np.bool_],
    tolerance: float | None,
    findings: Findings,
) -> float | None:
    """Compare the states of equal seeds with other digests; return by how much they differ."""
    if not other.any():
        return None
    known = not (merged.withheld or added.run.withheld)
    difference = None
    if known:
        where = at[other]
        pairs = (merged.holder[where], merged.slots[where], added.slots[other])
        difference = largest_difference(merged.runs, added.run, pairs)
        if tolerance is not None and difference <= tolerance:
            return difference
    by = "their states are not there to be compared" if difference is None else (
        f"their states differ by up to {difference:.3g}, images in [-1, 1]"
    )  # fmt: skip
    allowed = "" if tolerance is None or not known else f", and {tolerance:.3g} is allowed"
    findings.conflict(
        "digest",
        merged.spec.path,
        added.source,
        f"{int(other.sum())} samples of the run {merged.spec.path} of {added.source} are others "
        f"than those of equal seeds so far ({seeds_text(added.seeds[other])}): {by}{allowed}.",
        f"Allow a difference with --tolerance, or give the model of {added.source} another name "
        "with --rename."
        if known
        else f"Give the model of {added.source} another name with --rename.",
    )
    return difference


def _check_withheld(
    merged: MergedRun,
    added: Addition,
    equal: NDArray[np.bool_],
    upgrade: bool,
    findings: Findings,
) -> None:
    """Refuse a run that would have samples of some of its seeds and none of others."""
    if added.run.withheld and not merged.withheld:
        lacking = added.seeds[~equal]
        found = f"{added.source} withholds samples of the run {merged.spec.path}"
    elif upgrade:
        held = merged.seeds[merged.holder >= 0]
        lacking = held[~np.isin(held, added.seeds[equal])]
        found = f"{added.source} has only some samples of the withheld run {merged.spec.path}"
    else:
        return
    if len(lacking):
        findings.conflict(
            "samples",
            merged.spec.path,
            added.source,
            f"{found}: those of the seeds {seeds_text(lacking)} are in none of the stores.",
            "Ask for these samples, or give the model another name with --rename.",
        )


def _add(
    merged: MergedRun,
    added: Addition,
    at: NDArray[np.int64],
    chosen: NDArray[np.bool_],
    kept: NDArray[np.bool_],
) -> None:
    if not chosen.any():
        return
    merged.runs.append(added.run)
    holder = len(merged.runs) - 1
    inside, new = chosen & (at >= 0), chosen & (at < 0)
    merged.holder[at[inside]] = holder
    merged.slots[at[inside]] = added.slots[inside]
    filled = inside & ~kept  # what was known of a seed stays
    merged.digests[at[filled]] = added.digests[filled]
    merged.sessions[at[filled]] = added.sessions[filled]
    merged.probes[at[filled]] = added.probes[filled]
    merged.seeds = np.concatenate([merged.seeds, added.seeds[new]])
    merged.digests = np.concatenate([merged.digests, added.digests[new]])
    merged.sessions = np.concatenate([merged.sessions, added.sessions[new]])
    merged.probes = np.concatenate([merged.probes, added.probes[new]])
    merged.slots = np.concatenate([merged.slots, added.slots[new]])
    merged.holder = np.concatenate([merged.holder, np.full(int(new.sum()), holder, np.int64)])
