"""Which runs, datasets and groups made from them go into a pack."""

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from reprostore.embed.handle import stored_encoder
from reprostore.errors import MissingDataError, SpecError
from reprostore.sharing.checks.caches import cache_groups
from reprostore.sharing.packing.request import PackRequest
from reprostore.sharing.packing.snapshot import RunSnapshot
from reprostore.store import SampleStore
from reprostore.store.labelled import read_attributes
from reprostore.stored_dataset import StoredDataset

REVEALING = ("pixel", "lpips")
"""Kinds of encoders from whose vectors an image can be computed: they are its pixels, or features
of every place in it."""


@dataclass
class Selection:
    """What goes into a pack.

    Attributes
    ----------
    store : SampleStore
        Where it comes from.
    runs : list of RunSnapshot
        Runs with written samples.
    datasets : dict of bool
        Names of datasets, and whether their items are withheld.
    groups : list of str
        Paths of vectors, neighbors and results.
    encoders : dict
        Identities of the encoders of these, by name.
    left_out : list of str
        What of the chosen runs and datasets is not packed, and why; full sentences.
    """

    store: SampleStore
    runs: list[RunSnapshot] = field(default_factory=list)
    datasets: dict[str, bool] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)
    encoders: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @property
    def withheld(self) -> dict[str, bool]:
        """Whether samples are withheld, by the run's path."""
        return {snapshot.run.path: snapshot.withheld for snapshot in self.runs}

    def sessions(self) -> list[int]:
        """Return the numbers of the sessions that wrote the packed seeds."""
        return sorted({number for snapshot in self.runs for number in snapshot.sessions})


def select(store: SampleStore, request: PackRequest) -> Selection:
    """Choose what goes into a pack.

    Raises
    ------
    MissingDataError
        There is no such run or encoder, or nothing to be packed.
    SpecError
        Vectors were asked for that give withheld images away, or allowed where no images are
        withheld.
    """
    chosen = Selection(store)
    _add_runs(chosen, request)
    _add_datasets(chosen, request)
    if request.allow_pixel and not any({**chosen.withheld, **chosen.datasets}.values()):
        raise SpecError(
            "Pixel vectors are allowed, and no images are withheld from the pack.",
            "They are left out of a pack only where its runs or datasets have no images.",
            "Leave out --allow-pixel, or choose the content vectors.",
        )
    if request.content != "samples":
        _add_encoders(chosen, request)
        _add_groups(chosen, request)
    if request.content == "vectors" and not any(_is_vectors(group) for group in chosen.groups):
        reasons = " ".join(["", *chosen.left_out])
        raise MissingDataError(
            f"The store {store.path} has no vectors of the chosen runs that can be packed "
            f"without their images.{reasons}",
            "A pack of vectors holds what encoders made of samples.",
            "Run an analysis with an encoder first, such as sscd, or pass --allow-pixel if the "
            "images may be handed on.",
        )
    if request.content == "vectors":
        _leave_out_bare_runs(chosen)
    return chosen


def _leave_out_bare_runs(chosen: Selection) -> None:
    """Leave out runs of whose samples nothing would be in a pack without images."""
    for snapshot in list(chosen.runs):
        path = snapshot.run.path
        if not any(group.endswith(f"/runs/{path}") for group in chosen.groups):
            chosen.runs.remove(snapshot)
            chosen.left_out.append(f"The run {path}: it has no vectors that could be packed.")


def _add_runs(chosen: Selection, request: PackRequest) -> None:
    store = chosen.store
    paths = store.run_paths()
    for pattern in request.runs or ():
        if not fnmatch.filter(paths, pattern):
            raise MissingDataError(
                f"The store {store.path} has no run {pattern}.",
                f"Its runs are {', '.join(paths) or 'none yet'}.",
                "Name some of these; * stands for any text.",
            )
    for path in paths:
        if request.runs is not None and not any(fnmatch.fnmatchcase(path, p) for p in request.runs):
            continue
        run = store.run(path)
        if run.withheld and request.content == "samples":
            chosen.left_out.append(f"The run {path}: its samples are not in this store.")
            continue
        run.spec  # noqa: B018  # damaged attributes are told before anything is written
        snapshot = RunSnapshot.of(run, withheld=run.withheld or request.content == "vectors")
        if len(snapshot.slots):
            chosen.runs.append(snapshot)
        else:
            chosen.left_out.append(f"The run {path}: it has no samples yet.")
    if not chosen.runs:
        reasons = " ".join(["", *chosen.left_out])
        raise MissingDataError(
            f"There are no samples to be packed in {store.path}.{reasons}",
            "A pack holds runs with written samples.",
            "Generate or import samples first, or choose other runs.",
        )


