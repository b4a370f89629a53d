"""Models of several stores: one name stands for one of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from reprostore.canonical import canonical_json
from reprostore.sharing.merging.conflicts import Findings
from reprostore.sharing.merging.sources import Source
from reprostore.specs import CONTENT, IMPORTED, RunSpec
from reprostore.store import SampleStore

_OWN = "the store that is added to"


class MergedModels:
    """What the names of models stand for in the merged store.

    Parameters
    ----------
    target : SampleStore, optional
        The store into which others are merged; None where it is to be made.
    """

    def __init__(self, target: SampleStore | None) -> None:
        self._known: dict[str, list[tuple[RunSpec, str]]] = {}
        self._sampled: dict[str, str] = {}
        for run in [] if target is None else target.runs():
            if CONTENT not in run.spec.weights:
                self._known.setdefault(run.spec.model, []).append((run.spec, _OWN))
            if _is_code(run.spec) and len(run.written()[0]):
                self._sampled[run.spec.model] = _OWN

    def check_weights(self, source: Source, path: str, spec: RunSpec, findings: Findings) -> bool:
        """Refuse a run whose model has other weights than those of its name; take it in if not.

        Parameters
        ----------
        source : Source
            Whose run it is.
        path : str
            Its path there.
        spec : RunSpec
            With the names of the merged store.
        findings : Findings
            Takes conflicts.

        Returns
        -------
        bool
            Whether it may be merged.
        """
        known = self._known.setdefault(spec.model, [])
        if CONTENT in spec.weights:  # nobody said which weights its samples come from
            return True
        if known and not any(_same_weights(spec, other) for other, _ in known):
            findings.conflict(
                "model",
                spec.path,
                source.label,
                f"The model {spec.model!r} of {source.label} has other weights than that of "
                f"{known[0][1]}.",
                f"Give it another name with --rename {source.label}:{path.partition('/')[0]}=NEW.",
            )
            return False
        known.append((spec, source.label))
        return True

    def check_code(
        self,
        source: Source,
        specs: Mapping[str, RunSpec],
        rows: Sequence[dict[str, Any]],
        findings: Findings,
    ) -> None:
        """Refuse samples of a model from Python code of which none could be compared.

        The digest of such a model covers the file that defines it, not what the code reads. So
        equal seeds have to show that it is the same, or the user has to say it.

        Parameters
        ----------
        source : Source
            Whose runs were joined.
        specs : mapping
            Specs of the merged runs, by their paths.
        rows : sequence of dict
            What became of them.
        findings : Findings
            Takes conflicts, one for each model.
        """
        by_model: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            if _is_code(specs[row["name"]]):
                by_model.setdefault(specs[row["name"]].model, []).append(row)
        for model, own in by_model.items():
            whose = self._sampled.setdefault(model, source.label)
            copied, compared = (
                sum(row[key] for row in own for key in keys)
                for keys in (("copied",), ("equal", "differing"))
            )
            old = own[0]["from"].partition("/")[0]
            if whose == source.label or compared or not copied or old in source.models:
                continue
            rename = f"--rename {source.label}:{old}"
            findings.conflict(
                "model",
                own[0]["name"],
                source.label,
                f"The model {model!r} comes from Python code, of which only the file that defines "
                f"it is compared, and no sample of it is both in {source.label} and in {whose}: "
                "whether it is the same cannot be seen.",
                f"Generate seeds of one of the stores in the other too; or, if it is the same, say "
                f"so with {rename}={model}, else give it another name with {rename}=NEW.",
            )


def _is_code(spec: RunSpec) -> bool:
    return spec.model_spec.source.startswith("python:")


def _same_weights(one: RunSpec, other: RunSpec) -> bool:
    if IMPORTED in (one.model_spec.source, other.model_spec.source):
        # The files of a checkpoint are named otherwise when one of them is named alone.
        return not set(one.weights.values()).isdisjoint(other.weights.values())
    weights, others = ([s.weights, s.model_spec.noise_schedule] for s in (one, other))
    return canonical_json(weights) == canonical_json(others)
