"""Columns of a result of `transition` that are about single pairs and runs, and what is absent."""

from typing import Any

import numpy as np
import xarray as xr

from reprostore_analyses.statistics import simultaneous_intervals
from reprostore_analyses.transition_groups import REFERENCES, Member
from reprostore_analyses.transition_kinds import KINDS
from reprostore_analyses.transition_options import TransitionOptions
from reprostore_analyses.transition_pairs import Scored


def pair_columns(
    members: list[Member], scored: dict[int, Scored], options: TransitionOptions
) -> tuple[dict[str, Any], str]:
    """Return the scores of every pair, with intervals that hold for all pairs at once.

    Parameters
    ----------
    members : list of Member
        All members.
    scored : dict
        The scored pairs by N.
    options : TransitionOptions
        Confidence and resampling.

    Returns
    -------
    columns : dict of ndarray, (pair,)
        By name, ``pair_…``.
    reason : str
        Why simultaneous intervals are NaN; empty if they are not.
    """
    parts = list(scored.values())
    columns: dict[str, Any] = {
        f"pair_{name}": np.concatenate([part.columns[name] for part in parts])
        for name in (parts[0].columns if parts else ())
    }
    pairs = [pair for part in parts for pair in part.pairs]
    columns["pair_kind"] = np.asarray([KINDS.index(pair.kind) for pair in pairs], dtype=np.int64)
    columns["pair_size"] = np.asarray([members[pair.a].size for pair in pairs], dtype=np.int64)
    columns["pair_seeds"] = np.asarray(
        [len(part.seeds) for part in parts for _ in part.pairs], dtype=np.int64
    )
    bounds = {f"pair_rp_all_{end}": np.full(len(pairs), np.nan) for end in ("low", "high")}
    reason = ""
    if not all(np.array_equal(part.seeds, parts[0].seeds) for part in parts):
        reason = "Intervals that hold for all pairs at once need the same seeds at every N."
    elif parts:
        joint = simultaneous_intervals(
            np.concatenate([part.hits for part in parts]),
            rng=np.random.default_rng(options.rng_seed),
            confidence=options.confidence,
        )
        bounds = {"pair_rp_all_low": joint.low, "pair_rp_all_high": joint.high}
    return columns | bounds, reason


def run_columns(
    networks: list[Member], architectures: list[str], copying: xr.Dataset
) -> dict[str, Any]:
    """Return what is known of every network, variables over (run,) by name, ``run_…``."""
    unknown = float("nan")
    names = [
        f"{score}{bound}" for score in ("gl", "memorized", "held_out_memorized")
        for bound in ("", "_low", "_high") if f"{score}{bound}" in copying
    ] + ["train_size", "held_out_size", "seeds"]  # fmt: skip
    columns = {f"run_{name}": ("run", copying[name].values) for name in names}
    columns["run_architecture"] = (
        "run",
        np.asarray([architectures.index(network.architecture) for network in networks]),
    )
    for key in ("parameters", "trainer_seed"):
        values = [getattr(network.spec, key) for network in networks]
        columns[f"run_{key}"] = (
            "run",
            np.asarray([unknown if value is None else float(value) for value in values]),
        )
    return columns


def absent(members: list[Member], kinds: set[str]) -> dict[str, str]:
    """Say what could not be compared, and why."""
    reasons = {}
    for source in REFERENCES:
        if source not in kinds:
            reasons[f"RP to the {source}"] = (
                f'There is no run of a model with source = "{source}" and the items of a network.'
            )
    if "architectures" not in kinds:
        reasons["RP across architectures"] = "No two architectures were trained on the same items."
    if "trainer seeds" not in kinds:
        reasons["RP across trainer seeds"] = (
            "No architecture was trained twice on the same items, with trainer_seed known."
        )
    if any(member.spec.parameters is None for member in members if not member.is_reference):
        reasons["N/√(parameters)"] = "Nothing says the number of `parameters` of some models."
    return reasons
