"""Which runs the analysis `transition` compares: networks of equal size, and their references."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import MissingDataError, SpecError
from reprostore.neighbors import Written
from reprostore.specs import ModelSpec
from reprostore.store import Run
from reprostore_analyses.context import Context
from reprostore_analyses.results import run_inputs
from reprostore_analyses.transition_options import TransitionOptions

REFERENCES = ("oracle", "gaussian")
"""Closed-form models of a subset, by their `source`."""


@dataclass(frozen=True)
class Member:
    """A run with what is known of its model.

    Attributes
    ----------
    run : Run
        The run.
    spec : ModelSpec
        What the study or the store says of its model.
    written : Written
        Its samples at this moment.
    items : ndarray of int64, (item,)
        `train_index` of the items that the model saw, sorted.
    architecture : str
        Family and width, or else the number of parameters; "oracle" or "gaussian".
    """

    run: Run
    spec: ModelSpec
    written: Written
    items: NDArray[np.int64]
    architecture: str

    @property
    def size(self) -> int:
        """N, the number of items that the model saw."""
        return len(self.items)

    @property
    def dataset(self) -> str:
        """Name of the dataset that the items are from."""
        assert self.spec.trained_on is not None  # `choose` has looked
        return self.spec.trained_on.dataset

    @property
    def is_reference(self) -> bool:
        """Whether the model is an oracle or a Gaussian."""
        return self.spec.source in REFERENCES

    def saw_the_same(self, other: "Member") -> bool:
        """Say whether two models were made from the same items."""
        return self.dataset == other.dataset and np.array_equal(self.items, other.items)

    def inputs(self) -> dict[str, object]:
        """Return what the result depends on: samples, items, and what groups the model."""
        keys = ("parameters", "trainer_seed", "training_step", "source")
        return {
            **run_inputs(self.run, self.written),
            "trained_on": self.spec.model_dump(mode="json")["trained_on"],
            "architecture": self.architecture,
            **{key: getattr(self.spec, key) for key in keys},
        }


def choose(context: Context, options: TransitionOptions) -> list[Member]:
    """Choose the runs: networks by rising N, then the references of what they were trained on.

    Raises
    ------
    MissingDataError
        There is no network, or a model does not say what it was trained on.
    SpecError
        Models have several runs and none is chosen, or nothing tells architectures apart.
    """
    runs = _one_run_per_model(context, options)
    specs = [context.model_spec(run) for run in runs]
    silent = [
        run.spec.model for run, spec in zip(runs, specs, strict=True) if spec.trained_on is None
    ]
    if silent:
        raise MissingDataError(
            f"Nothing says what was trained on by the models {', '.join(silent)}.",
            "The transition is a curve over the number of training items, and oracles belong to "
            "the items of a network.",
            'Write trained_on = { dataset = "…", index = "…" } under [models.…] in the study, or '
            "leave these models out (models = [...]).",
        )
    names = _architectures(runs, specs)
    members = []
    for run, spec, name in zip(runs, specs, names, strict=True):
        assert spec.trained_on is not None  # looked at above
        items = np.sort(context.dataset(spec.trained_on.dataset).index(spec.trained_on.index))
        members.append(Member(run, spec, Written.of(run), items, name))
    networks = [member for member in members if not member.is_reference]
    if not networks:
        raise MissingDataError(
            f"All of the models {', '.join(run.spec.model for run in runs)} are references.",
            "The transition is one of trained networks.",
            "Generate the samples of a network that was trained on the same items.",
        )
    networks.sort(key=lambda member: member.size)  # stable: the order of the study within a size
    used: list[Member] = []
    for member in members:
        doubles = (o.spec.source == member.spec.source and o.saw_the_same(member) for o in used)
        if member.is_reference and not any(doubles):  # the same reference under another name
            used += [member] * any(network.saw_the_same(member) for network in networks)
    return networks + sorted(used, key=lambda member: member.size)


def _one_run_per_model(context: Context, options: TransitionOptions) -> list[Run]:
    samplers = None if options.sampler is None else (options.sampler,)
    runs = context.runs(options.models, samplers)
    conditions = sorted({run.spec.condition for run in runs})
    if options.condition is not None:
        if options.condition not in conditions:
            raise MissingDataError(
                f"The condition {options.condition!r} has no run here.",
                f"There are runs of {', '.join(conditions)}.",
                "Choose among these, or generate its samples first.",
            )
        runs = [run for run in runs if run.spec.condition == options.condition]
    for what in ("sampler", "condition"):
        found = sorted({str(getattr(run.spec, what)) for run in runs})
        if len(found) > 1:
            raise SpecError(
                f"There are runs with the {what}s {', '.join(found)}.",
                f"Models are compared under one {what}.",
                f'Choose it with {what} = "…".',
            )
    return runs


def _architectures(runs: list[Run], specs: list[ModelSpec]) -> list[str]:
    """Name the architectures; what only some models need to be told apart is left out."""
    networks = [spec for spec in specs if spec.source not in REFERENCES]
    # Trainings may be longer for more items: steps tell models of the same items apart.
    steps: dict[tuple[str | None, str], set[int | None]] = {}
    for spec in networks:
        assert spec.trained_on is not None  # `choose` has looked
        group = (architecture(spec), f"{spec.trained_on.dataset}/{spec.trained_on.index}")
        steps.setdefault(group, set()).add(spec.training_step)
    stepped = {name for (name, _), found in steps.items() if len(found) > 1}
    datasets = {spec.trained_on.dataset for spec in networks if spec.trained_on is not None}
    names, nameless = [], []
    for run, spec in zip(runs, specs, strict=True):
        if spec.source in REFERENCES:
            names.append(spec.source)
            continue
        name = architecture(spec)
        if name is None:
            nameless.append(run.spec.model)
        if name in stepped and spec.training_step is not None:
            name = f"{name} @{spec.training_step}"
        if len(datasets) > 1 and spec.trained_on is not None:
            name = f"{name} ({spec.trained_on.dataset})"
        names.append(name or "")
    if nameless:
        raise SpecError(
            f"Nothing tells the architecture of the models {', '.join(nameless)}.",
            "Models are compared across architectures: by family and width, or by parameters.",
            'Write family = "…" and width = …, or parameters = …, under [models.…] in the study.',
        )
    return names


def architecture(spec: ModelSpec) -> str | None:
    """Name a model's architecture, without what only some studies need; None where unknown."""
    if spec.width is not None:
        return f"{spec.family or 'width'} {spec.width}"
    if spec.parameters is not None:
        return f"{spec.family or ''} {spec.parameters} parameters".strip()
    return spec.family
