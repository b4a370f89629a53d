"""`repro export`: samples, items and vectors of a store as files for other tools."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reprostore_cli.failures import guarded
from reprostore_cli.options import Json

if TYPE_CHECKING:
    from reprostore import SampleStore


@guarded
def export(
    store: Annotated[
        Path,
        typer.Argument(metavar="STORE", show_default=False, help="A store, or a packed one."),
    ],
    *,
    to: Annotated[
        Path, typer.Option(metavar="FOLDER", show_default=False, help="Where files are written.")
    ],
    format: Annotated[
        str,
        typer.Option(metavar="FORMAT", show_default=False, help="png, npz, npy or vectors."),
    ],
    run: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL/SAMPLER/CONDITION",
            show_default=False,
            help="A run; * stands for any text. May be repeated.",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", show_default=False, help="All runs of this model. May be repeated."
        ),
    ] = None,
    sampler: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", show_default=False, help="All runs of this sampler. May be repeated."
        ),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[@INDEX]",
            show_default=False,
            help="A dataset of the store, or items of it (digits@0-63). May be repeated.",
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="RANGES", show_default=False, help='Which seeds, such as "0-999"; else all.'
        ),
    ] = None,
    step: Annotated[
        int | None,
        typer.Option(
            metavar="K", min=0, show_default=False, help="A recorded step; the last by default."
        ),
    ] = None,
    subdirs: Annotated[
        bool, typer.Option("--subdirs", help="PNG files in a folder for every thousand.")
    ] = False,
    encoder: Annotated[
        str | None,
        typer.Option(metavar="NAME", show_default=False, help="Whose vectors, with vectors."),
    ] = None,
    json: Json = False,
) -> None:
    """Write samples as PNG folders, npz or npy, or their vectors.

    Each run becomes FOLDER/model/sampler/condition, each dataset FOLDER/datasets/NAME.

    May be stopped and repeated: what is there already is kept. Nothing else is ever replaced.
    """
    from reprostore import open_store
    from reprostore.sharing.export import ExportRequest, export_samples
    from reprostore.sharing.exporting.datasets import named_items
    from reprostore_cli.output import console, print_json, progress, table

    opened = open_store(store)
    request = ExportRequest(
        folder=to,
        format=format,  # type: ignore[arg-type]  # it refuses what is none
        runs=_runs(opened, run or [], model or [], sampler or []),
        datasets=[named_items(text) for text in dataset or []],
        seeds=seeds,
        step=step,
        subdirs=subdirs,
        encoder=encoder,
    )
    with progress("samples") as show:
        rows = export_samples(opened, request, progress=show)
    if json:
        inputs = {"store": str(opened.path), "folder": str(to), "format": format, "seeds": seeds,
                  "step": step, "subdirs": subdirs, "encoder": encoder}  # fmt: skip
        print_json("export", inputs, rows)
        return
    cells = [[row["name"], str(row["count"]), str(row["new"]), row["path"]] for row in rows]
    console().print(table(f"Exported from {opened.path}", ["from", ">count", ">new", "to"], cells))


def _runs(
    store: "SampleStore", named: list[str], models: list[str], samplers: list[str]
) -> list[str]:
    from reprostore.errors import SpecError
    from reprostore.sharing.exporting.runs import matching_runs, named_runs

    if named and (models or samplers):
        raise SpecError(
            "--run is given together with --model or --sampler.",
            "Runs are named one by one, or chosen by their models and samplers.",
            "Leave out one of them.",
        )
    if models or samplers:
        return matching_runs(store, models, samplers)
    return named_runs(store, named)
