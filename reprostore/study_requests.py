"""The runs and the seeds that a study asks for."""

from reprostore.closed_items import is_closed_form
from reprostore.errors import SpecError
from reprostore.pending import RunRequest
from reprostore.samplers import canonical_scheduler
from reprostore.seeds import parse_ranges
from reprostore.specs import ConditionSpec, DatasetSpec, ModelSpec
from reprostore.study import LoadedStudy, Study


def requests_of(loaded: LoadedStudy) -> list[RunRequest]:
    """Return the runs that a study asks for.

    Raises
    ------
    SpecError
        The study has no models or no samplers, a closed form has no items, or a solver is not
        tested.
    """
    study = loaded.study
    for name, sampler in study.samplers.items():
        try:
            canonical_scheduler(sampler.scheduler)
        except SpecError as error:
            raise _untested(loaded, name, error) from error
    for name, spec in study.models.items():
        if is_closed_form(spec) and spec.trained_on is None:
            raise _without_items(loaded, name)
    requests = [
        RunRequest(
            model=model,
            sampler=sampler,
            condition=condition,
            model_spec=study.models[model],
            sampler_spec=study.samplers[sampler],
            condition_spec=study.conditions.get(condition, ConditionSpec()),
            dataset_spec=_dataset_of(study, study.models[model]),
        )
        for model, sampler, condition in study.runs()
    ]
    if not requests:
        raise SpecError(
            "The study has no runs.",
            "Samples are generated for models × samplers.",
            "Add a [models.NAME] and a [samplers.NAME] table.",
        )
    return requests


def _without_items(loaded: LoadedStudy, name: str) -> SpecError:
    where = loaded.where(("models", name))
    return SpecError(
        f"{where + ': the' if where else 'The'} model {name} has no `trained_on`.",
        "A closed form is computed from the items that a network would be trained on.",
        "Write a study, in which a dataset and these items have a place."
        if loaded.path is None
        else 'Add, for example, trained_on = { dataset = "…", index = "0-63" }.',
    )


def _untested(loaded: LoadedStudy, name: str, error: SpecError) -> SpecError:
    where = loaded.where(("samplers", name, "scheduler"))
    found, expected, action = error.parts
    return SpecError(f"{where}: {found}" if where else found, expected, action)


def _dataset_of(study: Study, spec: ModelSpec) -> DatasetSpec | None:
    return None if spec.trained_on is None else study.datasets.get(spec.trained_on.dataset)


def seeds_of(loaded: LoadedStudy) -> list[int]:
    """Return the seeds of a study.

    Raises
    ------
    SpecError
        It names none.
    """
    if loaded.study.seeds is None:
        raise SpecError(
            "The study names no seeds.",
            "Samples are generated for seeds.",
            "Give them, for example, as --seeds 0-999."
            if loaded.path is None
            else 'Write, for example, seeds = "0-999" at the top of the study.',
        )
    return parse_ranges(loaded.study.seeds)
