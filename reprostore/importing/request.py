"""What a user says of samples that were made elsewhere."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from reprostore.digests import file_digest
from reprostore.errors import ReprostoreError, SpecError
from reprostore.paths import with_home
from reprostore.seeds import shorten
from reprostore.specs import IMPORTED, ModelSpec, Subset, is_name

NAMES: Final = "names"
"""Seeds are the numbers in the names of files, or those that an .npz file holds beside."""

UNKNOWN, EDM_CPU = "unknown", "edm-cpu"

MOST_STEPS: Final = 1_000_000
"""Of a `SamplerSpec`."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ImportRequest:
    """Samples that were made elsewhere, and all that is known of them.

    Attributes
    ----------
    source : Path
        A folder of PNG files, a .npz or a .npy file.
    model, sampler, condition : str
        The run's names in the store.
    seeds : str
        "names": the numbers in the file names are the seeds, as EDM writes them (of an .npz file:
        those in its array ``seeds``). Ranges such as "0-999": the seeds of the files in the order
        of their names, or of the rows of an array. Empty for "names".
    noise : str
        "unknown"; "edm-cpu" where every sample began from ``torch.randn`` of a CPU generator of its
        own, seeded with its seed; or the path of a .npy or .npz file of the initial noise,
        (sample, *sample_shape), in the order of the seeds.
    noise_scale : float
        By what the noise in that file was multiplied.
    steps : int
        Number of solver steps that the samples took, for the record.
    key : str, optional
        The array in an .npz file; "arr_0" of images and "features" of vectors by default.
    value_range : tuple of float, optional
        The values of black and white in floating-point images that are not in [-1, 1].
    layout : {"nhwc", "nchw"}, optional
        Order of the axes of an array of images, where its shape does not tell.
    encoder : str, optional
        Given for vectors: by this name they are in the store. The samples themselves are withheld.
    metric : {"cosine", "squared_l2"}
        How these vectors are compared.
    encoder_weights : str, optional
        The encoder's weights: a file, or its sha256. Vectors are compared only with those that
        were imported under the same name, metric and weights.
    sample_shape : tuple of int, optional
        Shape of the samples behind the vectors, (channel, y, x).
    weights : Path, optional
        The checkpoint that the samples come from. Its sha256 is then what the run is made of, and
        samples of more seeds may be imported later; without it the run is its content, and does
        not grow. Runs of vectors never do.
    trained_on, held_out, family, parameters, width, training_step, trainer_seed
        Of the model, as in a study.
    """

    source: Path
    model: str
    sampler: str = IMPORTED
    condition: str = "none"
    seeds: str = ""
    noise: str = UNKNOWN
    noise_scale: float = 1.0
    steps: int = 1
    key: str | None = None
    value_range: tuple[float, float] | None = None
    layout: Literal["nhwc", "nchw"] | None = None
    encoder: str | None = None
    metric: Literal["cosine", "squared_l2"] = "cosine"
    encoder_weights: str | None = None
    sample_shape: tuple[int, ...] | None = None
    weights: Path | None = None
    trained_on: Subset | None = None
    held_out: str | None = None
    family: str | None = None
    parameters: int | None = None
    width: int | None = None
    training_step: int | None = None
    trainer_seed: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be, before anything is read."""
        for what in ("model", "sampler", "condition", "encoder"):
            name = getattr(self, what)
            if name is not None and not is_name(name):
                raise SpecError(
                    f"{shorten(name)!r} is no valid name of {_article(what)}.",
                    "Names are letters, digits and . _ + @ -, and begin with a letter or digit.",
                    "Choose another name of at most 128 characters.",
                )
        if not 1 <= self.steps <= MOST_STEPS:
            raise SpecError(
                f"The number of solver steps is {self.steps}.",
                f"A sample takes at least one step, and at most {MOST_STEPS}.",
                "Correct it, or leave it out.",
            )
        if not (math.isfinite(self.noise_scale) and self.noise_scale > 0):
            raise SpecError(
                f"The noise scale is {self.noise_scale}.",
                "It is a positive number, by which the initial noise was multiplied.",
                "Correct it, or leave it out where the noise is standard normal.",
            )
        if self.noise_scale != 1 and self.noise in {UNKNOWN, EDM_CPU}:
            raise SpecError(
                f"The noise scale is {self.noise_scale:g}, and the noise is {self.noise!r}.",
                "The scale belongs to the noise in a file, by which this was multiplied.",
                "Leave it out, or name the file of the noise.",
            )
        for what, choices in (("layout", ("nhwc", "nchw")), ("metric", ("cosine", "squared_l2"))):
            value = getattr(self, what)
            if value is not None and value not in choices:
                raise SpecError(
                    f"The {what} is {shorten(value)!r}.",
                    f"It is {' or '.join(choices)}.",
                    "Choose one of these.",
                )
        self._check_values()
        self._check_vectors()

    @property
    def path(self) -> str:
        """Path of the run: model/sampler/condition."""
        return f"{self.model}/{self.sampler}/{self.condition}"

    def _check_values(self) -> None:
        if self.value_range is not None and (
            self.value_range[0] == self.value_range[1]
            or not all(map(math.isfinite, self.value_range))
        ):
            raise SpecError(
                f"The value range is {self.value_range[0]:g} to {self.value_range[1]:g}.",
                "It holds two different numbers, the values of black and of white.",
                "Give both values, such as 0 and 1.",
            )

    def _check_vectors(self) -> None:
        if self.encoder is None:
            if self.encoder_weights is not None:
                raise SpecError(
                    "Weights of an encoder are given, and no encoder.",
                    "They belong to vectors, which are imported under the name of an encoder.",
                    "Name the encoder, or leave its weights out.",
                )
            if self.metric != "cosine":
                raise SpecError(
                    f"The metric {self.metric} is given, and no encoder.",
                    "It belongs to vectors, which are imported under the name of an encoder.",
                    "Name the encoder, or leave the metric out.",
                )
            return
        for what in ("layout", "value_range"):
            if getattr(self, what) is not None:
                raise SpecError(
                    f"The {what.replace('_', ' ')} is given, and an encoder.",
                    "It belongs to images, and an encoder to vectors.",
                    "Leave one of them out.",
                )
        if self.encoder == "pixel":
            raise SpecError(
                "Vectors are to be imported under the name 'pixel'.",
                "This name stands for the encoder that every store can compute itself.",
                "Choose another name for the encoder.",
            )
        if not self.sample_shape or min(self.sample_shape) < 1 or len(self.sample_shape) != 3:
            raise SpecError(
                f"The shape of the samples behind the vectors is {self.sample_shape or 'not given'}"
                ".",
                "Samples are paired only if they have one shape, (channel, y, x), and the vectors "
                "do not tell it.",
                "Give the shape, such as 3,32,32.",
            )

    def model_spec(self) -> ModelSpec:
        """Return what is recorded of the model.

        Raises
        ------
        SpecError
            A value is not valid.
        """
        try:
            return ModelSpec(
                source=IMPORTED,
                trained_on=self.trained_on,
                held_out=self.held_out,
                family=self.family,
                parameters=self.parameters,
                width=self.width,
                training_step=self.training_step,
                trainer_seed=self.trainer_seed,
            )
        except ValidationError as error:
            raise _as_ours(error) from error

    def encoder_identity(self) -> dict[str, str]:
        """Return what the store keeps as the identity of the encoder of imported vectors.

        Raises
        ------
        NotFoundError
            There is no file of its weights.
        """
        identity = {"kind": IMPORTED, "name": str(self.encoder), "metric": self.metric}
        if self.encoder_weights is not None:
            text = self.encoder_weights
            digest = text if _SHA256.fullmatch(text) else file_digest(with_home(text))
            identity["weights"] = digest
        return identity


def _article(what: str) -> str:
    return f"an {what}" if what == "encoder" else f"a {what}"


def _as_ours(error: ValidationError) -> ReprostoreError:
    """Return the first problem that validation found."""
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, ReprostoreError):
        return cause
    name = ".".join(map(str, first["loc"]))
    return SpecError(
        f"`{name}` of the model is {shorten(str(first['input']))!r}.",
        f"{first['msg']}.",
        "Correct it, or leave it out.",
    )
