"""Quantiles of Student's t, for intervals whose scale is estimated from few points."""

import math

from reprostore_analyses.kernels.checks import fraction, positive

_BISECTIONS = 60  # halves of π/2 below the spacing of doubles


def student_quantile(confidence: float, degrees: int) -> float:
    """Compute the t with P(|T| ≤ t) = confidence.

    Parameters
    ----------
    confidence : float
        In (0, 1).
    degrees : int
        ν, the degrees of freedom, at least 1.

    Returns
    -------
    float
        t > 0, with a relative error below 1e-9.

    Raises
    ------
    SpecError
        An argument is out of range.

    References
    ----------
    Abramowitz & Stegun 1964, "Handbook of Mathematical Functions", eqs. 26.7.3 and 26.7.4.
    """
    fraction(confidence, "confidence")
    positive(degrees, "degrees of freedom")
    low, high = 0.0, math.pi / 2
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _central_probability(middle, degrees) < confidence:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def _central_probability(angle: float, degrees: int) -> float:
    """Return P(|T| ≤ √ν tan θ), a finite sum for whole ν."""
    cosine, odd = math.cos(angle), degrees % 2
    term, total = (cosine if odd else 1.0), 0.0
    for power in range(odd, degrees - 1, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    return (angle + math.sin(angle) * total) * 2 / math.pi if odd else math.sin(angle) * total
