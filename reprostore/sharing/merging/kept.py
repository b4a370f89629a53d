"""Samples that stay in the merged store: whether they are those that their digests say."""

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import CorruptionError
from reprostore.seeds import seeds_text
from reprostore.sharing.merging.runs import MergedRun
from reprostore.sharing.merging.states import States, recorded_names, state_blocks
from reprostore.store.digest import SeedDigests


def require_kept(merged: MergedRun, at: NDArray[np.int64], source: str) -> None:
    """Compute the digests of samples anew that the merged store has and a source has too.

    Of samples that are copied it is done then.

    Parameters
    ----------
    merged : MergedRun
        The run.
    at : ndarray of int64
        Where these seeds are in it.
    source : str
        Label of the source, which has samples of the same digests.

    Raises
    ------
    CorruptionError
        A sample that would stay is damaged.
    """
    if not merged.on_disk or merged.runs[0].withheld:
        return
    run, at = merged.runs[0], at[(merged.holder[at] == 0) & ~np.isin(at, list(merged.kept))]
    action = (
        f"Run `repro verify {run.store_path} --repair`, and merge again: these samples are then "
        f"taken from {source}."
    )
    try:
        wrong = at[_are_others(merged, at)]
    except CorruptionError as error:
        raise CorruptionError(error.parts[0], error.parts[1], action) from error
    if len(wrong):
        raise CorruptionError(
            f"The samples of the run {run.path} in the store {run.store_path} at the seeds "
            f"{seeds_text(merged.seeds[wrong])} are others than their digests say.",
            "Every sample agrees with its digest.",
            action,
        )
    merged.kept.update(at.tolist())


def _are_others(merged: MergedRun, at: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say of which seeds the merged store has other states than their digests say."""
    run, states = merged.runs[0], States(merged.runs[0])
    other = np.zeros(len(at), dtype=np.bool_)
    for block in state_blocks(run, len(at)):
        part = at[block]
        digests = SeedDigests(len(part))
        for row in range(len(run.spec.steps)):
            for name in recorded_names(run):
                digests.add(states.read(name, merged.slots[part], row))
        other[block] = digests.values() != merged.digests[part]
    return other
