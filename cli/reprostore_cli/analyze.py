"""`repro analyze`: scores, tables and pictures from what is in a store."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reprostore_cli.failures import guarded
from reprostore_cli.options import Download, Json, key_values

if TYPE_CHECKING:
    from reprostore.study import LoadedStudy
    from reprostore_analyses.computing import Analyzed


@guarded
def analyze(
    study_and_analyses: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STUDY.toml ANALYSIS",
            show_default=False,
            help="A study file; then reproducibility, generalization, distances, "
            "memorization, duplicates, fidelity, agreement, theory, transition. Without names "
            "all that the study lists.",
        ),
    ] = None,
    *,
    store: Annotated[
        str | None,
        typer.Option(metavar="PATH", show_default=False, help="The store, without a study file."),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(metavar="NAME", show_default=False, help="In whose space to compare."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="θ", show_default=False, help="Cosine above which two pictures are the same."
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            show_default=False,
            help="Any option of the analyses, as in a study file. May be repeated.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default=False,
            help="Folder for pictures; NAME.figures beside the store by default.",
        ),
    ] = None,
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="Draw pictures.")] = True,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="Where encoders compute: cpu, cuda, cuda:1.")
    ] = "cpu",
    download: Download = False,
    json: Json = False,
) -> None:
    """Compute scores and draw pictures; what the store has already is used again.

    Datasets are read in, and pictures encoded and searched, where that is missing.

    --encoder, --threshold and --option replace values of the study file.
    """
    from reprostore_analyses.asked import asked_analyses
    from reprostore_analyses.computing import analyze_store
    from reprostore_analyses.registry import figure_folder
    from reprostore_cli.output import console, print_json, progress
    from reprostore_cli.tables import analysis_tables

    loaded, names = _study_and_names(study_and_analyses or [], store)
    asked = asked_analyses(loaded, names, _options(encoder, threshold, option or []))
    path = Path(store or "").absolute() if loaded is None else loaded.store_path
    optional = not names and (loaded is None or not loaded.study.analyses)
    with progress("items") as show:
        analyzed = analyze_store(
            path,
            loaded,
            asked,
            optional=optional,
            device=device,
            download=download,
            progress=show,
        )
    for name, error in analyzed.left_out.items():
        typer.echo(f"{name} was left out: {error}", err=True)
    if json:
        inputs = {
            "study": None if loaded is None else str(loaded.path),
            "store": str(path),
            "analyses": {
                each.analysis.name: each.options.model_dump(mode="json")
                for each in analyzed.computed
            },
        }
        rows = [
            {"analysis": each.analysis.name} | row
            for each in analyzed.computed
            for row in each.rows()
        ]
        print_json("analyze", inputs, rows)
    else:
        output = console()
        for each in analyzed.computed:
            for part in analysis_tables(each):
                output.print(part)
    if figures:
        for picture in _pictures(analyzed, out, figure_folder(path)):
            if not json:
                typer.echo(picture)


def _pictures(analyzed: "Analyzed", out: Path | None, beside: Path) -> list[str]:
    """Draw the pictures; a folder that nobody named may be one that cannot be written."""
    from reprostore.errors import StorageError
    from reprostore_analyses.pictures import draw_pictures

    drawn: list[str] = []
    try:
        for each in analyzed.computed:
            for picture in draw_pictures(analyzed.context, each, out or beside):
                near = picture.is_relative_to(Path.cwd())
                drawn.append(str(picture.relative_to(Path.cwd()) if near else picture))
    except StorageError as error:
        if out is not None:
            raise
        typer.echo(f"Without pictures: {error}", err=True)
    return drawn


def _study_and_names(
    arguments: list[str], store: str | None
) -> tuple["LoadedStudy | None", list[str]]:
    """Tell a study file from names of analyses: it ends in .toml, or is a file."""
    from reprostore.errors import SpecError
    from reprostore.study import load_study

    first = arguments[0] if arguments else ""
    if first.endswith(".toml") or Path(first).is_file():
        if store is not None:
            raise SpecError(
                f"--store cannot be given together with the study file {first}.",
                "A study file names its store.",
                "Change the file, or leave it out.",
            )
        return load_study(first), arguments[1:]
    if store is None:
        raise SpecError(
            f"{first} is a folder." if first and Path(first).is_dir() else "No store is named.",
            "What to analyze is named by a study file, or by --store.",
            f"Give it as --store {first}."
            if first and Path(first).is_dir()
            else "Name a study file, such as study.toml, or a store as --store PATH.",
        )
    return None, arguments


def _options(encoder: str | None, threshold: float | None, pairs: list[str]) -> dict[str, Any]:
    """Return the options by name."""
    options: dict[str, Any] = {"encoder": encoder, "threshold": threshold}
    return {key: value for key, value in options.items() if value is not None} | key_values(pairs)
