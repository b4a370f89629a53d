"""Title, licence and creators of the merged store."""

from collections.abc import Sequence
from dataclasses import dataclass

from reprostore.errors import SpecError
from reprostore.sharing.merging.conflicts import Findings
from reprostore.sharing.merging.sources import Source
from reprostore.store import SampleStore

_OWN = "the store that is added to"


@dataclass(frozen=True)
class About:
    """What a store says of itself to those who receive it.

    Attributes
    ----------
    title, license : str, optional
        As one wants to have them, None where nothing is asked for.
    creators : tuple of str
        Those who made it.
    """

    title: str | None = None
    license: str | None = None
    creators: tuple[str, ...] = ()


def merged_about(
    target: SampleStore | None, sources: Sequence[Source], asked: About, findings: Findings
) -> About:
    """Return what the merged store says of itself; licences that differ are a conflict.

    Parameters
    ----------
    target : SampleStore, optional
        The store that is added to, whose attributes stay; None for a new one.
    sources : sequence of Source
        The stores that are merged into it.
    asked : About
        What the user says.
    findings : Findings
        Takes conflicts and notes.

    Raises
    ------
    SpecError
        Something is asked for that an existing store does not say.
    """
    about = {source.label: source.store.attributes for source in sources}
    licenses = {label: values.get("license") for label, values in about.items()}
    creators = [name for values in about.values() for name in values.get("creators") or ()]
    if target is None:
        if asked.license is None and len(set(licenses.values())) > 1:
            findings.conflict(
                "license",
                "",
                sources[-1].label,
                f"The licences differ: {_told(licenses)}.",
                "Find one that all of them allow, and give it with --license.",
            )
        titles = dict.fromkeys(values["title"] for values in about.values() if values.get("title"))
        stated = asked.license or next(iter(licenses.values()))
        joined = tuple(dict.fromkeys([*asked.creators, *creators]))
        return About(asked.title or " + ".join(titles) or None, stated, joined)
    own = target.attributes
    present = About(own.get("title"), own.get("license"), tuple(own.get("creators") or ()))
    for name in ("title", "license"):
        wanted = getattr(asked, name)
        if wanted is not None and wanted != getattr(present, name):
            raise SpecError(
                f"The {name} {wanted!r} is asked for, and that of {target.path} is "
                f"{getattr(present, name)!r}.",
                "What a store says of itself is written once, when it is made.",
                f"Leave --{name} out, or merge into a new store with --into.",
            )
    unknown = [name for name in asked.creators if name not in present.creators]
    if unknown:
        raise SpecError(
            f"The creators {', '.join(unknown)} are asked for, and those of {target.path} are "
            f"{', '.join(present.creators) or 'not stated'}.",
            "What a store says of itself is written once, when it is made.",
            "Leave --creator out, or merge into a new store with --into.",
        )
    for label, license_ in licenses.items():
        if license_ == present.license or asked.license is not None:
            continue
        if license_ is not None and present.license is not None:
            findings.conflict(
                "license",
                "",
                label,
                f"The licences differ: {_told({_OWN: present.license, label: license_})}.",
                "Merge into a new store with --into and --license, or confirm with --license that "
                "the licence of the store that is added to is that of all.",
            )
        else:
            findings.note(
                "",
                label,
                f"The licence of {label} is {license_ or 'not stated'}, that of the store that is "
                f"added to {present.license or 'not stated'}; both are kept beside the sessions.",
            )
    absent = [name for name in creators if name not in present.creators]
    if absent:
        findings.note(
            "",
            sources[-1].label,
            f"The creators {', '.join(dict.fromkeys(absent))} are kept beside the sessions: those "
            "of a store are written once.",
        )
    return present


def _told(licenses: dict[str, str | None]) -> str:
    return ", ".join(f"{text or 'none stated'} ({label})" for label, text in licenses.items())
