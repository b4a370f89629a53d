"""What sources have made of runs and datasets, and where it belongs in the merged store."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from reprostore.embed import EncoderHandle
from reprostore.sharing.merging.datasets import MergedDatasets
from reprostore.sharing.merging.sources import Source
from reprostore.store.files import run_folders

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
        Whose vectors it is about; None for a floor.
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


def derived_groups(source: Source, datasets: MergedDatasets) -> list[Derived]:
    """Return what a source has made of the runs and datasets that are merged.

    Parameters
    ----------
    source : Source
        The source.
    datasets : MergedDatasets
        What its datasets are called in the merged store.

    Raises
    ------
    SpecError
        Vectors of one name come from several encoders.
    """
    found = []
    for name in source.store.files.folders("embeddings"):
        handle = source.encoder(name)
        if handle is not None:
            new = source.encoders.get(name, name)
            found += [*_vectors(source, handle, new, datasets)]
            found += [*_neighbors(source, handle, new, datasets)]
    if source.every and not source.models:  # floors name runs
        for key in source.store.files.folders(FLOORS):
            group = f"{FLOORS}/{key}"
            found.append(Derived("floor", source, group, group, key, key))
    return found


def _vectors(
    source: Source, encoder: EncoderHandle, new: str, datasets: MergedDatasets
) -> Iterator[Derived]:
    files, old = source.store.files, f"embeddings/{encoder.name}"
    for path in run_folders(files, f"{old}/runs"):
        if path in source.paths:
            merged = source.run_path(path)
            place = f"embeddings/{new}/runs/{merged}"
            yield Derived(
                "run-vectors", source, f"{old}/runs/{path}", place, path, merged, encoder, new
            )
    held = source.held()
    for name in files.folders(f"{old}/datasets"):
        if name in held:
            merged = datasets.name(source, name)
            place = f"embeddings/{new}/datasets/{merged}"
            yield Derived(
                "dataset-vectors", source, f"{old}/datasets/{name}", place, name, merged, encoder,
                new,
            )  # fmt: skip


def _neighbors(
    source: Source, encoder: EncoderHandle, new: str, datasets: MergedDatasets
) -> Iterator[Derived]:
    files, old = source.store.files, f"neighbors/{encoder.name}"
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
                    merged, encoder, new,
                )  # fmt: skip
        for items in files.folders(f"{base}/datasets"):
            merged_items = _renamed(source, items, datasets)
            if merged_items is not None:
                yield Derived(
                    "item-neighbors", source, f"{base}/datasets/{items}",
                    f"{place}/datasets/{merged_items}", items, merged_items, encoder, new,
                )  # fmt: skip


def _renamed(source: Source, items: str, datasets: MergedDatasets) -> str | None:
    """Return the merged store's name of items such as ``digits@0-31``; None of what is not merged.

    Names of datasets may hold an @ themselves: the longest one that fits is meant.
    """
    fitting = [name for name in source.held() if items == name or items.startswith(f"{name}@")]
    if not fitting:
        return None
    name = max(fitting, key=len)
    return datasets.name(source, name) + items.removeprefix(name)
