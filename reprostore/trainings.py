"""Which trainings a study asks for: one for every folder that a model with a recipe names."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reprostore.errors import NotFoundError, SpecError
from reprostore.recipe import RecipeSpec
from reprostore.specs import ModelSpec, Subset
from reprostore.study import LoadedStudy
from reprostore.study_expansion import origins, training_source
from reprostore.study_problems import nearest


@dataclass(frozen=True)
class Training:
    """One training, as a study asks for it.

    Attributes
    ----------
    model : str
        The model that it ends in, or the first kept checkpoint where the study has only those.
    sweep : str, optional
        The sweep that the model is of.
    recipe : RecipeSpec
        With the width of the model.
    trained_on : Subset
        The items.
    trainer_seed : int
        Of everything that is random.
    folder : Path
        Where the model is written.
    kept : tuple of Path
        Folders of kept checkpoints that are models of the study.
    after : Path, optional
        Folder of the training whose model is the start of this one.
    """

    model: str
    sweep: str | None
    recipe: RecipeSpec
    trained_on: Subset
    trainer_seed: int
    folder: Path
    kept: tuple[Path, ...] = ()
    after: Path | None = None


def trainings_of(loaded: LoadedStudy, names: Sequence[str] = ()) -> list[Training]:
    """Return the trainings of a study, those that others start from before these.

    Parameters
    ----------
    loaded : LoadedStudy
        The study.
    names : sequence of str
        Models, or sweeps with all of their models; all models with a recipe by default.

    Raises
    ------
    SpecError
        A name is not defined, a model that is named or all models have no recipe, or trainings
        start from each other.
    """
    study = loaded.study
    swept = origins(study)
    groups: dict[Path, list[str]] = {}
    for name in _chosen(loaded, names, swept):
        recipe = study.recipes[str(study.models[name].recipe)]
        source = training_source(study.models[name], recipe)
        groups.setdefault(_folder(loaded.base, source), []).append(name)
    made = [_training(loaded, folder, models, swept) for folder, models in groups.items()]
    return _in_order([_started(training, made, loaded.base) for training in made])


def require_trained(loaded: LoadedStudy) -> None:
    """Refuse a study with models that are still to be trained.

    Raises
    ------
    NotFoundError
        A model with a recipe has no folder.
    """
    absent = [
        (name, folder)
        for name, spec in loaded.study.models.items()
        if spec.recipe is not None and not (folder := _folder(loaded.base, spec.source)).exists()
    ]
    if absent:
        (name, folder), more = absent[0], len(absent) - 1
        raise NotFoundError(
            f"The model {name} is not trained"
            + (f", and neither are {more} others" if more else "")
            + f": {folder} does not exist.",
            "Samples are generated with models whose training is finished.",
            f"Train it first: repro train {loaded.path}.",
        )


def require_starts(loaded: LoadedStudy, trainings: Sequence[Training]) -> None:
    """Refuse trainings that start from models which are still to be trained, and not among them.

    Raises
    ------
    NotFoundError
        A fine-tuning is asked for without the model of the study that it starts from.
    """
    for training in trainings:
        if training.recipe.start_from is None or training.after or training.folder.exists():
            continue
        start = _folder(loaded.base, training.recipe.start_from)
        if start.exists():
            continue
        for other in trainings_of(loaded):
            if start in (other.folder, *_kept_folders(other)):
                raise NotFoundError(
                    f"The model {training.model} starts from {start}, which does not exist.",
                    f"It is written when the model {other.model} is trained.",
                    f"Train that first, or both: repro train {loaded.path} {other.model} "
                    f"{training.model}.",
                )


def untrained_recipe(loaded: LoadedStudy, model: str) -> RecipeSpec | None:
    """Return by which recipe a model is still to be trained; None where there is nothing to do."""
    spec = loaded.study.models[model]
    if spec.recipe is None or _folder(loaded.base, spec.source).exists():
        return None
    return _recipe_of(loaded, spec)


def _recipe_of(loaded: LoadedStudy, spec: ModelSpec) -> RecipeSpec:
    recipe = loaded.study.recipes[str(spec.recipe)]
    return recipe if spec.width is None else recipe.with_width(spec.width)


def _folder(base: Path, source: str) -> Path:
    return (base / Path(source).expanduser()).resolve()


def _chosen(loaded: LoadedStudy, names: Sequence[str], swept: dict[str, str]) -> list[str]:
    """Return the models that are asked for, in the order of the study."""
    study = loaded.study
    trained = [name for name, spec in study.models.items() if spec.recipe is not None]
    if not trained:
        raise SpecError(
            "The study has no model with a recipe.",
            "A model is trained by a recipe, on the items that its `trained_on` names.",
            'Add a [recipes.NAME], and recipe = "NAME" to a model, or a [sweeps.NAME].',
        )
    chosen: set[str] = set()
    for name in names:
        if name in study.sweeps:
            chosen |= {model for model in trained if swept.get(model) == name}
        elif name not in study.models:
            known = {*study.models, *study.sweeps}
            guess = nearest(name, known)
            raise SpecError(
                f"The study has no model {name!r}.",
                f"Its models and sweeps are {_listed(sorted(known))}.",
                f"Did you mean {guess}?" if guess else "Choose among these.",
            )
        elif name not in trained:
            raise SpecError(
                f"The model {name} has no recipe.",
                f"Models with a recipe are {_listed(trained)}.",
                'Choose among these, or add recipe = "NAME" to it.',
            )
        else:
            chosen.add(name)
    return [name for name in trained if name in chosen or not names]


def _listed(names: Sequence[str], most: int = 12) -> str:
    """Write names in a row; of very many the first."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _training(
    loaded: LoadedStudy, folder: Path, models: Sequence[str], swept: dict[str, str]
) -> Training:
    """Return the training that makes the models of one folder."""
    study, base = loaded.study, loaded.base
    folders = {name: _folder(base, study.models[name].source) for name in models}
    model = next((name for name in models if folders[name] == folder), models[0])
    spec: ModelSpec = study.models[model]
    assert spec.trained_on is not None
    return Training(
        model=model,
        sweep=swept.get(model),
        recipe=_recipe_of(loaded, spec),
        trained_on=spec.trained_on,
        trainer_seed=spec.trainer_seed or 0,
        folder=folder,
        kept=tuple(dict.fromkeys(path for path in folders.values() if path != folder)),
    )


def _started(training: Training, others: Sequence[Training], base: Path) -> Training:
    """Return a training that knows which of the others it starts from."""
    if training.recipe.start_from is None:
        return training
    start = _folder(base, training.recipe.start_from)
    for other in others:
        if start == other.folder or start in _kept_folders(other):
            return replace(training, after=other.folder)
    return training


def _kept_folders(training: Training) -> list[Path]:
    folder = training.folder
    return [folder.with_name(f"{folder.name}@{step}") for step in training.recipe.checkpoints]


def _in_order(trainings: Sequence[Training]) -> list[Training]:
    """Return trainings in their order, but each behind the one that it starts from."""
    ordered: list[Training] = []
    waiting = list(trainings)
    while waiting:
        done = {training.folder for training in ordered}
        ready = [each for each in waiting if each.after is None or each.after in done]
        if not ready:
            raise SpecError(
                f"The trainings of {' and '.join(each.model for each in waiting)} start from each "
                "other.",
                "A network that is fine-tuned starts from one that is trained before.",
                "Correct `start_from` in their recipes.",
            )
        ordered.append(ready[0])
        waiting.remove(ready[0])
    return ordered
