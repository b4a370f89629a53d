"""The distances of all networks from their closed forms, summarized into one Dataset."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from reprostore.ingest import StoredDataset
from reprostore.neighbors import SearchOptions, run_neighbors
from reprostore_analyses.context import Context
from reprostore_analyses.kernels import departure_row
from reprostore_analyses.pairing import check_pairing
from reprostore_analyses.results import drifted_runs
from reprostore_analyses.theory_ends import SHIFTS, final_distances
from reprostore_analyses.theory_pairs import REFERENCES, Comparison, Found, aligned_slots
from reprostore_analyses.theory_paths import Member, Paths, denoised_paths
from reprostore_analyses.theory_summary import (
    QUANTILES,
    departure_summary,
    end_summary,
    gone_by,
    nearer_summary,
    path_summary,
    share,
)

if TYPE_CHECKING:
    from reprostore_analyses.theory import TheoryOptions

NOT_COMPARED = -2
"""In `departure_row`: there is no path here, or not of this seed."""

FILL: dict[str, int] = {
    "seeds": 0,
    "checked": 0,
    "departures": 0,
    "departure_row": NOT_COMPARED,
    "step": -1,
    "train_index": -1,
}
"""What stands for nothing in variables of whole numbers; NaN does in the others."""


@dataclass
class _Network:
    """One network with its closed forms, and what is found out about them."""

    context: Context
    options: "TheoryOptions"
    comparison: Comparison
    dataset: StoredDataset | None
    reasons: dict[str, list[str]]
    unchecked: dict[str, str]


def compare_all(
    context: Context,
    options: "TheoryOptions",
    found: Found,
    datasets: dict[str, StoredDataset | None],
) -> xr.Dataset:
    """Compute the result of `reprostore_analyses.theory.theory`.

    Parameters
    ----------
    context : Context
        The store, and what the study says.
    options : TheoryOptions
        Encoder, threshold, tolerance.
    found : Found
        What is compared.
    datasets : dict
        The training items of each run by its path; None where they are not at hand.

    Returns
    -------
    xarray.Dataset
        See there.
    """
    networks = [
        _Network(
            context,
            options,
            each,
            datasets[each.run.path],
            {kind: [reason] for kind, reason in each.reasons.items()},
            {},
        )
        for each in found.comparisons
    ]
    parts = [_compare(network) for network in networks]
    result = xr.concat(
        parts, "run", data_vars="all", coords="minimal", compat="override", join="outer",
        fill_value=FILL, combine_attrs="drop",
    )  # fmt: skip
    # The number of a row says which it is; as a coordinate it only aligned runs of fewer steps.
    result = result.drop_vars("row").assign_coords(run=[n.comparison.run.path for n in networks])
    runs = {
        run.path: run
        for each in found.comparisons
        for run in (each.run, *(other for other, _ in each.references.values()))
    }
    result.attrs.update(
        encoder=options.encoder,
        encoder_identity=context.encoder(options.encoder).identity,
        threshold=options.threshold,
        tolerance=options.tolerance,
        confidence=options.confidence,
        shifts=SHIFTS,
        references={
            each.run.path: {kind: run.path for kind, (run, _) in each.references.items()}
            for each in found.comparisons
        },
        datasets={path: None if own is None else own.name for path, own in datasets.items()},
        trained_on={each.run.path: each.trained_on.model_dump() for each in found.comparisons},
        reasons={
            network.comparison.run.path: {
                kind: " ".join(own) for kind, own in network.reasons.items() if own
            }
            for network in networks
        },
        skipped=found.skipped,
        left_out=found.left_out,
        unchecked={pair: reason for n in networks for pair, reason in n.unchecked.items()},
        drift=drifted_runs(context.store, list(runs.values())),
    )
    return result


def _compare(network: _Network) -> xr.Dataset:
    """Return what is found of one network, over (reference, seed, quantile, row)."""
    comparison = network.comparison
    seeds, run = comparison.seeds, comparison.run
    own = Member(run, aligned_slots(comparison.written, seeds))
    others = {
        kind: Member(other, aligned_slots(written, seeds))
        for kind, (other, written) in comparison.references.items()
    }
    # Before anything is encoded or read: what begins from other noise is not compared.
    checked = {kind: _check(network, own, other) for kind, other in others.items()}
    pairs = [(0, place) for place in range(1, len(others) + 1)] + [(1, 2)] * (len(others) == 2)
    paths = denoised_paths([own, *others.values()], pairs, network.context.progress)
    table = run.step_table()
    parts = []
    for place, (kind, other) in enumerate(others.items()):
        values = {"checked": checked[kind]}
        values |= _ends(network, kind, own, other)
        values |= _path(network, kind, paths, place, table.sigma)
        parts.append(xr.Dataset(values))
    result = xr.concat(
        parts, "reference", data_vars="all", coords="minimal", compat="override", join="exact",
        combine_attrs="drop",
    )  # fmt: skip
    result = result.assign_coords(
        reference=list(others),
        seed=seeds,
        quantile=np.asarray(QUANTILES),
        row=np.arange(len(table.sigma)),
    ).reindex(reference=list(REFERENCES), fill_value=FILL)
    result = result.assign(_both(paths, len(others), network.options.confidence))
    return result.assign(
        step=("row", np.asarray(run.spec.steps, dtype=np.int64)),
        sigma=("row", table.sigma),
        alpha=("row", table.alpha),
        **_nearest_items(network, seeds),
    )


Variables = dict[str, Any]
"""Numbers, and (dimensions, array) pairs, by the name of the variable."""


def _check(network: _Network, own: Member, other: Member) -> int:
    both = other.slots >= 0
    pairing = check_pairing(
        own.run,
        other.run,
        own.slots[both],
        other.slots[both],
        allow_unchecked=network.options.allow_unchecked,
    )
    if not pairing.checked:
        network.unchecked[f"{own.run.path} | {other.run.path}"] = pairing.reason
    return int(pairing.checked)


def _ends(network: _Network, kind: str, own: Member, other: Member) -> Variables:
    options, context = network.options, network.context
    common = np.flatnonzero(other.slots >= 0)
    ends = final_distances(
        context,
        context.encoder(options.encoder),
        (Member(own.run, own.slots[common]), Member(other.run, other.slots[common])),
        options.threshold,
        options.tolerance,
    )
    rng = np.random.default_rng(options.rng_seed)  # whatever else is in the result
    values, quantiles, reason = end_summary(ends, options, rng)
    network.reasons.setdefault(kind, []).extend([reason] if reason else [])
    values |= {name: ("quantile", found) for name, found in quantiles.items()}
    for name, found in ends.measures.items():
        whole = np.full(len(own.slots), np.nan)
        whole[common] = found
        values[name] = ("seed", whole)
    return values


def _path(
    network: _Network, kind: str, paths: Paths, place: int, sigma: NDArray[np.float64]
) -> Variables:
    options = network.options
    distance, usable = paths.distance[place], np.flatnonzero(paths.usable)
    mean, quantiles = path_summary(distance, options.confidence)
    rows = np.full(len(distance), NOT_COMPARED, dtype=np.int64)
    at = np.full(len(distance), np.nan)
    common = (~np.isnan(distance[:, usable])).all(axis=1) & (len(usable) > 0)
    if common.any():
        found = departure_row(distance[np.ix_(common, usable)], options.tolerance)
        # 0 stays 0, whichever the first usable row is: it means near in none.
        rows[common] = np.where(found > 0, usable[found], found)
        at[rows > 0] = sigma[rows[rows > 0]]
    summary, reason = departure_summary(rows[common], at, options.confidence)
    reasons = [paths.reason, reason if common.any() else ""]
    network.reasons.setdefault(kind, []).extend(filter(None, reasons))
    gone = share("gone", gone_by(rows[common], len(sigma)), options.confidence)
    return {
        **summary,
        "path_mean": ("row", mean),
        **{name: (("quantile", "row"), values) for name, values in quantiles.items()},
        **{name: ("row", np.where(paths.usable, values, np.nan)) for name, values in gone.items()},
        "departure_row": ("seed", rows),
        "departure_sigma_at": ("seed", at),
    }


def _both(paths: Paths, references: int, confidence: float) -> Variables:
    """Say which closed form is nearer, and how far the two are from each other."""
    nothing = np.full((3, *paths.distance.shape[1:]), np.nan)
    oracle, gaussian, between = paths.distance if references == 2 else nothing
    mean, quantiles = path_summary(between, confidence)
    nearer = nearer_summary(oracle, gaussian, confidence)
    return {
        **{name: ("row", values) for name, values in nearer.items()},
        "between_mean": ("row", mean),
        **{
            name.replace("path", "between"): (("quantile", "row"), values)
            for name, values in quantiles.items()
        },
    }


def _nearest_items(network: _Network, seeds: NDArray[np.int64]) -> Variables:
    comparison, context = network.comparison, network.context
    index = np.full(len(seeds), -1, dtype=np.int64)
    similarity = np.full(len(seeds), np.nan)
    if network.dataset is not None:
        nearest = run_neighbors(
            context.store,
            context.encoder(network.options.encoder),
            comparison.run,
            network.dataset,
            comparison.trained_on.index,
            SearchOptions(engine=context.engine, progress=context.progress),
            comparison.written,
        )
        at = np.searchsorted(seeds, nearest["seed"].values)
        index[at] = nearest["train_index"].values[:, 0]
        similarity[at] = nearest["similarity"].values[:, 0]
    return {"train_index": ("seed", index), "train_similarity": ("seed", similarity)}
