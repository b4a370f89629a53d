"""Whether different models draw the same picture from the same noise: RP and MAE scores."""

import itertools
from collections.abc import Mapping
from typing import Any

import xarray as xr

from reprostore.errors import MissingDataError, SpecError
from reprostore.neighbors import Written
from reprostore_analyses.context import Context
from reprostore_analyses.floor import ceiling_of, with_ceilings
from reprostore_analyses.kernels import check_cosine_threshold, check_mae_threshold
from reprostore_analyses.relations import RELATIONS, relation
from reprostore_analyses.reproducibility_options import ReproducibilityOptions
from reprostore_analyses.reproducibility_scores import reproducibility_scores
from reprostore_analyses.results import cached_result, run_inputs

__all__ = ["VERSION", "ReproducibilityOptions", "reproducibility", "reproducibility_rows"]

VERSION = 4
"""Raised when a change to this code changes results: stored ones are then made again."""


def reproducibility(
    context: Context,
    options: ReproducibilityOptions,
    *,
    classes: Mapping[int, int] | None = None,
) -> xr.Dataset:
    """Compute RP and MAE scores of all pairs of runs.

    RP = P(M(x_1, x_2) > θ) over seeds, x_1 and x_2 from the same noise, M the cosine in an
    encoder's space; MAE score = P(mean |x_1 − x_2| < 15) on the 0–255 scale.

    Parameters
    ----------
    context : Context
        The store, and what the study says.
    options : ReproducibilityOptions
        Encoder, thresholds, runs.
    classes : mapping of int to int, optional
        The class of each seed that all runs have, where their samples were made under class
        labels: chance levels are then those within a class.

    Returns
    -------
    xarray.Dataset
        Over (run_a, run_b): `rp` with `rp_low`, `rp_high` (Wilson) and `rp_all_low`,
        `rp_all_high` (holding for all pairs at once), `chance` and `corrected`; the
        same of `mae_score`, with `mae_chance` and `mae_corrected`; `chance_threshold`, which a
        share q of pairs of different seeds exceeds, and `rp_beyond_chance` at it; `relation`
        (position in attrs.relations) and `checked`; per seed `similarity` and `mae`; over
        thresholds `curve` and `chance_curve`. NaN on the diagonal and between conditions, where
        `relation` is -1.
        `order` sorts the runs so that similar ones are neighbors. attrs.ceiling holds the RP of
        the pairs that are one model, or one recipe trained twice, or is None without such pairs.
        Over run_a: `numerical_ceiling` and its bounds, see `reprostore_analyses.floor`.

    Raises
    ------
    MissingDataError
        There are fewer than two runs, no two of one condition, or no common seed.
    PairingError
        Runs begin from different noise, or this cannot be checked.
    SpecError
        A threshold is out of range, or the encoder has no cosine.

    References
    ----------
    Zhang et al. 2024, arXiv 2310.05264, RP score (θ = 0.6 in SSCD's space) and MAE score (15).
    """
    check_cosine_threshold(options.threshold)
    check_mae_threshold(options.mae_threshold)
    encoder = context.encoder(options.encoder)
    if encoder.metric != "cosine":
        raise SpecError(
            f"The encoder {options.encoder!r} compares vectors by {encoder.metric}.",
            "The RP score is defined by a cosine.",
            "Choose an encoder with the metric cosine.",
        )
    runs = context.runs(options.models, options.samplers)
    if len(runs) < 2:
        raise MissingDataError(
            f"There is one run with samples, {runs[0].path}.",
            "Reproducibility compares at least two runs.",
            "Generate the samples of another model or sampler.",
        )
    question = {
        "analysis": "reproducibility",
        "version": VERSION,
        # However they were chosen, the runs are those below.
        "options": options.model_dump(mode="json", exclude={"compare", "models", "samplers"}),
        "runs": [run.path for run in runs],
    }
    pairs = [
        (i, j)
        for i, j in itertools.combinations(range(len(runs)), 2)
        if runs[i].spec.condition == runs[j].spec.condition
    ]
    if not pairs:
        raise MissingDataError(
            f"The runs {', '.join(run.path for run in runs)} have a condition each of their own.",
            "Samples are compared under one condition.",
            "Generate the samples of another model under one of these conditions.",
        )
    relations = [relation(context, runs[i], runs[j]) for i, j in pairs]
    written = [Written.of(run) for run in runs]
    inputs: dict[str, Any] = {
        "encoder": encoder.fingerprint,
        "runs": {run.path: run_inputs(run, own) for run, own in zip(runs, written, strict=True)},
        "relations": relations,
    }
    if classes is not None:
        inputs["classes"] = sorted(classes.items())
    result = cached_result(
        context.store,
        "reproducibility",
        question,
        inputs,
        lambda: reproducibility_scores(context, options, runs, written, pairs, relations, classes),
    )
    return with_ceilings(result, context.store, runs, encoder)


def reproducibility_rows(
    result: xr.Dataset, options: ReproducibilityOptions
) -> list[dict[str, Any]]:
    """Return one row per pair of runs, as the table and ``--json`` show them.

    Parameters
    ----------
    result : xarray.Dataset
        Of `reproducibility`.
    options : ReproducibilityOptions
        `compare` restricts the pairs.

    Returns
    -------
    list of dict
        Plain numbers and texts, sorted by falling RP. `ceiling` is the lowest RP among the pairs
        of attrs.ceiling that share a run with this one, `numerical_ceiling` the lower one of its
        runs; NaN where there are none.
    """
    paths = [str(path) for path in result["run_a"].values]
    wanted = None if options.compare is None else {frozenset(pair) for pair in options.compare}
    rows = []
    for i, j in itertools.combinations(range(len(paths)), 2):
        models = frozenset(paths[k].split("/")[0] for k in (i, j))
        at = result.isel(run_a=i, run_b=j)
        if int(at["relation"]) < 0 or (wanted is not None and models not in wanted):
            continue
        columns = ("rp", "rp_low", "rp_high", "rp_all_low", "rp_all_high", "chance", "corrected",
                   "mae_score", "mae_score_low", "mae_score_high", "mae_chance",
                   "mae_corrected", "chance_threshold", "rp_beyond_chance",
                   "rp_beyond_chance_low", "rp_beyond_chance_high")  # fmt: skip
        rows.append(
            {
                "run_a": paths[i],
                "run_b": paths[j],
                "encoder": str(result.attrs["encoder"]),
                "threshold": float(result.attrs["threshold"]),
                "seeds": int(at["pairs"]),
                **{name: float(at[name]) for name in columns},
                "ceiling": _ceiling_of(result, paths[i], paths[j]),
                **ceiling_of(result, paths[i], paths[j]),
                "relation": RELATIONS[int(at["relation"])],
                "checked": bool(at["checked"]),
                "drift": any(paths[k] in result.attrs["drift"] for k in (i, j)),
            }
        )
    return sorted(rows, key=lambda row: -row["rp"])


def _ceiling_of(result: xr.Dataset, *pair: str) -> float:
    scores = [
        float(score)
        for text, score in (result.attrs["ceiling"] or {}).items()
        if (other := set(text.split(" | "))) != set(pair) and other & set(pair)
    ]
    return min(scores, default=float("nan"))
