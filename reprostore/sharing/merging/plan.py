"""What a merge would do, found out by reading alone: runs, datasets, sessions, encoders."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reprostore.canonical import canonical_json, fingerprint
from reprostore.errors import MissingDataError
from reprostore.sharing.merging.conflicts import Findings
from reprostore.sharing.merging.datasets import MergedDatasets
from reprostore.sharing.merging.derived import Derived, derived_groups
from reprostore.sharing.merging.encoders import choose_encoders
from reprostore.sharing.merging.join import join
from reprostore.sharing.merging.models import MergedModels
from reprostore.sharing.merging.runs import Addition, MergedRun
from reprostore.sharing.merging.sources import Source
from reprostore.sharing.merging.trained_on import check_held_out, check_trained_on
from reprostore.store import SampleStore
from reprostore.store.labelled import read_attributes


@dataclass
class MergePlan:
    """What the merged store will have that it has not, and what contradicts that.

    Attributes
    ----------
    sources : list of Source
        The stores that are merged into it.
    findings : Findings
        Conflicts and notes.
    datasets : MergedDatasets
        Its datasets.
    runs : dict
        Its runs that sources have too, by their paths.
    sessions : dict
        What is to be written under /sessions, by number.
    derived : list of Derived
        Vectors, neighbors and numerical floors of the sources.
    rows : list of dict
        The result, one row per run or dataset of a source.
    """

    sources: list[Source]
    findings: Findings
    datasets: MergedDatasets
    runs: dict[str, MergedRun] = field(default_factory=dict)
    sessions: dict[int, dict[str, Any]] = field(default_factory=dict)
    derived: list[Derived] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def is_withheld(self, item: Derived) -> bool:
        """Say whether what vectors were made of is in none of the stores."""
        if item.kind == "run-vectors":
            return item.merged_name in self.runs and self.runs[item.merged_name].withheld
        dataset = self.datasets.by_name.get(item.merged_name)
        return dataset is not None and dataset.stored.withheld


def plan_merge(
    target: SampleStore | None, sources: Sequence[Source], tolerance: float | None
) -> MergePlan:
    """Compare stores; nothing is written.

    Parameters
    ----------
    target : SampleStore, optional
        The store into which others are merged; None where it is to be made.
    sources : sequence of Source
        The others, in their order.
    tolerance : float, optional
        By how much states of equal seeds may differ.

    Returns
    -------
    MergePlan
        With all conflicts in its findings.

    Raises
    ------
    CorruptionError
        What has to be compared is damaged.
    """
    findings = Findings()
    plan = MergePlan(list(sources), findings, MergedDatasets(target, sources, findings))
    models, derived = MergedModels(target), list[Derived]()
    for source in sources:
        before = len(plan.rows)
        for path in source.paths:
            _plan_run(plan, target, source, path, tolerance, models)
        specs = {name: merged.spec for name, merged in plan.runs.items()}
        models.check_code(source, specs, plan.rows[before:], findings)
        derived += derived_groups(source, plan.datasets, findings)
        _record(plan, source)
    plan.derived = choose_encoders(derived, target, plan.is_withheld, findings)
    plan.rows += plan.datasets.rows
    return plan


def _plan_run(
    plan: MergePlan,
    target: SampleStore | None,
    source: Source,
    path: str,
    tolerance: float | None,
    models: MergedModels,
) -> None:
    run, findings = source.store.run(path), plan.findings
    spec = plan.datasets.spec(source, run.spec)
    name, merged = spec.path, plan.runs.get(spec.path)
    if merged is None and target is not None and name in target.run_paths():
        merged = MergedRun.of_target(target.run(name))
    if merged is None and not models.check_weights(source, path, spec, findings):
        return
    added = Addition.of(run, spec, source.label)
    if merged is None:
        merged = MergedRun(spec, run.step_table(), [], on_disk=False, withheld=run.withheld)
        if len(added.seeds) == 0:
            findings.note(name, source.label, f"{source.label} has no written sample of it.")
            return
        if run.spec.model_spec.trained_on is not None:
            dataset = run.spec.model_spec.trained_on.dataset
            check_held_out(source, dataset, spec, plan.datasets, findings)
    else:
        both = merged.spec.model_spec, spec.model_spec
        check_trained_on(name, source.label, both, plan.datasets, findings)
    row = join(merged, added, tolerance, findings)
    plan.runs[name] = merged
    plan.rows.append(row)
    if row["copied"]:
        _plan_sessions(plan, target, source, merged, row)


def _plan_sessions(
    plan: MergePlan,
    target: SampleStore | None,
    source: Source,
    merged: MergedRun,
    row: dict[str, Any],
) -> None:
    """See that the sessions of a source's seeds come along, each number standing for one."""
    mine = merged.holder == len(merged.runs) - 1
    for number in np.unique(merged.sessions[mine]).tolist():
        known = _session(plan, target, number)
        try:
            content = source.store.session(number)
        except MissingDataError:
            if known is None:
                raise
            continue  # a seed that was known before its samples came
        if row["differing"]:
            content = {
                **content,
                "reproduced": False,
                "merged": {
                    "session": f"{number:016x}",
                    "run": merged.spec.fingerprint,
                    "largest_difference": row["largest_difference"],
                },
            }
            marked = _number(content)
            merged.sessions[mine & (merged.sessions == number)] = marked
            number, known = marked, _session(plan, target, marked)
        if known is not None and canonical_json(known) != canonical_json(content):
            plan.findings.conflict(
                "session",
                f"{number:016x}",
                source.label,
                f"The session {number:016x} of {source.label} is another one than that of this "
                "number so far.",
                "One of them was edited: restore its file under sessions/ from a copy.",
            )
        plan.sessions[number] = content


def _session(plan: MergePlan, target: SampleStore | None, number: int) -> dict[str, Any] | None:
    if number in plan.sessions:
        return plan.sessions[number]
    attributes = target and read_attributes(target.path, f"sessions/{number:016x}")
    return attributes.get("session") if attributes else None


def _record(plan: MergePlan, source: Source) -> None:
    """Keep title, creators and licence of what comes in beside the sessions, whatever happens."""
    about = source.store.attributes
    content = {
        "started": about.get("created"),
        "merged": {
            "store": {key: about.get(key) for key in ("title", "license", "creators", "created")},
            "runs": {source.run_path(path): path for path in source.paths},
            "datasets": {name: plan.datasets.name(source, name) for name in source.held()},
        },
    }
    plan.sessions[_number(content)] = content


def _number(content: dict[str, Any]) -> int:
    """Return the number of a session that is made of others: the same at every attempt."""
    return int(fingerprint(content)[:16], 16) & (2**63 - 1) | 1
