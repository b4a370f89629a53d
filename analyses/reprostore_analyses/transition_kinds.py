"""Which pairs of models of equal size the analysis `transition` compares, and of what kind."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from reprostore_analyses.context import Context
from reprostore_analyses.relations import is_ceiling, relation
from reprostore_analyses.solvers import solver_mismatch
from reprostore_analyses.transition_groups import Member, architecture

KINDS = (
    "architectures",
    "trainer seeds",
    "one architecture",
    "training steps",
    "oracle",
    "gaussian",
    "disjoint items",
    "overlapping items",
    "unknown items",
)
"""What two models of equal N have in common. The first six were made from the same items: two
architectures, one recipe under two trainer seeds, one architecture of which no more is known or at
two training steps, and a network beside a reference of its own items."""

_OTHER_ITEMS = {
    "disjoint training items": "disjoint items",
    "overlapping training items": "overlapping items",
    "unknown training items": "unknown items",
}


@dataclass(frozen=True)
class Pair:
    """Two members of equal N: their places among all members, and their kind (of `KINDS`)."""

    a: int
    b: int
    kind: str


def distinct_members(members: Sequence[Member]) -> tuple[list[Member], dict[str, str]]:
    """Leave out networks whose weights are those of another: one model under two names.

    Returns
    -------
    members : list of Member
        The others, and all references.
    left_out : dict
        By path, whose weights a network has.
    """
    first: dict[tuple[tuple[str, str], ...], str] = {}
    kept: list[Member] = []
    left_out: dict[str, str] = {}
    for member in members:
        path = member.run.path
        weights = tuple(sorted(member.run.spec.weights.items()))
        if weights and not member.is_reference and first.setdefault(weights, path) != path:
            left_out[path] = f"Its model has the weights of {first[weights]}."
        else:
            kept.append(member)
    return kept, left_out


def same_size(members: list[Member]) -> dict[int, list[int]]:
    """Return the places of the members of each N, by rising N."""
    sizes = sorted({member.size for member in members})
    return {
        size: [place for place, member in enumerate(members) if member.size == size]
        for size in sizes
    }


def pairs_of(
    context: Context, members: list[Member], places: Sequence[int]
) -> tuple[list[Pair], dict[str, str]]:
    """Return the pairs of members of one N: of networks, and of networks and their references.

    Returns
    -------
    pairs : list of Pair
        All of them can be compared at the seeds that the networks have in common.
    left_out : dict
        By the paths of a network and a reference, why these are not compared.
    """
    found: list[Pair] = []
    left_out: dict[str, str] = {}
    networks = [members[place] for place in places if not members[place].is_reference]
    seeds = functools.reduce(np.intersect1d, [network.written.seeds for network in networks])
    for a, b in combinations(places, 2):
        first, second = members[a], members[b]
        if not second.is_reference:
            found.append(Pair(a, b, _kind(context, first, second)))
            continue
        if first.is_reference or not first.saw_the_same(second):
            continue
        reason = solver_mismatch(first.run, second.run, second.spec.source)
        if not reason and not np.isin(seeds, second.written.seeds).all():
            # It would take seeds from all scores of this N, those between networks too.
            reason = (
                f"{second.run.path} lacks seeds that all networks of N = {first.size} have: "
                "generate them."
            )
        if reason:
            left_out[f"{first.run.path} beside {second.run.path}"] = reason
        else:
            found.append(Pair(a, b, second.spec.source))
    return found, left_out


def _kind(context: Context, first: Member, second: Member) -> str:
    related = relation(context, first.run, second.run)
    if related in _OTHER_ITEMS:
        return _OTHER_ITEMS[related]
    if architecture(first.spec) != architecture(second.spec):
        return "architectures"
    # Checkpoints of one training resemble each other whatever they were trained on.
    if first.architecture != second.architecture:
        return "training steps"
    if related != "same weights" and is_ceiling(related, first.run, second.run):
        return "trainer seeds"
    return "one architecture"
