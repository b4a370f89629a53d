"""All analyses by name: their options, what computes them, and what shows them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from reprostore.errors import SpecError
from reprostore.specs import Spec
from reprostore.study import LoadedStudy
from reprostore_analyses.agreement import AgreementOptions, agreement, agreement_rows
from reprostore_analyses.context import Context
from reprostore_analyses.distances import DistancesOptions, distances, distances_rows
from reprostore_analyses.duplicates import DuplicatesOptions, duplicates, duplicates_rows
from reprostore_analyses.fidelity import FidelityOptions, fidelity, fidelity_rows
from reprostore_analyses.generalization import (
    GeneralizationOptions,
    generalization,
    generalization_rows,
)
from reprostore_analyses.memorization import memorization, memorization_rows
from reprostore_analyses.memorization_options import MemorizationOptions
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
            # mypy does not infer the type of a default of a lambda.
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
            "distances",
            "How far apart are two models' pictures from the same noise?",
            DistancesOptions,
            distances,
            distances_rows,
        ),
        Analysis(
            "memorization",
            "Does a model memorize, by the rules of several papers?",
            MemorizationOptions,
            memorization,
            memorization_rows,
            measures_copies=True,
        ),
        Analysis(
            "duplicates",
            "Are the training items that samples copy those that have duplicates?",
            DuplicatesOptions,
            duplicates,
            duplicates_rows,
            measures_copies=True,
        ),
        Analysis(
            "fidelity",
            "How near are samples as a whole to what the model saw, and to what it did not?",
            FidelityOptions,
            fidelity,
            fidelity_rows,
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
