"""All analyses by name: their options, what computes them, and what shows them."""

from collections.abc import Callable
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
from reprostore_analyses.reproducibility import (
    ReproducibilityOptions,
    reproducibility,
    reproducibility_rows,
)


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
    """

    name: str
    summary: str
    options: type[Spec]
    compute: Callable[[Context, Any], xr.Dataset]
    rows: Callable[[xr.Dataset, Any], list[dict[str, Any]]]

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
        ),
        Analysis(
            "agreement",
            "Do models agree because they copy?",
            AgreementOptions,
            agreement,
            agreement_rows,
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
        A key is unknown, or a value is not valid.
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
        return analysis.options.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        where = "" if loaded is None else loaded.where((*location, key))
        raise SpecError(
            f"{where}the option {key!r} of the analysis {analysis.name} is not valid: "
            f"{shorten(repr(first.get('input')))} ({first['msg']}).",
            "docs/study.md describes every option.",
            "Correct the value.",
        ) from error


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
