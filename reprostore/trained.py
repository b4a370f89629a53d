"""Whether the trained models of a study are those that it describes."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from reprostore.datasets.content import source_fingerprint
from reprostore.datasets.sources import open_source
from reprostore.errors import CorruptionError, IdentityError, ReprostoreError
from reprostore.ingest import StoredDataset
from reprostore.seeds import format_ranges, parse_ranges, shorten
from reprostore.specs import ModelSpec, Subset
from reprostore.store import SampleStore
from reprostore.store.labelled import read_attributes
from reprostore.study import LoadedStudy
from reprostore.training.record import said_of
from reprostore.training.status import check_files, check_finished
from reprostore.trainings import trainings_of


def check_trained(
    loaded: LoadedStudy,
    store: SampleStore | None,
    models: Iterable[str],
    *,
    read_sources: bool = False,
) -> None:
    """Compare trained models with the recipe, the items and the seed that the study names.

    Of a model without a recipe, whose folder has the record of a training, the items are compared.
    Models that are not on this machine are left out: nothing is known of them here.

    Parameters
    ----------
    loaded : LoadedStudy
        The study.
    store : SampleStore, optional
        Where its datasets may be.
    models : iterable of str
        Which models.
    read_sources : bool
        Read datasets that the store lacks in their sources, to see whether they are those that
        the models were trained on. Else their names and the numbers of the items are compared.

    Raises
    ------
    IdentityError
        A model was trained in another way, or its files were changed since.
    CorruptionError
        The record of a training cannot be read.
    """
    study, datasets = loaded.study, _Datasets(loaded, store, read_sources)
    here = {name: folder for name in models if (folder := _folder(loaded, name)).is_dir()}
    by_recipe = [name for name in here if study.models[name].recipe is not None]
    trainings = trainings_of(loaded, by_recipe) if by_recipe else []
    made = {folder: each for each in trainings for folder in (each.folder, *each.kept)}
    for name, folder in here.items():
        spec, said = study.models[name], said_of(folder)
        try:
            if spec.recipe is None:
                _check_own(spec, folder, said, datasets)
                continue
            training = made[folder]
            check_finished(
                folder,
                spec.training_step or training.recipe.total_steps,
                training.recipe,
                datasets.named(training.trained_on, _items_of(said)),
                training.trainer_seed,
                loaded.base,
            )
        except (IdentityError, CorruptionError) as error:
            found, expected, action = error.parts
            begin = _begin(loaded, ("models", name))
            raise type(error)(
                f"{begin} model {name} is not what the study says. {found}", expected, action
            ) from error


def check_recorded(
    loaded: LoadedStudy, store: SampleStore, model: str, recorded: ModelSpec
) -> None:
    """Compare what a study says of a trained model with what was said when it was sampled.

    Of models that no recipe made a study may say afterwards what they were trained on. What a
    recipe was followed with was known when samples were generated, and does not change.

    Parameters
    ----------
    loaded : LoadedStudy
        The study.
    store : SampleStore
        Where its datasets may be.
    model : str
        Name of the model.
    recorded : ModelSpec
        What the store says of it.

    Raises
    ------
    IdentityError
        Recipe, training items, seed, width or step of the training differ.
    """
    if recorded.recipe is None:
        return
    spec, datasets = loaded.study.models[model], _Datasets(loaded, store, read=False)
    for key in ("recipe", "trained_on", "trainer_seed", "width", "training_step"):
        there, here = getattr(recorded, key), getattr(spec, key)
        if there == here or (here is None and spec.recipe is None):
            continue
        if key == "trained_on" and there is not None:
            empty: dict[str, Any] = {}
            if datasets.named(there, empty) == datasets.named(here, empty):
                continue
        raise IdentityError(
            f"{_begin(loaded, ('models', model, key))} study says {key} = {_text(here)} of the "
            f"model {model}, and its samples in the store are those of a model with "
            f"{key} = {_text(there)}.",
            "Samples are measured against what their own model was trained on.",
            "Restore the study, or give the changed model another name and another source, train "
            "it and generate its samples.",
        )


class _Datasets:
    """What is known of a study's datasets: of those in the store all, else what sources say."""

    def __init__(self, loaded: LoadedStudy, store: SampleStore | None, read: bool) -> None:
        self._loaded, self._store, self._read = loaded, store, read
        self._stored: dict[str, StoredDataset | None] = {}
        self._sources: dict[str, tuple[int | None, str | None]] = {}

    def named(self, subset: Subset, there: Mapping[str, Any]) -> dict[str, Any]:
        """Return which items a study means, as a training records it.

        What cannot be known here is taken from `there`, what the record says of items.
        """
        name = subset.dataset
        stored = self._in_store(name)
        if stored is not None:
            return {**stored.named(subset.index)}
        length, content = self._in_source(name, whole=subset.index == "all")
        recorded = there.get("fingerprint") if there.get("dataset") == name else None
        index, first = subset.index, str(there.get("index"))
        if index != "all":
            index = format_ranges(parse_ranges(index, "index"))
        elif length is not None:
            index = format_ranges(list(range(length)))
        elif first == "0" or (first.startswith("0-") and "," not in first):
            index = first
        known = {} if content is None and recorded is None else {"fingerprint": content or recorded}
        return {"dataset": name, "index": index, **known}

    def _in_store(self, name: str) -> StoredDataset | None:
        if name not in self._stored:
            store, found = self._store, None
            if store is not None and read_attributes(store.path, f"datasets/{name}") is not None:
                found = StoredDataset(store, name)
            self._stored[name] = found
        return self._stored[name]

    def _in_source(self, name: str, *, whole: bool) -> tuple[int | None, str | None]:
        """Return length and fingerprint of a source, as far as it is here and they are needed."""
        spec = self._loaded.study.datasets.get(name)
        if spec is None or not (self._read or whole):
            return None, None
        if name not in self._sources:
            try:
                source = open_source(name, spec, self._loaded.base)
                content = source_fingerprint(source) if self._read else None
                self._sources[name] = (source.length, content)
            except ReprostoreError:
                self._sources[name] = (None, None)
        return self._sources[name]


