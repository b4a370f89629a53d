"""Means over the models of one architecture and N: the lines that a transition is drawn with."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reprostore_analyses.statistics import bootstrap_mean, wilson_interval
from reprostore_analyses.transition_groups import REFERENCES, Member
from reprostore_analyses.transition_kinds import KINDS, Pair
from reprostore_analyses.transition_options import TransitionOptions
from reprostore_analyses.transition_pairs import SPACES, Scored, pfd_interval

Floats = NDArray[np.float64]


class Line(NamedTuple):
    """What a line over N is about: a kind of `KINDS`, and the two architectures, sorted."""

    kind: str
    a: str
    b: str

    @property
    def label(self) -> str:
        """How tables, figures and coordinates name it."""
        if self.kind == "trainer seeds":
            return f"{self.a}, trainer seeds"
        both = self.a if self.a == self.b else f"{self.a} × {self.b}"
        plain = self.kind in ("architectures", *REFERENCES)
        return both if plain else f"{both}, {self.kind.removesuffix(' items')}"


def line_of(members: Sequence[Member], pair: Pair) -> Line:
    """Return the line that a pair belongs to."""
    a, b = (members[place].architecture for place in (pair.a, pair.b))
    if pair.kind in REFERENCES:
        return Line(pair.kind, a, b)
    return Line(pair.kind, *sorted((a, b), key=natural))


def mean_share(hits: NDArray[np.bool_], options: TransitionOptions) -> tuple[float, float, float]:
    """Compute the mean share of hits of several models or pairs, and its interval over seeds.

    Parameters
    ----------
    hits : ndarray of bool, shape (model, seed)
        At common seeds.
    options : TransitionOptions
        Resampling and confidence.

    Returns
    -------
    value, low, high : float
        In [0, 1]; NaN without seeds. Of one model, Wilson's interval. Of several, the percentile
        interval of the bootstrap over seeds, which takes all models' values of a seed together,
        joined with Wilson's for the number of independent seeds that has the same variance.

    Notes
    -----
    Near 0 and 1 the bootstrap alone is too narrow, and without any hit it has no width; Wilson's
    with n·p(1 − p)/Var seeds, Var the variance of the per-seed means, is sound there, and agrees
    with it in between. Where all models do the same on every seed that number is n.

    References
    ----------
    Korn & Graubard 1998, "Confidence intervals for proportions with small expected number of
    positive counts estimated from survey data", on the effective number.
    """
    models, seeds = hits.shape
    if seeds == 0:
        return (float("nan"),) * 3
    values = hits.mean(axis=0)
    share, variance = float(hits.mean()), float(values.var())
    at_most = models * seeds
    effective = float(seeds)
    if 0 < share < 1:
        effective = (
            min(seeds * share * (1 - share) / variance, at_most) if variance > 0 else at_most
        )
    low, high = (
        float(end) for end in wilson_interval(share * effective, effective, options.confidence)
    )
    if models > 1:
        resampled = bootstrap_mean(
            values,
            rng=np.random.default_rng(options.rng_seed),
            resamples=options.resamples,
            confidence=options.confidence,
        )
        low = float(np.fmin(low, resampled.low))
        high = float(np.fmax(high, resampled.high))
    return share, low, high


def line_columns(
    members: Sequence[Member], scored: dict[int, Scored], options: TransitionOptions
) -> tuple[list[Line], dict[str, Floats]]:
    """Average the pairs of each line at each N.

    Parameters
    ----------
    members : sequence of Member
        All members.
    scored : dict
        The scored pairs by N.
    options : TransitionOptions
        Resampling and confidence.

    Returns
    -------
    lines : list of Line
        By kind, in the order of `KINDS`.
    columns : dict of ndarray, (line, size)
        `rp`, `chance`, `corrected`, by space `pfd_…` and `pfd_…_chance`, and the number of
        `pairs` and of their `seeds`; scores with `_low` and `_high`. NaN and 0 where a line has
        no pair.
    """
    lines = sort_lines({line_of(members, pair) for part in scored.values() for pair in part.pairs})
    shape = (len(lines), len(scored))
    names = ["rp", "rp_low", "rp_high", "chance", "corrected"]
    for space in SPACES:
        names += [f"pfd_{space}{part}" for part in ("", "_low", "_high", "_chance")]
    columns = {name: np.full(shape, np.nan) for name in names}
    columns |= {name: np.zeros(shape) for name in ("pairs", "seeds")}
    for column, part in enumerate(scored.values()):
        of = [line_of(members, pair) for pair in part.pairs]
        for row, line in enumerate(lines):
            own = np.asarray([place for place, other in enumerate(of) if other == line], dtype=int)
            if not own.size:
                continue
            at = (row, column)
            columns["pairs"][at], columns["seeds"][at] = own.size, len(part.seeds)
            share = mean_share(part.hits[own], options)
            for bound, value in zip(("", "_low", "_high"), share, strict=True):
                columns[f"rp{bound}"][at] = value
            chance = float(part.columns["chance"][own].mean())
            columns["chance"][at] = chance
            if chance < 1:
                columns["corrected"][at] = (share[0] - chance) / (1 - chance)
            for space in SPACES:
                found = pfd_interval(part.squared[space][own], options)
                for bound, end in zip(("", "_low", "_high"), found, strict=True):
                    columns[f"pfd_{space}{bound}"][at] = float(end)
                level = part.columns[f"pfd_{space}_chance"][own]
                columns[f"pfd_{space}_chance"][at] = np.sqrt((level**2).mean())
    return lines, columns


def sort_lines(lines: Iterable[Line]) -> list[Line]:
    """Sort lines by kind, then by the names of the architectures."""
    return sorted(
        lines, key=lambda line: (KINDS.index(line.kind), natural(line.a), natural(line.b))
    )


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key by which "unet 64" comes before "unet 128"."""
    return [
        (0, int(word), "") if word.isdigit() else (1, 0, word)
        for word in name.replace("@", "@ ").split()
    ]
