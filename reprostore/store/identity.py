"""What a name in the store stands for, compared with what is asked to be written."""

from typing import Any

from reprostore.canonical import to_jsonable
from reprostore.errors import IdentityError
from reprostore.specs import RunSpec


def check_identity(stored: RunSpec, asked: RunSpec) -> None:
    """Compare what a run's name stands for in the store with what is asked to be written.

    Raises
    ------
    IdentityError
        They differ; both values of the first difference are shown.
    """
    if stored.fingerprint == asked.fingerprint:
        return
    difference = first_difference(to_jsonable(stored.identity()), to_jsonable(asked.identity()))
    raise IdentityError(
        f"The run {stored.path} in the store differs from the one asked for: {difference}.",
        "A run name stands for one model, sampler and condition.",
        "Give the model or the sampler another name in the study, or write into another store.",
    )


def first_difference(stored: Any, asked: Any, where: str = "") -> str:  # noqa: ANN401
    """Describe the first difference between two JSON values, both values side by side."""
    if isinstance(stored, dict) and isinstance(asked, dict):
        for key in sorted(stored.keys() | asked.keys()):
            if stored.get(key) != asked.get(key) or (key in stored) != (key in asked):
                path = f"{where}.{key}" if where else key
                return first_difference(stored.get(key), asked.get(key), path)
    return f"{where} is {stored!r} in the store and {asked!r} in what was asked for"
