"""From memorization to generalization: what models do as their training sets grow."""

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from reprostore.errors import SpecError
from reprostore_analyses.context import Context
from reprostore_analyses.generalization import VERSION as GENERALIZATION_VERSION
from reprostore_analyses.generalization import GeneralizationOptions, generalization
from reprostore_analyses.kernels import REGIMES, check_cosine_threshold
from reprostore_analyses.relations import RELATIONS
from reprostore_analyses.reproducibility import VERSION as REPRODUCIBILITY_VERSION
from reprostore_analyses.results import cached_result
from reprostore_analyses.transition_axes import axis_columns, dimensions_of
from reprostore_analyses.transition_columns import absent, pair_columns, run_columns
from reprostore_analyses.transition_curves import (
    architectures_of,
    curve_columns,
    fit_columns,
    regime_columns,
)
from reprostore_analyses.transition_dimension import NEIGHBORS
from reprostore_analyses.transition_groups import REFERENCES, Member, choose
from reprostore_analyses.transition_kinds import KINDS, Pair, distinct_members, pairs_of, same_size
from reprostore_analyses.transition_lines import line_columns
from reprostore_analyses.transition_options import TransitionOptions
from reprostore_analyses.transition_pairs import score_pairs

VERSION = 3
"""Raised when a change to this code changes results: stored ones are then made again."""


def transition(context: Context, options: TransitionOptions) -> xr.Dataset:
    """Follow RP and GL over the number N of training items, for each architecture.

    Models of equal N are compared with each other: across architectures, across trainer seeds of
    one architecture (the ceiling of what two architectures could reach), and with the oracle and
    the Gaussian of the same items. Models of equal N but other items, and checkpoints of one
    architecture at two training steps, are lines of their own, and do not count as a comparison
    across architectures.

    Parameters
    ----------
    context : Context
        The store, and what the study says.
    options : TransitionOptions
        Encoder, thresholds, models, regimes.

    Returns
    -------
    xarray.Dataset
        Over (line, size), a line being a pair of architectures, or of an architecture and a
        reference, and a kind (attrs.lines): the mean over its pairs of models of `rp`, `chance`
        and `corrected`, `pfd_pixel` ([-1, 1] scale, L2 over all pixels), `pfd_encoder`, each with
        its level for samples of different noise (`…_chance`), and the number of `pairs`. Over
        (architecture, size): `gl` and `held_out_gl`, `models`, `regime` (position in
        attrs.regimes, or -1) and `regime_rp`, the axes `size_per_root_parameters` and
        `size_per_dimension`. Over architecture: the fit of GL in log2 N, `n50`, `slope` per
        doubling and `dispersion`, and the bracket of sizes around GL = 1/2. Over pair of models:
        `pair_rp`, also with bounds that hold for all pairs at once, `pair_kind`. Over run: `gl` of
        each network as `run_gl`, with its held-out row. Over (dataset, neighbors): `dimension`.
        Scores have `_low` and `_high`: intervals over seeds, conditional on the trained models.

    Raises
    ------
    MissingDataError
        A model does not say what it was trained on, or there is no network.
    SpecError
        Models have several runs and none is chosen, nothing tells architectures apart, a
        threshold is out of range, or held-out items are not named.
    ReprostoreError
        As `reproducibility` and `generalization`.

    References
    ----------
    Zhang et al. 2024, arXiv 2310.05264, Figures 2 and 4; Zhang et al. 2025, arXiv 2505.20123, PFD
    and N/√(parameters); Wang et al. 2024, arXiv 2409.02426, N/intrinsic dimension.
    """
    for threshold in options.thresholds.values():
        check_cosine_threshold(threshold)
    encoder = context.encoder(options.encoder)
    if encoder.metric != "cosine":
        raise SpecError(
            f"The encoder {options.encoder!r} compares vectors by {encoder.metric}.",
            "RP and GL scores are defined by a cosine.",
            "Choose an encoder with the metric cosine.",
        )
    members, left_out = distinct_members(choose(context, options))
    by_size: dict[int, list[Pair]] = {}
    for size, places in same_size(members).items():
        by_size[size], apart = pairs_of(context, members, places)
        left_out |= apart
    datasets = sorted({member.dataset for member in members})
    question = {
        "analysis": "transition",
        "version": [VERSION, REPRODUCIBILITY_VERSION, GENERALIZATION_VERSION],
        # However they were chosen, the runs are those below.
        "options": options.model_dump(mode="json", exclude={"models", "sampler", "condition"}),
        "runs": [member.run.path for member in members],
    }
    inputs = {
        "encoder": encoder.fingerprint,
        "runs": {member.run.path: member.inputs() for member in members},
        "held_out": [_held_out(context, member) for member in members],
        "datasets": {name: context.dataset(name).fingerprint for name in datasets},
        "kinds": [pair.kind for pairs in by_size.values() for pair in pairs],
    }
    return cached_result(
        context.store,
        "transition",
        question,
        inputs,
        lambda: _compute(context, options, members, by_size).assign_attrs(left_out=left_out),
    )


