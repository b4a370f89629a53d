"""Which samples come from the same noise: the check that precedes every comparison of runs."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import PairingError
from reprostore.layout import PROBE_TOLERANCE, probes_agree
from reprostore.seeds import seeds_text
from reprostore.store import Run


@dataclass(frozen=True)
class Pairing:
    """Two runs at common seeds.

    Attributes
    ----------
    checked : bool
        Whether their noise was compared and found equal.
    reason : str
        Why it could not be compared; empty when it was.
    """

    checked: bool
    reason: str = ""


def check_pairing(
    a: Run,
    b: Run,
    slots_a: NDArray[np.int64],
    slots_b: NDArray[np.int64],
    *,
    allow_unchecked: bool = False,
    probes: dict[str, NDArray[Any]] | None = None,
) -> Pairing:
    """Compare the noise of two runs at the same seeds.

    Parameters
    ----------
    a, b : Run
        The runs.
    slots_a, slots_b : ndarray
        (seed,) the slots of the same seeds in each.
    allow_unchecked : bool
        Accept runs whose noise cannot be compared; different noise is never accepted.
    probes : dict, optional
        Probes of runs by their path; those that are missing are read and added.

    Returns
    -------
    Pairing
        Whether the noise was compared, or why not.

    Raises
    ------
    PairingError
        The noise differs, or cannot be compared and `allow_unchecked` is false.
    """
    reason = ""
    if (a.spec.sample_dims, a.spec.sample_shape) != (b.spec.sample_dims, b.spec.sample_shape):
        reason = (
            f"samples have shape {a.spec.sample_shape} and {b.spec.sample_shape}, and noise of "
            "different shapes is not the same even where its first values are"
        )
    for run in (a, b):
        if run.spec.noise == "unknown":
            reason = reason or f"the noise of {run.path} is not known"
    if reason:
        if allow_unchecked:
            return Pairing(checked=False, reason=reason)
        raise PairingError(
            f"The runs {a.path} and {b.path} cannot be paired by their seeds: {reason}.",
            "Samples are compared only when they come from the same noise.",
            "Leave one of the runs out (models = [...]), or set allow_unchecked = true if you know "
            "that equal seeds mean equal noise: the result is then marked.",
        )
    probes = {} if probes is None else probes
    for run in (a, b):
        if run.path not in probes:
            probes[run.path] = run.recorded("noise_probe")
    probe_a, probe_b = probes[a.path][slots_a], probes[b.path][slots_b]
    # Beyond the sample's size a probe is padded with NaN; within it, NaN is no noise.
    padding = np.arange(probe_a.shape[1]) >= math.prod(a.spec.sample_shape)
    padding = padding & np.isnan(probe_a) & np.isnan(probe_b)
    differs = ~(probes_agree(probe_a, probe_b) | padding).all(axis=1)
    if differs.any():
        raise PairingError(
            f"The runs {a.path} and {b.path} began from different noise at the seeds "
            f"{seeds_text(a.seeds[slots_a][differs])}.",
            f"At equal seeds the first values of the noise agree within {PROBE_TOLERANCE}, or the "
            "rounding of half precision.",
            "Find out how the runs were made; what begins from different noise is no pair.",
        )
    return Pairing(checked=True)
