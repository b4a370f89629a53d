"""Models that a user's own Python function makes."""

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from reprostore.errors import ModelError, NotFoundError
from reprostore.models.base import Denoiser, DiffusersModel, Model
from reprostore.models.locate import FactorySource


def load_factory(
    source: FactorySource,
    base: Path,
    device: torch.device,
    dtype: torch.dtype,
    noise_schedule: Mapping[str, Any] | None,
) -> Model:
    """Import a module and call its factory as ``factory(device=…, dtype=…)``.

    Parameters
    ----------
    source : FactorySource
        The module and the function.
    base : Path
        Folder of the study file; modules in it can be imported by the factory's module.
    device, dtype : torch.device, torch.dtype
        Passed on to the factory.
    noise_schedule : mapping, optional
        Scheduler config values for a model that brings none.

    Returns
    -------
    Model
        A `Denoiser` or `DiffusersModel`.

    Raises
    ------
    NotFoundError
        The module has no such function.
    ModelError
        The function returned something else, or a noise schedule is given twice.
    """
    with _search_path(base):
        factory = getattr(_import(source), source.factory, None)
        if not callable(factory):
            raise NotFoundError(
                f"{source.file} has no function {source.factory!r}.",
                "The source python:module:factory names a function that returns a model.",
                "Correct the name after the second colon.",
            )
        model = factory(device=device, dtype=dtype)
    if not isinstance(model, Denoiser | DiffusersModel):
        raise ModelError(
            f"{source.module}:{source.factory} returned a {type(model).__name__}.",
            "A factory returns a Denoiser or a DiffusersModel of reprostore.models.base.",
            "Wrap the network in one of the two.",
        )
    if noise_schedule is None:
        return model
    if model.scheduler_config is not None:
        raise schedule_given_twice(f"{source.module}:{source.factory}")
    return replace(model, scheduler_config=dict(noise_schedule))


def schedule_given_twice(what: str) -> ModelError:
    """Return the error of a model that has a noise schedule and is given another."""
    return ModelError(
        f"{what} has a noise schedule of its own, and the study gives it a noise_schedule.",
        "The noise schedule is what the model was trained with, so there is one.",
        "Remove noise_schedule from the model in the study.",
    )


@contextmanager
def _search_path(base: Path) -> Iterator[None]:
    """Let modules beside the study be imported, by the factory's module and by the factory."""
    entry = str(base.absolute())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)


def _import(source: FactorySource) -> ModuleType:
    """Import a factory's module, and make sure that it is the file whose digest is recorded.

    A module beside the study is read anew each time: it may have been edited since, and another
    study in the same process may have a module of the same name.
    """
    importlib.invalidate_caches()
    if source.local:
        sys.modules.pop(source.module, None)
    module = importlib.import_module(source.module)
    if module.__file__ is None or not source.file.samefile(module.__file__):
        raise ModelError(
            f"Python imported {module.__file__} as {source.module}.",
            f"The source names {source.file}.",
            "Rename the module: another one of this name has been imported before.",
        )
    return module
