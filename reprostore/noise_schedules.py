"""What values a discrete noise schedule of a study may have: those that diffusers takes.

They are looked at before torch is loaded. diffusers itself keeps a value that it does not know
until the first step that needs it, or takes it for another.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from reprostore.errors import SpecError
from reprostore.seeds import shorten

PREDICTIONS = ("epsilon", "v_prediction", "sample")
"""What a network under a discrete schedule predicts: diffusers' names."""

MOST_TIMESTEPS = 1_000_000
"""A schedule of more is taken for a mistake."""

_DEFAULT_TIMESTEPS = 1000
_CLASS = "_class_name"


class _Rule(NamedTuple):
    """What a value is, in words, and whether a given one is that."""

    words: str
    holds: Callable[[Any], bool]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _whole(low: int, high: int) -> _Rule:
    return _Rule(
        f"a whole number from {low} to {high}",
        lambda value: type(value) is int and low <= value <= high,
    )


def _number(words: str, inside: Callable[[float], bool]) -> _Rule:
    return _Rule(f"a number {words}", lambda value: _is_number(value) and inside(value))


def _one_of(*choices: str) -> _Rule:
    return _Rule(
        f"one of {', '.join(choices)}", lambda value: isinstance(value, str) and value in choices
    )


def _are_betas(value: object) -> bool:
    return value is None or (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(_is_number(beta) and 0 < beta <= 1 for beta in value)
    )


_YES_OR_NO = _Rule("true or false", lambda value: isinstance(value, bool))

_RULES: Mapping[str, _Rule] = {
    "num_train_timesteps": _whole(1, MOST_TIMESTEPS),
    "beta_start": _number("from 0 to 1", lambda value: 0 <= value <= 1),
    "beta_end": _number("above 0 and at most 1", lambda value: 0 < value <= 1),
    "beta_schedule": _one_of("linear", "scaled_linear", "squaredcos_cap_v2", "laplace", "sigmoid"),
    "trained_betas": _Rule("a list of numbers above 0 and at most 1", _are_betas),
    "rescale_betas_zero_snr": _YES_OR_NO,
    "variance_type": _one_of(
        "fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned",
        "learned_range",
    ),
    "clip_sample": _YES_OR_NO,
    "clip_sample_range": _number("above 0", lambda value: value > 0),
    "thresholding": _YES_OR_NO,
    "dynamic_thresholding_ratio": _number("from 0 to 1", lambda value: 0 <= value <= 1),
    "sample_max_value": _number("above 0", lambda value: value > 0),
    "timestep_spacing": _one_of("linspace", "leading", "trailing"),
    "steps_offset": _whole(0, MOST_TIMESTEPS - 1),
    "prediction_type": _one_of(*PREDICTIONS),
}  # fmt: skip

_OF_A_CLASS = {"beta_schedule", "prediction_type", "variance_type", "timestep_spacing"}
"""Keys whose names differ between the scheduler classes of diffusers."""

SCHEDULE_KEYS = tuple(key for key in _RULES if key != "prediction_type")
"""The keys of a recipe's noise schedule; what its network predicts is its objective."""


def check_noise_schedule(values: Mapping[str, Any]) -> None:
    """Refuse values that a scheduler of diffusers does not take, or takes for others.

    Keys of which nothing is known here are left to the scheduler's class.

    Parameters
    ----------
    values : mapping
        Of diffusers' DDPMScheduler, or of the class that ``_class_name`` names.

    Raises
    ------
    SpecError
        A value is of another kind or outside of its range, or there are not as many betas as
        timesteps.
    """
    for key, value in values.items():
        rule = _RULES.get(key)
        if key in _OF_A_CLASS and _CLASS in values:
            rule = _Rule("a text", _is_text)
        if rule is not None and not rule.holds(value):
            raise SpecError(
                f"`{key}` is {_shown(value)}.",
                f"It should be {rule.words}.",
                "Correct or remove it.",
            )
    count = values.get("num_train_timesteps", _DEFAULT_TIMESTEPS)
    betas = values.get("trained_betas")
    if betas is not None and len(betas) != count:
        raise SpecError(
            f"`trained_betas` has {len(betas)} value{'s' * (len(betas) != 1)} and "
            f"`num_train_timesteps` is {count}"
            + ("." if "num_train_timesteps" in values else ", its default."),
            "Each timestep has one beta.",
            f"Write num_train_timesteps = {len(betas)}, or correct the betas.",
        )
    if values.get("steps_offset", 0) >= count:
        raise SpecError(
            f"`steps_offset` is {values['steps_offset']} and `num_train_timesteps` {count}.",
            f"The timesteps are 0 to {count - 1}, and the offset is one of them, mostly 0 or 1.",
            "Correct or remove `steps_offset`.",
        )


def check_recipe_schedule(values: Mapping[str, Any]) -> None:
    """Refuse the noise schedule of a recipe if a network cannot be trained and sampled by it.

    Raises
    ------
    SpecError
        As `check_noise_schedule`, or a key is not one of `SCHEDULE_KEYS`, or the variance would be
        learned.
    """
    for key in values:
        if key not in SCHEDULE_KEYS:
            raise SpecError(
                f"`noise_schedule` has the key `{shorten(key)}`.",
                f"Its keys are {', '.join(SCHEDULE_KEYS)}; what the network predicts is the "
                "`objective`.",
                "Correct or remove the key.",
            )
    check_noise_schedule(values)
    if str(values.get("variance_type", "")).startswith("learned"):
        raise SpecError(
            f"`variance_type` is {_shown(values['variance_type'])}.",
            "The networks that are trained here predict no variance.",
            'Write "fixed_small", or remove it.',
        )


def _shown(value: object) -> str:
    return shorten(json.dumps(value, ensure_ascii=False, default=repr))
