"""Values of a study that are valid by themselves, and not where they stand."""

from typing import TYPE_CHECKING

from reprostore.errors import SpecError
from reprostore.noise_schedules import check_noise_schedule
from reprostore.seeds import SEED_LIMIT
from reprostore.specs import IMPORTED
from reprostore.study_problems import Problem, table_name
from reprostore.study_spec import Study
from reprostore.toml_lines import Location

if TYPE_CHECKING:
    from reprostore.specs import ModelSpec
    from reprostore.sweeps import SweepSpec

MOST_RUNS = 1_000_000
"""Runs of a study: two long tables would make more than any store holds."""


def unusable_values(study: Study) -> list[Problem]:
    """Find noise schedules, samplers and trainer seeds that cannot be used, and too many runs.

    The specs themselves take them, for they also describe runs that were made elsewhere.

    Parameters
    ----------
    study : Study
        Without `reprostore.study_spec.reference_problems`; expanded or not.
    """
    problems: list[Problem] = []
    if (runs := _count_runs(study)) > MOST_RUNS:
        found = f"the models, samplers and conditions make {runs} runs."
        expected = f"A study has at most {MOST_RUNS} runs."
        problems.append(Problem((), found, expected, "Write several studies."))
    for name, model in study.models.items():
        try:
            check_noise_schedule(model.noise_schedule or {})
        except SpecError as error:
            at = ("models", name, "noise_schedule")
            found, expected, action = error.parts
            found = f"`noise_schedule` of {table_name(at[:-1])}: {found}"
            problems.append(Problem(at, found, expected, action))
        problems += _mixed_samplers(study, name, model)
        seed = model.trainer_seed
        if model.recipe is not None and seed is not None and not 0 <= seed < SEED_LIMIT:
            problems.append(_seed_problem(("models", name, "trainer_seed"), seed))
    for name, sweep in study.sweeps.items():
        problems += [
            _seed_problem(("sweeps", name, "trainer_seeds"), seed)
            for seed in sweep.trainer_seeds
            if not 0 <= seed < SEED_LIMIT
        ]
    return problems


def _mixed_samplers(study: Study, name: str, model: "ModelSpec") -> list[Problem]:
    """Find samplers of an imported model that are to compute, and the other way round."""
    imported = {key for key, each in study.samplers.items() if each.scheduler == IMPORTED}
    is_imported = model.source == IMPORTED
    wrong = [each for each in model.samplers or () if (each in imported) != is_imported]
    at = ("models", name, "samplers" if wrong else "source")
    if wrong:
        one, other = ("is", "is not") if is_imported else ("is not", "is")
        found = f"the model {name} {one} imported, and its sampler {wrong[0]} {other}."
    elif is_imported and not imported:
        found = f"the model {name} is imported, and no sampler is."
    else:
        return []
    return [
        Problem(
            at,
            found,
            f'Samples that come from `repro import` have the source "{IMPORTED}" and a sampler '
            f'with the scheduler "{IMPORTED}".',
            f'Add, for example, [samplers.{IMPORTED}] with scheduler = "{IMPORTED}" and steps = 1, '
            "or correct the lists.",
        )
    ]


def _count_runs(study: Study) -> int:
    """Return how many runs a study has, at most, without listing them."""
    counted: list[tuple[ModelSpec | SweepSpec, int]]
    counted = [(model, 1) for model in study.models.values()]
    counted += [(sweep, sweep.models()) for sweep in study.sweeps.values()]
    return sum(
        times
        * len(study.samplers if spec.samplers is None else spec.samplers)
        * len((study.conditions or ("none",)) if spec.conditions is None else spec.conditions)
        for spec, times in counted
    )


def _seed_problem(location: Location, seed: int) -> Problem:
    return Problem(
        location,
        f"`{location[-1]}` of {table_name(location[:-1])} has the seed {seed}.",
        f"Trainings have seeds from 0 to {SEED_LIMIT - 1}: torch uses 32 bits of them.",
        "Choose another seed.",
    )
