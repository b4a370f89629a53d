"""What caches were made from, compared with the runs, datasets and encoders of today."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reprostore.canonical import fingerprint
from reprostore.errors import SpecError
from reprostore.seeds import parse_ranges, shorten
from reprostore.sharing.checks.forms import ArrayForm
from reprostore.sharing.checks.neighbor_pairs import VectorGroups, other_values
from reprostore.sharing.checks.neighbors import neighbor_values
from reprostore.sharing.checks.run_facts import RunFacts
from reprostore.sharing.checks.vectors import stale_vectors
from reprostore.store.files import StoreFiles

Judged = tuple[Literal["attributes", "values", "length", "stale", "unchecked"], str]


@dataclass
class Inputs:
    """What caches can have been made from.

    Attributes
    ----------
    runs : dict
        Facts by the run's path; None for a run that is damaged.
    datasets : dict
        Fingerprint and number of items by name; None for a damaged one.
    encoders : dict
        Fingerprints of the encoders whose vectors are in the store, by name.
    withheld : set of str
        Datasets whose items are not in the store.
    """

    runs: dict[str, RunFacts | None] = field(default_factory=dict)
    datasets: dict[str, tuple[str, int] | None] = field(default_factory=dict)
    encoders: dict[str, set[str]] = field(default_factory=dict)
    withheld: set[str] = field(default_factory=set)

    def replaceable(self, group: str) -> bool:
        """Say whether a cache can be made again from what else is in the store."""
        parts = group.split("/")
        if parts[0] == "results":
            return True
        if parts[0] == "neighbors":
            parts = ["embeddings", *parts[3:]]
            if not self._has_items(group.split("/")[2]):
                return False
        else:
            parts = ["embeddings", *parts[2:]]
        if parts[1] == "runs":
            facts = self.runs.get("/".join(parts[2:]))
            return facts is not None and not facts.withheld
        return self._has_items(parts[2])

    def kept(self, path: str) -> NDArray[np.bool_] | None:
        """Return which slots of a run are written, if its vectors cannot be made again."""
        facts = self.runs.get(path)
        return facts.written if facts is not None and facts.withheld else None

    def _has_items(self, text: str) -> bool:
        name = text.partition("@")[0]
        return name in self.datasets and name not in self.withheld

    def judged(
        self,
        files: StoreFiles,
        group: str,
        attributes: Mapping[str, Any],
        forms: Mapping[str, ArrayForm],
        keys: Sequence[str],
    ) -> Iterator[Judged]:
        """Say in what a cache is not made of what is stored.

        Yields
        ------
        kind, what : str
            "attributes", "values" or "length" where it contradicts itself, "stale" where inputs
            are others now, "unchecked" where they are not known.
        """
        family, *rest = group.split("/")
        made_from = attributes.get("made_from")
        if not isinstance(made_from, dict):
            yield "attributes", "The group does not say what it was made from."
        elif family == "embeddings":
            yield from self._of_vectors(group, attributes, made_from)
            if rest[1] == "datasets":
                yield from self._of_length(rest[2], made_from, forms["vector"].shape[0])
            facts = self.runs.get("/".join(rest[2:]))
            if rest[1] == "runs" and facts is not None:
                today = np.where(facts.written, facts.digests, np.uint64(0))
                stale = stale_vectors(files, group, forms["source_digest"], keys, today)
                if stale:
                    yield "stale", f"{stale} of its vectors are of samples that are not stored now."
        elif family == "neighbors":
            yield from self._of_neighbors(rest, made_from)
            queries, corpus = self._searched(rest, made_from)
            told = list(neighbor_values(files, group, forms, queries, corpus))
            if not told and queries is not None and corpus is not None:
                vectors = VectorGroups(files, made_from.get("encoder"), self.datasets, self.runs)
                told = list(other_values(group, forms, vectors))
            yield from (("values", what) for what in told)
        else:
            yield from self._of_result(rest[1], attributes, made_from)

    def _of_vectors(
        self, group: str, attributes: Mapping[str, Any], made_from: Mapping[str, Any]
    ) -> Iterator[Judged]:
        if made_from.get("encoder") != fingerprint(attributes.get("encoder")):
            yield (
                "attributes",
                "The recorded encoder has another fingerprint than the recorded one.",
            )
        _, encoder, kind, *names = group.split("/")
        if "name" not in attributes:
            yield "unchecked", "Its attributes, made earlier, do not say the name of the encoder."
        elif attributes["name"] != encoder:
            named = shorten(str(attributes["name"]))
            yield "attributes", f"The vectors are those of the encoder {named}, not of {encoder}."
        if kind == "runs":
            yield from self._of_run("/".join(names), made_from.get("run"), None)
        else:
            yield from self._of_dataset(names[0], made_from.get("dataset"))

    def _of_length(self, name: str, made_from: Mapping[str, Any], count: int) -> Iterator[Judged]:
        facts = self.datasets.get(name)
        if facts is not None and facts[0] == made_from.get("dataset") and facts[1] != count:
            yield "length", f"It has {count} vectors of {facts[1]} items."

    def _of_run(self, path: str, run: object, samples: object) -> Iterator[Judged]:
        facts = self.runs.get(path)
        if facts is None:
            known = "is damaged" if path in self.runs else "is not in the store"
            yield "unchecked", f"The run {path} that it was made from {known}."
        elif run != facts.fingerprint:
            yield "stale", f"It was made from another run than {path} is now."
        elif samples is not None and samples != facts.samples:
            yield "stale", f"It was made from other samples of the run {path} than there are now."

    def _of_dataset(self, name: str, recorded: object) -> Iterator[Judged]:
        facts = self.datasets.get(name)
        if facts is None:
            known = "is damaged" if name in self.datasets else "is not in the store"
            yield "unchecked", f"The dataset {name} that it was made from {known}."
        elif recorded != facts[0]:
            yield "stale", f"It was made from another dataset than {name} is now."

    def _of_encoder(self, recorded: object, name: str | None) -> Iterator[Judged]:
        known = self.encoders.get(name or "", set())
        if not known:
            yield "unchecked", f"The store has no vectors of the encoder {name}."
        elif recorded not in list(known):  # any JSON value, which a set may refuse
            yield "stale", f"It was made with another encoder than {name} is now."

    def _of_neighbors(self, rest: list[str], made_from: Mapping[str, Any]) -> Iterator[Judged]:
        encoder, corpus, kind, *names = rest
        yield from self._of_encoder(made_from.get("encoder"), encoder)
        yield from self._of_items(corpus, made_from.get("corpus"))
        if kind == "runs":
            yield from self._of_run("/".join(names), made_from.get("run"), made_from.get("samples"))
        else:
            yield from self._of_items(names[0], made_from.get("items"))

    def _searched(
        self, rest: list[str], made_from: Mapping[str, Any]
    ) -> tuple[Sequence[int] | NDArray[np.int64] | None, Sequence[int] | None]:
        """Return what was searched for, and among which items; None where these are others now."""
        corpus, kind, *names = rest[1:]
        queries: Sequence[int] | NDArray[np.int64] | None
        if kind == "runs":
            facts = self.runs.get("/".join(names))
            current = facts is not None and made_from.get("samples") == facts.samples
            queries = facts.seeds[facts.written] if facts is not None and current else None
        else:
            queries = self._recorded_rows(names[0], made_from.get("items"))
        return queries, self._recorded_rows(corpus, made_from.get("corpus"))

    def _rows(self, text: str) -> Sequence[int] | None:
        """Return the numbers of items that a text names, None where they are not known."""
        name, at, ranges = text.partition("@")
        facts = self.datasets.get(name)
        try:
            rows = parse_ranges(ranges.replace("+", ","), "index") if at else None
        except SpecError:  # many ranges are named by their digest
            return None
        return range(facts[1]) if rows is None and facts is not None else rows

    def _recorded_rows(self, text: str, recorded: object) -> Sequence[int] | None:
        facts, rows = self.datasets.get(text.partition("@")[0]), self._rows(text)
        if facts is None or rows is None or recorded != fingerprint([facts[0], list(rows)]):
            return None
        return rows

    def _of_items(self, text: str, recorded: object) -> Iterator[Judged]:
        name = text.partition("@")[0]
        if self.datasets.get(name) is None:
            yield from self._of_dataset(name, None)
        elif self._rows(text) is None:
            yield "unchecked", f"The items {text} are named by a digest of their numbers."
        elif self._recorded_rows(text, recorded) is None:
            yield "stale", f"It was made from other items than {text} are now."

    def _of_result(
        self, key: str, attributes: Mapping[str, Any], made_from: Mapping[str, Any]
    ) -> Iterator[Judged]:
        if key != fingerprint(attributes.get("question")):
            yield "attributes", "The recorded question is not the one that the group is named by."
        recorded = attributes.get("made_from_fingerprint")
        if recorded is not None and recorded != fingerprint(made_from):
            yield "attributes", "What it was made from does not agree with its fingerprint."
        for path, run in _runs_in(made_from):
            yield from self._of_run(path, run.get("run"), run.get("samples"))
            known = [facts[0] for facts in self.datasets.values() if facts is not None]
            if run.get("dataset") is not None and run["dataset"] not in known:
                yield "stale", f"It was made from a dataset of the run {path} that is not stored."
        if isinstance(attributes.get("run"), str):  # a numerical floor, of chosen samples
            yield from self._of_run(attributes["run"], made_from.get("run"), None)
        question = attributes.get("question")
        options = question.get("options") if isinstance(question, dict) else None
        name = options.get("encoder") if isinstance(options, dict) else None
        if isinstance(name, str) and "encoder" in made_from:
            yield from self._of_encoder(made_from["encoder"], name)


def _runs_in(value: object, key: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Find the fingerprints of runs, wherever an analysis keeps them."""
    if isinstance(value, dict):
        if isinstance(value.get("run"), str) and isinstance(value.get("samples"), str):
            yield str(value.get("path", key)), value
        for name, item in value.items():
            yield from _runs_in(item, name)
