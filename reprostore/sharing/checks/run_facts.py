"""What is known of a run after it was checked, for what was made from it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from reprostore.canonical import fingerprint


@dataclass(frozen=True)
class RunFacts:
    """A run as it is stored today.

    Attributes
    ----------
    fingerprint : str
        Of its spec.
    withheld : bool
        Whether its samples are not in the store.
    seeds, digests : ndarray, (slot,)
        Of every slot.
    written : ndarray of bool, (slot,)
        Which slots are written.
    """

    fingerprint: str
    withheld: bool
    seeds: NDArray[np.int64]
    digests: NDArray[np.uint64]
    written: NDArray[np.bool_]

    @cached_property
    def samples(self) -> str:
        """Fingerprint of the written seeds and their digests."""
        slots = np.flatnonzero(self.written)
        return fingerprint([self.seeds[slots].tolist(), self.digests[slots].tolist()])
