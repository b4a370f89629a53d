"""What two sets of samples are compared, and in which space."""

import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from reprostore.errors import NotFoundError, ReprostoreError, SpecError
from reprostore.importing import ImportRequest
from reprostore.importing.request import UNKNOWN
from reprostore.importing.stored_arrays import StoredArray
from reprostore.paths import exists
from reprostore.seeds import shorten
from reprostore.specs import EncoderSpec

VECTORS = "features"
"""Name of the encoder of vectors for which none is named."""

_KEYS = ("arr_0", "features")
"""Arrays of images and of vectors in .npz files, by guided-diffusion's and our own names."""

_UNSEEN_SHAPE = (1, 1, 1)
"""Of samples behind vectors, where it does not matter: their noise is not known either."""


@dataclass(frozen=True)
class Source:
    """One side of a comparison.

    Attributes
    ----------
    path : Path
        A folder of PNG files, or a .npz or .npy file of images or of vectors.
    seeds : str
        "names", or ranges such as "0-999"; see `ImportRequest`.
    noise : str
        "unknown", "edm-cpu", or a file of the initial noise; see `ImportRequest`.
    """

    path: Path
    seeds: str = "names"
    noise: str = UNKNOWN


@dataclass(frozen=True)
class CompareRequest:
    """Two sources, and how they are compared.

    Attributes
    ----------
    a, b : Source
        Both of images, or both of vectors.
    encoder : str, optional
        Kind of the encoder in whose space images are compared, "pixel" when left out; of vectors
        the name of the encoder that made them.
    encoder_options : dict
        Keys of `EncoderSpec` for it, such as `weights`.
    threshold : float
        θ of the RP score, a cosine.
    mae_threshold : float
        Of the MAE score, on the 0–255 scale.
    allow_unchecked : bool
        Accept that the noise of the two cannot be compared.
    key, layout, value_range, noise_scale, sample_shape
        Of both sources; see `ImportRequest`.
    device : str
        Where the encoder computes.
    download : bool
        Whether weights of the encoder may be downloaded.
    """

    a: Source
    b: Source
    encoder: str | None = None
    encoder_options: dict[str, Any] = field(default_factory=dict)
    threshold: float = 0.6
    mae_threshold: float = 15.0
    allow_unchecked: bool = False
    key: str | None = None
    layout: Literal["nhwc", "nchw"] | None = None
    value_range: tuple[float, float] | None = None
    noise_scale: float = 1.0
    sample_shape: tuple[int, ...] | None = None
    device: str = "cpu"
    download: bool = False


def require_sources(request: CompareRequest) -> None:
    """Refuse what is not there, and sample stores, before anything else is asked.

    Raises
    ------
    NotFoundError
        One of the two does not exist.
    SpecError
        One is a sample store.
    """
    for path in (request.a.path, request.b.path):
        if not exists(path):
            raise NotFoundError(
                f"{path} is not there.",
                "Samples are compared of two folders of PNG files, or two .npz or .npy files.",
                "Check the path, or save the samples as one of these.",
            )
        if (path / "zarr.json").is_file():
            raise SpecError(
                f"{path} is a sample store.",
                "Samples are compared of two folders of PNG files, or two .npz or .npy files.",
                f"Use `repro analyze reproducibility --store {path}`, or `repro export` first.",
            )


def import_requests(request: CompareRequest) -> list[ImportRequest]:
    """Return how the two sources are imported, as the models "a" and "b".

    Raises
    ------
    SpecError
        One holds images and the other vectors, or it is not clear what one holds.
    """
    sources = (request.a, request.b)
    vectors = [_holds_vectors(source.path, request.key) for source in sources]
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
    # What tells how to read arrays is no mistake where the other side is a folder.
    mixed = len({source.path.is_dir() for source in sources}) > 1
    made = []
    for model, source in zip("ab", sources, strict=True):
        plain = mixed and source.path.is_dir()
        made.append(
            ImportRequest(
                source=source.path,
                model=model,
                seeds=source.seeds,
                noise=source.noise,
                noise_scale=request.noise_scale,
                key=None if plain else request.key,
                layout=None if plain else request.layout,
                value_range=None if plain else request.value_range,
                encoder=(request.encoder or VECTORS) if vectors[0] else None,
                sample_shape=shape,
            )
        )
    return made


def _holds_vectors(path: Path, key: str | None) -> bool:
    if not path.is_file() or path.suffix not in {".npy", ".npz"}:
        return False  # a folder of images, or what the import refuses
    with StoredArray(path, key, _default_key(path), f"the file {path}") as array:
        return len(array.shape) == 2


def _default_key(path: Path) -> str:
    """Return which array of an .npz file is compared where none is named."""
    known: list[str] = []
    if zipfile.is_zipfile(path):  # what is damaged is told by who reads it
        with zipfile.ZipFile(path) as archive:
            known = [key for key in _KEYS if f"{key}.npy" in archive.namelist()]
    if len(known) > 1:
        raise SpecError(
            f"{path} holds the arrays {' and '.join(known)}.",
            f"{_KEYS[0]} are images, and {_KEYS[1]} are vectors.",
            "Name the array that is compared with --key.",
        )
    return known[0] if known else _KEYS[0]


def compared_encoder(
    request: CompareRequest, *, vectors: bool
) -> tuple[str, dict[str, EncoderSpec]]:
    """Return the name of the encoder in whose space is compared, and its spec by this name.

    Raises
    ------
    SpecError
        There is no such encoder, or options are given for vectors that were made before.
    """
    if vectors:
        if request.encoder_options:
            raise SpecError(
                f"The option {next(iter(request.encoder_options))!r} of an encoder is given, and "
                f"{request.a.path} holds vectors.",
                "Vectors are compared as they are.",
                "Leave it out, or give the images.",
            )
        return request.encoder or VECTORS, {}
    kind = request.encoder or "pixel"
    try:
        spec = EncoderSpec.model_validate({"kind": kind, **request.encoder_options})
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, ReprostoreError):
            raise cause from error
        where = ".".join(map(str, first["loc"]))
        raise SpecError(
            f"{shorten(str(first['input']))!r} is not valid as `{where}` of the encoder {kind!r}.",
            f"{first['msg']}.",
            "Correct it; docs/encoders.md lists the encoders and their options.",
        ) from error
    return kind, {kind: spec}
