"""What a study says: datasets, recipes, models, sweeps, samplers and all else, by name."""

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from reprostore.errors import SpecError
from reprostore.recipe import RecipeSpec
from reprostore.seeds import shorten
from reprostore.specs import (
    IMPORTED,
    ComputeDtype,
    ConditionSpec,
    DatasetSpec,
    EncoderSpec,
    ModelSpec,
    Name,
    SamplerSpec,
    Seeds,
    Spec,
    Subset,
)
from reprostore.study_problems import Problem, unknown_name
from reprostore.sweeps import SweepSpec
from reprostore.toml_lines import Location


def _checked_store(text: str) -> str:
    if "://" in text or "\0" in text:
        raise SpecError(
            f"{shorten(text)!r} is no path on this machine.",
            "A store is a folder, absolute or relative to the study file.",
            'Write a path, for example "digits.zarr".',
        )
    return text


class Study(Spec):
    """Everything that a study names.

    Attributes
    ----------
    store : str
        Path of the store, relative to the study file.
    seeds : str, optional
        Inclusive ranges and lists of seeds, "0-999"; needed to generate.
    batch_size : int
        Samples per forward pass.
    dtype : str
        In what the models compute.
    title, license : str, optional
        Attributes of the store.
    creators : tuple of str
        Attribute of the store.
    datasets, recipes, models, sweeps, samplers, conditions, encoders : dict
        Specs by name. In a loaded study the models of all sweeps are among `models`.
    analyses : dict
        The options of each analysis, by its name; the analyses check their keys.
    """

    store: Annotated[str, AfterValidator(_checked_store)] = Field(min_length=1)
    seeds: Seeds | None = None
    batch_size: int = Field(default=128, gt=0, le=1_000_000)
    dtype: ComputeDtype = "float32"
    title: str | None = None
    license: str | None = None
    creators: tuple[str, ...] = ()
    datasets: dict[Name, DatasetSpec] = Field(default_factory=dict)
    recipes: dict[Name, RecipeSpec] = Field(default_factory=dict)
    models: dict[Name, ModelSpec] = Field(default_factory=dict)
    sweeps: dict[Name, SweepSpec] = Field(default_factory=dict)
    samplers: dict[Name, SamplerSpec] = Field(default_factory=dict)
    conditions: dict[Name, ConditionSpec] = Field(default_factory=dict)
    encoders: dict[Name, EncoderSpec] = Field(default_factory=dict)
    analyses: dict[str, dict[str, Any]] = Field(default_factory=dict)

    def runs(self) -> list[tuple[str, str, str]]:
        """Return (model, sampler, condition) of every run.

        Returns
        -------
        list of tuple of str
            models × samplers × conditions, but for models that list their own. Without
            conditions there is one, "none". Imported models are run with the samplers that are
            imported, others with the others.
        """
        samplers, conditions = tuple(self.samplers), tuple(self.conditions) or ("none",)
        return [
            (name, sampler, condition)
            for name, model in self.models.items()
            for sampler in dict.fromkeys(samplers if model.samplers is None else model.samplers)
            for condition in dict.fromkeys(
                conditions if model.conditions is None else model.conditions
            )
            if (model.source == IMPORTED) == (self.samplers[sampler].scheduler == IMPORTED)
        ]


def known_keys(table: Location) -> Iterable[str]:
    """Return the keys that a table of a study file may have."""
    sections: dict[str, type[Spec]] = {
        "datasets": DatasetSpec,
        "recipes": RecipeSpec,
        "sweeps": SweepSpec,
        "models": ModelSpec,
        "samplers": SamplerSpec,
        "conditions": ConditionSpec,
        "encoders": EncoderSpec,
    }
    if not table:
        return Study.model_fields
    return (sections[table[0]] if len(table) == 2 else Subset).model_fields


def reference_problems(study: Study) -> list[Problem]:
    """Find the names that models, sweeps and analyses refer to and the study does not define."""
    problems: list[Problem] = []

    def check(location: Location, name: str, section: str, known: Iterable[str]) -> None:
        if name not in known:
            problems.append(unknown_name(location, name, section, known))

    def check_runs(at: Location, spec: ModelSpec | SweepSpec) -> None:
        if spec.recipe is not None:
            check((*at, "recipe"), spec.recipe, "recipes", study.recipes)
        for sampler in spec.samplers or ():
            check((*at, "samplers"), sampler, "samplers", study.samplers)
        for condition in spec.conditions or ():
            known = study.conditions or {"none"}
            check((*at, "conditions"), condition, "conditions", known)

    for model, spec in study.models.items():
        at = ("models", model)
        if spec.trained_on is not None:
            location = (*at, "trained_on", "dataset")
            check(location, spec.trained_on.dataset, "datasets", study.datasets)
        check_runs(at, spec)
    for name, sweep in study.sweeps.items():
        check(("sweeps", name, "dataset"), sweep.dataset, "datasets", study.datasets)
        check_runs(("sweeps", name), sweep)
    for analysis, options in study.analyses.items():
        encoder = options.get("encoder")
        if isinstance(encoder, str):
            known = {*study.encoders, "pixel"}  # which needs no table
            check(("analyses", analysis, "encoder"), encoder, "encoders", known)
    return problems
