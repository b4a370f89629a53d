"""An order of runs in which similar ones stand side by side."""

import numpy as np
from numpy.typing import NDArray


def spectral_order(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Order runs so that those with high scores stand side by side.

    Parameters
    ----------
    scores : ndarray
        (run, run) symmetric, in [0, 1]; NaN counts as 0.

    Returns
    -------
    ndarray
        (run,) int64, positions of the runs in order: that of the Fiedler vector of the graph
        whose weights are the scores. The run that was first comes in the first half.

    References
    ----------
    Atkins, Boman & Hendrickson 1998, "A spectral algorithm for seriation".
    """
    weights = np.nan_to_num(scores, nan=0.0)
    np.fill_diagonal(weights, 0.0)
    laplacian = np.diag(weights.sum(axis=1)) - weights
    _, vectors = np.linalg.eigh(laplacian)
    fiedler = vectors[:, 1]
    fiedler = fiedler if fiedler[0] <= np.median(fiedler) else -fiedler
    return np.argsort(np.round(fiedler, 9), kind="stable").astype(np.int64)
