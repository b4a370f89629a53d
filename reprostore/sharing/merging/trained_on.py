"""What stores say that models were trained on, and which items they hold out."""

from reprostore.seeds import parse_ranges, seeds_text
from reprostore.sharing.merging.conflicts import Findings
from reprostore.sharing.merging.datasets import MergedDatasets
from reprostore.sharing.merging.sources import Source
from reprostore.specs import ModelSpec, RunSpec, Subset


def check_trained_on(
    name: str,
    source: str,
    both: tuple[ModelSpec, ModelSpec],
    datasets: MergedDatasets,
    findings: Findings,
) -> None:
    """Refuse one run whose model was trained on other items as its two stores say."""
    ours, theirs = (model.trained_on for model in both)
    if ours == theirs or (ours and theirs and _items(ours, datasets) == _items(theirs, datasets)):
        return
    if ours is None or theirs is None:
        findings.note(
            name,
            source,
            f"Its model was trained on {_subset(ours)} as its attributes say, and on "
            f"{_subset(theirs)} as those of {source} do: the former stay.",
        )
        return
    findings.conflict(
        "trained_on",
        name,
        source,
        f"The model of the run {name} was trained on {_subset(ours)}, and on {_subset(theirs)} as "
        f"{source} says.",
        f"Find out which is true, or give the model of {source} another name with --rename.",
    )


def check_held_out(
    source: Source, name: str, spec: RunSpec, datasets: MergedDatasets, findings: Findings
) -> None:
    """Refuse a run whose model saw items that the merged store's dataset holds out.

    Parameters
    ----------
    source : Source
        Whose run it is.
    name : str
        What its training dataset is called there.
    spec : RunSpec
        With the names of the merged store, which has no such run yet.
    datasets : MergedDatasets
        Those of the merged store.
    findings : Findings
        Takes conflicts.
    """
    seen = spec.model_spec.trained_on
    about = None if seen is None else datasets.about(seen.dataset)
    if seen is None or about is None or spec.model_spec.held_out is not None:
        return
    held_out = about.spec.held_out
    if held_out is None or datasets.held_out(source, name) == held_out:
        return
    unseen = Subset(dataset=seen.dataset, index=held_out)
    nothing: frozenset[int] = frozenset()
    both = (_items(seen, datasets)[1] or nothing) & (_items(unseen, datasets)[1] or nothing)
    if both:
        findings.conflict(
            "trained_on",
            spec.path,
            source.label,
            f"The model of the run {spec.path} of {source.label} was trained on items that the "
            f"dataset {seen.dataset!r} holds out in the merged store ({seeds_text(both)}).",
            f"Give the dataset another name with --rename-dataset {source.label}:{name}=NEW, or "
            "choose other runs with --run.",
        )


def _items(subset: Subset, datasets: MergedDatasets) -> tuple[str, frozenset[int] | None]:
    """Return the numbers of items, None of all those of a dataset that no store holds."""
    if subset.index != "all":
        return subset.dataset, frozenset(parse_ranges(subset.index, "index"))
    about = datasets.about(subset.dataset)
    return subset.dataset, None if about is None else frozenset(range(len(about)))


def _subset(subset: Subset | None) -> str:
    return "nothing that is named" if subset is None else f"{subset.dataset} {subset.index}"
