"""How the two sources of a comparison are read: as images or vectors, with which options."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reprostore.errors import DatasetError, NotFoundError, SpecError
from reprostore.importing import ImportRequest
from reprostore.importing.request import EDM_CPU, UNKNOWN
from reprostore.importing.stored_arrays import StoredArray, array_names
from reprostore_analyses.compare_request import VECTORS, CompareRequest

_KEYS = ("arr_0", VECTORS)
"""Arrays of images and of vectors in .npz files, by guided-diffusion's and our own names."""

_READING = ("key", "layout", "value_range")

_UNSEEN_SHAPE = (1, 1, 1)
"""Of samples behind vectors, where it does not matter: their noise is not known either."""


def import_requests(request: CompareRequest) -> list[ImportRequest]:
    """Return how the two sources are imported, as the models "a" and "b".

    Raises
    ------
    SpecError
        One holds images and the other vectors, or it is not clear what one holds.
    """
    sources = (request.a, request.b)
    looked = [_look(source.path, request) for source in sources]
    vectors = [each.vectors for each in looked]
    if vectors[0] != vectors[1]:
        kinds = ["vectors" if each else "images" for each in vectors]
        raise SpecError(
            f"{request.a.path} holds {kinds[0]}, and {request.b.path} holds {kinds[1]}.",
            "Images are compared with images, and vectors with vectors.",
            "Give two sources of one kind, or name the array with --key.",
        )
    shape = request.sample_shape
    if vectors[0] and shape is None and UNKNOWN == request.a.noise == request.b.noise:
        shape = _UNSEEN_SHAPE
    # What tells how to read arrays is no mistake where only the other side can be read so.
    mixed = looked[0].array != looked[1].array
    in_file = [source.noise not in {UNKNOWN, EDM_CPU} for source in sources]
    ranged = len({each.eight_bits for each in looked}) > 1
    made = []
    for model, source, own, from_file in zip("ab", sources, looked, in_file, strict=True):
        plain = mixed and not own.array
        made.append(
            ImportRequest(
                source=source.path,
                model=model,
                seeds=source.seeds,
                noise=source.noise,
                noise_scale=request.noise_scale if from_file or not any(in_file) else 1.0,
                key=None if plain else own.key,
                layout=None if plain else request.layout,
                value_range=None if plain or (ranged and own.eight_bits) else request.value_range,
                encoder=(request.encoder or VECTORS) if vectors[0] else None,
                sample_shape=shape,
            )
        )
    return made


@contextmanager
def one_reading(request: CompareRequest) -> Iterator[None]:
    """Say what can be done where an option that is told of both sources does not fit one."""
    try:
        yield
    except (DatasetError, NotFoundError, SpecError) as error:
        given = [name for name in _READING if getattr(request, name) is not None]
        named = [name for name in given if name.replace("_", " ") in str(error)]
        if not named:
            raise
        found, expected, action = error.parts
        raise type(error)(
            found,
            expected,
            f"{action} Where the two need another --{named[0].replace('_', '-')} each, import both "
            "into a store and use `repro analyze`.",
        ) from error


@dataclass(frozen=True)
class _Look:
    """What the header of a source tells: whether it is an array, of what, and under which key."""

    array: bool
    vectors: bool = False
    eight_bits: bool = True
    key: str | None = None


def _look(path: Path, request: CompareRequest) -> _Look:
    if not path.is_file() or path.suffix not in {".npy", ".npz"}:
        return _Look(array=False, key=request.key)  # a folder, or what the import refuses
    paths = {request.a.path.suffix, request.b.path.suffix}
    key = None if path.suffix == ".npy" and ".npz" in paths else request.key
    default = _default_key(path)
    with StoredArray(path, key, default, f"the file {path}") as array:
        named = (key or default) if path.suffix == ".npz" else None
        vectors = len(array.shape) == 2 or named == VECTORS
        # Under whatever name vectors are found, they are imported.
        own = named if vectors else key
        return _Look(array=True, vectors=vectors, eight_bits=array.dtype == np.uint8, key=own)


def _default_key(path: Path) -> str:
    """Return which array of an .npz file is compared where none is named."""
    names = array_names(path)
    known = [key for key in _KEYS if key in names]
    if len(known) > 1:
        raise SpecError(
            f"{path} holds the arrays {' and '.join(known)}.",
            f"{_KEYS[0]} are images, and {_KEYS[1]} are vectors.",
            "Name the array that is compared with --key.",
        )
    return known[0] if known else _KEYS[0]
