"""What a manifest says of the packed store, compared with what the store holds.

The digests in a manifest are those of files; it also names runs, seeds and a licence, which people
read in place of the store.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.seeds import format_ranges, shorten
from reprostore.sharing.checks.findings import Damage
from reprostore.sharing.checks.forms import array_form, group_attributes
from reprostore.sharing.checks.run_identity import run_identity
from reprostore.sharing.checks.runs import RunCheck
from reprostore.specs import RunSpec
from reprostore.store.files import StoreFiles, run_folders

_OF_ROOT = ("title", "license", "creators")


def described_run(spec: RunSpec, seeds: NDArray[np.int64], *, withheld: bool) -> dict[str, Any]:
    """Return what a manifest says of a run, as plain JSON types.

    Parameters
    ----------
    spec : RunSpec
        The run.
    seeds : ndarray of int64, (written,)
        Its written seeds.
    withheld : bool
        Whether its samples are left out.
    """
    sampler = spec.sampler_spec
    return {
        "name": spec.path,
        "fingerprint": spec.fingerprint,
        "model": spec.model,
        "scheduler": sampler.scheduler,
        "solver_steps": sampler.steps,
        "recorded_steps": format_ranges(list(spec.steps)),
        "seeds": format_ranges(sorted(seeds.tolist())),
        "samples": len(seeds),
        "shape": list(spec.sample_shape),
        "dtype": spec.stored_dtype,
        "noise": spec.noise,
        "withheld": withheld,
    }


def false_claims(files: StoreFiles, about: Mapping[str, Any]) -> Iterator[str]:
    """Say where a manifest tells of another store than the packed one.

    Parameters
    ----------
    files : StoreFiles
        Of the packed store.
    about : mapping
        What the manifest says beside the files.

    Yields
    ------
    str
        What it says falsely, the end of a sentence. Damage of the store itself is not told here.
    """
    try:
        root = group_attributes(files, "").get("reprostore")
    except Damage:
        return
    for key in _OF_ROOT:
        if isinstance(root, dict) and about.get(key) != root.get(key):
            yield f"`{key}` otherwise than the store"
    withheld = []
    runs = run_folders(files, "runs")
    for name, said in _named(about.get("runs"), runs):
        found = None if name not in runs else _run(files, name)
        withheld += [] if found is None else [found["withheld"]]
        if name not in runs or said is None or (found is not None and said != found):
            yield _told("run", name, said, found)
    datasets = files.folders("datasets")
    for name, said in _named(about.get("datasets"), datasets):
        found = None if name not in datasets else _dataset(files, name)
        withheld += [] if found is None else [found["withheld"]]
        if name not in datasets or said is None or (found is not None and said != found):
            yield _told("dataset", name, said, found)
    if about.get("content") == "vectors" and not all(withheld):
        yield "vectors alone, and the store has images"


def _named(said: object, there: list[str]) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Yield all names that a manifest or a store has, and what the manifest says of each."""
    entries = said if isinstance(said, list) else []
    by_name = {str(e.get("name")): e for e in entries if isinstance(e, dict)}
    yield from ((name, by_name.get(name)) for name in sorted({*by_name, *there}))


def _told(kind: str, name: str, said: Mapping[str, Any] | None, found: object) -> str:
    if said is None:
        return f"nothing of the {kind} {shorten(name)}, which the store has"
    if not isinstance(found, dict):
        return f"of a {kind} {shorten(name)}, which the store has not"
    keys = [key for key in {**found, **said} if said.get(key) != found.get(key)]
    return f"`{keys[0]}` of the {kind} {shorten(name)} otherwise than the store"


def _run(files: StoreFiles, path: str) -> dict[str, Any] | None:
    try:
        identity = run_identity(files, path)
    except Damage:
        return None
    run = RunCheck(files, identity, list(files.walk(identity.group)))
    states = run.states()
    if run.seeds is None or states is None:
        return None
    return described_run(identity.spec, run.seeds[states.written], withheld=identity.withheld)


def _dataset(files: StoreFiles, name: str) -> dict[str, Any] | None:
    group = f"datasets/{name}"
    try:
        attributes = group_attributes(files, group)
        withheld = attributes.get("withheld") is True
        shape = (
            attributes["items"]["shape"]
            if withheld
            else list(array_form(files, f"{group}/item")[0].shape)
        )
        fingerprint, length = attributes["dataset"]["fingerprint"], shape[0]
    except (Damage, LookupError, TypeError):
        return None
    return {
        "name": name,
        "fingerprint": fingerprint,
        "items": length,
        "shape": shape[1:],
        "withheld": withheld,
    }
