"""A named encoder, and what its vectors have in common."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.canonical import fingerprint
from reprostore.encoders import Encoder, encoder_identity, load_encoder
from reprostore.errors import CorruptionError, DatasetError, SpecError, StorageError
from reprostore.specs import EncoderSpec
from reprostore.store import SampleStore
from reprostore.store.files import run_folders, store_files
from reprostore.store.labelled import read_attributes

Progress = Callable[[str, int, int], None]
"""Called with what is encoded, the finished items and all of them."""


@dataclass(frozen=True)
class EncoderHandle:
    """A named encoder, loaded only when vectors are missing.

    Attributes
    ----------
    name : str
        Its name in the study, and in the store.
    spec : EncoderSpec, optional
        What it is; None when only vectors of it are at hand, in a store from elsewhere.
    base : Path
        Folder to which the path of its weights is relative.
    device : str
        Where it computes.
    recorded : dict, optional
        Its identity as recorded beside stored vectors, when there is no `spec`.
    download : bool
        Whether weights that are not on this machine may be downloaded.
    """

    name: str
    spec: EncoderSpec | None
    base: Path = field(default_factory=Path)
    device: str = "cpu"
    recorded: dict[str, Any] | None = None
    download: bool = False

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What determines its vectors."""
        if self.spec is None:
            return dict(self.recorded or {})
        return encoder_identity(self.spec, self.base, download=self.download)

    @property
    def metric(self) -> str:
        """The similarity of its vectors, "cosine" or "squared_l2"."""
        return str(self.identity["metric"])

    @property
    def fingerprint(self) -> str:
        """blake2b-128 of the identity."""
        return fingerprint(self.identity)

    def load(
        self,
        item_shape: tuple[int, ...],
        store: SampleStore | None = None,
        missing: str = "some items",
    ) -> Encoder:
        """Load it for items of one shape.

        Parameters
        ----------
        item_shape : tuple of int
            Shape of one item.
        store : SampleStore, optional
            Where the vectors are to be written.
        missing : str
            What has no vectors, for the message.

        Raises
        ------
        SpecError
            Only its vectors are at hand.
        StorageError
            The store was opened for reading only.
        """
        if self.spec is None:
            raise SpecError(
                f"Vectors of the encoder {self.name!r} are missing for {missing}, and the encoder "
                "itself is not defined.",
                "The store holds vectors of it that were made elsewhere.",
                "Define it in a study under [encoders], with the weights that made them.",
            )
        if store is not None and store.read_only:
            raise StorageError(
                f"Vectors of the encoder {self.name!r} are missing for {missing}, and the store "
                f"{store.path} was opened for reading only.",
                "Vectors are made once and kept in the store.",
                "Open it with open_store(path, mode='r+'), or copy it to a place where you may "
                "write.",
            )
        return load_encoder(self.spec, self.base, item_shape, self.device, download=self.download)


def stored_encoder(store: SampleStore, name: str) -> EncoderHandle | None:
    """Return an encoder of which the store holds vectors, or None.

    Raises
    ------
    SpecError
        The store's vectors of this name come from different encoders.
    CorruptionError
        They are those of an encoder of another name.
    """
    root, files = f"embeddings/{name}", store_files(store.path)
    found: dict[str, dict[str, Any]] = {}
    groups = [f"{root}/runs/{path}" for path in run_folders(files, f"{root}/runs")]
    groups += [f"{root}/datasets/{dataset}" for dataset in files.folders(f"{root}/datasets")]
    for group in groups:
        attributes = read_attributes(store.path, group)
        if attributes is not None and not is_named(attributes, name):
            raise CorruptionError(
                f"The folder {group} holds vectors of the encoder {attributes['name']!r}.",
                "The vectors of an encoder lie in the folder of its name.",
                f"Restore {store.path / root} from a copy, or move the folder back if it was "
                "moved.",
            )
        if attributes is not None and "encoder" in attributes:
            found[fingerprint(attributes["encoder"])] = dict(attributes["encoder"])
    if len(found) > 1:
        raise SpecError(
            f"The store {store.path} holds vectors of {len(found)} different encoders named "
            f"{name!r}.",
            "A name stands for one encoder.",
            "Define the encoder in a study under [encoders]: vectors of others are made again.",
        )
    return EncoderHandle(name, None, recorded=next(iter(found.values()))) if found else None


def is_named(attributes: Mapping[str, Any], name: str) -> bool:
    """Say whether vectors are those of an encoder of this name; earlier ones do not say it."""
    return bool(attributes.get("name", name) == name)


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


def damaged(store: SampleStore, group: str, why: str, *, withheld: bool) -> CorruptionError:
    """Say that stored vectors cannot be used, and where others come from."""
    action = f"Delete the folder {store.path / group}; the vectors are made again."
    if withheld:
        action = "Receive the store again: what they were made of is not in it."
    return CorruptionError(
        f"The vectors {group} in the store are damaged ({why}).",
        "Every chunk agrees with its checksum.",
        action,
    )
