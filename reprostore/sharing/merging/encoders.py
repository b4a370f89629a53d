"""Encoders of several stores: one name stands for one of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from reprostore.canonical import canonical_json
from reprostore.embed import EncoderHandle
from reprostore.seeds import shorten
from reprostore.sharing.merging.conflicts import Findings
from reprostore.sharing.merging.derived import Derived, recorded_encoder, vector_groups
from reprostore.sharing.merging.sources import Source
from reprostore.specs import IMPORTED
from reprostore.store import SampleStore
from reprostore.store.labelled import read_attributes

_OWN = "the store that is added to"

_Known = dict[str, tuple[set[str], str]]
"""By the name of an encoder the fingerprints that it stands for, and whose they are."""


def choose_encoders(
    derived: Sequence[Derived],
    target: SampleStore | None,
    irreplaceable: Callable[[Derived], bool],
    findings: Findings,
) -> list[Derived]:
    """Choose what comes from the encoder that its name stands for.

    Vectors of several encoders under one name are refused where they are in several stores, and
    those of which that cannot be seen. One source may have some that were made before its encoder
    was replaced: they are left out, unless they cannot be made again.

    Parameters
    ----------
    derived : sequence of Derived
        What the sources have made.
    target : SampleStore, optional
        The store into which they are merged; None where it is to be made.
    irreplaceable : callable
        Says of vectors whether what they were made of is in none of the stores.
    findings : Findings
        Takes conflicts and notes.

    Returns
    -------
    list of Derived
        What is copied, neighbors with the encoder of the vectors beside them.
    """
    known: _Known = {}
    for name in [] if target is None else target.files.folders("embeddings"):
        assert target is not None
        groups = vector_groups(target, name)
        handles = [recorded_encoder(target, name, group) for group in groups]
        found = {handle.fingerprint for handle in handles if handle is not None}
        if found:
            known[name] = found, _OWN
    made: dict[tuple[str, str], dict[str, list[Derived]]] = {}
    for one in derived:
        if one.encoder is not None:
            both = made.setdefault((one.encoder_name, one.source.label), {})
            both.setdefault(one.encoder.fingerprint, []).append(one)
    chosen: dict[tuple[str, str], EncoderHandle] = {}
    for key, encoders in made.items():
        place = _chosen(encoders, known.get(key[0], (set(), ""))[0], irreplaceable)
        for fingerprint, others in encoders.items():
            if fingerprint != place:
                _leave_out(others, irreplaceable, findings)
        first = encoders[place][0]
        assert first.encoder is not None
        chosen[key] = first.encoder
        _check(first, known, target, findings)
    return [with_encoder for one in derived if (with_encoder := _kept(one, chosen)) is not None]


def _chosen(
    encoders: Mapping[str, list[Derived]],
    known: set[str],
    irreplaceable: Callable[[Derived], bool],
) -> str:
    """Return which encoder a name stands for: the known one, or that of what has to be kept."""

    def claim(fingerprint: str) -> tuple[bool, int, int]:
        groups = encoders[fingerprint]
        return fingerprint in known, sum(map(irreplaceable, groups)), len(groups)

    return max(encoders, key=claim)


def _kept(one: Derived, chosen: Mapping[tuple[str, str], EncoderHandle]) -> Derived | None:
    if one.kind == "floor":
        return one
    encoder = chosen.get((one.encoder_name, one.source.label))
    if one.encoder is None:
        return None if encoder is None else replace(one, encoder=encoder)
    return one if encoder is not None and encoder.fingerprint == one.encoder.fingerprint else None


def _leave_out(
    others: Sequence[Derived], irreplaceable: Callable[[Derived], bool], findings: Findings
) -> None:
    for one in others:
        label = one.source.label
        assert one.encoder is not None
        if irreplaceable(one):
            findings.conflict(
                "encoder",
                one.encoder_name,
                label,
                f"The vectors of {one.name} in {label} come from another encoder than the others "
                f"of {one.encoder.name!r} there, and what they were made of is in none of the "
                "stores.",
                f"Merge this run by itself with --run {one.name} and --rename-encoder "
                f"{label}:{one.encoder.name}=NEW, and the others without it."
                if one.kind == "run-vectors"
                else f"Choose with --run the runs of {label} that were not trained on it.",
            )
        else:
            findings.note(
                one.merged_group,
                label,
                f"Left out. They come from another encoder than the other vectors of "
                f"{one.encoder.name!r} in {label}, and are made again when they are asked for.",
            )


def _check(one: Derived, known: _Known, target: SampleStore | None, findings: Findings) -> None:
    """Refuse an encoder that is another one than its name stands for, or may be."""
    assert one.encoder is not None
    name, source = one.encoder_name, one.source
    found, whose = known.setdefault(name, ({one.encoder.fingerprint}, source.label))
    rename = f"--rename-encoder {source.label}:{one.encoder.name}"
    if one.encoder.fingerprint not in found:
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
