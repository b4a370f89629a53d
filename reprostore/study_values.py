"""Values of a study that are valid by themselves, and not where they stand."""

from reprostore.errors import SpecError
from reprostore.noise_schedules import check_noise_schedule
from reprostore.seeds import SEED_LIMIT
from reprostore.study_problems import Problem, table_name
from reprostore.study_spec import Study
from reprostore.toml_lines import Location


def unusable_values(study: Study) -> list[Problem]:
    """Find the noise schedules and trainer seeds that cannot be used.

    The specs themselves take them, for they also describe runs that were made elsewhere.

    Parameters
    ----------
    study : Study
        Without `reprostore.study_spec.reference_problems`; expanded or not.
    """
    problems: list[Problem] = []
    for name, model in study.models.items():
        try:
            check_noise_schedule(model.noise_schedule or {})
        except SpecError as error:
            at = ("models", name, "noise_schedule")
            found, expected, action = error.parts
            found = f"`noise_schedule` of {table_name(at[:-1])}: {found}"
            problems.append(Problem(at, found, expected, action))
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


def _seed_problem(location: Location, seed: int) -> Problem:
    return Problem(
        location,
        f"`{location[-1]}` of {table_name(location[:-1])} has the seed {seed}.",
        f"Trainings have seeds from 0 to {SEED_LIMIT - 1}: torch uses 32 bits of them.",
        "Choose another seed.",
    )
