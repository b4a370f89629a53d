"""An import before anything is written: the source opened, checked and identified."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reprostore.digests import file_digest
from reprostore.errors import NotFoundError, SpecError
from reprostore.importing.features import open_vectors
from reprostore.importing.folders import open_png_folder
from reprostore.importing.images import open_images
from reprostore.importing.noise import KnownNoise, known_noise
from reprostore.importing.request import ImportRequest
from reprostore.importing.samples import Samples
from reprostore.importing.stored_arrays import StoredArray
from reprostore.specs import CONTENT, IMPORTED, RunSpec, SamplerSpec

BATCH_SIZE: Final = 128
"""Of imported runs; it decides how many samples make up a work unit."""


@dataclass(frozen=True)
class PreparedImport:
    """Samples that can be written.

    Attributes
    ----------
    request : ImportRequest
        What was asked for.
    samples : Samples
        The samples, or the vectors of samples that are withheld.
    noise : KnownNoise
        What is known of their noise.
    spec : RunSpec
        The run that they become.
    """

    request: ImportRequest
    samples: Samples
    noise: KnownNoise
    spec: RunSpec

    @property
    def withheld(self) -> bool:
        """Whether these are vectors of samples that stay where they are."""
        return self.request.encoder is not None

    def states(self, seeds: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Read samples and noise probes of seeds that the source has, in any order."""
        rows = np.asarray([self._rows[int(seed)] for seed in seeds], dtype=np.int64)
        ascending = np.argsort(rows)
        back = np.argsort(ascending)
        rows = rows[ascending]
        return self.samples.read(rows)[back], self.noise.probes(rows)[back]

    @cached_property
    def _rows(self) -> dict[int, int]:
        """Where each seed lies in the source."""
        return {seed: row for row, seed in enumerate(self.samples.seeds)}


@contextmanager
def prepared_import(request: ImportRequest) -> Iterator[PreparedImport]:
    """Open a source, read all of it once, and check it; nothing is written.

    Parameters
    ----------
    request : ImportRequest
        What is to be imported.

    Yields
    ------
    PreparedImport
        Ready to be written while the block lasts.

    Raises
    ------
    NotFoundError
        There is no such source.
    SpecError, DatasetError
        Seeds, layout, values, names or noise are missing or do not fit.
    DependencyError
        A package that reads this source is not installed.
    """
    with ExitStack() as files:
        samples = _opened(request, files)
        shape = samples.shape if request.encoder is None else request.sample_shape
        assert shape is not None  # the request was checked
        if request.encoder is None and request.sample_shape not in {None, shape}:
            raise SpecError(
                f"The samples of {samples.what} have the shape {shape}, and {request.sample_shape} "
                "was given.",
                "The shape is (channel, y, x).",
                "Correct it, or leave it out.",
            )
        noise = known_noise(request, samples.seeds, shape)
        yield PreparedImport(request, samples, noise, _spec(request, samples, noise, shape))


def _opened(request: ImportRequest, files: ExitStack) -> Samples:
    source = request.source
    if source.is_dir():
        _refuse_for_folder(request)
        return open_png_folder(request)
    if not source.is_file() or source.suffix not in {".npy", ".npz"}:
        raise (SpecError if source.exists() else NotFoundError)(
            f"{source} is {'of no known kind' if source.exists() else 'not there'}.",
            "Samples are imported from a folder of PNG files, a .npz or a .npy file.",
            "Check the path, or save the samples as one of these.",
        )
    default = "arr_0" if request.encoder is None else "features"
    array = files.enter_context(StoredArray(source, request.key, default, f"the file {source}"))
    return (open_images if request.encoder is None else open_vectors)(request, array)


def _refuse_for_folder(request: ImportRequest) -> None:
    options = ("key", "layout", "value_range", "encoder")
    given = [name.replace("_", " ") for name in options if getattr(request, name) is not None]
    if given:
        raise SpecError(
            f"{given[0].capitalize()} is given for the folder {request.source}.",
            "It belongs to arrays in .npz and .npy files; PNG files tell all of it.",
            "Leave it out, or name a file.",
        )


def _spec(
    request: ImportRequest, samples: Samples, noise: KnownNoise, shape: tuple[int, ...]
) -> RunSpec:
    made: dict[str, Any] = {"scheduler": IMPORTED, "content": "images"}
    if request.encoder is not None:
        made |= {"content": "vectors", "encoder": request.encoder_identity()}
    if request.weights is not None:
        weights = _digests(request.weights)
    else:
        parts = [samples.digest, noise.digest, made]
        weights = {CONTENT: hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()}
    return RunSpec(
        model=request.model,
        sampler=request.sampler,
        condition=request.condition,
        sample_shape=shape,
        model_spec=request.model_spec(),
        sampler_spec=SamplerSpec(scheduler=IMPORTED, steps=request.steps, dtype=samples.dtype),
        weights=weights,
        scheduler=made,
        noise=noise.contract,
        noise_scale=request.noise_scale,
        stored_dtype=samples.dtype,
        steps=(request.steps,),
        batch_size=BATCH_SIZE,
    )


def _digests(weights: Path) -> dict[str, str]:
    """Return the sha256 of a checkpoint's file, or of all files in its folder, by name."""
    if not weights.is_dir():
        return {weights.name: file_digest(weights)}
    files = sorted(
        file
        for file in weights.rglob("*")
        if file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(weights).parts)
    )
    if not files:
        raise NotFoundError(
            f"The folder {weights} holds no files.",
            "Weights are the checkpoint that the samples come from.",
            "Check the path, or leave the weights out.",
        )
    return {file.relative_to(weights).as_posix(): file_digest(file) for file in files}
