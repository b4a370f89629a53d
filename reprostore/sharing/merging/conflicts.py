"""Contradictions between stores, all of which are told before anything is written."""

from dataclasses import asdict, dataclass, field

from reprostore.errors import ConflictError


@dataclass(frozen=True)
class Conflict:
    """One contradiction between a source and what it is merged into.

    Attributes
    ----------
    what : str
        "model", "run", "digest", "noise", "samples", "dataset", "trained_on", "session",
        "encoder" or "license".
    name : str
        Of the run, dataset, session or encoder, as it would be in the merged store.
    source : str
        Label of the source.
    found : str
        What was found, as a full sentence.
    action : str
        What can be done about it, as a full sentence.
    """

    what: str
    name: str
    source: str
    found: str
    action: str


@dataclass
class Findings:
    """What comes to light while stores are compared.

    Attributes
    ----------
    conflicts : list of Conflict
        Contradictions: with one of them nothing is merged.
    notes : list of dict
        What is merged otherwise than one might expect: `kind` "note", `name`, `source`, `text`.
    """

    conflicts: list[Conflict] = field(default_factory=list)
    notes: list[dict[str, str]] = field(default_factory=list)

    def conflict(self, what: str, name: str, source: str, found: str, action: str) -> None:
        """Keep a contradiction."""
        self.conflicts.append(Conflict(what, name, source, found, action))

    def note(self, name: str, source: str, text: str) -> None:
        """Keep a note."""
        note = {"kind": "note", "name": name, "source": source, "text": text}
        if note not in self.notes:
            self.notes.append(note)

    def check(self) -> None:
        """Raise ConflictError where there are contradictions.

        Raises
        ------
        ConflictError
            Its message tells the first ones, its `conflicts` all of them.
        """
        if not self.conflicts:
            return
        first, *others = self.conflicts
        several = "conflicts were" if len(others) > 1 else "conflict was"
        more = f" {len(others)} more {several} found." if others else ""
        error = ConflictError(
            f"{first.found}{more}",
            "Stores are merged only where they agree; nothing was written.",
            first.action,
        )
        error.conflicts = tuple({"kind": "conflict", **asdict(one)} for one in self.conflicts)
        raise error
