"""What is asked of an encoder: its spec, and where files are looked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reprostore.encoders.batching import Metric
from reprostore.encoders.preprocessing import PRESETS, Preprocessing
from reprostore.encoders.weights import named_file
from reprostore.errors import SpecError
from reprostore.specs import EncoderSpec

_NONE_ASSUMED: Final = (
    "The same weights give other scores under another preprocessing, so none is assumed."
)
_NAMES: Final = 'preprocessing = "sscd", or "none" when the file does its own'


@dataclass(frozen=True)
class Request:
    """An encoder that is asked for.

    Attributes
    ----------
    spec : EncoderSpec
        What it is.
    base : Path
        Folder to which paths are relative.
    download : bool
        Whether weights may be downloaded.
    """

    spec: EncoderSpec
    base: Path
    download: bool = False

    @property
    def metric(self) -> Metric:
        """How its vectors are compared: cosine unless the study says otherwise."""
        return self.spec.metric or "cosine"

    def required(self, option: str, meaning: str, example: str) -> str:
        """Return the value of an option that the kind cannot do without.

        Raises
        ------
        SpecError
            It is not given.
        """
        value = getattr(self.spec, option)
        if value is None:
            raise SpecError(
                f'An encoder of the kind "{self.spec.kind}" does not '
                + ("say its " if option == "preprocessing" else "name its ")
                + f"{option}.",
                meaning,
                f"Set {example}.",
            )
        return str(value)

    def file(self, what: str, example: str) -> Path:
        """Return the weights file that the study names."""
        name = self.required(
            "weights", f"weights is the path of {what}.", f'for example weights = "{example}"'
        )
        return named_file(name, self.base, self.spec.kind, what)

    def preset(self, default: str | None = None) -> Preprocessing:
        """Return the preprocessing that the study names."""
        name = self.spec.preprocessing or default
        return PRESETS[name or self.required("preprocessing", _NONE_ASSUMED, _NAMES)]
