"""RO-Crate metadata of a pack: who made what with which models and software, for machines."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from reprostore import __version__
from reprostore.errors import DependencyError
from reprostore.sharing.packing.about import About
from reprostore.specs import IMPORTED

METADATA = "ro-crate-metadata.json"
CRATE_VERSION = "1.1"
_SPDX = "https://spdx.org/licenses/"

Entity = Any
"""Of the package rocrate, which carries no types."""


def require_rocrate() -> None:
    """Raise DependencyError where the package rocrate is not installed."""
    try:
        import rocrate  # noqa: F401
    except ImportError as error:
        raise DependencyError(
            "The package rocrate is not installed.",
            "The metadata of a pack are written with it.",
            "Install it with `pip install 'reprostore[share]'`.",
        ) from error


def crate_metadata(about: About, beside: Mapping[str, str]) -> bytes:
    """Return the RO-Crate metadata of a pack, version 1.1.

    Parameters
    ----------
    about : About
        What is packed.
    beside : mapping
        Media types of the files beside the store, by name.

    Raises
    ------
    DependencyError
        The package rocrate is not installed.

    References
    ----------
    RO-Crate 1.1, https://w3id.org/ro/crate/1.1.
    """
    require_rocrate()
    crate = _Crate(about)
    crate.describe(beside)
    document = crate.crate.metadata.generate()
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


class _Crate:
    def __init__(self, about: About) -> None:
        from rocrate.rocrate import ROCrate

        self.about = about
        self.crate: Any = ROCrate(version=CRATE_VERSION)
        # The context of version 1.1 is older than this property.
        self.crate.metadata.extra_terms["sha256"] = "https://schema.org/sha256"
        self._software: dict[tuple[str, str], Entity] = {}

    def describe(self, beside: Mapping[str, str]) -> None:
        """Add all entities."""
        root, about = self.crate.root_dataset, self.about
        self.crate.name, self.crate.description = about.title, about.description
        root["datePublished"] = about.published
        if about.license is not None:
            identifier = _license_id(about.license)
            root["license"] = self._add("CreativeWork", identifier, name=about.license)
        if about.creators:
            root["creator"] = [
                self._add("Person", address or f"#creator-{number}", name=name)
                for number, (name, address) in enumerate(about.creators, 1)
            ]
        models = {model["name"]: self._model(model, n) for n, model in enumerate(about.models, 1)}
        runs = [self._run(run) for run in about.runs]
        actions = [
            self._add(
                "CreateAction",
                f"#run-{number}",
                name=f"{_deed(run)} {run['name']}",
                instrument=self._instruments(software) or None,
                object=models[run["model"]],
                result=entity,
            )
            for number, (run, software, entity) in enumerate(
                zip(about.runs, about.software, runs, strict=True), 1
            )
        ]
        store = self._part(
            "",
            name=about.title,
            description="A sample store of reprostore, a Zarr version 3 group.",
            encodingFormat="application/vnd+zarr",
        )
        store["hasPart"] = [*runs, *(self._dataset(dataset) for dataset in about.datasets)]
        for name, media in beside.items():
            self.crate.add_file(dest_path=name, properties={"name": name, "encodingFormat": media})
        packed_with = self._add(
            "SoftwareApplication",
            f"#packed-with-reprostore-{__version__}",
            name="reprostore",
            softwareVersion=__version__,
        )
        root["mentions"] = [*actions, *models.values(), *self._software.values(), packed_with]

    def _add(self, kind: str, identifier: str, **properties: Any) -> Entity:  # noqa: ANN401
        from rocrate.model.contextentity import ContextEntity

        kept = {key: value for key, value in properties.items() if value is not None}
        return self.crate.add(ContextEntity(self.crate, identifier, {"@type": kind, **kept}))

    def _part(self, key: str, **properties: Any) -> Entity:  # noqa: ANN401
        place = f"{self.about.folder}/{key}"
        return self.crate.add_dataset(dest_path=place, properties=properties)

    def _instruments(self, software: Mapping[str, Sequence[str]]) -> list[Entity]:
        """Return the entities of software, each of which is added once."""
        keys = [(name, version) for name, versions in software.items() for version in versions]
        for name, version in keys:
            if (name, version) not in self._software:
                self._software[name, version] = self._add(
                    "SoftwareApplication",
                    f"#software-{name}-{version}",
                    name=name,
                    softwareVersion=version,
                )
        return [self._software[key] for key in keys]

    def _model(self, model: Mapping[str, Any], number: int) -> Entity:
        files = [
            self._add("CreativeWork", f"#model-{number}-file-{place}", name=name, sha256=digest)
            for place, (name, digest) in enumerate(model["weights"].items(), 1)
        ]
        return self._add(
            "CreativeWork",
            f"#model-{number}",
            name=model["name"],
            description="A diffusion model, by the digests of what defines it.",
            hasPart=files or None,
        )

    def _run(self, run: Mapping[str, Any]) -> Entity:
        what = "samples, which are withheld" if run["withheld"] else "samples"
        shape = "×".join(map(str, run["shape"]))
        return self._part(
            f"runs/{run['name']}/",
            name=run["name"],
            identifier=run["fingerprint"],
            description=f"{run['samples']:,} {what}, of shape {shape}, {_made(run)}.",
        )

    def _dataset(self, dataset: Mapping[str, Any]) -> Entity:
        what = "items, which are withheld" if dataset["withheld"] else "items"
        return self._part(
            f"datasets/{dataset['name']}/",
            name=dataset["name"],
            identifier=dataset["fingerprint"],
            description=f"{dataset['items']:,} {what}.",
        )


def _deed(run: Mapping[str, Any]) -> str:
    return "Import of" if run["scheduler"] == IMPORTED else "Sampling"


def _made(run: Mapping[str, Any]) -> str:
    if run["scheduler"] == IMPORTED:
        return "which were imported"
    return f"by {run['scheduler']} in {run['solver_steps']} steps"


def _license_id(text: str) -> str:
    """Return the address of a licence: a page of SPDX only where SPDX has one."""
    from packaging.licenses import canonicalize_license_expression

    if text.startswith(("http://", "https://")):
        return text
    try:
        known = canonicalize_license_expression(text)
    except ValueError:
        return "#license"
    # Expressions of several licences, and names of one's own, have no page.
    is_one = known.isascii() and not known.startswith("LicenseRef-") and not set(known) & set(" +(")
    return f"{_SPDX}{known}" if is_one else "#license"
