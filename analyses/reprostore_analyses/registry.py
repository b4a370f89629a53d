"""All analyses by name: their options, what computes them, and what shows them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr
from pydantic import ValidationError

from reprostore.errors import SpecError
from reprostore.seeds import shorten
from reprostore.specs import Spec
from reprostore.study import LoadedStudy
from reprostore_analyses.agreement import AgreementOptions, agreement, agreement_rows
from reprostore_analyses.context import Context
from reprostore_analyses.generalization import (
    GeneralizationOptions,
    generalization,
    generalization_rows,
)
from reprostore_analyses.kernels import check_cosine_threshold
from reprostore_analyses.reproducibility import (
    ReproducibilityOptions,
    reproducibility,
    reproducibility_rows,
)
from reprostore_analyses.theory import TheoryOptions, theory, theory_rows
from reprostore_analyses.transition import transition
from reprostore_analyses.transition_options import TransitionOptions
from reprostore_analyses.transition_rows import transition_rows


@dataclass(frozen=True)
class Analysis:
    """An analysis.

    Attributes
    ----------
    name : str
        In study files and on the command line.
    summary : str
        The question it answers, one line.
    options : type
        Its options, a `Spec`.
    compute : callable
        (context, options) → xarray.Dataset.
    rows : callable
        (result, options) → list of dict, one per run or pair.
    measures_copies : bool
        Whether it compares samples with their model's training items.
    """

    name: str
    summary: str
    options: type[Spec]
    compute: Callable[[Context, Any], xr.Dataset]
    rows: Callable[[xr.Dataset, Any], list[dict[str, Any]]]
    measures_copies: bool = False

    def figures(self, context: Context, result: xr.Dataset, options: Spec) -> "Figures":
        """Return the analysis' figures by file name; matplotlib is imported here."""
        from reprostore_analyses.plots import FIGURES

        return {
            name: lambda plot=plot: plot(context, result, options)  # type: ignore[misc]
            for name, plot in FIGURES[self.name].items()
        }


Figures = dict[str, Callable[[], Any]]

ANALYSES = {
    analysis.name: analysis
    for analysis in (
        Analysis(
            "reproducibility",
            "Do different models draw the same picture from the same noise?",
            ReproducibilityOptions,
            reproducibility,
            reproducibility_rows,
        ),
        Analysis(
            "generalization",
            "Do models copy what they were trained on, more often than unseen real items do?",
            GeneralizationOptions,
            generalization,
            generalization_rows,
            measures_copies=True,
        ),
        Analysis(
            "agreement",
            "Do models agree because they copy?",
            AgreementOptions,
            agreement,
            agreement_rows,
            measures_copies=True,
        ),
        Analysis(
            "theory",
            "Where does a network leave the closed forms of its training items?",
            TheoryOptions,
            theory,
            theory_rows,
        ),
        Analysis(
            "transition",
            "Where do models pass from memorization to generalization as their data grow?",
            TransitionOptions,
            transition,
            transition_rows,
            measures_copies=True,
        ),
    )
}


def analysis_named(name: str) -> Analysis:
    """Return an analysis by its name.

    Raises
    ------
    SpecError
        There is none of this name.
    """
    if name not in ANALYSES:
        import difflib

        near = difflib.get_close_matches(name, ANALYSES, n=1)
        raise SpecError(
            f"There is no analysis {name!r}.",
            f"The analyses are {', '.join(ANALYSES)}.",
            f"Did you mean {near[0]}?" if near else "Choose one of these.",
        )
    return ANALYSES[name]


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


def context_of(loaded: LoadedStudy, **settings: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return what a `Context` needs to know of a study, beside its store."""
    study = loaded.study
    paths = tuple("/".join(names) for names in study.runs())
    return {
        "base": loaded.base,
        "models": dict(study.models),
        "run_paths": paths or None,
        "datasets": dict(study.datasets),
        "encoders": dict(study.encoders),
        **settings,
    }


def figure_folder(store_path: Path) -> Path:
    """Return where pictures go by default: ``NAME.figures`` beside the store."""
    return store_path.with_name(f"{store_path.name.removesuffix('.zarr')}.figures")
