"""From recipes and sweeps to plain models: what all else in the library sees of a study."""

import os
from collections.abc import Mapping
from typing import Any

from reprostore.errors import SpecError
from reprostore.recipe import RecipeSpec
from reprostore.specs import ModelSpec, is_name
from reprostore.study_problems import Problem, table_name
from reprostore.study_spec import Study
from reprostore.sweeps import MOST_MODELS, sweep_models
from reprostore.toml_lines import Location


def expanded(study: Study) -> Study:
    """Return a study in which the models of all sweeps are plain models.

    Of every model with a recipe, what its recipe says is filled in: family, width, and the step
    at which the training ends. A study that is expanded is returned as it is.

    Parameters
    ----------
    study : Study
        Without `expansion_problems`.

    Returns
    -------
    Study
        Its `sweeps` are kept; their models follow those of the study.
    """
    models = {name: _filled(spec, study.recipes) for name, spec in study.models.items()}
    for sweep in study.sweeps:
        models |= _models_of(study, sweep)
    return study.model_copy(update={"models": models})


def origins(study: Study) -> dict[str, str]:
    """Return the name of the sweep, by name of a model that a sweep of a study stands for."""
    return {model: sweep for sweep in study.sweeps for model in _models_of(study, sweep)}


def lines_of_sweeps(study: Study, lines: Mapping[Location, int]) -> dict[Location, int]:
    """Return the lines of the keys from which the models of sweeps are made, by their locations.

    Parameters
    ----------
    study : Study
        The study.
    lines : mapping
        The line of every key in its file.
    """
    keys = {
        ("trained_on",): ("subsets", "sizes"),
        ("held_out",): ("held_out",),
        ("width",): ("widths",),
        ("recipe",): ("recipe",),
        ("source",): ("source",),
    }
    found: dict[Location, int] = {}
    for model, sweep in origins(study).items():
        at = ("sweeps", sweep)
        if at in lines:
            found[("models", model)] = lines[at]
        for key, written in keys.items():
            for name in written:
                if (*at, name) in lines:
                    found[("models", model, *key)] = lines[(*at, name)]
    return found


def training_source(spec: ModelSpec, recipe: RecipeSpec) -> str:
    """Return the folder into which the training of a model writes, as in the study.

    Of a kept checkpoint, ``FOLDER@STEP``, this is the folder of the finished model.
    """
    if spec.training_step in {None, recipe.total_steps}:
        return spec.source
    return spec.source.rstrip("/").removesuffix(f"@{spec.training_step}")


def expansion_problems(study: Study) -> list[Problem]:
    """Find sweeps and models with a recipe that cannot be trained.

    Parameters
    ----------
    study : Study
        Without `reprostore.study_spec.reference_problems`; expanded or not.
    """
    problems: list[Problem] = []
    models = 0
    for name, sweep in study.sweeps.items():
        models += sweep.models()
        if models > MOST_MODELS:
            found = f"with {table_name(('sweeps', name))} the sweeps stand for {models} models."
            expected = f"A study has at most {MOST_MODELS} of them."
            return [Problem(("sweeps", name), found, expected, "Shorten the lists of the sweep.")]
    for name, sweep in study.sweeps.items():
        at, recipe = ("sweeps", name), study.recipes[sweep.recipe]
        if sweep.widths and recipe.start_from is not None:
            problems.append(_fine_tuned_widths((*at, "widths"), sweep.recipe))
        for width in sweep.widths or ():
            problems += _width_problems((*at, "widths"), recipe, width)
        for step in sweep.training_steps:
            problems += _step_problems((*at, "training_steps"), step, sweep.recipe, recipe)
    if problems:
        return problems
    folders: dict[str, tuple[str, Any]] = {}
    for model, spec in {**study.models, **_all_swept(study, problems)}.items():
        if spec.recipe is None:
            continue
        at, recipe = ("models", model), study.recipes[spec.recipe]
        if spec.width is not None and (
            wrong := _width_problems((*at, "width"), recipe, spec.width)
        ):
            problems += wrong
            continue
        if spec.training_step not in {None, recipe.total_steps}:
            problems += _kept_problems(at, spec, recipe)
        training = (
            spec.recipe,
            spec.width or recipe.width,
            spec.trained_on,
            spec.trainer_seed or 0,
        )
        folder = os.path.normpath(training_source(spec, recipe))
        other, same = folders.setdefault(folder, (model, training))
        if same != training:
            problems.append(
                Problem(
                    (*at, "source"),
                    f"the models {other} and {model} would both be trained into {folder}.",
                    "Models with another recipe, width, subset or trainer seed have folders of "
                    "their own.",
                    "Give each another `source`.",
                )
            )
    return problems


