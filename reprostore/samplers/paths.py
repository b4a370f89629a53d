"""Which noise levels a diffusers scheduler visits, read off the scheduler itself."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reprostore.errors import SpecError
from reprostore.models.checkpoint import quiet_diffusers
from reprostore.models.prediction import FlowLevel, Level, NoiseLevel, vp_sigmas

_ROUNDING = 1e-4
"""diffusers shifts the time 1 in float32, and small shifts magnify the rounding."""


@dataclass(frozen=True)
class Path:
    """Where a scheduler leads.

    Attributes
    ----------
    calls : sequence of Level
        Of each call of the model, in order.
    rows : list of int
        Which call is the first on x_k, for k below the number of steps.
    final : Level
        Of the sample.
    """

    calls: Sequence[Level]
    rows: list[int]
    final: Level


def vp_path(scheduler: Any, steps: int, evaluations: int) -> Path:  # noqa: ANN401
    """Set the timesteps of a scheduler with betas, and read off every noise level.

    Parameters
    ----------
    scheduler : diffusers scheduler
        Its timesteps are set.
    steps : int
        Number of full solver steps.
    evaluations : int
        Calls of the model per full step.

    Returns
    -------
    Path
        Of `steps` rows.

    Raises
    ------
    SpecError
        The scheduler cannot take this many steps.
    """
    _set_timesteps(scheduler, steps)
    timesteps = scheduler.timesteps
    training = vp_sigmas(scheduler.alphas_cumprod)
    if not 0 <= float(timesteps.min()) <= float(timesteps.max()) <= len(training) - 1:
        raise _steps_error(
            scheduler,
            steps,
            f"its timesteps reach from {float(timesteps.min()):g} to {float(timesteps.max()):g}",
        )
    if hasattr(scheduler, "sigmas"):
        sigmas = scheduler.sigmas.double().tolist()
    else:
        final = _final_sigma(scheduler, steps, training)
        sigmas = [*training[timesteps.numpy()].tolist(), final]
    rows = list(range(0, len(timesteps), evaluations))
    levels = [sigmas[row] for row in rows]
    if len(rows) != steps or len(sigmas) != len(timesteps) + 1:
        raise _steps_error(scheduler, steps, f"it makes {len(rows)} steps")
    if not _decrease(levels):
        raise _steps_error(scheduler, steps, "it visits a noise level twice")
    calls = [NoiseLevel(sigma) for sigma in sigmas[: len(timesteps)]]
    return Path(calls, rows, NoiseLevel(sigmas[-1]))


def flow_path(scheduler: Any, steps: int) -> Path:  # noqa: ANN401
    """Set the timesteps of a flow matching scheduler, and read off every time.

    Parameters
    ----------
    scheduler : diffusers.FlowMatchEulerDiscreteScheduler
        Its timesteps are set.
    steps : int
        Number of solver steps.

    Returns
    -------
    Path
        Of `steps` rows; t falls from 1 to 0.

    Raises
    ------
    SpecError
        The times do not fall from 1, pure noise, to 0.
    """
    _set_timesteps(scheduler, steps)
    times = scheduler.sigmas.double().tolist()
    if abs(times[0] - 1) < _ROUNDING:
        times[0] = 1.0
    if len(times) != steps + 1 or times[0] != 1 or times[-1] != 0 or not _decrease(times):
        raise SpecError(
            f"{type(scheduler).__name__} goes through the times {', '.join(map(_short, times[:3]))}"
            f", … to {_short(times[-1])} in {steps} steps.",
            "Time falls at every step, from 1 at pure noise to 0.",
            "Take fewer steps, or correct the shift in the sampler's options.",
        )
    return Path([FlowLevel(time) for time in times[:-1]], list(range(steps)), FlowLevel(0.0))


def _short(time: float) -> str:
    """Write a time in a message."""
    return f"{time:.3g}"


def _decrease(levels: Sequence[float]) -> bool:
    """Return whether every level is below the one before; NaN is not."""
    return all(a > b for a, b in itertools.pairwise(levels))


def _set_timesteps(scheduler: Any, steps: int) -> None:  # noqa: ANN401
    """Set the timesteps from the first on; a scheduler's own refusal becomes ours."""
    with quiet_diffusers():
        try:
            scheduler.set_timesteps(steps)
        except (ValueError, IndexError, ZeroDivisionError) as error:
            raise _steps_error(scheduler, steps, str(error)) from error
    if hasattr(scheduler, "set_begin_index"):
        # Else a first timestep that occurs twice would start at the second.
        scheduler.set_begin_index(0)


def _final_sigma(scheduler: Any, steps: int, training: np.ndarray) -> float:  # noqa: ANN401
    """Return the noise level to which the last step of DDIM or DDPM leads."""
    if not hasattr(scheduler, "final_alpha_cumprod"):
        return 0.0
    ratio = scheduler.config.num_train_timesteps // steps
    previous = int(scheduler.timesteps[-1]) - ratio
    if previous >= 0:
        return float(training[previous])
    return float(vp_sigmas(scheduler.final_alpha_cumprod))


def _steps_error(scheduler: Any, steps: int, reason: str) -> SpecError:  # noqa: ANN401
    """Return the error of a number of steps that a scheduler cannot take."""
    return SpecError(
        f"{type(scheduler).__name__} cannot take {steps} steps: {reason.rstrip('.')}.",
        f"The model was trained with {scheduler.config.num_train_timesteps} timesteps, and every "
        "step begins at another of them.",
        "Take fewer steps, or change timestep_spacing or steps_offset in the sampler's options.",
    )
