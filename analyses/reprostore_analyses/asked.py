"""Which analyses are asked for, with options that are checked."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from reprostore.errors import SpecError
from reprostore.seeds import shorten
from reprostore.specs import Spec
from reprostore.study import LoadedStudy
from reprostore_analyses.kernels import check_cosine_threshold
from reprostore_analyses.registry import ANALYSES, Analysis, analysis_named


def options_of(analysis: Analysis, values: dict[str, Any], loaded: LoadedStudy | None) -> Spec:
    """Check the options of an analysis.

    Parameters
    ----------
    analysis : Analysis
        Which one.
    values : dict
        As written in the study or on the command line.
    loaded : LoadedStudy, optional
        The study, to name the line of a wrong key.

    Raises
    ------
    SpecError
        A key is unknown, or a value is not valid: a cosine threshold beyond [-1, 1], for example.
    """
    location = ("analyses", analysis.name)
    for key in values:
        if key not in analysis.options.model_fields:
            known = list(analysis.options.model_fields)
            if loaded is not None:
                raise loaded.key_error(location, key, known)
            raise SpecError(
                f"The analysis {analysis.name} has no option {key!r}.",
                f"Its options are {', '.join(known)}.",
                "Use one of these.",
            )
    try:
        options = analysis.options.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        where = "" if loaded is None else f"{loaded.where((*location, key))}: "
        problem = f"is not valid: {shorten(repr(first.get('input')))} ({first['msg']})"
        if first["type"] == "missing":
            problem = "is missing"
        raise SpecError(
            f"{where}The option {key!r} of the analysis {analysis.name} {problem}.",
            f"Its options are {', '.join(analysis.options.model_fields)}.",
            "Correct the value." if first["type"] != "missing" else "Give it a value.",
        ) from error
    for key in ("threshold", "copy_threshold", "oracle_threshold"):
        if getattr(options, key, None) is not None:
            check_cosine_threshold(getattr(options, key))
    return options


def asked_analyses(
    loaded: LoadedStudy | None, names: Sequence[str], options: dict[str, Any]
) -> list[tuple[Analysis, Spec]]:
    """Return the analyses that are asked for, with their options.

    Parameters
    ----------
    loaded : LoadedStudy, optional
        The study, whose options count where none are given.
    names : sequence of str
        Which analyses; when empty all that the study lists, or all that need no option.
    options : dict
        Options that replace those of the study, each in all analyses that have it.

    Raises
    ------
    SpecError
        An analysis or an option is not known, or a value is not valid.
    """
    listed = {} if loaded is None else loaded.study.analyses
    for name in listed:
        if loaded is not None and name not in ANALYSES:
            raise loaded.key_error(("analyses",), name, ANALYSES)
    chosen = [analysis_named(name) for name in dict.fromkeys(names or listed)]
    if not chosen:
        chosen = [analysis for analysis in ANALYSES.values() if _needs_no_option(analysis, options)]
    known = {key for analysis in chosen for key in analysis.options.model_fields}
    for key in options:
        if key not in known:
            options_of(chosen[0], {key: options[key]}, None)  # tells which options there are
    asked = []
    for analysis in chosen:
        own = {key: value for key, value in options.items() if key in analysis.options.model_fields}
        values = listed.get(analysis.name, {}) | own
        asked.append((analysis, options_of(analysis, values, None if own else loaded)))
    return asked


def _needs_no_option(analysis: Analysis, given: dict[str, Any]) -> bool:
    fields = analysis.options.model_fields.items()
    return all(key in given or not field.is_required() for key, field in fields)
