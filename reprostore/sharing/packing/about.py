"""What a pack says of itself: in its manifest, its README and its metadata alike."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reprostore import __version__
from reprostore.canonical import fingerprint
from reprostore.sharing.archives.manifest_claims import described_run
from reprostore.sharing.packing.request import PackRequest
from reprostore.sharing.packing.selection import Selection
from reprostore.sharing.packing.snapshot import RunSnapshot
from reprostore.specs import IMPORTED
from reprostore.stored_dataset import StoredDataset

_CREATOR = re.compile(r"(.+?)\s*<(https?://\S+)>")


@dataclass(frozen=True)
class About:
    """A pack in words and numbers.

    Attributes
    ----------
    folder : str
        Name of the store in it.
    title, license, description
        For those who receive it; licence None where none was stated.
    creators : tuple of (str, str or None)
        Names, and addresses such as an ORCID iD.
    published : str
        ISO date.
    content : str
        "all", "samples" or "vectors".
    root : dict
        Root attributes of the packed store.
    runs, datasets, encoders, models : tuple of dict
        One each; plain JSON.
    software : tuple of dict
        For each run, versions of what computed its samples, several where its sessions differ;
        empty for imported ones.
    families : frozenset of str
        Groups of the store that are packed of what was made of samples, such as "neighbors".
    left_out : tuple of str
        What was not packed, and why.
    """

    folder: str
    title: str
    license: str | None
    description: str
    creators: tuple[tuple[str, str | None], ...]
    published: str
    content: str
    root: dict[str, Any]
    runs: tuple[dict[str, Any], ...]
    datasets: tuple[dict[str, Any], ...]
    encoders: tuple[dict[str, Any], ...]
    models: tuple[dict[str, Any], ...]
    software: tuple[dict[str, list[str]], ...]
    families: frozenset[str]
    left_out: tuple[str, ...]

    @classmethod
    def of(cls, chosen: Selection, request: PackRequest, folder: str) -> "About":
        """Gather what is said of a selection."""
        root = dict(chosen.store.attributes)
        own = chosen.store.path.name.removesuffix(".zip").removesuffix(".zarr")
        title = request.title or root.get("title") or own
        license_ = request.license or root.get("license")
        names = list(request.creators or root.get("creators") or ())
        root |= {"title": title, "license": license_, "creators": names}
        runs = tuple(
            described_run(snapshot.run.spec, snapshot.seeds, withheld=snapshot.withheld)
            for snapshot in chosen.runs
        )
        families = frozenset(group.partition("/")[0] for group in chosen.groups)
        return cls(
            folder=folder,
            title=str(title),
            license=None if license_ is None else str(license_),
            description=request.description or _described(request.content, families, runs),
            creators=tuple(_creator(str(name)) for name in names),
            published=request.published.isoformat(),
            content=request.content,
            root=root,
            runs=runs,
            datasets=tuple(_dataset(chosen, name) for name in chosen.datasets),
            encoders=tuple(_encoder(chosen, name) for name in chosen.encoders),
            models=tuple(_models(chosen.runs)),
            software=tuple(_software(chosen, snapshot) for snapshot in chosen.runs),
            families=families,
            left_out=tuple(chosen.left_out),
        )

    def manifest(self) -> Mapping[str, Any]:
        """Return what the manifest says beside the files."""
        return {
            "made_with": {"reprostore": __version__},
            "folder": self.folder,
            "title": self.title,
            "license": self.license,
            "creators": self.root["creators"],
            "published": self.published,
            "content": self.content,
            "runs": list(self.runs),
            "datasets": list(self.datasets),
            "encoders": list(self.encoders),
            "left_out": list(self.left_out),
        }


def _dataset(chosen: Selection, name: str) -> dict[str, Any]:
    stored = StoredDataset(chosen.store, name)
    return {
        "name": name,
        "fingerprint": stored.fingerprint,
        "items": len(stored),
        "shape": list(stored.item_shape),
        "withheld": chosen.datasets[name],
    }


def _encoder(chosen: Selection, name: str) -> dict[str, Any]:
    identity = chosen.encoders[name]
    groups = [g for g in chosen.groups if g.startswith(f"embeddings/{name}/")]
    return {
        "name": name,
        "kind": str(identity.get("kind")),
        "metric": str(identity.get("metric")),
        "fingerprint": fingerprint(identity),
        "runs": sum("/runs/" in group for group in groups),
        "datasets": sum("/datasets/" in group for group in groups),
    }


def _models(runs: list[RunSnapshot]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for snapshot in runs:
        spec = snapshot.run.spec
        subset = spec.model_spec.trained_on
        found[spec.model, fingerprint(spec.weights)] = {
            "name": spec.model,
            "weights": spec.weights,
            "parameters": spec.model_spec.parameters,
            "trained_on": None if subset is None else subset.model_dump(mode="json"),
        }
    return list(found.values())


def _software(chosen: Selection, snapshot: RunSnapshot) -> dict[str, list[str]]:
    if snapshot.run.spec.sampler_spec.scheduler == IMPORTED:
        return {}
    found: dict[str, set[str]] = {}
    for number in snapshot.sessions:
        versions = chosen.store.session(number).get("versions")
        for name, version in versions.items() if isinstance(versions, dict) else ():
            found.setdefault(str(name), set()).add(str(version))
    return {name: sorted(versions) for name, versions in sorted(found.items())}


def _creator(text: str) -> tuple[str, str | None]:
    match = _CREATOR.fullmatch(text.strip())
    return (text.strip(), None) if match is None else (match[1], match[2])


def counted(number: int, what: str) -> str:
    """Write how many there are of what has a plural in s."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _described(content: str, families: frozenset[str], runs: tuple[dict[str, Any], ...]) -> str:
    what = "Samples of diffusion models"
    if content == "vectors":
        near = " and nearest neighbors" if "neighbors" in families else ""
        what = f"Vectors{near} of samples of diffusion models, without images"
    elif families:
        what += ", with what was made of them"
    total = counted(sum(run["samples"] for run in runs), "sample")
    return f"{what}: {total} in {counted(len(runs), 'run')}, a reprostore sample store (Zarr)."
