"""Whether models copy what they were trained on, beside real items that no model saw."""

from typing import Any

import xarray as xr

from reprostore.errors import SpecError
from reprostore_analyses.context import Context
from reprostore_analyses.generalization_options import GeneralizationOptions
from reprostore_analyses.generalization_scores import generalization_scores
from reprostore_analyses.kernels import check_cosine_threshold
from reprostore_analyses.subjects import subjects_of, subjects_result

__all__ = ["VERSION", "GeneralizationOptions", "generalization", "generalization_rows"]

VERSION = 2
"""Raised when a change to this code changes results: stored ones are then made again."""


def generalization(context: Context, options: GeneralizationOptions) -> xr.Dataset:
    """Compute the GL score of every run against its own model's training items.

    GL = 1 − P(max_i M(x, y_i) > θ) over seeds, y_i the items that this model was trained on; the
    memorized fraction is 1 − GL. Both fall and rise with the number of items by themselves, so
    beside them stands the same fraction of real held-out items against the same training items,
    and the fraction above the calibrated threshold: the (1 − q) quantile of that similarity of
    held-out items.

    Parameters
    ----------
    context : Context
        The store, and what the study says.
    options : GeneralizationOptions
        Encoder, threshold, runs.

    Returns
    -------
    xarray.Dataset
        Over run: `gl`, `memorized`, `held_out_memorized`, `calibrated_threshold` and
        `calibrated_memorized`, each with `_low` and `_high`; `train_size`, `held_out_size`. Per
        seed: `similarity` and `train_index` of the nearest training item, `similarity_2` of the
        second. Over thresholds: `curve` and `held_out_curve`, fractions above each.

    Raises
    ------
    MissingDataError
        No run says what its model was trained on.
    SpecError
        A threshold is out of range, or held-out items are not named.
    DatasetError
        An index is out of range, a held-out item is a training item, or shapes differ.

    References
    ----------
    Zhang et al. 2024, arXiv 2310.05264, GL score (θ = 0.6 in SSCD's space).
    """
    check_cosine_threshold(options.threshold)
    encoder = context.encoder(options.encoder)
    if encoder.metric != "cosine":
        raise SpecError(
            f"The encoder {options.encoder!r} compares vectors by {encoder.metric}.",
            "The GL score is defined by a cosine.",
            "Choose an encoder with the metric cosine.",
        )
    subjects, skipped = subjects_of(
        context,
        options,
        analysis="generalization",
        because="The GL score compares samples with the training items of their model.",
    )
    return subjects_result(
        context,
        ("generalization", VERSION),
        options,
        (subjects, skipped),
        lambda: generalization_scores(context, options, subjects, skipped),
    )


def generalization_rows(result: xr.Dataset, options: GeneralizationOptions) -> list[dict[str, Any]]:
    """Return one row per run, as the table and ``--json`` show them.

    Parameters
    ----------
    result : xarray.Dataset
        Of `generalization`.
    options : GeneralizationOptions
        What was asked.

    Returns
    -------
    list of dict
        Plain numbers and texts, in the order of the runs.
    """
    columns = [
        str(name)
        for name, variable in result.data_vars.items()
        if variable.dims == ("run",) and name not in ("seeds", "train_size", "held_out_size")
    ]
    return [
        {
            "run": str(path),
            "encoder": options.encoder,
            "threshold": options.threshold,
            "seeds": int(result["seeds"][place]),
            "train_size": int(result["train_size"][place]),
            "held_out_size": int(result["held_out_size"][place]),
            **{name: float(result[name][place]) for name in sorted(columns)},
            "reason": str(result.attrs["reasons"].get(str(path), "")),
            "drift": str(path) in result.attrs["drift"],
        }
        for place, path in enumerate(result["run"].values)
    ]
