"""Whether a closed form was sampled like the network beside which it stands."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from reprostore.seeds import shorten
from reprostore.store import Run

_OF_THE_NETWORK = {"prediction_type"}
"""Solver values that say what a network predicts, and change no trajectory."""

_CLIPPING = {"clip_sample", "clip_sample_range"}
"""Without effect on the oracle, whose x̂_0 is a mean of training items."""


def solver_mismatch(run: Run, other: Run, kind: str) -> str:
    """Say why a network and a closed form are not samples of one solver; empty when they are.

    Parameters
    ----------
    run, other : Run
        The network's, and that of the closed form.
    kind : str
        "oracle" or "gaussian".

    Returns
    -------
    str
        The first setting that differs, with both values, or the first noise level.
    """
    a, b = run.spec, other.spec
    if (a.sampler, a.condition) != (b.sampler, b.condition):
        return (
            f"The {kind} {b.model} has no samples under {a.sampler}/{a.condition}, but under "
            f"{b.sampler}/{b.condition}."
        )
    pairs: list[tuple[str, object, object]] = [
        (key, getattr(a.sampler_spec, key), getattr(b.sampler_spec, key))
        for key in type(a.sampler_spec).model_fields
    ]
    pairs += [("steps", a.steps, b.steps), ("noise_scale", a.noise_scale, b.noise_scale)]
    ignored = _OF_THE_NETWORK | (_CLIPPING if kind == "oracle" else set())
    pairs += [
        (key, first, second)
        for key, first, second in _solver_values(a.scheduler, b.scheduler)
        if key not in ignored
    ]
    for key, first, second in pairs:
        if first != second:
            return (
                f"{run.path} and {other.path} were not sampled alike: {key} is "
                f"{shorten(repr(first))} and {shorten(repr(second))}."
            )
    table, own = run.step_table(), other.step_table()
    for name in ("alpha", "sigma"):
        first, second = getattr(table, name), getattr(own, name)
        if not np.allclose(first, second, rtol=1e-6, atol=0):
            row = int(np.flatnonzero(~np.isclose(first, second, rtol=1e-6, atol=0))[0])
            return (
                f"{run.path} and {other.path} do not pass the same noise levels: {name} is "
                f"{first[row]:.6g} and {second[row]:.6g} at step {a.steps[row]}."
            )
    return ""


def _solver_values(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> list[tuple[str, object, object]]:
    """Return the solver's class and resolved values of two runs, as recorded."""
    configs = [dict(each.get("config") or {}) for each in (first, second)]
    values = [("class", first.get("class"), second.get("class"))]
    return values + [(key, *(each.get(key) for each in configs)) for key in sorted({*configs[0]})]
