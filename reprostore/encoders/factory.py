"""Encoders that a user's own Python function makes."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.encoders.batching import BatchedEncoder, Metric
from reprostore.encoders.preprocessing import Preprocessing
from reprostore.encoders.request import Request
from reprostore.errors import ModelError, NotFoundError, ReprostoreError


@dataclass(frozen=True)
class FactorySource:
    """Where the factory of an encoder is written.

    Attributes
    ----------
    module, function : str
        Dotted module name and name of the callable in it.
    file : Path
        The module's source file.
    local : bool
        Whether the file lies beside the study, not on Python's search path.
    """

    module: str
    function: str
    file: Path
    local: bool


class FactoryEncoder(BatchedEncoder[NDArray[np.uint8]]):
    """What a factory returned, called with full batches and checked.

    Parameters
    ----------
    source : FactorySource
        The factory, called as ``function(device=…, **options)``. It returns an object with
        ``encode(images)``, (n, channel, y, x) uint8 to (n, dimension) floating point, and
        `metric`, "cosine" or "squared_l2".
    options : dict
        Keyword arguments of the factory.
    base : Path
        Folder of the study file; modules in it can be imported by the factory's module.
    item_shape : tuple of int
        (channel, y, x).
    batch_size : int
        Images per call of `encode`; the last batch is padded.
    device : str
        Passed on to the factory.
    metric : {"cosine", "squared_l2"}
        What the study says; the object's own must be the same.

    Raises
    ------
    NotFoundError
        The module has no such function.
    ModelError
        The object is no encoder of such images.
    """

    def __init__(
        self,
        source: FactorySource,
        options: dict[str, Any],
        base: Path,
        item_shape: tuple[int, ...],
        batch_size: int,
        device: str,
        metric: Metric,
    ) -> None:
        super().__init__(f"{source.module}:{source.function}", item_shape, batch_size, metric)
        self._check_channels(Preprocessing())
        with _search_path(base):
            function = getattr(_import(source), source.function, None)
            if not callable(function):
                raise NotFoundError(
                    f"{source.file} has no function {source.function!r}.",
                    "factory names a function that returns an encoder.",
                    "Correct the name after the colon.",
                )
            try:
                self._encoder = function(device=device, **options)
            except ReprostoreError:
                raise
            except Exception as error:  # whatever a user's own code raises
                raise self._failed(
                    f"its factory fails: {_said(error)}",
                    "It is called with `device` and the study's `options`.",
                ) from error
        if not callable(getattr(self._encoder, "encode", None)):
            raise self._failed(
                f"the factory returned a {type(self._encoder).__name__} without encode",
                "It returns an object with encode(images) and metric.",
            )
        own = getattr(self._encoder, "metric", None)
        if own != metric:
            raise ModelError(
                f"The encoder {self.name} has the metric {own!r}, and the study says {metric!r}.",
                'The two agree; the study says "cosine" when it says nothing.',
                f"Set metric in the study to that of the encoder, or correct {source.file.name}.",
            )
        self.dimension = self._find_dimension()

    def _prepare(self, batch: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return batch

    def _compute(self, prepared: NDArray[np.uint8]) -> NDArray[np.float32]:
        try:
            output = np.asarray(self._encoder.encode(prepared))
        except Exception as error:  # whatever a user's own code raises
            raise self._failed(
                f"its encode fails on input of the shape {prepared.shape}: {_said(error)}",
                "It takes uint8 images, (n, channel, y, x).",
            ) from error
        if output.dtype.kind != "f":
            raise self._failed(
                f"its output has the type {output.dtype}", "Vectors are floating-point arrays."
            )
        return output.astype(np.float32)


def _said(error: Exception) -> str:
    """Return the kind of an error and the first line of what it says."""
    return " ".join([type(error).__name__, *str(error).splitlines()[:1]])


def factory_source(request: Request) -> FactorySource:
    """Return the source of the factory that a study names.

    Raises
    ------
    SpecError
        It names none.
    NotFoundError
        There is no such module.
    """
    factory = request.required(
        "factory", "factory is module:function.", 'for example factory = "faces:encoder"'
    )
    return locate_factory(factory, request.base)


def locate_factory(factory: str, base: Path) -> FactorySource:
    """Find the source file of a factory by path, without importing anything.

    Parameters
    ----------
    factory : str
        ``module:function``; the module lies beside the study file or on Python's search path.
    base : Path
        Folder of the study file.

    Raises
    ------
    NotFoundError
        There is no such module.
    """
    module, _, function = factory.partition(":")
    if not all(name.isidentifier() for name in [*module.split("."), function]):
        raise NotFoundError(
            f"The factory {factory!r} names no module and function.",
            'It is written "module:function", for example "nets.faces:encoder".',
            "Correct factory.",
        )
    relative = Path(*module.split("."))
    for folder in (base, *map(Path, sys.path)):
        for file in (folder / relative.with_suffix(".py"), folder / relative / "__init__.py"):
            if file.is_file():
                return FactorySource(module, function, file.absolute(), folder == base)
    raise NotFoundError(
        f"There is no Python module {module!r} beside the study file in {base} or on Python's "
        "search path.",
        f"The factory {factory!r} names a module written in Python.",
        f"Put {relative.name}.py beside the study file, or install the package that has it.",
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
    try:
        module = importlib.import_module(source.module)
    except Exception as error:  # whatever a user's own code raises
        raise ModelError(
            f"The encoder {source.module}:{source.function} cannot be imported: {_said(error)}.",
            f"Python imports {source.file} to find the factory.",
            "Correct the module, or install what it imports.",
        ) from error
    if module.__file__ is None or not source.file.samefile(module.__file__):
        raise ModelError(
            f"Python imported {module.__file__} as {source.module}.",
            f"The factory names {source.file}.",
            "Rename the module: another one of this name has been imported before.",
        )
    return module
