"""The analyses as functions of a store, for notebooks and scripts."""

from typing import Any

import xarray as xr

from reprostore.store import SampleStore
from reprostore.study import LoadedStudy
from reprostore_analyses.context import Context
from reprostore_analyses.registry import analysis_named, context_of, options_of


def _analyze(
    name: str, store: SampleStore, study: LoadedStudy | None, options: dict[str, Any]
) -> xr.Dataset:
    analysis = analysis_named(name)
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
        Those of `ReproducibilityOptions`: encoder, threshold, mae_threshold, models, samplers,
        allow_unchecked, confidence, rng_seed.

    Returns
    -------
    xarray.Dataset
        See `reprostore_analyses.reproducibility.reproducibility`.

    Raises
    ------
    ReprostoreError
        See there.
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
        Those of `GeneralizationOptions`: encoder, threshold, models, samplers, control, q,
        resamples, confidence, rng_seed.

    Returns
    -------
    xarray.Dataset
        See `reprostore_analyses.generalization.generalization`.

    Raises
    ------
    ReprostoreError
        See there.
    """
    return _analyze("generalization", store, study, options)


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
        Those of `AgreementOptions`: compare, encoder, threshold, copy_threshold, sampler,
        allow_unchecked, rng_seed.

    Returns
    -------
    xarray.Dataset
        See `reprostore_analyses.agreement.agreement`.

    Raises
    ------
    ReprostoreError
        See there.
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
        Those of `TheoryOptions`: encoder, threshold, tolerance, models, samplers,
        allow_unchecked, confidence, rng_seed.

    Returns
    -------
    xarray.Dataset
        See `reprostore_analyses.theory.theory`.

    Raises
    ------
    ReprostoreError
        See there.
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
        Those of `TransitionOptions`: encoder, threshold, copy_threshold, oracle_threshold, models,
        sampler, condition, g, r, dimension, control, allow_unchecked, resamples, confidence,
        rng_seed.

    Returns
    -------
    xarray.Dataset
        See `reprostore_analyses.transition.transition`.

    Raises
    ------
    ReprostoreError
        See there.
    """
    return _analyze("transition", store, study, options)
