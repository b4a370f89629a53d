"""What a run says of its steps: which were recorded, and at which noise levels."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.specs import IMPORTED, RunSpec


def wrong_steps(spec: RunSpec, found: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, str]]:
    """Say which of a run's step arrays cannot be those of its spec.

    Noise levels themselves are not computed anew: that takes the model's scheduler.

    Parameters
    ----------
    spec : RunSpec
        The run.
    found : mapping of ndarray, (step,)
        Those of `step`, `sigma`, `alpha` and `timestep` that can be read.

    Yields
    ------
    array, what : str
        Which one, and what is wrong as a full sentence.
    """
    if "step" in found and tuple(found["step"].tolist()) != spec.steps:
        yield "step", "The array step holds other steps than the run's spec."
    sigma, alpha, timestep = (found.get(name) for name in ("sigma", "alpha", "timestep"))
    if spec.model_spec.source == IMPORTED:
        if sigma is not None and sigma.any():  # NaN counts as true
            yield "sigma", "The array sigma is not 0, as it is of imported samples."
        if alpha is not None and (alpha != 1).any():
            yield "alpha", "The array alpha is not 1, as it is of imported samples."
        if timestep is not None and not np.isnan(timestep).all():
            yield "timestep", "The array timestep is not NaN, as it is of imported samples."
        return
    if sigma is not None and not (sigma >= 0).all():
        yield "sigma", "The array sigma holds values that are no noise levels."
    elif sigma is not None and (sigma[1:] > sigma[:-1]).any():
        yield "sigma", "The array sigma rises: solvers take noise away."
    if alpha is not None and not np.isfinite(alpha).all():
        yield "alpha", "The array alpha holds values that are not finite."
    if timestep is not None and not (np.isfinite(timestep[:-1]).all() and np.isnan(timestep[-1])):
        yield "timestep", "The array timestep is not NaN in its last row alone."
