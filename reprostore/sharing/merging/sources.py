"""The stores that are merged, and under which names their content goes into the other one."""

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from reprostore.errors import MissingDataError, SpecError
from reprostore.paths import without_links
from reprostore.seeds import shorten
from reprostore.specs import is_name
from reprostore.store import Run, SampleStore, open_store

Names = Mapping[str, str]
"""New names by old ones."""


@dataclass(frozen=True)
class Renames:
    """New names, by the old ones or by ``source:old``.

    Attributes
    ----------
    models, datasets, encoders : mapping
        What is named as it was is said to be what the other store calls so.
    """

    models: Names = field(default_factory=dict)
    datasets: Names = field(default_factory=dict)
    encoders: Names = field(default_factory=dict)


@dataclass
class Source:
    """A store whose content goes into another one.

    Attributes
    ----------
    store : SampleStore
        Open for reading only.
    label : str
        What it is called in messages and options.
    paths : list of str
        The chosen runs, by their paths here.
    every : bool
        Whether these are all that it has.
    models, datasets, encoders : dict
        New names of those that are renamed.
    """

    store: SampleStore
    label: str
    paths: list[str]
    every: bool
    models: dict[str, str] = field(default_factory=dict)
    datasets: dict[str, str] = field(default_factory=dict)
    encoders: dict[str, str] = field(default_factory=dict)

    @cached_property
    def runs(self) -> list[Run]:
        """The chosen runs."""
        return [self.store.run(path) for path in self.paths]

    def run_path(self, path: str) -> str:
        """Return the path that a run has in the merged store."""
        model, _, rest = path.partition("/")
        return f"{self.models.get(model, model)}/{rest}"

    def held(self) -> list[str]:
        """Return the names of the datasets that are to be merged.

        With all runs come all datasets, with chosen ones those that their models were trained on.
        """
        held = self.store.files.folders("datasets")
        return held if self.every else [name for name in held if name in self.trained_on()]

    def trained_on(self) -> list[str]:
        """Return the names of the datasets that the chosen runs name, held here or not."""
        subsets = [run.spec.model_spec.trained_on for run in self.runs]
        return sorted({subset.dataset for subset in subsets if subset is not None})


def open_sources(
    target: Path, paths: Sequence[Path], runs: Sequence[str] | None, renames: Renames
) -> list[Source]:
    """Open the stores that are merged, and read which names are new.

    Parameters
    ----------
    target : Path
        The store into which they are merged.
    paths : sequence of Path
        Folders or archives.
    runs : sequence of str, optional
        Paths of the runs that are merged, with ``*`` and ``?`` where several are meant.
    renames : Renames
        New names.

    Raises
    ------
    SpecError
        A store is named twice, or a new name is not valid or not clear.
    MissingDataError
        A run, or what is to be renamed, is in none of the stores.
    """
    if not paths:
        raise SpecError(
            "No store was named that could be merged into the other one.",
            "Two stores or more are merged.",
            "Name the stores whose content is to be added.",
        )
    resolved = [without_links(path) for path in [target, *paths]]
    for position, path in enumerate(resolved):
        if path in resolved[:position]:
            raise SpecError(
                f"The store {path} is named twice.",
                "Different stores are merged.",
                "Name each store once, and the new one under a path of its own.",
            )
    labels = [path.name.removesuffix(".zarr").removesuffix(".zip") for path in paths]
    sources = []
    for path, label in zip(paths, labels, strict=True):
        store = open_store(path)
        chosen = [p for p in store.run_paths() if runs is None or _is_chosen(p, runs)]
        name = label if labels.count(label) == 1 else str(path)
        sources.append(Source(store, name, chosen, every=runs is None))
    for pattern in runs or ():
        if not any(_is_chosen(path, [pattern]) for source in sources for path in source.paths):
            known = sorted({path for source in sources for path in source.store.run_paths()})
            raise MissingDataError(
                f"No store that is merged has a run {pattern}.",
                f"They have {', '.join(known) or 'no runs'}.",
                "Name runs of these as model/sampler/condition; * stands for any text.",
            )
    _rename(sources, renames.models, "model", _models, lambda source: source.models)
    _rename(sources, renames.datasets, "dataset", _datasets, lambda source: source.datasets)
    _rename(sources, renames.encoders, "encoder", _encoders, lambda source: source.encoders)
    return sources


def _is_chosen(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def _models(source: Source) -> set[str]:
    return {path.partition("/")[0] for path in source.paths}


def _datasets(source: Source) -> set[str]:
    return {*source.held(), *source.trained_on()}


def _encoders(source: Source) -> set[str]:
    folders = source.store.files.folders
    return {*folders("embeddings"), *folders("neighbors")}


def _rename(
    sources: Sequence[Source],
    names: Names,
    what: str,
    known: Callable[[Source], set[str]],
    renamed: Callable[[Source], dict[str, str]],
) -> None:
    """Write new names into the sources that they are meant for."""
    for key, new in names.items():
        prefix, _, old = key.rpartition(":")
        chosen = [s for s in sources if prefix in ("", s.label, str(s.store.path))]
        having = [source for source in chosen if old in known(source)]
        if not having:
            raise MissingDataError(
                f"The {what} {shorten(key)!r} is to be named {shorten(new)!r}, and there is none.",
                f"The stores have {_listed(sources, known)}.",
                "Name what is to be renamed as NAME=NEW, or as STORE:NAME=NEW.",
            )
        if len(having) > 1 and old != new:
            raise SpecError(
                f"The {what} {old!r}, which is to be named {shorten(new)!r}, is in the stores "
                f"{', '.join(source.label for source in having)}.",
                "A new name is given to what one store has.",
                f"Say of which store, as {having[-1].label}:{old}={new}.",
            )
        if not is_name(new):
            raise SpecError(
                f"{shorten(new)!r} is no valid name of a {what}.",
                "Names are letters, digits and . _ + @ -, and begin with a letter or digit.",
                "Choose another name of at most 128 characters.",
            )
        for source in having:
            renamed(source)[old] = new


def _listed(sources: Sequence[Source], known: Callable[[Source], set[str]]) -> str:
    found = [f"{source.label}:{name}" for source in sources for name in sorted(known(source))]
    return shorten(", ".join(found) or "none", 300)
