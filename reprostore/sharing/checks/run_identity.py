"""What a run's attributes and metadata say of it, compared with each other."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reprostore.canonical import fingerprint
from reprostore.seeds import SEED_LIMIT, shorten
from reprostore.sharing.checks.findings import MAKE_READABLE, UNREADABLE, Damage, Finding, Mending
from reprostore.sharing.checks.forms import ArrayForm, array_form, group_attributes
from reprostore.sharing.checks.run_forms import STEP_ARRAYS, run_forms, state_arrays
from reprostore.specs import IMPORTED, RunSpec
from reprostore.store.files import StoreFiles

_BY_UNIT = ("digest", "status", "session", "noise_probe")
KNOWN_ATTRIBUTES = frozenset({"run", "withheld"})


@dataclass(frozen=True)
class RunIdentity:
    """A run whose attributes are sound.

    Attributes
    ----------
    path : str
        model/sampler/condition.
    spec : RunSpec
        What it is.
    withheld : bool
        Whether its samples are not in the store.
    forms : dict
        The forms of those arrays that are as the spec implies.
    findings : tuple of Finding
        What is wrong with the others.
    """

    path: str
    spec: RunSpec
    withheld: bool
    forms: dict[str, ArrayForm]
    findings: tuple[Finding, ...] = ()

    @property
    def group(self) -> str:
        """Path of the group in the store."""
        return f"runs/{self.path}"

    @property
    def of_vectors(self) -> bool:
        """Whether it was imported as vectors, of which nothing else is known."""
        spec = self.spec
        return spec.model_spec.source == IMPORTED and spec.scheduler.get("content") == "vectors"

    @property
    def made_again(self) -> str:
        """What is to be done where seeds are damaged."""
        if self.withheld and not self.of_vectors:
            return (
                "Ask for the store again: samples of this run are not in it, and what was made of "
                "them cannot be made again. With --repair these seeds are marked missing."
            )
        if self.spec.model_spec.source == IMPORTED:
            return (
                "Mark them missing with --repair, and import them again from where they came from."
            )
        return "Mark them missing with --repair; `repro generate` then makes them again."


def run_identity(files: StoreFiles, path: str) -> RunIdentity:
    """Read what a run is.

    Parameters
    ----------
    files : StoreFiles
        Of the store.
    path : str
        model/sampler/condition.

    Raises
    ------
    Damage
        The attributes are not those of this run: nothing else in it can be judged.
    """
    group = f"runs/{path}"
    attributes = group_attributes(files, group)
    spec = _spec(attributes, path)
    withheld = attributes.get("withheld", False)
    if not isinstance(withheld, bool):
        raise Damage("has an attribute withheld that is neither true nor false")
    findings = [*_unknown(files, group, attributes, spec, withheld=withheld)]
    forms, wrong = _forms(files, group, spec, withheld=withheld)
    return RunIdentity(path, spec, withheld, forms, (*findings, *wrong))


def _unknown(
    files: StoreFiles, group: str, attributes: dict[str, Any], spec: RunSpec, *, withheld: bool
) -> Iterator[Finding]:
    """Tell of all that a run has and its spec does not imply: readers show it as a part of it."""
    restore = "Restore its zarr.json from a copy of the store."
    unknown = sorted(attributes.keys() - KNOWN_ATTRIBUTES)
    if unknown:
        what = f"The run has the unknown attributes {shorten(', '.join(unknown))}."
        yield Finding(True, "attributes", group, what, restore, group)
    there = set(files.folders(group))
    states = there & {*state_arrays(spec)}
    if withheld and states:
        what = f"The run has {' and '.join(sorted(states))}, although its samples are withheld."
        yield Finding(True, "attributes", group, what, restore, group)
    for name in sorted(there - run_forms(spec, 1, withheld=False).keys()):
        what = f"The run has the folder {shorten(name)}, which is none of its arrays."
        action = "Delete it when no process writes, or restore the run from a copy of the store."
        yield Finding(True, "array", f"{group}/{name}", what, action, group)


def _spec(attributes: dict[str, Any], path: str) -> RunSpec:
    try:
        recorded = dict(attributes["run"])
        checksum = recorded.pop("checksum")
        found = fingerprint(recorded)
        named = recorded.pop("fingerprint")
        spec = RunSpec.model_validate(recorded)
    except Exception as error:  # whatever an edited attribute leads to
        reason = shorten(str(error).splitlines()[0] if str(error) else type(error).__name__, 100)
        raise Damage(f"has attributes that are not those of a run ({reason})") from error
    if found != checksum:
        raise Damage("has attributes that do not agree with their checksum")
    if spec.path != path:
        raise Damage(f"has the attributes of the run {shorten(spec.path)}")
    if spec.fingerprint != named:
        raise Damage("has another fingerprint than the one that is recorded")
    return spec


def _forms(
    files: StoreFiles, group: str, spec: RunSpec, *, withheld: bool
) -> tuple[dict[str, ArrayForm], list[Finding]]:
    expected = run_forms(spec, 1, withheld=withheld)
    found: dict[str, ArrayForm] = {}
    broken: dict[str, str] = {}
    for name in expected:
        try:
            found[name], attributes = array_form(files, f"{group}/{name}")
            if attributes:
                broken[name] = "has attributes, which arrays of a run have not"
        except Damage as damage:
            broken[name] = str(damage)
    length = _length(found)
    if length is None:
        what = "has arrays of which none says how many seeds it has"
        return {}, [_finding(group, "status", what, None)]
    expected = run_forms(spec, length, withheld=withheld)
    findings = []
    for name, form in found.items():
        differing = [f for f in form.differences(expected[name]) if f not in ("shard", "chunk")]
        if differing == ["shape"] and form.shape[1:] == expected[name].shape[1:]:
            findings.append(_unequal(group, name, form.shape[0], length))
        elif differing:
            broken[name] = f"has another {differing[0]} than the run's spec implies"
    sound = {
        name: form
        for name, form in found.items()
        if name not in broken and form.shape == expected[name].shape
    }
    cut = {name for name in sound if sound[name] != expected[name]}
    cut_otherwise = [*_cut(sound, found)] if cut else []
    for name in cut_otherwise:
        broken[name] = "is cut into chunks that do not fit the other arrays"
        sound.pop(name, None)
    for name, reason in broken.items():
        mending: Mending | None = None if cut or UNREADABLE in reason else "array"
        findings.append(_finding(group, name, f"The array {name} {reason}.", mending))
    return sound, findings


def _length(found: dict[str, ArrayForm]) -> int | None:
    """Return the length of status, or that of all others.

    A run never has a status that is longer than all others: it is lengthened last.
    """
    lengths = {n: form.shape[0] for n, form in found.items() if n not in STEP_ARRAYS and form.shape}
    length = lengths.pop("status", None)
    if len(set(lengths.values())) == 1:
        (others,) = set(lengths.values())
        length = others if length is None else min(length, others)
    return None if length is None or length > SEED_LIMIT else length


def _cut(forms: dict[str, ArrayForm], found: dict[str, ArrayForm]) -> Iterator[str]:
    """Yield those arrays whose chunks do not fit the others.

    A unit is what most of the arrays with a value for each slot have in a chunk.
    """
    units = [found[name].chunk[0] for name in _BY_UNIT if name in found and found[name].chunk]
    unit = max(units, key=units.count, default=0)
    for name in _BY_UNIT:
        if name in forms and forms[name].chunk != (unit, *forms[name].shape[1:]):
            yield name
    yield from (name for name in STEP_ARRAYS if name in forms and forms[name].files != (1,))
    states = [name for name in ("sample", "denoised") if name in forms]
    for name in states:
        form, first = forms[name], forms[states[0]]
        whole = form.chunk[1:] == (1, *form.shape[2:]) and form.shard[2:] == form.shape[2:]
        alike = (form.shard[0], form.chunk[0]) == (first.shard[0], first.chunk[0])
        if not (whole and alike and unit and unit % form.shard[0] == 0):
            yield name


def _finding(group: str, array: str, what: str, mending: Mending | None) -> Finding:
    action = "Restore its zarr.json from a copy of the store, or delete the run's folder."
    if mending is not None:
        action = "Write it anew from the run's spec with --repair; what it holds is then checked."
    elif UNREADABLE in what:
        action = MAKE_READABLE
    return Finding(True, "array", f"{group}/{array}", what, action, group, mending=mending)


def _unequal(group: str, array: str, found: int, length: int) -> Finding:
    return Finding(
        damage=True,
        kind="length",
        place=f"{group}/{array}",
        what=f"The array {array} has {found} seeds, and the run {length}.",
        action="Its zarr.json is damaged, for the status is lengthened last: use --repair."
        if array == "status"
        else "A process died while the run grew, or the status lost its length: use --repair.",
        group=group,
        mending="length",
    )
