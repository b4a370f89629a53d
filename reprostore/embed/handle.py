"""A named encoder, and what its vectors have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.encoders import Encoder, encoder_identity, load_encoder
from reprostore.errors import CorruptionError, DatasetError
from reprostore.specs import EncoderSpec, fingerprint
from reprostore.store import SampleStore

Progress = Callable[[str, int, int], None]
"""Called with what is encoded, the finished items and all of them."""


@dataclass(frozen=True)
class EncoderHandle:
    """A named encoder, loaded only when vectors are missing.

    Attributes
    ----------
    name : str
        Its name in the study, and in the store.
    spec : EncoderSpec
        What it is.
    base : Path
        Folder to which the path of its weights is relative.
    device : str
        Where it computes.
    """

    name: str
    spec: EncoderSpec
    base: Path
    device: str = "cpu"

    @property
    def identity(self) -> dict[str, Any]:
        """What determines its vectors."""
        return encoder_identity(self.spec, self.base)

    @property
    def metric(self) -> str:
        """The similarity of its vectors, "cosine" or "squared_l2"."""
        return str(self.identity["metric"])

    @property
    def fingerprint(self) -> str:
        """blake2b-128 of the identity."""
        return fingerprint(self.identity)

    def load(self, item_shape: tuple[int, ...]) -> Encoder:
        """Load it for items of one shape."""
        return load_encoder(self.spec, self.base, item_shape, self.device)


def checked_vectors(
    vectors: NDArray[np.float32], encoder_name: str, what: str
) -> NDArray[np.float32]:
    """Return vectors, refusing those that are not finite.

    Raises
    ------
    DatasetError
        A value is NaN or infinite.
    """
    if not np.isfinite(vectors).all():
        raise DatasetError(
            f"The encoder {encoder_name!r} gave vectors that are not finite for {what}.",
            "Vectors are finite numbers.",
            "Check the encoder's weights and its preprocessing.",
        )
    return vectors


def damaged(store: SampleStore, group: str, why: str) -> CorruptionError:
    """Say that stored vectors cannot be used, and how to have them made again."""
    return CorruptionError(
        f"The vectors {group} in the store are damaged ({why}).",
        "Every chunk agrees with its checksum.",
        f"Delete the folder {store.path / group}; the vectors are made again.",
    )
