"""Errors that a user can cause: what was found, what was expected, what to do."""


class ReprostoreError(Exception):
    """Base of every error that is the user's to mend.

    Parameters
    ----------
    found : str
        What was found, as a full sentence.
    expected : str
        What was expected instead, as a full sentence.
    action : str
        What to do about it, as a full sentence.
    """

    def __init__(self, found: str, expected: str, action: str) -> None:
        super().__init__(found, expected, action)
        self.parts = (found, expected, action)  # OSError shortens its args to two

    def __str__(self) -> str:
        """Return the three sentences as one paragraph."""
        return " ".join(self.parts)

    def __reduce__(self) -> tuple[type["ReprostoreError"], tuple[str, str, str]]:
        """Pickle by the three sentences, so that errors cross process borders whole."""
        return type(self), self.parts


class SpecError(ReprostoreError, ValueError):
    """A spec, a study file, a seed range or an option is not valid."""


class NotFoundError(ReprostoreError, FileNotFoundError):
    """A store, checkpoint, dataset or weights file does not exist."""


class FormatError(ReprostoreError, ValueError):
    """A path is no sample store, or a store of a format that this version cannot read."""


class IdentityError(ReprostoreError, ValueError):
    """A name in the store stands for something else than what was asked to be written."""


class ConflictError(ReprostoreError, ValueError):
    """Stores that were to be merged contradict each other.

    Attributes
    ----------
    conflicts : tuple of dict
        All contradictions, one each; see `reprostore.sharing.merging.conflicts`.
    """

    conflicts: tuple[dict[str, str], ...] = ()


class DriftError(ReprostoreError, ValueError):
    """A run would be continued under another execution (batch size, device, versions)."""


class CorruptionError(ReprostoreError, ValueError):
    """Stored data are damaged: a checksum fails, or data that should exist are absent."""


class MissingDataError(ReprostoreError, LookupError):
    """Samples, seeds, datasets or vectors that were asked for are not in the store."""


class PairingError(ReprostoreError, ValueError):
    """Samples cannot be shown to come from the same noise."""


class ModelError(ReprostoreError, ValueError):
    """A checkpoint cannot be loaded, or a sampler cannot be used with it."""


class DatasetError(ReprostoreError, ValueError):
    """A dataset is empty, not finite, or does not fit what it is used with."""


class StorageError(ReprostoreError, OSError):
    """The store cannot be written: no space left, read-only, or no permission."""


class DependencyError(ReprostoreError, ImportError):
    """An optional package is needed and not installed."""


class ProcessError(ReprostoreError, RuntimeError):
    """A process that worked for this one ended before its work was done."""


class TrainingError(ReprostoreError, ArithmeticError):
    """A training cannot go on: its loss is no longer a finite number."""


class ExhaustedError(ReprostoreError, MemoryError):
    """The memory of the machine, or of its GPU, does not suffice for what was asked."""
