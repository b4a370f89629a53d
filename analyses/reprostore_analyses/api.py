"""The analyses as functions of a store, for notebooks and scripts."""

from typing import Any

import xarray as xr

from reprostore.store import SampleStore
from reprostore.studies import check_stored_runs
from reprostore.study import LoadedStudy
from reprostore_analyses.asked import options_of
from reprostore_analyses.context import Context
from reprostore_analyses.registry import analysis_named, context_of


def _analyze(
    name: str, store: SampleStore, study: LoadedStudy | None, options: dict[str, Any]
) -> xr.Dataset:
    analysis = analysis_named(name)
    if study is not None:
        check_stored_runs(store, study, read_sources=analysis.measures_copies)
    context = Context(store, **(context_of(study) if study is not None else {}))
    return analysis.compute(context, options_of(analysis, options, None))


def reproducibility(
    store: SampleStore,
    study: LoadedStudy | None = None,
    **options: Any,  # noqa: ANN401
) -> xr.Dataset:
    """Compute RP and MAE scores of all pairs of runs in a store.

    Parameters
    ----------
    store : SampleStore
        The store; opened for writing (mode "r+"), vectors and the result are kept in it.
    study : LoadedStudy, optional
        Defines encoders, and restricts the runs to its own.
    **options
        Those of `ReproducibilityOptions`.

    Returns
    -------
    xarray.Dataset
        See `reprostore_analyses.reproducibility.reproducibility`, also for the errors.
    """
    return _analyze("reproducibility", store, study, options)


def pair_similarity(
    store: SampleStore,
    study: LoadedStudy | None = None,
    **options: Any,  # noqa: ANN401
) -> xr.DataArray:
    """Return the similarity of all checked pairs of runs at every common seed.

    Parameters
    ----------
    store, study, **options
        As in `reproducibility`.

    Returns
    -------
    xarray.DataArray
        (run_a, run_b, seed) float64 in [-1, 1]; NaN on the diagonal and between conditions.
    """
    similarity: xr.DataArray = reproducibility(store, study, **options)["similarity"]
    return similarity


def generalization(
    store: SampleStore,
    study: LoadedStudy | None = None,
    **options: Any,  # noqa: ANN401
) -> xr.Dataset:
    """Compute the GL score of every run against its own model's training items.

    Parameters
    ----------
    store : SampleStore
        The store; opened for writing (mode "r+"), vectors and the result are kept in it.
    study : LoadedStudy, optional
        Defines encoders, datasets, and what models were trained on.
    **options
        Those of `GeneralizationOptions`.

    Returns
    -------
    xarray.Dataset
        See `reprostore_analyses.generalization.generalization`, also for the errors.
    """
    return _analyze("generalization", store, study, options)


def distances(
    store: SampleStore,
    study: LoadedStudy | None = None,
    **options: Any,  # noqa: ANN401
) -> xr.Dataset:
    """Compute MAE, SSIM, PFD and an encoder's distances (LPIPS) of all pairs of runs.

    Parameters
    ----------
    store, study
        As in `reproducibility`.
    **options
        Those of `DistancesOptions`.

    Returns
    -------
    xarray.Dataset
        See `reprostore_analyses.distances.distances`, also for the errors.
    """
    return _analyze("distances", store, study, options)


def memorization(
    store: SampleStore,
    study: LoadedStudy | None = None,
    **options: Any,  # noqa: ANN401
) -> xr.Dataset:
    """Compute all memorization metrics of every run, beside those of unseen real items.

    Parameters
    ----------
    store, study
        As in `generalization`.
    **options
        Those of `MemorizationOptions`.

    Returns
    -------
    xarray.Dataset
        See `reprostore_analyses.memorization.memorization`, also for the errors.
    """
    return _analyze("memorization", store, study, options)


def fidelity(
    store: SampleStore,
    study: LoadedStudy | None = None,
    **options: Any,  # noqa: ANN401
) -> xr.Dataset:
    """Compute FD, KID, precision, recall, density, coverage and Vendi scores of every run.

    Parameters
    ----------
    store, study
        As in `generalization`.
    **options
        Those of `FidelityOptions`.

    Returns
    -------
    xarray.Dataset
        See `reprostore_analyses.fidelity.fidelity`, also for the errors.
    """
    return _analyze("fidelity", store, study, options)


def duplicates(
    store: SampleStore,
    study: LoadedStudy | None = None,
    **options: Any,  # noqa: ANN401
) -> xr.Dataset:
    """Count near-identical training items, of those that samples copy and of the others.

    Parameters
    ----------
    store, study
        As in `generalization`.
    **options
        Those of `DuplicatesOptions`.

    Returns
    -------
    xarray.Dataset
        See `reprostore_analyses.duplicates.duplicates`, also for the errors.
    """
    return _analyze("duplicates", store, study, options)


def agreement(
    store: SampleStore,
    study: LoadedStudy | None = None,
    **options: Any,  # noqa: ANN401
) -> xr.Dataset:
    """Put the RP score of pairs of models beside the share of copies of each.

    Parameters
    ----------
    store, study
        As in `generalization`.
    **options
        Those of `AgreementOptions`.

    Returns
    -------
    xarray.Dataset
        See `reprostore_analyses.agreement.agreement`, also for the errors.
    """
    return _analyze("agreement", store, study, options)


def theory(
    store: SampleStore,
    study: LoadedStudy | None = None,
    **options: Any,  # noqa: ANN401
) -> xr.Dataset:
    """Compare networks with the oracle and the Gaussian of their training items, seed by seed.

    Parameters
    ----------
    store, study
        As in `generalization`.
    **options
        Those of `TheoryOptions`.

    Returns
    -------
    xarray.Dataset
        See `reprostore_analyses.theory.theory`, also for the errors.
    """
    return _analyze("theory", store, study, options)


def transition(
    store: SampleStore,
    study: LoadedStudy | None = None,
    **options: Any,  # noqa: ANN401
) -> xr.Dataset:
    """Follow RP and GL over the number of training items, for each architecture.

    Parameters
    ----------
    store, study
        As in `generalization`.
    **options
        Those of `TransitionOptions`.

    Returns
    -------
    xarray.Dataset
        See `reprostore_analyses.transition.transition`, also for the errors.
    """
    return _analyze("transition", store, study, options)