def _check_own(spec: ModelSpec, folder: Path, said: Mapping[str, Any], datasets: _Datasets) -> None:
    """Compare a model that the study has no recipe for with the training that it comes from."""
    check_files(folder, said)
    there, subset = _items_of(said), spec.trained_on
    if subset is None or not isinstance(there.get("index"), str):
        return
    here = datasets.named(subset, there)
    if "fingerprint" not in here and here["dataset"] != there.get("dataset"):
        return  # maybe the same items under another name
    for key in ("fingerprint", "index"):
        if there.get(key, here.get(key)) == here.get(key):
            continue
        raise IdentityError(
            f"In the study it was trained on {_items(here, key)}, and its training records "
            f"{_items(there, key)}.",
            "Samples are measured against what their own model was trained on.",
            f"Correct `trained_on` in the study, or name another `source` than {folder}.",
        )


def _items_of(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the record of a training says of its items."""
    identity = said.get("identity")
    items = identity.get("trained_on") if isinstance(identity, dict) else None
    return items if isinstance(items, dict) else {}


def _items(named: Mapping[str, Any], key: str) -> str:
    """Write of items what differs: which they are, or of which dataset."""
    if key == "fingerprint":
        return f"the dataset {named.get('dataset')} with the fingerprint {named.get(key)}"
    return f"items {shorten(str(named.get(key)))} of {named.get('dataset')}"


def _text(value: object) -> str:
    if isinstance(value, Subset):
        return f"items {shorten(value.index)} of {value.dataset}"
    return "nothing" if value is None else repr(value)


def _folder(loaded: LoadedStudy, model: str) -> Path:
    return (loaded.base / Path(loaded.study.models[model].source).expanduser()).resolve()


def _begin(loaded: LoadedStudy, location: tuple[str, ...]) -> str:
    where = loaded.where(location)
    return f"{where}: the" if where else "The"
