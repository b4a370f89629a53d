"""Which of a run's samples are generated anew, and how; importing this imports no torch."""

import hashlib
import math
import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import SpecError
from reprostore.seeds import shorten

_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,12})?) ?%")
_NUMBER = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True)
class Portion:
    """A share of a run's samples, or a number of them; at least one and at most all.

    Attributes
    ----------
    text : str
        As it was written, "0.1%" or "32".
    share : Fraction or None
        In (0, 1]; exact, so that 0.1 % of 1,000 samples is one. None for a number.
    number : int or None
        At least 1; None for a share.
    """

    text: str
    share: Fraction | None = None
    number: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Portion":
        """Read a share, "0.1%", or a number of samples, "32".

        Raises
        ------
        SpecError
            It is neither, it is 0, or the share is above 100 %.
        """
        written = text.strip()
        if (match := _PERCENT.fullmatch(written)) is not None:
            share = Fraction(match[1]) / 100
            if 0 < share <= 1:
                return cls(written, share=share)
        elif _NUMBER.fullmatch(written) is not None and int(written) > 0:
            return cls(written, number=int(written))
        raise SpecError(
            f"{shorten(text)!r} of the samples was to be generated anew.",
            "Expected is a share above 0% and up to 100%, or a whole number of samples of each "
            "run, at least 1.",
            'Write, for example, "0.1%" or "32".',
        )

    def of(self, written: int) -> int:
        """Return how many of a run's written samples are meant, rounded up.

        Parameters
        ----------
        written : int
            How many there are, at least 1.
        """
        wanted = self.number if self.share is None else math.ceil(self.share * written)
        return min(written, max(1, wanted or 1))

    def choose(self, seeds: NDArray[np.int64], rng_seed: int, path: str) -> NDArray[np.int64]:
        """Choose seeds of a run at random.

        Those with the smallest hashes of (rng_seed, path, seed) are taken: the choice depends on
        no library's generator and not on the order in which seeds were added, so that another
        laboratory makes the same one, and it differs from run to run.

        Parameters
        ----------
        seeds : ndarray of int64, shape (sample,)
            The written seeds, at least one.
        rng_seed : int
            Another one chooses others.
        path : str
            Of the run.

        Returns
        -------
        ndarray of int64, shape (chosen,)
            Positions in `seeds`, ascending.
        """
        key = hashlib.blake2b(f"{rng_seed}:{path}".encode(), digest_size=32).digest()
        drawn = [
            hashlib.blake2b(b"%d" % seed, digest_size=16, key=key).digest()
            for seed in seeds.tolist()
        ]
        order = sorted(range(len(drawn)), key=drawn.__getitem__)
        return np.sort(np.asarray(order[: self.of(len(seeds))], dtype=np.int64))


@dataclass(frozen=True)
class Regeneration:
    """What is generated anew, and how.

    Attributes
    ----------
    portion : Portion
        How many of the written samples of each run.
    rng_seed : int
        Chooses which.
    device, tf32
        As in `reprostore.settings.Settings`.
    batch_size : int, optional
        Samples per forward pass; that of each run when left out.
    dtype : str, optional
        In what models compute; as each run was when left out.
    encoders : tuple of str
        Names of encoders of the study, in whose spaces samples are compared; "pixel" is always
        defined. When empty that of the study's analysis `reproducibility`, else "pixel".
    download : bool
        Whether weights of encoders may be downloaded.
    """

    portion: Portion
    rng_seed: int = 0
    device: str = "auto"
    tf32: bool = False
    batch_size: int | None = None
    dtype: str | None = None
    encoders: tuple[str, ...] = ()
    download: bool = False
