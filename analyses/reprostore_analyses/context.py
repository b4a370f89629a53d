"""What an analysis works on: a store, and what a study says about it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reprostore.embed import EncoderHandle, stored_encoder
from reprostore.embed.handle import Progress
from reprostore.errors import MissingDataError, SpecError
from reprostore.ingest import StoredDataset, ingest
from reprostore.specs import DatasetSpec, EncoderSpec, ModelSpec, Subset
from reprostore.store import Run, SampleStore


@dataclass(frozen=True)
class Context:
    """A store with the specs that name its encoders, datasets and models.

    Attributes
    ----------
    store : SampleStore
        The store; opened for writing unless everything is in it already.
    base : Path
        Folder to which paths in the specs are relative.
    models : dict of ModelSpec
        What a study says of the models; where it is silent, what the store recorded counts.
    run_paths : tuple of str, optional
        The runs of the study; all of the store when left out.
    datasets : dict of DatasetSpec
        Datasets that may have to be read in.
    encoders : dict of EncoderSpec
        Encoders by name; "pixel" needs no entry.
    device : str
        Where encoders compute.
    engine : str
        Search engine.
    progress : callable, optional
        Progress of encoding.
    download : bool
        Whether weights of encoders may be downloaded.
    """

    store: SampleStore
    base: Path = field(default_factory=Path)
    models: dict[str, ModelSpec] = field(default_factory=dict)
    run_paths: tuple[str, ...] | None = None
    datasets: dict[str, DatasetSpec] = field(default_factory=dict)
    encoders: dict[str, EncoderSpec] = field(default_factory=dict)
    device: str = "cpu"
    engine: str = "auto"
    progress: Progress | None = None
    download: bool = False
    _datasets: dict[str, StoredDataset] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def encoder(self, name: str) -> EncoderHandle:
        """Return an encoder by its name: the study's, or one of which the store holds vectors.

        Raises
        ------
        SpecError
            It is not defined.
        """
        spec = self.encoders.get(name)
        if spec is None and name == "pixel":  # before stored vectors: it can make what is missing
            spec = EncoderSpec(kind="pixel")
        if spec is None and (stored := stored_encoder(self.store, name)) is not None:
            return stored
        if spec is None:
            raise SpecError(
                f"The encoder {name!r} is not defined.",
                f"Defined are {', '.join(sorted({*self.encoders, 'pixel'}))}.",
                "Define it in the study under [encoders], or choose one of these.",
            )
        return EncoderHandle(name, spec, self.base, self.device, download=self.download)

    def dataset(self, name: str) -> StoredDataset:
        """Return a dataset, reading it into the store if the study defines it."""
        if name not in self._datasets:  # its source is looked at once
            spec = self.datasets.get(name)
            self._datasets[name] = (
                StoredDataset(self.store, name)
                if spec is None
                else ingest(self.store, name, spec, self.base)
            )
        return self._datasets[name]

    def runs(self, models: Sequence[str] | None, samplers: Sequence[str] | None) -> list[Run]:
        """Return the runs with written samples: the study's, or all; restricted by names.

        Raises
        ------
        MissingDataError
            There are none, or a run of the study has no samples.
        """
        paths = list(self.run_paths) if self.run_paths is not None else self.store.run_paths()
        chosen = []
        for path in paths:
            model, sampler, _ = path.split("/")
            if (models is None or model in models) and (samplers is None or sampler in samplers):
                chosen.append(self.store.run(path))
        for what, names, position in (("model", models, 0), ("sampler", samplers, 1)):
            known = sorted({path.split("/")[position] for path in paths})
            for name in names or ():
                if name not in known:
                    raise MissingDataError(
                        f"The {what} {name!r} has no run here.",
                        f"There are runs of {', '.join(known) or 'nothing yet'}.",
                        "Choose among these, or generate its samples first.",
                    )
        empty = [run.path for run in chosen if len(run.written()[0]) == 0]
        if empty or not chosen:
            raise MissingDataError(
                f"There are no written samples of {', '.join(empty) or 'any run'} in "
                f"{self.store.path}.",
                "An analysis reads samples that were generated before.",
                "Run `repro generate` first.",
            )
        return chosen

    def model_spec(self, run: Run) -> ModelSpec:
        """Return what the study says of a run's model, and where it is silent the store.

        Held-out items belong to `trained_on`: both come from the same place.
        """
        recorded, study = run.spec.model_spec, self.models.get(run.spec.model)
        if study is None:
            return recorded
        said = {key: getattr(study, key) for key in study.model_fields_set}
        if study.trained_on is not None:
            said.setdefault("held_out", None)
        return recorded.model_copy(update=said)

    def held_out(self, run: Run, trained_on: Subset) -> str | None:
        """Return the held-out items of a run's model, as ranges of its training dataset."""
        own = self.model_spec(run).held_out
        if own is not None:
            return own
        spec = self.datasets.get(trained_on.dataset)
        if spec is not None:  # also where it names none any more
            return spec.held_out
        return self.dataset(trained_on.dataset).spec.held_out