def _add_datasets(chosen: Selection, request: PackRequest) -> None:
    held = chosen.store.files.folders("datasets")
    if request.runs is not None:
        subsets = [snapshot.run.spec.model_spec.trained_on for snapshot in chosen.runs]
        held = [name for name in held if name in {s.dataset for s in subsets if s is not None}]
    for name in held:
        missing = StoredDataset(chosen.store, name).withheld
        chosen.datasets[name] = missing or not request.datasets
        if not request.datasets:
            chosen.left_out.append(f"The items of the dataset {name}: they were not asked for.")
        elif missing:
            chosen.left_out.append(f"The items of the dataset {name}: they are not in this store.")


def _add_encoders(chosen: Selection, request: PackRequest) -> None:
    known = chosen.store.files.folders("embeddings")
    for name in request.encoders or ():
        if name not in known:
            raise MissingDataError(
                f"The store {chosen.store.path} has no vectors of an encoder {name!r}.",
                f"It has vectors of {', '.join(known) or 'none'}.",
                "Name one of these, or run an analysis with the encoder first.",
            )
    for name in known if request.encoders is None else request.encoders:
        handle = stored_encoder(chosen.store, name)
        if handle is not None:
            chosen.encoders[name] = handle.identity


def _add_groups(chosen: Selection, request: PackRequest) -> None:
    revealing = {n for n, i in chosen.encoders.items() if i.get("kind") in REVEALING}
    for group in cache_groups(chosen.store.files):
        family, name = group.split("/")[:2]
        if family == "results":
            if request.content == "all" and _is_about(chosen, group):
                chosen.groups.append(group)
            continue
        subjects = _subjects(chosen, group)
        if name not in chosen.encoders or subjects is None:
            continue
        if family == "embeddings" and name in revealing and not request.allow_pixel:
            subject = next(iter(subjects))
            if subjects[subject]:
                _refuse_or_tell(chosen, request, name, subject)
                continue
        chosen.groups.append(group)


def _refuse_or_tell(chosen: Selection, request: PackRequest, encoder: str, subject: str) -> None:
    kind = chosen.encoders[encoder]["kind"]
    if request.encoders is not None and request.content == "vectors":
        raise SpecError(
            f"Vectors of the encoder {encoder!r} of {subject} are to be packed without its images.",
            f"Images can be computed from vectors of the kind {kind}: whoever has them has the "
            "images.",
            "Choose another encoder, or pass --allow-pixel if the images may be handed on.",
        )
    chosen.left_out.append(
        f"The vectors of the encoder {encoder} of {subject}: its images are withheld, and could "
        f"be computed from vectors of the kind {kind}."
    )


def _is_vectors(group: str) -> bool:
    return group.startswith("embeddings/")


def _subjects(chosen: Selection, group: str) -> Mapping[str, bool] | None:
    """Return the run or datasets that vectors or neighbors are about, and which are withheld.

    None where one of them is not packed.
    """
    family, _, *rest = group.split("/")
    found: dict[str, bool] = {}
    if family == "neighbors":
        corpus, *rest = rest
        if _dataset(chosen, corpus) is None:
            return None
    kind, *names = rest
    if kind == "runs":
        path = "/".join(names)
        if path not in chosen.withheld:
            return None
        found[f"the run {path}"] = chosen.withheld[path]
    else:
        name = _dataset(chosen, names[0])
        if name is None:
            return None
        found[f"the dataset {name}"] = chosen.datasets[name]
    return found


def _dataset(chosen: Selection, items: str) -> str | None:
    """Return the packed dataset that items such as ``digits@0-31`` are of."""
    fitting = [name for name in chosen.datasets if items == name or items.startswith(f"{name}@")]
    return max(fitting, key=len, default=None)


def _is_about(chosen: Selection, group: str) -> bool:
    """Say whether a result is about packed runs alone, as far as it says so."""
    attributes = read_attributes(chosen.store.path, group) or {}
    named = set(_run_names(attributes, set(chosen.store.run_paths())))
    return named <= chosen.withheld.keys() and (
        bool(named) or len(chosen.runs) == len(chosen.store.run_paths())
    )


def _run_names(value: object, known: set[str]) -> Iterator[str]:
    """Yield all texts in attributes that are paths of runs."""
    if isinstance(value, str):
        yield from (part for part in value.split(" | ") if part in known)
    elif isinstance(value, dict):
        yield from _run_names([*value.keys(), *value.values()], known)
    elif isinstance(value, list):
        for item in value:
            yield from _run_names(item, known)
