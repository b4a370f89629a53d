"""Results in the store: used again only while everything they were made from is the same."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from reprostore.canonical import fingerprint, to_jsonable
from reprostore.execution import drift
from reprostore.neighbors import Written
from reprostore.store import Run, SampleStore
from reprostore.store.labelled import read_cached, read_labelled, write_labelled


def run_inputs(run: Run, written: Written) -> dict[str, str]:
    """Return the fingerprints of a run and of those of its samples that are analyzed."""
    return {"run": run.spec.fingerprint, "samples": written.fingerprint}


def percent(share: float) -> str:
    """Write a confidence level as it is: "95 %", "99.5 %"."""
    return f"{100 * share:.10g} %"


def drifted_runs(store: SampleStore, runs: list[Run]) -> dict[str, Any]:
    """Return, for the runs that were computed in differing ways, what differed."""
    found = {run.path: drift(store, run) for run in runs}
    return {path: differences for path, differences in found.items() if differences}


def cached_result(
    store: SampleStore,
    analysis: str,
    question: dict[str, Any],
    inputs: dict[str, Any],
    compute: Callable[[], xr.Dataset],
) -> xr.Dataset:
    """Return a stored result, or compute and store it.

    Parameters
    ----------
    store : SampleStore
        The store; a read-only one is used without storing.
    analysis : str
        Name of the analysis.
    question : dict
        What was asked: options, runs, encoder, version of the analysis. Names the result.
    inputs : dict
        Fingerprints of what the answer is made from. A result with others is replaced.
    compute : callable
        Makes the result.

    Returns
    -------
    xarray.Dataset
        In memory, with `question` and `made_from` among its attributes.
    """
    target = f"results/{analysis}/{fingerprint(question)}"
    made_from = fingerprint(inputs)
    stored = read_cached(store.path, target, "made_from_fingerprint", made_from)
    if stored is not None:
        return stored
    result = compute()
    result.attrs.update(
        question=question, made_from=inputs, made_from_fingerprint=made_from, analysis=analysis
    )
    if store.read_only:
        result.attrs = to_jsonable(result.attrs)  # as they would come back from the store
        return result
    write_labelled(store.path, target, result)
    return read_labelled(store.path, target)


def thresholds() -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the similarity thresholds of stored curves: -1 to 1 in steps of 0.005."""
    return np.round(np.linspace(-1, 1, 401), 3)
