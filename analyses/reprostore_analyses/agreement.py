"""Whether models agree because they copy: agreement and copies of pairs of models, side by side."""

from typing import Annotated, Any

import numpy as np
import xarray as xr
from pydantic import Field

from reprostore.errors import SpecError
from reprostore.specs import Name, Spec
from reprostore_analyses.context import Context
from reprostore_analyses.generalization import GeneralizationOptions, generalization
from reprostore_analyses.relations import RELATIONS
from reprostore_analyses.reproducibility import ReproducibilityOptions, reproducibility


class AgreementOptions(Spec):
    """Options of the analysis `agreement`.

    Attributes
    ----------
    encoder : str
        In whose space samples are compared.
    threshold : float
        θ of the RP score.
    copy_threshold : float
        Above which a sample counts as a copy of a training item.
    compare : tuple of pairs
        The pairs of models.
    sampler : str, optional
        Whose runs are compared, when the study has several.
    allow_unchecked : bool
        As in `reproducibility`.
    rng_seed : int
        Seed of the resampling.
    """

    encoder: Name = "pixel"
    threshold: float = 0.6
    copy_threshold: float = 0.6
    compare: Annotated[tuple[tuple[Name, Name], ...], Field(min_length=1)]
    sampler: Name | None = None
    allow_unchecked: bool = False
    rng_seed: Annotated[int, Field(ge=0)] = 0


def agreement(context: Context, options: AgreementOptions) -> xr.Dataset:
    """Put the RP score of pairs of models beside the share of copies of each.

    Where two models agree and copy, they agree because they copy. Where they agree on samples
    that are copies no more often than unseen real items are, they have learned the same.

    Parameters
    ----------
    context : Context
        The store, and what the study says.
    options : AgreementOptions
        Encoder, thresholds, pairs.

    Returns
    -------
    xarray.Dataset
        Over pair: `rp` with `rp_low`, `rp_high`, `chance` and `relation`; over (pair, member):
        `memorized` and `held_out_memorized` with `_low` and `_high`, `train_size`, and the
        positions `run` and `reproducibility_run` of the pair's runs in the results of
        `generalization` and `reproducibility`, which are its sources. For every common seed:
        `similarity` (pair, seed) of the two samples, `train_similarity` and `train_index`
        (pair, member, seed) of each sample's nearest training item. attrs.runs and attrs.datasets
        name the runs at the positions `run`, and the datasets that their models were trained on.

    Raises
    ------
    SpecError
        A model has several runs and no sampler is chosen, or runs of a pair are not comparable.
    ReprostoreError
        As `reproducibility` and `generalization`.
    """
    for first, second in options.compare:
        if first == second:
            raise SpecError(
                f"The model {first!r} is compared with itself.",
                "A pair is two models.",
                "Correct `compare`.",
            )
    models = tuple(dict.fromkeys(name for pair in options.compare for name in pair))
    samplers = None if options.sampler is None else (options.sampler,)
    agreeing = reproducibility(
        context,
        ReproducibilityOptions(
            encoder=options.encoder,
            threshold=options.threshold,
            models=models,
            samplers=samplers,
            allow_unchecked=options.allow_unchecked,
            rng_seed=options.rng_seed,
        ),
    )
    copying = generalization(
        context,
        GeneralizationOptions(
            encoder=options.encoder,
            threshold=options.copy_threshold,
            models=models,
            samplers=samplers,
            rng_seed=options.rng_seed,
        ),
    )
    positions = [
        [[_position(source, dim, name) for name in pair] for pair in options.compare]
        for source, dim in ((agreeing, "run_a"), (copying, "run"))
    ]
    a, b = np.asarray(positions[0]).T
    for pair, related in zip(options.compare, agreeing["relation"].values[a, b], strict=True):
        if related < 0:
            raise SpecError(
                f"The runs of {pair[0]} and {pair[1]} have different conditions.",
                "Samples are compared under one condition.",
                "Generate both under one condition.",
            )
    members = np.asarray(positions[1])
    nearest = copying.sel(seed=agreeing["seed"].values)
    pair_columns = ("rp", "rp_low", "rp_high", "chance", "corrected", "relation", "pairs")
    bounds = ("", "_low", "_high")
    member_columns = [
        *(f"memorized{bound}" for bound in bounds),
        *(f"held_out_memorized{bound}" for bound in bounds),
        "train_size",
        "held_out_size",
    ]
    result = xr.Dataset(
        {name: ("pair", agreeing[name].values[a, b]) for name in pair_columns}
        | {name: (("pair", "member"), copying[name].values[members]) for name in member_columns}
        | {
            "similarity": (("pair", "seed"), agreeing["similarity"].values[a, b]),
            "train_similarity": (("pair", "member", "seed"), nearest["similarity"].values[members]),
            "train_index": (("pair", "member", "seed"), nearest["train_index"].values[members]),
            "run": (("pair", "member"), members),
            "reproducibility_run": (("pair", "member"), np.asarray(positions[0])),
        },
        coords={
            "pair": [" × ".join(pair) for pair in options.compare],
            "seed": agreeing["seed"].values,
        },
    )
    keys = (
        "encoder",
        "encoder_identity",
        "threshold",
        "relations",
        "drift",
        "unchecked",
        "confidence",
    )
    result.attrs.update({key: agreeing.attrs[key] for key in keys})
    result.attrs.update(
        copy_threshold=options.copy_threshold,
        analysis="agreement",
        compare=[list(pair) for pair in options.compare],
        runs=copying["run"].values.tolist(),
        datasets=copying.attrs["datasets"],
        question={"reproducibility": agreeing.attrs["question"],
                  "generalization": copying.attrs["question"]},
        made_from={"reproducibility": agreeing.attrs["made_from_fingerprint"],
                   "generalization": copying.attrs["made_from_fingerprint"]},
    )  # fmt: skip
    return result


def agreement_rows(result: xr.Dataset, options: AgreementOptions) -> list[dict[str, Any]]:
    """Return one row per pair, as the table and ``--json`` show them.

    Parameters
    ----------
    result : xarray.Dataset
        Of `agreement`.
    options : AgreementOptions
        What was asked.

    Returns
    -------
    list of dict
        Plain numbers and texts, in the order of the pairs; those of the members end in _a and _b.
    """
    rows = []
    for place, (a, b) in enumerate(options.compare):
        at = result.isel(pair=place)
        row: dict[str, Any] = {
            "model_a": a,
            "model_b": b,
            "encoder": options.encoder,
            "threshold": options.threshold,
            "copy_threshold": options.copy_threshold,
            "seeds": int(at["pairs"]),
            "relation": RELATIONS[int(at["relation"])],
        }
        for name in ("rp", "rp_low", "rp_high", "chance", "corrected"):
            row[name] = float(at[name])
        for column, variable in at.data_vars.items():
            if variable.dims == ("member",) and not str(column).endswith("run"):
                for suffix, value in zip("ab", variable.values.tolist(), strict=True):
                    row[f"{column}_{suffix}"] = value
        rows.append(row)
    return rows


def _position(source: xr.Dataset, dim: str, model: str) -> int:
    paths = [str(path) for path in source[dim].values]
    own = [place for place, path in enumerate(paths) if path.split("/")[0] == model]
    if len(own) != 1:
        raise SpecError(
            f"The model {model!r} has {len(own)} runs with what this comparison needs: "
            f"{', '.join(paths[place] for place in own) or 'none'}.",
            "Pairs of models are compared at one run each, with trained_on known.",
            "Choose one with sampler = …, or write trained_on for the model in the study.",
        )
    return own[0]
