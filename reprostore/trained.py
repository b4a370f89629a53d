"""Whether the trained models of a study are those that it describes."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from reprostore.errors import CorruptionError, IdentityError
from reprostore.ingest import StoredDataset
from reprostore.seeds import format_ranges, parse_ranges
from reprostore.specs import ModelSpec, Subset
from reprostore.store import SampleStore
from reprostore.store.labelled import read_attributes
from reprostore.study import LoadedStudy
from reprostore.training.record import RECORD, read_record
from reprostore.training.status import check_finished
from reprostore.trainings import Training, trainings_of


def check_trained(loaded: LoadedStudy, store: SampleStore | None, models: Iterable[str]) -> None:
    """Compare trained models with the recipe, the items and the seed that the study names.

    Models that are not on this machine are left out: nothing is known of them here.

    Parameters
    ----------
    loaded : LoadedStudy
        The study.
    store : SampleStore, optional
        Where its datasets may be; of a dataset that is not there the numbers of the items alone
        are compared.
    models : iterable of str
        Which models.

    Raises
    ------
    IdentityError
        A model was trained in another way, or its files were changed since.
    CorruptionError
        The record of its training cannot be read.
    """
    for name in models:
        spec = loaded.study.models[name]
        if spec.recipe is None:
            continue
        folder = (loaded.base / Path(spec.source).expanduser()).resolve()
        if not folder.exists():
            continue
        (training,) = trainings_of(loaded, [name])
        step = spec.training_step or training.recipe.total_steps
        try:
            check_finished(
                folder,
                step,
                training.recipe,
                _trained_on(store, training, folder),
                training.trainer_seed,
                loaded.base,
            )
        except (IdentityError, CorruptionError) as error:
            found, expected, action = error.parts
            raise type(error)(
                f"{loaded.where(('models', name))}: the model {name} is not what the study says. "
                f"{found}",
                expected,
                action,
            ) from error


def check_recorded(loaded: LoadedStudy, model: str, recorded: ModelSpec) -> None:
    """Compare what a study says of a trained model with what was said when it was sampled.

    Of models without a recipe a study may say afterwards what they were trained on. What a recipe
    was followed with is known when samples are generated, and does not change.

    Raises
    ------
    IdentityError
        Training items, seed, width or step of the training differ.
    """
    spec = loaded.study.models[model]
    if spec.recipe is None or recorded.recipe is None:
        return
    for key in ("trained_on", "trainer_seed", "width", "training_step"):
        there, here = getattr(recorded, key), getattr(spec, key)
        if there == here or (key == "trained_on" and _same_items(there, here)):
            continue
        raise IdentityError(
            f"{loaded.where(('models', model, key))}: the study says {key} = {_text(here)} of the "
            f"model {model}; its samples in the store are those of a model with {_text(there)}.",
            "Samples are measured against what their own model was trained on.",
            "Restore the study, or give the changed model another name and generate its samples.",
        )


def _same_items(a: Subset | None, b: Subset | None) -> bool:
    if a is None or b is None or a.dataset != b.dataset:
        return False
    if "all" in (a.index, b.index):
        return a.index == b.index
    return parse_ranges(a.index, "index") == parse_ranges(b.index, "index")


def _text(value: object) -> str:
    if isinstance(value, Subset):
        return f"items {value.index} of {value.dataset}"
    return "nothing" if value is None else repr(value)


def _trained_on(store: SampleStore | None, training: Training, folder: Path) -> Mapping[str, Any]:
    """Return what a record should say of the items, as far as that is known without reading them.

    The rest is taken from the record itself.
    """
    subset = training.trained_on
    if store is not None and read_attributes(store.path, f"datasets/{subset.dataset}") is not None:
        dataset = StoredDataset(store, subset.dataset)
        return {
            "dataset": subset.dataset,
            "index": format_ranges(dataset.index(subset.index).tolist()),
            "fingerprint": dataset.fingerprint,
        }
    said: Any = read_record(folder / RECORD) if (folder / RECORD).is_file() else {}
    for key in ("identity", "trained_on"):
        said = said.get(key) if isinstance(said, dict) else None
    recorded = said if isinstance(said, dict) else {}
    index = recorded.get("index")
    if subset.index != "all":
        index = format_ranges(parse_ranges(subset.index, "index"))
    return {**recorded, "dataset": subset.dataset, "index": index}
