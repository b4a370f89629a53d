"""Datasets of several stores, joined by what they hold and not by what they are called."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reprostore.ingest import StoredDataset
from reprostore.sharing.merging.conflicts import Findings
from reprostore.sharing.merging.sources import Source
from reprostore.specs import RunSpec, Subset
from reprostore.store import SampleStore


@dataclass
class MergedDataset:
    """A dataset as it will be in the merged store.

    Attributes
    ----------
    stored : StoredDataset
        Where its items are read.
    source : Source, optional
        Whose they are; None where the merged store has them already.
    about : StoredDataset
        What is said of it: what came first, also where that has not the items.
    """

    stored: StoredDataset
    source: Source | None
    about: StoredDataset


class MergedDatasets:
    """Which datasets the merged store will have, and what each source's are called there.

    Parameters
    ----------
    target : SampleStore, optional
        The store into which others are merged; None where it is to be made.
    sources : sequence of Source
        The others, in their order.
    findings : Findings
        Takes conflicts and notes.
    """

    def __init__(
        self, target: SampleStore | None, sources: Sequence[Source], findings: Findings
    ) -> None:
        self.by_name: dict[str, MergedDataset] = {}
        self.rows: list[dict[str, Any]] = []
        self._names: dict[tuple[str, str], str] = {}
        self._unseen: dict[str, str] = {}
        if target is not None:
            for name in target.files.folders("datasets"):
                own = StoredDataset(target, name)
                self.by_name[name] = MergedDataset(own, None, own)
        for source in sources:
            for name in source.held():
                self._join(source, name, findings)
        if target is not None:
            self._check_references(target, None, findings)
        for source in sources:
            self._check_references(source.store, source, findings)

    def name(self, source: Source, name: str) -> str:
        """Return what a source's dataset is called in the merged store."""
        return self._names.get((source.label, name), source.datasets.get(name, name))

    def about(self, name: str) -> StoredDataset | None:
        """Return what is said of a dataset of the merged store, None where no store holds it."""
        known = self.by_name.get(name)
        return None if known is None else known.about

    def held_out(self, source: Source, name: str) -> str | None:
        """Return which items a source's dataset holds out, None also where it is not there."""
        held = name in source.store.files.folders("datasets")
        return StoredDataset(source.store, name).spec.held_out if held else None

    def _join(self, source: Source, name: str, findings: Findings) -> None:
        stored = StoredDataset(source.store, name)
        asked = source.datasets.get(name)
        wanted = asked or name
        known = self.by_name.get(wanted)
        if known is None or known.stored.fingerprint != stored.fingerprint:
            equal = [n for n, d in self.by_name.items() if _same(d.stored, stored)]
            if asked is None and equal:
                wanted, known = equal[0], self.by_name[equal[0]]
        self._names[source.label, name] = wanted
        row = {"kind": "dataset", "name": wanted, "source": source.label, "from": name}
        if known is None:
            self.by_name[wanted] = MergedDataset(stored, source, stored)
            self.rows.append(row | {"copied": len(stored), "equal": 0})
        elif known.stored.fingerprint != stored.fingerprint:
            findings.conflict(
                "dataset",
                wanted,
                source.label,
                f"The dataset {wanted!r} of {source.label} has other items than that of "
                f"{_whose(known)}: {_size(stored)} and {_size(known.stored)}.",
                f"Give it another name with --rename-dataset {source.label}:{name}=NEW.",
            )
        else:
            self.rows.append(row | {"copied": 0, "equal": len(stored)})
            if known.stored.withheld and not stored.withheld:
                self.by_name[wanted] = MergedDataset(stored, source, known.about)
                self.rows[-1].update(copied=len(stored), equal=0)
            said, here = stored.spec.held_out, known.about.spec.held_out
            if said != here:
                kept = "keep theirs" if said else "are given these, for they have none of their own"
                findings.note(
                    wanted,
                    source.label,
                    f"{source.label} holds out other items of it ({said or 'none'}) than "
                    f"{_whose(known)} ({here or 'none'}): runs that come from there {kept}.",
                )

    def _check_references(
        self, store: SampleStore, source: Source | None, findings: Findings
    ) -> None:
        """Refuse to take a dataset for one that a model names and its own store does not have."""
        held = set(store.files.folders("datasets"))
        runs = store.runs() if source is None else source.runs
        names = {run.spec.model_spec.trained_on.dataset for run in runs
                 if run.spec.model_spec.trained_on is not None}  # fmt: skip
        for name in sorted(names - held):
            merged = name if source is None else self.name(source, name)
            known = self.by_name.get(merged)
            if source is not None and name in source.datasets:
                continue
            if known is None:
                self._note_unseen(merged, source, findings)
                continue
            giver = known.source
            if source is None and (giver is None or merged in giver.datasets.values()):
                continue
            label = "the store that is added to" if source is None else source.label
            option = f"{giver.label if source is None and giver else label}:{name}={name}"
            findings.conflict(
                "trained_on",
                merged,
                label,
                f"Models of {label} were trained on {name!r}, which it does not hold, and "
                f"{_whose(known)} holds a dataset of this name: whether they are the same "
                "cannot be seen.",
                f"If they are, say so with --rename-dataset {option}; else give it another name "
                "there.",
            )

    def _note_unseen(self, name: str, source: Source | None, findings: Findings) -> None:
        label = "the store that is added to" if source is None else source.label
        first = self._unseen.setdefault(name, label)
        if first != label:
            findings.note(
                name,
                label,
                f"Models of {first} and of {label} were trained on {name!r}, which no store holds: "
                "they count as trained on the same items, or give one of the datasets another name "
                "with --rename-dataset.",
            )

    def spec(self, source: Source, spec: RunSpec) -> RunSpec:
        """Return a source's run spec with the names of the merged store; its identity stays.

        The held-out items of a dataset go with the models, where the merged store's dataset holds
        out others.
        """
        path = source.run_path(spec.path)
        model = spec.model_spec
        if model.trained_on is not None:
            old = model.trained_on.dataset
            new = self.name(source, old)
            update: dict[str, Any] = {
                "trained_on": Subset(dataset=new, index=model.trained_on.index)
            }
            own, about = self.held_out(source, old), self.about(new)
            if model.held_out is None and about is not None and own != about.spec.held_out:
                update["held_out"] = own
            model = model.model_copy(update=update)
        return spec.model_copy(update={"model": path.partition("/")[0], "model_spec": model})


def _same(one: StoredDataset, other: StoredDataset) -> bool:
    return one.fingerprint == other.fingerprint


def _size(stored: StoredDataset) -> str:
    return f"{len(stored)} of shape {stored.item_shape}"


def _whose(dataset: MergedDataset) -> str:
    return dataset.source.label if dataset.source is not None else "the store that is added to"
