"""What two sets of samples are compared, and in which space."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from reprostore.encoders.kinds import KINDS
from reprostore.errors import NotFoundError, ReprostoreError, SpecError
from reprostore.importing.request import UNKNOWN
from reprostore.paths import exists
from reprostore.seeds import shorten
from reprostore.specs import EncoderSpec

VECTORS = "features"
"""Name of the encoder of vectors for which none is named, and of their array in .npz files."""


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
        Of both sources, of the arrays alone that it can belong to; see `ImportRequest`.
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
        if first["type"] == "extra_forbidden":
            raise SpecError(
                f"An encoder of the kind {kind!r} has no option {shorten(where)!r}.",
                f"Its options are {', '.join([*KINDS[kind].options, 'batch_size'])}.",
                "Correct it; docs/encoders.md lists the encoders and their options.",
            ) from error
        raise SpecError(
            f"{shorten(str(first['input']))!r} is not valid as `{where}` of the encoder {kind!r}.",
            f"{first['msg']}.",
            "Correct it; docs/encoders.md lists the encoders and their options.",
        ) from error
    return kind, {kind: spec}
