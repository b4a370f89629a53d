"""What sources have made of runs and datasets, and where it belongs in the merged store."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from reprostore.embed import EncoderHandle
from reprostore.errors import CorruptionError
from reprostore.sharing.merging.conflicts import Findings
from reprostore.sharing.merging.datasets import MergedDatasets
from reprostore.sharing.merging.sources import Source
from reprostore.store import SampleStore
from reprostore.store.files import run_folders
from reprostore.store.labelled import read_attributes

FLOORS = "results/numerical_floor"


@dataclass(frozen=True)
class Derived:
    """A group of a source that was made from others.

    Attributes
    ----------
    kind : str
        "run-vectors", "dataset-vectors", "run-neighbors", "item-neighbors" or "floor".
    source : Source
        Where it is.
    group, merged_group : str
        Its path there, and in the merged store.
    name, merged_name : str
        Path of the run, or name of the dataset or items, there and in the merged store.
    encoder : EncoderHandle, optional
        Whose vectors it is about; None for a floor, and where that is not chosen yet.
    encoder_name : str
        The encoder's name in the merged store.
    """

    kind: Literal["run-vectors", "dataset-vectors", "run-neighbors", "item-neighbors", "floor"]
    source: Source
    group: str
    merged_group: str
    name: str
    merged_name: str
    encoder: EncoderHandle | None = None
    encoder_name: str = ""


def derived_groups(source: Source, datasets: MergedDatasets, findings: Findings) -> list[Derived]:
    """Return what a source has made of the runs and datasets that are merged.

    Parameters
    ----------
    source : Source
        The source.
    datasets : MergedDatasets
        What its datasets are called in the merged store.
    findings : Findings
        Takes notes of what is not merged.

    Returns
    -------
    list of Derived
        Vectors with the encoder that made them; neighbors do not say which that is.
    """
    found: list[Derived] = []
    for name in source.store.files.folders("embeddings"):
        new = source.encoders.get(name, name)
        found += [*_vectors(source, name, new, datasets)]
        found += [*_neighbors(source, name, new, datasets)]
    return [*found, *_floors(source, findings)]


def vector_groups(store: SampleStore, encoder: str) -> list[str]:
    """Return the paths of the groups of vectors under a name."""
    root, files = f"embeddings/{encoder}", store.files
    return [
        *(f"{root}/runs/{path}" for path in run_folders(files, f"{root}/runs")),
        *(f"{root}/datasets/{name}" for name in files.folders(f"{root}/datasets")),
    ]


def recorded_encoder(store: SampleStore, name: str, group: str) -> EncoderHandle | None:
    """Return the encoder that made a group of vectors, as recorded beside them."""
    encoder = (read_attributes(store.path, group) or {}).get("encoder")
    return None if encoder is None else EncoderHandle(name, None, recorded=dict(encoder))


def _vectors(source: Source, encoder: str, new: str, datasets: MergedDatasets) -> Iterator[Derived]:
    held, root = source.held(), f"embeddings/{encoder}/"
    for group in vector_groups(source.store, encoder):
        what, _, name = group.removeprefix(root).partition("/")
        if name not in (source.paths if what == "runs" else held):
            continue
        handle = recorded_encoder(source.store, encoder, group)
        if handle is None:
            continue
        kind: Literal["run-vectors", "dataset-vectors"]
        if what == "runs":
            kind, merged = "run-vectors", source.run_path(name)
        else:
            kind, merged = "dataset-vectors", datasets.name(source, name)
        place = f"embeddings/{new}/{what}/{merged}"
        yield Derived(kind, source, group, place, name, merged, handle, new)


def _neighbors(
    source: Source, encoder: str, new: str, datasets: MergedDatasets
) -> Iterator[Derived]:
    files, old = source.store.files, f"neighbors/{encoder}"
    names = {corpus: _renamed(source, corpus, datasets) for corpus in files.folders(old)}
    for corpus, merged_corpus in names.items():
        if merged_corpus is None:
            continue
        base, place = f"{old}/{corpus}", f"neighbors/{new}/{merged_corpus}"
        for path in run_folders(files, f"{base}/runs"):
            if path in source.paths:
                merged = source.run_path(path)
                yield Derived(
                    "run-neighbors", source, f"{base}/runs/{path}", f"{place}/runs/{merged}", path,
                    merged, None, new,
                )  # fmt: skip
        for items in files.folders(f"{base}/datasets"):
            merged_items = _renamed(source, items, datasets)
            if merged_items is not None:
                yield Derived(
                    "item-neighbors", source, f"{base}/datasets/{items}",
                    f"{place}/datasets/{merged_items}", items, merged_items, None, new,
                )  # fmt: skip


def _floors(source: Source, findings: Findings) -> Iterator[Derived]:
    """Yield the numerical floors of the chosen runs, which are known by the paths of these."""
    for key in source.store.files.folders(FLOORS):
        group = f"{FLOORS}/{key}"
        try:
            run = str((read_attributes(source.store.path, group) or {}).get("run"))
        except CorruptionError as error:
            findings.note(group, source.label, f"Left out. {error.parts[0]}")
            continue
        if run not in source.paths:
            continue
        if source.run_path(run) == run:
            yield Derived("floor", source, group, group, key, key)
        else:
            findings.note(
                source.run_path(run),
                source.label,
                f"Its numerical floor is left out, which was measured as that of {run}: measure "
                "it again with verify --regenerate.",
            )


def _renamed(source: Source, items: str, datasets: MergedDatasets) -> str | None:
    """Return the merged store's name of items such as ``digits@0-31``; None of what is not merged.

    Names of datasets may hold an @ themselves: the longest one that fits is meant.
    """
    fitting = [name for name in source.held() if items == name or items.startswith(f"{name}@")]
    if not fitting:
        return None
    name = max(fitting, key=len)
    return datasets.name(source, name) + items.removeprefix(name)
