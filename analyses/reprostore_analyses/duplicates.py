"""Whether the training items that samples copy are those that have near-identical others."""

import math
from typing import Annotated, Any

import numpy as np
import xarray as xr
from pydantic import Field

from reprostore.errors import SpecError
from reprostore.specs import Name, Spec
from reprostore_analyses.context import Context
from reprostore_analyses.kernels.duplicates import near_duplicates
from reprostore_analyses.kernels.rank_test import mann_whitney
from reprostore_analyses.kernels.ratio_rule import equal_items
from reprostore_analyses.memorization import refuse_other_than_images
from reprostore_analyses.results import drifted_runs
from reprostore_analyses.store_evidence import store_evidence
from reprostore_analyses.subjects import Subject, subjects_of, subjects_result

VERSION = 2
"""Raised when a change to this code changes results: stored ones are then made again."""


class DuplicatesOptions(Spec):
    """Options of the analysis `duplicates`.

    Attributes
    ----------
    encoder : str
        In whose space items are compared.
    threshold : float
        Cosine above which two training items are near-identical.
    copy_threshold : float, optional
        Cosine above which a sample is a copy of its nearest item; `threshold` when left out.
    models, samplers : tuple of str, optional
        Names of the runs; all of the study when left out.
    """

    encoder: Name = "pixel"
    threshold: Annotated[float, Field(ge=-1, le=1)] = 0.95
    copy_threshold: Annotated[float, Field(ge=-1, le=1)] | None = None
    models: tuple[Name, ...] | None = None
    samplers: tuple[Name, ...] | None = None

    @property
    def control(self) -> bool:
        """Held-out items are not needed."""
        return False


def duplicates(context: Context, options: DuplicatesOptions) -> xr.Dataset:
    """Count near-identical training items, of those that samples copy and of the others.

    Duplicates are seen more often in training and are the first that a model memorizes, so a copy
    rate is read beside them.

    Parameters
    ----------
    context : Context
        The store, and what the study says.
    options : DuplicatesOptions
        Encoder, thresholds, runs.

    Returns
    -------
    xarray.Dataset
        Over run: `train_size`, `exact` and `near`, numbers of items that have an exactly equal
        and a near-identical other; `groups`, number of groups of items that are near-identical
        or connected by such, items without any being groups of one; `copied`, groups of which
        samples copy an item; `copied_mean` and `other_mean`, mean numbers of further items in
        groups that are copied and that are not; `z`, the rank test of the two over groups, and
        `p`, two-sided, from the normal approximation. Over (run, item): `count` of near-identical
        others, `group` (position of its first item) and `copies` (samples nearest to the item), −1
        beyond the run's items; `item` counts positions among a run's own training items.

    Raises
    ------
    MissingDataError
        No run says what its model was trained on.
    SpecError
        The encoder has no cosine.

    References
    ----------
    Somepalli et al. 2023, arXiv 2305.20086 (duplication and memorization); Carlini et al. 2023,
    arXiv 2301.13188, section 4.
    """
    handle = context.encoder(options.encoder)
    if handle.metric != "cosine":
        raise SpecError(
            f"The encoder {options.encoder!r} compares vectors by {handle.metric}.",
            "Near-identical items are found by a cosine.",
            "Choose an encoder with the metric cosine.",
        )
    subjects, skipped = subjects_of(
        context,
        options,
        analysis="duplicates",
        because="Duplicates are looked for among the training items of a model.",
    )
    refuse_other_than_images(subjects, "duplicates")

    def compute() -> xr.Dataset:
        result = _scores(context, options, subjects)
        result.attrs["skipped"] = skipped
        return result

    chosen = (subjects, skipped)
    return subjects_result(context, ("duplicates", VERSION), options, chosen, compute)


def duplicates_rows(result: xr.Dataset, options: DuplicatesOptions) -> list[dict[str, Any]]:
    """Return one row per run, as the table and ``--json`` show them."""
    counts = ("train_size", "seeds", "exact", "near", "groups", "copied")
    return [
        {
            "run": str(path),
            "encoder": options.encoder,
            "threshold": options.threshold,
            "copy_threshold": float(result.attrs["copy_threshold"]),
            **{name: int(result[name][place]) for name in counts},
            **{
                name: float(result[name][place]) for name in ("copied_mean", "other_mean", "z", "p")
            },
            "reason": str(result.attrs["reasons"].get(str(path), "")),
            "drift": str(path) in result.attrs["drift"],
        }
        for place, path in enumerate(result["run"].values)
    ]


def _scores(context: Context, options: DuplicatesOptions, subjects: list[Subject]) -> xr.Dataset:
    longest = max(len(subject.dataset.index(subject.index)) for subject in subjects)
    per_item = {
        name: np.full((len(subjects), longest), -1, dtype=np.int64)
        for name in ("count", "group", "copies")
    }
    columns: dict[str, list[float]] = {}
    reasons: dict[str, str] = {}
    found: dict[Any, Any] = {}
    limit = options.threshold if options.copy_threshold is None else options.copy_threshold
    for row, subject in enumerate(subjects):
        evidence = store_evidence(context, subject, options.encoder, 1, 0)
        if subject.real not in found:
            vectors = evidence.encoder.array("train")
            found[subject.real] = (
                *near_duplicates(vectors, options.threshold),
                equal_items(evidence.pixels.train),
            )
        counts, groups, equal = found[subject.real]
        near = evidence.encoder.nearest("generated", "cosine")
        copied = near.positions[near.values[:, 0] > limit, 0]
        copies = np.bincount(copied, minlength=len(counts))
        for name, each in (("count", counts), ("group", groups), ("copies", copies)):
            per_item[name][row, : len(counts)] = each
        # Of near-identical items a sample has one nearest, which says nothing against the others:
        # what is copied or not is the group.
        heads, sizes = np.unique(groups, return_counts=True)
        hit = np.isin(heads, groups[copied])
        others = sizes - 1
        test = mann_whitney(others[hit], others[~hit])
        if np.isnan(test.z):
            reasons[subject.run.path] = (
                "no item is copied"
                if not hit.any()
                else "all items are copied"
                if hit.all()
                else "all items have the same number of near-identical others"
            )
        shares = np.bincount(equal, minlength=len(equal))[equal]
        values = {
            "train_size": len(counts),
            "seeds": len(near.values),
            "exact": int((shares > 1).sum()),
            "near": int((counts > 0).sum()),
            "groups": len(heads),
            "copied": int(hit.sum()),
            "copied_mean": float(others[hit].mean()) if hit.any() else np.nan,
            "other_mean": float(others[~hit].mean()) if not hit.all() else np.nan,
            "z": test.z,
            "p": math.erfc(abs(test.z) / math.sqrt(2)),
        }
        for name, value in values.items():
            columns.setdefault(name, []).append(value)
    result = xr.Dataset(
        {name: ("run", np.asarray(column, dtype=_kind(name))) for name, column in columns.items()}
        | {name: (("run", "item"), values) for name, values in per_item.items()},
        coords={"run": [subject.run.path for subject in subjects], "item": np.arange(longest)},
    )
    result.attrs.update(
        encoder=options.encoder,
        encoder_identity=context.encoder(options.encoder).identity,
        threshold=options.threshold,
        copy_threshold=limit,
        datasets=[subject.dataset.name for subject in subjects],
        index=[subject.index for subject in subjects],
        reasons=reasons,
        drift=drifted_runs(context.store, [subject.run for subject in subjects]),
    )
    return result


def _kind(column: str) -> str:
    return "float64" if column in ("copied_mean", "other_mean", "z", "p") else "int64"
