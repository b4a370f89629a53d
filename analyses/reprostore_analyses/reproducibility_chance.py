"""RP at the threshold that unrelated samples set by themselves."""

import numpy as np
from numpy.typing import NDArray

from reprostore_analyses.kernels import chance_threshold, fine_thresholds
from reprostore_analyses.reproducibility_options import ReproducibilityOptions
from reprostore_analyses.statistics import wilson_interval


def beyond_chance(
    similarity: NDArray[np.float64],
    by_shift: NDArray[np.float64],
    grid: NDArray[np.float64],
    options: ReproducibilityOptions,
    *,
    mismatched: int,
) -> dict[str, NDArray[np.float64]]:
    """Compute the threshold that unrelated pairs set, and RP there.

    Parameters
    ----------
    similarity : ndarray, (pair, seed)
        Of equal seeds.
    by_shift : ndarray, (pair, shift, threshold)
        Share of shifted pairs above each of `fine_thresholds` of the grid.
    grid : ndarray, (threshold,)
        Thresholds of the stored curves.
    options : ReproducibilityOptions
        q and confidence.
    mismatched : int
        How many seeds have a part in the shifted pairs; those alone in their class have none.

    Returns
    -------
    dict of ndarray, (pair,)
        `chance_threshold`, `rp_beyond_chance` and its bounds: Wilson's at both ends of what θ may
        be; NaN where the spread of θ is not known, as with several classes. All NaN with fewer
        than 1/q mismatched seeds, of which less than one is expected beyond θ.
    """
    names = (
        "chance_threshold",
        "rp_beyond_chance",
        "rp_beyond_chance_low",
        "rp_beyond_chance_high",
    )
    seeds = similarity.shape[1]
    if mismatched * options.q < 1 - 1e-9:
        return {name: np.full(len(similarity), np.nan) for name in names}
    level = chance_threshold(fine_thresholds(grid), by_shift, options.q)
    counts = [
        (similarity > theta[:, None]).sum(axis=1) for theta in (level.value, level.low, level.high)
    ]
    low = wilson_interval(counts[2], seeds, options.confidence)[0]
    high = wilson_interval(counts[1], seeds, options.confidence)[1]
    columns = (level.value, counts[0] / seeds, low, high)
    known = [~np.isnan(each) for each in (level.value, level.value, level.low, level.low)]
    return {
        name: np.where(there, column, np.nan)
        for name, there, column in zip(names, known, columns, strict=True)
    }
