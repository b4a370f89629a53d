"""`repro train`: train the models of a study that are not trained yet."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reprostore_cli.failures import guarded
from reprostore_cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Callable

    from reprostore.training_progress import Advance
    from reprostore_cli.output import Show


@guarded
def train(
    study: Annotated[
        Path,
        typer.Argument(
            metavar="STUDY.toml", show_default=False, help="A study file; see docs/study.md."
        ),
    ],
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            show_default=False,
            help="Models or sweeps of the study; all models with a recipe by default.",
        ),
    ] = None,
    *,
    jobs: Annotated[
        int, typer.Option(metavar="N", help="How many models are trained side by side.")
    ] = 1,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            show_default=False,
            help="Threads of each job on the CPU; the cores are shared out by default.",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="Where to compute: auto, cpu, cuda, cuda:1.")
    ] = "auto",
    json: Json = False,
) -> None:
    """Train the models of a study that are not trained yet.

    May be stopped and repeated at any time: a training goes on where it was stopped.
    """
    from reprostore.study import load_study
    from reprostore.trainer import train_study
    from reprostore_cli.output import console, print_json, progress, table

    loaded = load_study(study)
    with progress("steps", keep=False) as show:
        rows = train_study(
            loaded,
            models or (),
            jobs=jobs,
            threads=threads,
            device=device,
            progress=None if show is None else _bars(show),
        )
    if json:
        inputs = {
            "study": str(loaded.path),
            "store": str(loaded.store_path),
            "models": models or [],
            "jobs": jobs,
            "threads": threads,
            "device": device,
        }
        print_json("train", inputs, rows)
        return
    heads = ["model", ">N", ">width", ">steps", ">parameters", ">loss", ">seconds", ">new"]
    cells = [
        [
            row["model"],
            str(row["items"]),
            "–" if row["width"] is None else str(row["width"]),
            str(row["steps"]),
            str(row["parameters"]),
            f"{row['loss']:.4g}",
            f"{row['seconds']:.1f}",
            str(row["trained"]),
        ]
        for row in rows
    ]
    console().print(table(f"Models of {loaded.path}", heads, cells))


def _bars(show: "Show") -> "Callable[[Advance], None]":
    """Return what draws a bar for each model in training, and one for all when there are more."""

    def draw(advance: "Advance") -> None:
        if advance.models > 1:
            show(f"{advance.models} models", advance.all_step, advance.all_steps)
        loss = "" if advance.loss is None else f"loss {advance.loss:.4g}"
        show(advance.model, advance.step, advance.steps, loss)

    return draw
