"""Read a study from its TOML file, or make one from options."""

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from reprostore.errors import SpecError
from reprostore.seeds import shorten
from reprostore.specs import is_name
from reprostore.study_expansion import expanded, expansion_problems, lines_of_sweeps
from reprostore.study_folders import folder_problems
from reprostore.study_problems import (
    Source,
    unknown_key,
    validation_problems,
    value_problems,
)
from reprostore.study_spec import Study, known_keys, reference_problems
from reprostore.study_text import parse_toml, read_text
from reprostore.study_values import unusable_values
from reprostore.toml_lines import Location, key_lines

__all__ = ["LoadedStudy", "Study", "derived_study", "load_study"]

_SAMPLER = re.compile(r"([A-Za-z][A-Za-z0-9_-]*):0*([1-9][0-9]{0,8})")


@dataclass(frozen=True)
class LoadedStudy:
    """A study, and where it was read.

    Attributes
    ----------
    study : Study
        What the file says, with the models of its sweeps among its models.
    path : Path or None
        The file; None when the study was made from options.
    base : Path
        The folder to which the paths of the study are relative, absolute.
    lines : dict
        The line of every key, by location; those of a sweep stand for its models, too.

    Raises
    ------
    SpecError
        A name is referred to and not defined, a model or a sweep cannot be trained by its recipe,
        a value cannot be used where it stands, or a path is none or belongs to another model.
    """

    study: Study
    path: Path | None
    base: Path
    lines: dict[Location, int] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check what is said of names, values and folders together, and expand sweeps."""
        for problems_of in (reference_problems, unusable_values, expansion_problems):
            if problems := problems_of(self.study):
                raise self._source.error(problems)
        object.__setattr__(self, "lines", lines_of_sweeps(self.study, self.lines) | self.lines)
        object.__setattr__(self, "study", expanded(self.study))
        if problems := folder_problems(self.study, self.base):
            raise self._source.error(problems)

    @property
    def _source(self) -> Source:
        return Source(self.path.name if self.path else "", self.lines)

    @property
    def store_path(self) -> Path:
        """Path of the store, absolute and without symbolic links."""
        return (self.base / self.study.store).resolve()

    def line_of(self, location: Location) -> int | None:
        """Return the line of a key such as ``("models", "unet-a", "source")``, if known."""
        return self.lines.get(location)

    def where(self, location: Location) -> str:
        """Name the file and the line of a key or of the table around it, to begin a message."""
        return self._source.where(location)

    def key_error(self, location: Location, unknown: str, known: Iterable[str]) -> SpecError:
        """Make the error of a key that a table does not have.

        Parameters
        ----------
        location : tuple of str
            The table, for example ``("analyses", "reproducibility")``.
        unknown : str
            The key that was found.
        known : iterable of str
            The keys that the table has.

        Returns
        -------
        SpecError
            Names the line, the known keys and the nearest of them.
        """
        return self._source.error([unknown_key(location, unknown, known)])


def load_study(path: str | Path) -> LoadedStudy:
    """Read and check a study file.

    Parameters
    ----------
    path : str or Path
        The TOML file.

    Returns
    -------
    LoadedStudy
        The study and where it was read.

    Raises
    ------
    NotFoundError
        There is no such file.
    SpecError
        The file cannot be read, is not TOML, or is no valid study. The message tells the first
        problem with its line, and how many more there are.
    """
    path = Path(path)
    text = read_text(path)
    data = parse_toml(text, path.name)
    source = Source(path.name, key_lines(text))
    if problems := value_problems(data):
        raise source.error(problems)
    return LoadedStudy(_validated(data, source), path, path.absolute().parent, dict(source.lines))


def derived_study(
    *,
    store: str | Path,
    models: Sequence[str],
    samplers: Sequence[str],
    seeds: str | None = None,
    batch_size: int = 128,
    dtype: str = "float32",
    base: Path | None = None,
) -> LoadedStudy:
    """Make a study without a file; the names come from what they name.

    Parameters
    ----------
    store : str or Path
        Path of the store.
    models : sequence of str
        Sources of models; each is named by the last part of its path.
    samplers : sequence of str
        Schedulers with a number of steps; "ddim:50" is named "ddim-50".
    seeds, batch_size, dtype
        As in a study file.
    base : Path, optional
        The folder to which paths are relative; the current one by default.

    Returns
    -------
    LoadedStudy
        The study; its `path` is None.

    Raises
    ------
    SpecError
        An option is not valid, or two models would have one name.
    """
    base = (base or Path()).absolute()
    named: dict[str, str] = {}
    for model in models:
        name = _model_name(model, base)
        if named.setdefault(name, model) != model:
            raise SpecError(
                f"The models {shorten(named[name])!r} and {shorten(model)!r} would both be named "
                f"`{name}`.",
                "Every model of a store has a name of its own.",
                "Write a study file, which gives each a name.",
            )
    data = {
        "store": str(store),
        "seeds": seeds,
        "batch_size": batch_size,
        "dtype": dtype,
        "models": {name: {"source": model} for name, model in named.items()},
        "samplers": dict(_named_sampler(text) for text in samplers),
    }
    return LoadedStudy(_validated(data, Source()), None, base)


def _validated(data: dict[str, Any], source: Source) -> Study:
    try:
        # JSON, for strict validation of Python values refuses lists for tuples
        return Study.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        raise source.error(validation_problems(data, error.errors(), known_keys)) from error


def _model_name(source: str, base: Path) -> str:
    last = Path(source).name
    if last in {"", ".."}:
        last = Path(os.path.normpath(base / source)).name
    name = re.sub(r"[^A-Za-z0-9._+@-]+", "-", last).strip("-").lstrip("._+@-")
    if not is_name(name):
        raise SpecError(
            f"The model {shorten(source)!r} gives no valid name.",
            "A model is named by the last part of its path, which has a letter or a digit.",
            "Write a study file, which gives it a name.",
        )
    return name


def _named_sampler(text: str) -> tuple[str, dict[str, Any]]:
    match = _SAMPLER.fullmatch(text)
    if match is None:
        raise SpecError(
            f"{shorten(text)!r} is no sampler.",
            "A sampler is a scheduler and its number of steps, at least 1.",
            'Write it as "ddim:50".',
        )
    return f"{match[1]}-{match[2]}", {"scheduler": match[1], "steps": int(match[2])}
