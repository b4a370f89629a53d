"""How many generated samples are near-copies of a training item."""

import numpy as np
from numpy.typing import ArrayLike

from reprostore_analyses.kernels.checks import Floats
from reprostore_analyses.kernels.thresholds import check_cosine_threshold, threshold_curve


def memorized_fraction(similarity: ArrayLike, threshold: float) -> Floats:
    """Compute P(max_i M(x, y_i) > θ), the share of samples that copy a training item.

    Parameters
    ----------
    similarity : array_like, shape (…, seed)
        max_i M(x, y_i): cosine of each sample with its nearest among the items y_i that the
        model itself was trained on (or, as the control, of real items that no model saw).
    threshold : float
        θ in [-1, 1], exceeded strictly.

    Returns
    -------
    ndarray of float64, shape (…)
        In [0, 1]; NaN without any sample.

    Raises
    ------
    SpecError
        The threshold is outside [-1, 1], or a similarity is NaN.

    References
    ----------
    Zhang et al. 2024, arXiv 2310.05264, GL score (SSCD, θ = 0.6).
    """
    return threshold_curve(similarity, check_cosine_threshold(threshold))


def generalization_score(similarity: ArrayLike, threshold: float) -> Floats:
    """Compute the GL score 1 − P(max_i M(x, y_i) > θ).

    Parameters
    ----------
    similarity : array_like, shape (…, seed)
        max_i M(x, y_i), as in `memorized_fraction`.
    threshold : float
        θ in [-1, 1], exceeded strictly.

    Returns
    -------
    ndarray of float64, shape (…)
        In [0, 1], 1 when no sample is a copy; NaN without any sample. It falls mechanically as
        the training set grows: compare with the same of held-out items.

    Raises
    ------
    SpecError
        The threshold is outside [-1, 1], or a similarity is NaN.

    References
    ----------
    Zhang et al. 2024, arXiv 2310.05264, GL score.
    """
    return np.asarray(1.0 - memorized_fraction(similarity, threshold))
