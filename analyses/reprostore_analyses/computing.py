"""Analyses as the command line runs them: several over one store, checked before they begin."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xarray as xr

from reprostore.embed.handle import Progress
from reprostore.encoders import require_device
from reprostore.errors import MissingDataError, ReprostoreError, SpecError, StorageError
from reprostore.specs import Spec
from reprostore.studies import check_stored_runs, store_for_analysis
from reprostore.study import LoadedStudy
from reprostore_analyses.context import Context
from reprostore_analyses.inputs import check_inputs
from reprostore_analyses.registry import Analysis, context_of


@dataclass(frozen=True)
class Computed:
    """An analysis with the options it was computed with, and its result."""

    analysis: Analysis
    options: Spec
    result: xr.Dataset

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per run or pair, as tables and ``--json`` show them."""
        return self.analysis.rows(self.result, self.options)


@dataclass(frozen=True)
class Analyzed:
    """What was computed, from what, and which analyses were not possible."""

    context: Context
    computed: list[Computed] = field(default_factory=list)
    left_out: dict[str, ReprostoreError] = field(default_factory=dict)


def analyze_store(
    path: Path,
    loaded: LoadedStudy | None,
    asked: Sequence[tuple[Analysis, Spec]],
    *,
    optional: bool = False,
    device: str = "cpu",
    download: bool = False,
    progress: Progress | None = None,
) -> Analyzed:
    """Compute analyses over a store, or read their results in it.

    Parameters
    ----------
    path : Path
        The store; it is written into where something is missing and that is possible.
    loaded : LoadedStudy, optional
        The study of the store.
    asked : sequence of (Analysis, Spec)
        The analyses and their options.
    optional : bool
        Nobody named these analyses: those that lack what they need are left out.
    device : str
        Where encoders compute.
    download : bool
        Whether weights of encoders may be downloaded.
    progress : callable, optional
        Progress of encoding.

    Returns
    -------
    Analyzed
        At least one result.

    Raises
    ------
    StorageError
        Something is missing in a store that cannot be written.
    ReprostoreError
        As `reprostore_analyses.inputs.check_inputs` and the analyses.
    """
    store, refusal = store_for_analysis(path)
    if loaded is not None:
        reads = any(analysis.measures_copies for analysis, _ in asked)
        check_stored_runs(store, loaded, read_sources=reads)
    study = {} if loaded is None else context_of(loaded)
    context = Context(store, **study, device=device, download=download, progress=progress)
    require_device(device, context.encoders.values())
    analyzed = Analyzed(context)
    where = (lambda location: "") if loaded is None else loaded.where
    try:
        if not optional:
            check_inputs(analyzed.context, asked, where)
        for analysis, options in asked:
            try:
                if optional:
                    check_inputs(analyzed.context, [(analysis, options)], where)
                result = analysis.compute(analyzed.context, options)
            except (MissingDataError, SpecError) as error:
                if not optional:
                    raise
                analyzed.left_out[analysis.name] = error
            else:
                analyzed.computed.append(Computed(analysis, options, result))
    except StorageError as error:
        raise refusal or error from error
    if not analyzed.computed:
        raise next(iter(analyzed.left_out.values()))
    return analyzed
