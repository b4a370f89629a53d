"""Two laboratories' stores become one."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reprostore.canonical import canonical_json
from reprostore.errors import CorruptionError, SpecError
from reprostore.sharing.merging.about import About, merged_about
from reprostore.sharing.merging.copy import write_run
from reprostore.sharing.merging.derived import Derived
from reprostore.sharing.merging.groups import copy_dataset
from reprostore.sharing.merging.neighbors import copy_labelled, join_run_neighbors
from reprostore.sharing.merging.plan import MergePlan, plan_merge
from reprostore.sharing.merging.sources import Renames, open_sources
from reprostore.sharing.merging.vectors import copy_item_vectors, copy_run_vectors
from reprostore.store import SampleStore, create_store, open_store
from reprostore.store.groups import staged_group
from reprostore.store.labelled import read_attributes
from reprostore.store.locks import locked

Progress = Callable[[str, int, int], None]
"""Called with what is copied, how much of it is finished, and all of it."""


def merge_stores(
    target: Path | SampleStore,
    sources: Sequence[Path],
    *,
    runs: Sequence[str] | None = None,
    rename: Mapping[str, str] | None = None,
    rename_datasets: Mapping[str, str] | None = None,
    rename_encoders: Mapping[str, str] | None = None,
    tolerance: float | None = None,
    about: About | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Add the content of stores to another one, which is made where it does not exist.

    All is compared before anything is written: with one conflict nothing is. Samples are then
    copied unit by unit, each seed with its digest, which is computed again, and its session. A
    merge that was interrupted leaves a valid store; repeating it does what is missing.

    Parameters
    ----------
    target : Path or SampleStore
        The merged store.
    sources : sequence of Path
        The others, folders or archives; they are only read.
    runs : sequence of str, optional
        Paths of the runs that are merged, with ``*`` and ``?`` where several are meant; all when
        left out. With chosen runs come the datasets that their models were trained on.
    rename, rename_datasets, rename_encoders : mapping, optional
        New names of models, datasets and encoders of the sources, by their old ones or by
        ``source:old``, where the source is a file name without ``.zarr`` or ``.zip``. What is named
        as before is said to be the one of that name elsewhere.
    tolerance : float, optional
        By how much states of equal seeds may differ, in units in which images span [-1, 1]. The
        states of the first store that has them stay, and new ones beside them are marked as not
        reproduced, which results made from the run show. Without it digests have to be equal.
    about : About, optional
        Title, licence and creators of a new store, where they are not to be those of the sources.
    dry_run : bool
        Only compare.
    progress : callable, optional
        Called while runs and datasets are copied.

    Returns
    -------
    list of dict
        One per run or dataset of a source, group of vectors or neighbors, and note, told apart by
        `kind`. "run": seeds `copied`, `equal` and `differing`, `largest_difference` (None where
        none differ) and `bytes` of the copied states. "dataset": items `copied` and `equal`.
        "run-vectors", "dataset-vectors", "run-neighbors", "item-neighbors", "floor": how many were
        `copied`, None in a dry run. "note": its `text`.

    Raises
    ------
    ConflictError
        The stores contradict each other; its `conflicts` are all that was found.
    SpecError, MissingDataError
        An option is not valid, or names what is not there.
    CorruptionError
        A source is damaged.
    """
    if tolerance is not None and not 0 <= tolerance < float("inf"):
        raise SpecError(
            f"The tolerance is {tolerance}.",
            "It is a number that is not negative.",
            "Give the largest difference of equal states, such as 1e-4.",
        )
    path = target.path if isinstance(target, SampleStore) else Path(target).absolute()
    renames = Renames(rename or {}, rename_datasets or {}, rename_encoders or {})
    opened = open_sources(path, sources, runs, renames)
    existing = _existing(target, path, dry_run=dry_run)
    plan = plan_merge(existing, opened, tolerance)
    said = merged_about(existing, opened, about or About(), plan.findings)
    plan.findings.check()
    if not dry_run:
        store = existing or create_store(
            path, title=said.title, license=said.license, creators=said.creators
        )
        store.require_writable()
        _write(store, plan, progress)
    derived = _derive(None if dry_run else store, plan)
    return [*plan.rows, *derived, *plan.findings.notes]


def _existing(target: Path | SampleStore, path: Path, *, dry_run: bool) -> SampleStore | None:
    """Return the merged store where it exists; only one that is written to is mended."""
    if isinstance(target, SampleStore):
        return target
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    return open_store(path, mode="r" if dry_run else "r+")


def _write(store: SampleStore, plan: MergePlan, progress: Progress | None) -> None:
    for number, content in sorted(plan.sessions.items()):
        place = f"sessions/{number:016x}"
        with locked(store.path, place):
            if read_attributes(store.path, place) is None:
                with staged_group(store.path, place) as staging:
                    staging.attributes["session"] = content
    for name, dataset in plan.datasets.by_name.items():
        if dataset.source is not None:
            copy_dataset(store, name, dataset, progress)
    for merged in plan.runs.values():
        write_run(store, merged, progress)


def _derive(store: SampleStore | None, plan: MergePlan) -> list[dict[str, Any]]:
    """Copy what was made of runs and datasets; without a store only name it."""
    rows: list[dict[str, Any]] = []
    joined: dict[str, list[Derived]] = {}
    for item in sorted(plan.derived, key=_order):
        if item.kind.startswith("run-") and item.merged_name not in plan.runs:
            continue
        row: dict[str, Any] = {"kind": item.kind, "name": item.merged_group}
        row |= {"source": item.source.label, "copied": None}
        rows.append(row)
        if item.kind == "run-neighbors":
            joined.setdefault(item.merged_group, []).append(item)
        elif store is not None:
            row["copied"] = _copied(store, item, plan)
    if store is None:
        return rows
    for group, items in joined.items():
        copied, lacking = join_run_neighbors(store, items)
        for row in rows:
            if row["name"] == group:
                row["copied"] = copied
        if lacking:
            plan.findings.note(group, items[-1].source.label, lacking)
    return rows


def _copied(store: SampleStore, item: Derived, plan: MergePlan) -> int:
    """Copy vectors, neighbors of items or a floor; what is damaged is left out where it can be."""
    try:
        if item.kind == "run-vectors":
            return copy_run_vectors(store, item)
        if item.kind == "dataset-vectors":
            return copy_item_vectors(store, item)
        return copy_labelled(store, item)
    except CorruptionError as error:
        if item.kind == "run-vectors" and plan.runs[item.merged_name].withheld:
            raise
        plan.findings.note(item.merged_group, item.source.label, f"Left out. {error.parts[0]}")
        return 0


def _order(item: Derived) -> tuple[int, str]:
    kinds = ("dataset-vectors", "run-vectors", "item-neighbors", "run-neighbors", "floor")
    return kinds.index(item.kind), canonical_json([item.merged_group, item.source.label])
