"""Memorization and generalization, told apart by two scores."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reprostore.errors import SpecError

REGIMES = ("between", "memorization", "generalization")
"""Regimes by their number; -1 stands for what cannot be said."""


def regimes(gl: ArrayLike, rp: ArrayLike, *, g: float, r: float) -> NDArray[np.int64]:
    """Tell the regime from GL and RP scores.

    Memorization is where GL < g; generalization is where GL > 1 − g and RP > r: samples that are
    no copies, and that another model draws too.

    Parameters
    ----------
    gl, rp : array_like
        Scores in [0, 1] that broadcast; NaN where there is none.
    g : float
        In (0, 1/2).
    r : float
        In [0, 1].

    Returns
    -------
    ndarray of int64
        Positions in `REGIMES`; -1 where GL is NaN, or where GL > 1 − g and RP is NaN.

    Raises
    ------
    SpecError
        A parameter is out of range.

    References
    ----------
    Zhang et al. 2024, arXiv 2310.05264, Figure 2, which draws both regimes without a rule.
    """
    if not (0 < g < 0.5 and 0 <= r <= 1):
        raise SpecError(
            f"The parameters of the regimes are g = {g} and r = {r}.",
            "g lies between 0 and 0.5, both excluded, and r in [0, 1].",
            "Correct g or r.",
        )
    novel, agreeing = np.broadcast_arrays(
        np.asarray(gl, dtype=np.float64), np.asarray(rp, dtype=np.float64)
    )
    found = np.zeros(novel.shape, dtype=np.int64)
    found[novel < g] = REGIMES.index("memorization")
    found[(novel > 1 - g) & (agreeing > r)] = REGIMES.index("generalization")
    found[np.isnan(novel) | ((novel > 1 - g) & np.isnan(agreeing))] = -1
    return found
