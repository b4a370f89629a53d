"""Noise probes against the seeds that they are of."""

import math

import numpy as np
from numpy.typing import NDArray

from reprostore.layout import PROBE_LENGTH, probes_agree
from reprostore.noise_probes import seed_probes
from reprostore.specs import NOISE_CONTRACT, RunSpec

ABSENT = "The array noise_probe does not hold the first values of the noise."
OTHER = "The noise probe is not that of the noise which the seed gives."


def wrong_probes(
    spec: RunSpec, seeds: NDArray[np.int64], probes: NDArray[np.float32]
) -> dict[str, NDArray[np.bool_]]:
    """Say which probes are not those of the noise that a run's spec names.

    Parameters
    ----------
    spec : RunSpec
        The run.
    seeds : ndarray of int64, (seed,)
        Seeds of written slots.
    probes : ndarray of float32, (seed, PROBE_LENGTH)
        Their probes.

    Returns
    -------
    dict of ndarray of bool, (seed,)
        Which ones, by what is wrong with them. Noise that was recorded has no relation to seeds,
        and nothing is known of unknown noise.
    """
    first = probes[:, : min(PROBE_LENGTH, math.prod(spec.sample_shape))]
    absent = np.asarray(~np.isfinite(first).all(axis=1))
    other = np.zeros(len(seeds), dtype=np.bool_)
    if spec.noise == NOISE_CONTRACT:
        expected = seed_probes(seeds, spec.sample_shape)[:, : first.shape[1]]
        other = ~probes_agree(first, expected).all(axis=1) & ~absent
    return {} if spec.noise == "unknown" else {ABSENT: absent, OTHER: other}
