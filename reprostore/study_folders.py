"""Which paths of a study cannot be used, and which folders would be written over each other."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from reprostore.seeds import shorten
from reprostore.study_expansion import training_source
from reprostore.study_problems import Problem, table_name
from reprostore.study_spec import Study

LONGEST_NAME = 255
"""Bytes that file systems allow in the name of a file or a folder."""

LONGEST_PATH = 4000
"""Bytes of a whole path; Linux allows 4095, among them those of the files in a folder."""

_BESIDE = 15
"""Bytes that are appended to the names of folders written here, as in ``.training.lock``."""

_NO_PATH = re.compile(r"(oracle|gaussian|imported)\Z|(python|sklearn):")


class _Place(NamedTuple):
    """What is at a path that a training writes: of which training, and whether it is a model."""

    folder: Path
    what: str
    is_model: bool = True


def folder_problems(study: Study, base: Path) -> list[Problem]:
    """Find the paths that no file system takes, and folders that would be written into another.

    Parameters
    ----------
    study : Study
        Expanded, and without other problems.
    base : Path
        The folder to which its paths are relative.

    Returns
    -------
    list of Problem
        Those of single paths; if there are none, those of two.
    """
    if problems := list(_unusable(study, base)):
        return problems
    store = (base / study.store).resolve()
    folders = {
        model: _resolved(base, training_source(spec, study.recipes[spec.recipe]))
        for model, spec in study.models.items()
        if spec.recipe is not None
    }
    places = _places(study, folders)
    for model, spec in study.models.items():
        if _NO_PATH.match(spec.source):
            continue
        at, path = ("models", model, "source"), _resolved(base, spec.source)
        owner = f"`source` of {table_name(at[:-1])}"
        if store in (path, *path.parents):
            problems.append(
                Problem(
                    at,
                    f"{owner} {_is_in(path, store)} the store, {shorten(study.store)}.",
                    "A store holds samples alone; models have folders outside of it.",
                    "Choose another folder.",
                )
            )
        elif found := _taken(path, places, folders.get(model)):
            problems.append(
                Problem(
                    at,
                    f"{owner} {found}.",
                    "The training of a model has its FOLDER, FOLDER.training and the FOLDER@STEP "
                    "of its checkpoints to itself.",
                    "Choose another folder.",
                )
            )
    for above in (store, *store.parents):
        if above in places and not problems:
            problems.append(
                Problem(
                    ("store",),
                    f"`store` {_is_in(store, above)} {places[above].what}.",
                    "A training has this folder to itself.",
                    "Choose another path for the store.",
                )
            )
    return problems


def _places(study: Study, folders: dict[str, Path]) -> dict[Path, _Place]:
    """Return all that trainings write; what stands beside a model hides a model of another."""
    places: dict[Path, _Place] = {}
    for model, folder in folders.items():
        for step in study.recipes[str(study.models[model].recipe)].checkpoints:
            kept = folder.with_name(f"{folder.name}@{step}")
            places[kept] = _Place(folder, f"the checkpoint at step {step} of the model {model}")
        state = folder.with_name(f"{folder.name}.training")
        places[state] = _Place(folder, f"the state of the training of the model {model}", False)
    for model, folder in folders.items():
        places.setdefault(folder, _Place(folder, f"the folder of the model {model}"))
    return places


def _taken(path: Path, places: dict[Path, _Place], own: Path | None) -> str | None:
    """Say what a model's path is or lies in that belongs to another training; None if nothing.

    `own` is the folder of the model's training; a model without a recipe may be any other's.
    """
    for above in (path, *path.parents):
        place = places.get(above)
        if place is None:
            continue
        if above == path and place.is_model and own in (None, place.folder):
            continue
        return f"{_is_in(path, above)} {place.what}"
    return None


def _is_in(path: Path, above: Path) -> str:
    return "is" if path == above else "lies in"


def _unusable(study: Study, base: Path) -> Iterator[Problem]:
    """Find the texts that are no paths on any file system."""
    paths: list[tuple[tuple[str, ...], str | None]] = [
        (("store",), str(base / study.store))  # in which no ~ stands for a home
    ]
    for name, dataset in study.datasets.items():
        paths += [
            (("datasets", name, "source"), dataset.source),
            (("datasets", name, "labels"), dataset.labels),
        ]
    paths += [(("recipes", name, "start_from"), r.start_from) for name, r in study.recipes.items()]
    paths += [(("models", name, "source"), model.source) for name, model in study.models.items()]
    paths += [(("encoders", name, "weights"), e.weights) for name, e in study.encoders.items()]
    for at, text in paths:
        if text is None:
            continue
        written = at[0] == "store" or (at[0] == "models" and study.models[at[1]].recipe is not None)
        reason = _why_no_path(base, text, LONGEST_NAME - _BESIDE * written)
        if reason:
            owner = f" of {table_name(at[:-1])}" if at[:-1] else ""
            yield Problem(
                at,
                f"`{at[-1]}`{owner} is {shorten(text)!r}, which {reason}.",
                "It is a path on this machine, absolute or relative to the study file.",
                "Correct it.",
            )


def _why_no_path(base: Path, text: str, longest: int) -> str:
    """Say why a text is no path; empty if it is one."""
    if "\0" in text:
        return "holds a character of code 0"
    if _NO_PATH.match(text):
        return ""
    # Of torchvision:NAME:FOLDER and FILE:KEY, the parts are looked at.
    name = max((len(os.fsencode(part)) for part in re.split("[/:]", text)), default=0)
    if name > longest:
        return f"has a name of {name} bytes, where at most {longest} are possible"
    try:
        length = len(os.fsencode(_resolved(base, text)))
    except (RuntimeError, OSError) as error:  # an unknown user, or a circle of links
        return f"cannot be followed ({error})"
    return f"is a path of {length} bytes" if length > LONGEST_PATH else ""


def _resolved(base: Path, text: str) -> Path:
    return (base / Path(text).expanduser()).resolve()