def _models_of(study: Study, sweep: str) -> dict[str, ModelSpec]:
    spec = study.sweeps[sweep]
    return sweep_models(sweep, spec, study.recipes[spec.recipe])


def _all_swept(study: Study, problems: list[Problem]) -> dict[str, ModelSpec]:
    """Return the models of all sweeps; names that are no names, or given twice, are problems."""
    swept: dict[str, ModelSpec] = {}
    for sweep in study.sweeps:
        for model, spec in _models_of(study, sweep).items():
            if not is_name(model):
                found = f"{table_name(('sweeps', sweep))} makes a model {model!r}."
                expected = "Names have at most 128 characters."
                problems.append(Problem(("sweeps", sweep), found, expected, "Shorten its name."))
            elif swept.get(model, study.models.get(model, spec)) != spec:
                problems.append(
                    Problem(
                        ("sweeps", sweep),
                        f"{table_name(('sweeps', sweep))} makes a model `{model}`, and there is "
                        "another of this name.",
                        "Every model of a study has a name of its own.",
                        "Give the sweep or the other model another name.",
                    )
                )
            swept[model] = spec
    return swept


def _filled(spec: ModelSpec, recipes: Mapping[str, RecipeSpec]) -> ModelSpec:
    """Return a model with what its recipe says."""
    if spec.recipe is None:
        return spec
    recipe = recipes[spec.recipe]
    known: dict[str, Any] = {"training_step": recipe.total_steps, "trainer_seed": 0}
    if recipe.start_from is None:
        known |= {"family": recipe.architecture, "width": recipe.width}
    missing = {key: value for key, value in known.items() if getattr(spec, key) is None}
    return spec.model_copy(update=missing)


def _width_problems(location: Location, recipe: RecipeSpec, width: int) -> list[Problem]:
    try:
        recipe.with_width(width)
    except SpecError as error:
        found, expected, action = error.parts
        return [
            Problem(
                location,
                f"`{location[-1]}` of {table_name(location[:-1])}: {found}",
                expected,
                action,
            )
        ]
    return []


def _fine_tuned_widths(location: Location, recipe: str) -> Problem:
    return Problem(
        location,
        f"`widths` stands in {table_name(location[:-1])}, whose recipe {recipe} has `start_from`.",
        "A network that is fine-tuned has the width of its checkpoint.",
        "Remove `widths`.",
    )


def _step_problems(location: Location, step: int, name: str, recipe: RecipeSpec) -> list[Problem]:
    kept = [str(each) for each in recipe.checkpoints if each < recipe.total_steps]
    if str(step) in kept:
        return []
    owner = f"`{location[-1]}` of {table_name(location[:-1])}"
    return [
        Problem(
            location,
            f"{owner} names step {step}"
            + (", the last of the training." if step == recipe.total_steps else "."),
            f"The recipe {name} keeps checkpoints at "
            + (f"the steps {', '.join(kept)}" if kept else "no steps")
            + f", and the model itself at step {recipe.total_steps}.",
            f"Correct it, or add the step to `checkpoints` of {table_name(('recipes', name))}.",
        )
    ]


def _kept_problems(at: Location, spec: ModelSpec, recipe: RecipeSpec) -> list[Problem]:
    step = spec.training_step or 0
    problems = _step_problems((*at, "training_step"), step, str(spec.recipe), recipe)
    if not problems and not spec.source.rstrip("/").endswith(f"@{step}"):
        problems.append(
            Problem(
                (*at, "source"),
                f"`source` of {table_name(at)} is {spec.source!r}, and its `training_step` {step}.",
                "The checkpoint of a step is kept beside the finished model in FOLDER, as "
                "FOLDER@STEP.",
                f"Write @{step} at the end of `source`, or remove `training_step`.",
            )
        )
    return problems
