"""Whether samples are nearer to training items than other real items are: AuthPct and C_T."""

from statistics import NormalDist

import numpy as np

from reprostore_analyses.kernels.copying import CopyingTest, data_copying
from reprostore_analyses.memorization_options import MemorizationOptions as Options
from reprostore_analyses.metrics.base import Score, share
from reprostore_analyses.metrics.evidence import Evidence, Who


def authentic(evidence: Evidence, who: Who, against: Who, options: Options) -> Score:
    """Compute AuthPct: 100 · share whose nearest training item has a nearer other one."""
    near = evidence.encoder.nearest(who, "l2")
    others = evidence.encoder.nearest("train", "l2").values
    if others.shape[1] == 0:
        return Score(np.nan, reason="AuthPct needs two training items")
    own = others[near.positions[:, 0], 0]
    copies = int((own == 0).sum())
    reason = ""
    if copies:
        reason = (
            f"{copies} items are nearest to an item that has an exact duplicate: they count as "
            "authentic unless they equal it"
        )
    score = share(own < near.values[:, 0], options, reason)
    return Score(100 * score.value, 100 * score.low, 100 * score.high, score.reason)


def copying(evidence: Evidence, who: Who, against: Who, options: Options) -> Score:
    """Compute C_T of the samples; of held-out items, what it is where nothing is copied.

    Returns
    -------
    Score
        A z-score has no interval of its own. That of held-out items is 0, in the range that C_T
        has without copying.
    """
    if evidence.encoder.held_out is None:
        return Score(np.nan, reason="C_T compares with held-out items")
    if "ct" not in evidence.kept:
        evidence.kept["ct"] = data_copying(
            generated=evidence.encoder.array("generated"),
            train=evidence.encoder.array("train"),
            test=evidence.encoder.array("held_out"),
            rng=evidence.rng(),
            cells=options.cells,
        )
    found: CopyingTest = evidence.kept["ct"]
    if who == "generated" or np.isnan(found.value):
        return Score(found.value, reason=found.reason)
    reach = NormalDist().inv_cdf((1 + options.confidence) / 2) * found.deviation
    return Score(0.0, -reach, reach)
