"""The solvers that are tested, by class name and short name, and how their options are checked."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reprostore.errors import SpecError


@dataclass(frozen=True)
class Solver:
    """A tested solver.

    Attributes
    ----------
    short : str
        Its short name, as in ``ddim:50``.
    library : str
        "diffusers", or "reprostore" for the solvers of Karras et al. 2022.
    stochastic : bool
        Whether it draws noise at every step.
    scaled : bool
        Whether its state is x_0 + σ ε (alpha = 1), which it scales for the network.
    evaluations : int
        Calls of the model per full step (one less in a last step to σ = 0).
    prediction_types : tuple of str
        What the network may predict under a variance-preserving schedule.
    flow : bool
        Whether its state is (1 − t) x_0 + t ε, and it needs the velocity of flow matching.
    """

    short: str
    library: str = "diffusers"
    stochastic: bool = False
    scaled: bool = False
    evaluations: int = 1
    prediction_types: tuple[str, ...] = ("epsilon", "v_prediction", "sample")
    flow: bool = False


TESTED: Mapping[str, Solver] = {
    "DDIMScheduler": Solver("ddim"),
    "DDPMScheduler": Solver("ddpm", stochastic=True),
    "DPMSolverMultistepScheduler": Solver("dpmsolver"),
    "UniPCMultistepScheduler": Solver("unipc"),
    "EulerDiscreteScheduler": Solver("euler", scaled=True),
    "EulerAncestralDiscreteScheduler": Solver(
        "euler-ancestral",
        stochastic=True,
        scaled=True,
        prediction_types=("epsilon", "v_prediction"),
    ),
    "HeunDiscreteScheduler": Solver("heun", scaled=True, evaluations=2),
    "FlowMatchEulerDiscreteScheduler": Solver("flow-euler", flow=True, prediction_types=()),
    "edm-euler": Solver("edm-euler", library="reprostore", scaled=True),
    "edm-heun": Solver("edm-heun", library="reprostore", scaled=True, evaluations=2),
}
"""The tested solvers by canonical name."""


def known_schedulers() -> list[str]:
    """Return the short names of all tested solvers."""
    return [solver.short for solver in TESTED.values()]


def canonical_scheduler(name: str) -> str:
    """Return the canonical name of a scheduler: its class name in diffusers, or edm-….

    Parameters
    ----------
    name : str
        Class name or short name.

    Returns
    -------
    str
        A key of `TESTED`.

    Raises
    ------
    SpecError
        The scheduler is unknown or not tested.
    """
    names = {solver.short: full for full, solver in TESTED.items()} | {
        full: full for full in TESTED
    }
    if name in names:
        return names[name]
    raise SpecError(
        f"The scheduler {name!r} is unknown or not tested.{nearest(name, names)}",
        f"Tested are {', '.join(f'{full} ({each.short})' for full, each in TESTED.items())}.",
        "Choose one of these.",
    )


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return " Did you mean …?" with the most similar of the choices, or nothing."""
    lower = {choice.lower(): choice for choice in choices}
    match = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
    return f" Did you mean {lower[match[0]]!r}?" if match else ""


def check_options(scheduler: str, options: Iterable[str], known: Iterable[str]) -> None:
    """Refuse option names that a solver does not have.

    Parameters
    ----------
    scheduler : str
        Canonical name.
    options, known : iterable of str
        The names that are given, and all that may be.

    Raises
    ------
    SpecError
        A name is not known.
    """
    known = sorted(known)
    for name in options:
        if name not in known:
            raise SpecError(
                f"{scheduler} has no option {name!r}.{nearest(name, known)}",
                f"Its options are {', '.join(known)}.",
                "Correct or remove it in the sampler's options; the noise schedule and what the "
                "network predicts belong to the model.",
            )
