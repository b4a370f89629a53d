"""Encoders of several stores: one name stands for one of them."""

from collections.abc import Sequence

from reprostore.canonical import canonical_json
from reprostore.embed import EncoderHandle
from reprostore.embed.handle import stored_encoder
from reprostore.seeds import shorten
from reprostore.sharing.merging.conflicts import Findings
from reprostore.sharing.merging.derived import Derived
from reprostore.sharing.merging.sources import Source
from reprostore.specs import IMPORTED
from reprostore.store import SampleStore
from reprostore.store.labelled import read_attributes

_OWN = "the store that is added to"


def check_encoders(
    derived: Sequence[Derived], target: SampleStore | None, findings: Findings
) -> None:
    """Refuse vectors of several encoders under one name, and those of which that cannot be seen.

    Parameters
    ----------
    derived : sequence of Derived
        What the sources have made.
    target : SampleStore, optional
        The store into which they are merged; None where it is to be made.
    findings : Findings
        Takes conflicts, one for each encoder of a source.
    """
    known: dict[str, tuple[str, str]] = {}
    for name in [] if target is None else target.files.folders("embeddings"):
        handle = None if target is None else stored_encoder(target, name)
        if handle is not None:
            known[name] = handle.fingerprint, _OWN
    told: set[tuple[str, str]] = set()
    for one in derived:
        if one.encoder is None or (one.encoder_name, one.source.label) in told:
            continue
        name, source = one.encoder_name, one.source
        found, whose = known.setdefault(name, (one.encoder.fingerprint, source.label))
        rename = f"--rename-encoder {source.label}:{one.encoder.name}"
        if found != one.encoder.fingerprint:
            text = shorten(canonical_json(one.encoder.identity), 200)
            findings.conflict(
                "encoder",
                name,
                source.label,
                f"Vectors of {name!r} in {source.label} come from another encoder than those of "
                f"{whose}: {text}.",
                f"Give it another name with {rename}=NEW.",
            )
        elif (
            whose != source.label
            and _is_only_a_name(one.encoder)
            and one.encoder.name not in source.encoders
            and not (whose == _OWN and target is not None and _came_before(target, source))
        ):
            findings.conflict(
                "encoder",
                name,
                source.label,
                f"Vectors of {name!r} were imported in {source.label} and in {whose} without the "
                "weights of the encoder: whether it is the same cannot be seen.",
                f"If it is, say so with {rename}={name}; else give it another name there.",
            )
        else:
            continue
        told.add((name, source.label))


def _is_only_a_name(encoder: EncoderHandle) -> bool:
    return encoder.identity.get("kind") == IMPORTED and "weights" not in encoder.identity


def _came_before(target: SampleStore, source: Source) -> bool:
    """Say whether a source was merged into a store earlier, when its encoders were looked at."""
    created = source.store.attributes.get("created")
    for name in target.files.folders("sessions"):
        session = (read_attributes(target.path, f"sessions/{name}") or {}).get("session", {})
        store = session.get("merged", {}).get("store")
        if created is not None and store is not None and store.get("created") == created:
            return True
    return False
