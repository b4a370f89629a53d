"""The ceiling of RP: how often a model, computed again, still draws its own stored picture."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import xarray as xr

from reprostore.canonical import fingerprint
from reprostore.embed import EncoderHandle
from reprostore.sharing.regeneration.floor import current_floors, differences
from reprostore.store import Run, SampleStore
from reprostore_analyses.statistics import wilson_interval

CEILINGS = ("numerical_ceiling", "numerical_ceiling_low", "numerical_ceiling_high")


def with_ceilings(
    result: xr.Dataset, store: SampleStore, runs: Sequence[Run], encoder: EncoderHandle
) -> xr.Dataset:
    """Add to a result of `reproducibility` what its models' own samples reach, computed again.

    Floors are looked up in the store each time and are no part of the stored result: one that is
    measured later counts at once, and one of samples that were replaced no longer does.

    Parameters
    ----------
    result : xarray.Dataset
        With the attributes `threshold` and `confidence`.
    store : SampleStore
        The store.
    runs : sequence of Run
        In the order of `run_a`.
    encoder : EncoderHandle
        The encoder of the result.

    Returns
    -------
    xarray.Dataset
        With `numerical_ceiling`, the share of samples whose similarity to the stored sample of
        the same seed is above θ, Wilson's `_low` and `_high`, and `numerical_ceiling_seeds`, over
        `run_a`: of several floors the lowest. NaN and 0 where none was measured in this encoder's
        space. attrs.floors lists all of them, with what `differs` between the executions.
    """
    threshold, confidence = (float(result.attrs[key]) for key in ("threshold", "confidence"))
    measured = [
        _measured(floor, encoder, threshold, confidence)
        for floors in current_floors(store, runs).values()
        for floor in floors
    ]
    usable = [entry for entry in measured if entry is not None]
    lowest: dict[str, dict[str, Any]] = {}
    for entry in sorted(usable, key=lambda each: (each["numerical_ceiling"], -each["seeds"])):
        lowest.setdefault(entry["run"], entry)
    columns = {
        name: [lowest.get(run.path, {}).get(name, np.nan) for run in runs] for name in CEILINGS
    }
    seeds = [lowest.get(run.path, {}).get("seeds", 0) for run in runs]
    result = result.assign(
        {name: ("run_a", np.asarray(values)) for name, values in columns.items()}
        | {"numerical_ceiling_seeds": ("run_a", np.asarray(seeds, dtype=np.int64))}
    )
    result.attrs["floors"] = sorted(usable, key=lambda each: (each["run"], each["fingerprint"]))
    return result


def _measured(
    floor: xr.Dataset, encoder: EncoderHandle, threshold: float, confidence: float
) -> dict[str, Any] | None:
    """Apply θ to one floor; None where it was not measured by cosines in this encoder's space."""
    known = floor.attrs["made_from"].get("encoders", {})
    if known.get(encoder.name) != encoder.fingerprint:
        return None
    similarity = floor["similarity"].sel(encoder=encoder.name).values
    if len(similarity) == 0 or np.isnan(similarity).any():
        return None
    hits = similarity > threshold
    low, high = wilson_interval(hits.sum(), len(hits), confidence)
    return {
        "run": str(floor.attrs["run"]),
        "seeds": len(hits),
        "numerical_ceiling": float(hits.mean()),
        "numerical_ceiling_low": float(low),
        "numerical_ceiling_high": float(high),
        "identical": int(floor["identical"].values.astype(bool).sum()),
        "similarity": float(similarity.min()),
        "differs": differences(floor),
        "fingerprint": fingerprint([floor.attrs["question"], floor.attrs["made_from"]]),
    }


def ceiling_of(result: xr.Dataset, run_a: str, run_b: str) -> dict[str, float]:
    """Return the lower of the ceilings of two runs, for a row of the pair.

    Parameters
    ----------
    result : xarray.Dataset
        Of `with_ceilings`.
    run_a, run_b : str
        Paths of the runs.

    Returns
    -------
    dict
        `numerical_ceiling` with `_low` and `_high`, NaN where neither was measured, and
        `numerical_ceiling_seeds`.
    """
    names = (*CEILINGS, "numerical_ceiling_seeds")
    if CEILINGS[0] not in result:
        return dict.fromkeys(CEILINGS, float("nan")) | {names[-1]: 0}
    both = result[list(names)].sel(run_a=[run_a, run_b])
    values = both[CEILINGS[0]].values
    place = 0 if np.isnan(values).all() else int(np.nanargmin(values))
    row: dict[str, float] = {name: float(both[name].values[place]) for name in CEILINGS}
    return row | {names[-1]: int(both[names[-1]].values[place])}


def ceiling_notes(result: xr.Dataset, runs: Collection[str]) -> list[str]:
    """Tell every ceiling of some runs: how they were computed again, and what came out.

    Parameters
    ----------
    result : xarray.Dataset
        Of any analysis; those without ceilings need no note.
    runs : collection of str
        Paths of the runs that are shown.
    """
    return [
        f"Numerical ceiling: {floor['run']}, {_samples(floor['seeds'])} computed again "
        f"({execution_text(floor['differs'])}): {floor['identical']} bit-identical, share "
        f"{floor['numerical_ceiling']:.3f} above θ to the stored ones, smallest similarity "
        f"{similarity_text(floor['similarity'])}."
        for floor in result.attrs.get("floors", ())
        if floor["run"] in runs
    ]


def ceiling_sentence(result: xr.Dataset) -> str:
    """Say below a picture what RP models reach with themselves; empty where nobody measured it."""
    floors = result.attrs.get("floors", ())
    if not floors:
        return ""
    runs = len({floor["run"] for floor in floors})
    ends = [float(end([floor["numerical_ceiling"] for floor in floors])) for end in (min, max)]
    scores = "–".join(dict.fromkeys(f"{end:.3f}" for end in ends))
    return (
        f"Numerical ceiling (samples of {runs} of {result.sizes['run_a']} runs computed again) "
        f"{scores}."
    )


def _samples(count: int) -> str:
    return "1 sample" if count == 1 else f"{count} samples"


def similarity_text(similarity: float) -> str:
    """Write a similarity; one that would be rounded to 1 as its distance from it."""
    if 0.9995 <= similarity < 1:
        return f"1 − {1 - similarity:.1g}"
    return "1" if similarity == 1 else f"{similarity:.4f}"


def execution_text(differs: dict[str, list[Any]]) -> str:
    """Say in what two executions differ: "batch_size 4 → 2"."""
    parts = []
    for key, (*stored, today) in differs.items():
        if key == "versions":
            parts += _versions(stored, today)
        else:
            parts.append(f"{key} {' and '.join(map(str, stored))} → {today}")
    return ", ".join(parts) or "as before"


def _versions(stored: list[dict[str, str]], today: dict[str, str]) -> list[str]:
    parts = []
    for name in sorted({name for each in [*stored, today] for name in each}):
        before = dict.fromkeys(str(each.get(name, "?")) for each in stored)
        now = str(today.get(name, "?"))
        if list(before) != [now]:
            parts.append(f"{name} {' and '.join(before)} → {now}")
    return parts