def _held_out(context: Context, member: Member) -> str | None:
    assert member.spec.trained_on is not None  # `choose` has looked
    return context.held_out(member.run, member.spec.trained_on)


def _compute(
    context: Context,
    options: TransitionOptions,
    members: list[Member],
    by_size: dict[int, list[Pair]],
) -> xr.Dataset:
    networks = [member for member in members if not member.is_reference]
    sizes = list(by_size)
    copying = generalization(
        replace(context, run_paths=tuple(network.run.path for network in networks)),
        GeneralizationOptions(
            encoder=options.encoder,
            threshold=options.thresholds["copy"],
            control=options.control,
            resamples=options.resamples,
            confidence=options.confidence,
            rng_seed=options.rng_seed,
        ),
    )
    scored = {
        size: score_pairs(context, options, members, pairs)
        for size, pairs in by_size.items()
        if pairs
    }
    architectures = architectures_of(networks)
    lines, line_values = line_columns(members, scored, options)
    line_values = {
        name: _spread(values, list(scored), sizes) for name, values in line_values.items()
    }
    curves = curve_columns(networks, copying, sizes, options)
    fits, reasons = fit_columns(networks, copying, curves, sizes, options)
    curves |= regime_columns(architectures, lines, line_values["rp"], curves["gl"], options)
    dimensions = dimensions_of(context, options, networks)
    curves |= axis_columns(networks, architectures, sizes, dimensions, options)
    pair_values, simultaneous = pair_columns(members, scored, options)
    result = xr.Dataset(
        {name: (("line", "size"), values) for name, values in line_values.items()}
        | {name: (("architecture", "size"), values) for name, values in curves.items()}
        | {name: ("architecture", values) for name, values in fits.items()}
        | {name: ("pair", values) for name, values in pair_values.items()}
        | run_columns(networks, architectures, copying)
        | {
            name: (
                ("dataset", "neighbors"),
                np.stack([getattr(found, field) for found in dimensions.values()]),
            )
            for name, field in (
                ("dimension", "value"),
                ("dimension_low", "low"),
                ("dimension_high", "high"),
            )
        }
        | {
            f"dimension_{field}": (
                "dataset",
                np.asarray([getattr(found, field) for found in dimensions.values()]),
            )
            for field in ("items", "duplicates")
        },
        coords={
            "line": [line.label for line in lines],
            "size": sizes,
            "architecture": architectures,
            "pair": [
                f"{members[pair.a].run.path} | {members[pair.b].run.path}"
                for part in scored.values()
                for pair in part.pairs
            ],
            "run": [network.run.path for network in networks],
            "dataset": list(dimensions),
            "neighbors": list(NEIGHBORS),
        },
    )
    drift = dict(copying.attrs["drift"])
    for part in scored.values():
        drift |= part.drift
    result.attrs.update(
        encoder=options.encoder,
        encoder_identity=context.encoder(options.encoder).identity,
        threshold=options.thresholds["rp"],
        copy_threshold=options.thresholds["copy"],
        oracle_threshold=options.thresholds["oracle"],
        confidence=options.confidence,
        g=options.g,
        r=options.r,
        lines=[line._asdict() for line in lines],
        kinds=list(KINDS),
        relations=list(RELATIONS),
        regimes=list(REGIMES),
        dimension=options.dimension,
        references={
            source: [m.run.path for m in members if m.spec.source == source]
            for source in REFERENCES
        },
        drift=drift,
        unchecked={k: v for part in scored.values() for k, v in part.unchecked.items()},
        fit_reasons=reasons,
        dimension_reasons={name: d.reason for name, d in dimensions.items() if d.reason},
        absent=absent(members, kinds={line.kind for line in lines})
        | ({"simultaneous interval": simultaneous} if simultaneous else {}),
    )
    return result


def _spread(values: Any, present: list[int], sizes: list[int]) -> Any:  # noqa: ANN401
    """Put the columns of sizes that have pairs among those of all sizes."""
    fill = np.nan if values.dtype.kind == "f" else 0
    spread = np.full((len(values), len(sizes)), fill, dtype=values.dtype)
    spread[:, [sizes.index(size) for size in present]] = values
    return spread
