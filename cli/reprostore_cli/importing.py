"""`repro import`: samples that were made elsewhere, as runs of a store."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reprostore_cli.failures import guarded
from reprostore_cli.options import Json, Layout, SampleShape, ValueRange

if TYPE_CHECKING:
    from reprostore.importing import ImportRequest


@guarded
def import_(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            show_default=False,
            help="A folder of PNG files, a .npz or .npy file, or another store.",
        ),
    ],
    *,
    store: Annotated[
        Path,
        typer.Option(
            metavar="PATH", show_default=False, help="The store; made where it does not exist."
        ),
    ],
    model: Annotated[
        str | None, typer.Option(metavar="NAME", show_default=False, help="Name of the model.")
    ] = None,
    sampler: Annotated[str, typer.Option(metavar="NAME", help="Name of the sampler.")] = "imported",
    condition: Annotated[str, typer.Option(metavar="NAME", help="Name of the condition.")] = "none",
    seeds: Annotated[
        str,
        typer.Option(
            metavar="names|RANGES",
            help='Seeds from the names of the files, or those given ("0-999"), in the order of '
            "the names or rows.",
        ),
    ] = "names",
    noise: Annotated[
        str,
        typer.Option(
            metavar="unknown|edm-cpu|FILE",
            help="What the samples began from: a CPU generator per seed, or a .npy or .npz file.",
        ),
    ] = "unknown",
    noise_scale: Annotated[
        float, typer.Option(metavar="X", help="By what the noise in FILE was multiplied.")
    ] = 1.0,
    steps: Annotated[int, typer.Option(metavar="N", help="Solver steps, for the record.")] = 1,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="Array in an .npz file: arr_0 of images, features of vectors by default.",
        ),
    ] = None,
    layout: Layout = None,
    value_range: ValueRange = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", show_default=False, help="The file holds vectors of this encoder."
        ),
    ] = None,
    encoder_weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|SHA256", show_default=False, help="Of the encoder, for its identity."
        ),
    ] = None,
    metric: Annotated[
        str, typer.Option(metavar="METRIC", help="Of the vectors: cosine or squared_l2.")
    ] = "cosine",
    shape: SampleShape = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            show_default=False,
            help="The checkpoint that the samples come from; more seeds can then follow.",
        ),
    ] = None,
    trained_on: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET[@INDEX]",
            show_default=False,
            help="What the model was trained on, such as digits@0-63.",
        ),
    ] = None,
    held_out: Annotated[
        str | None,
        typer.Option(
            metavar="INDEX", show_default=False, help="Items of it that the model never saw."
        ),
    ] = None,
    family: Annotated[
        str | None, typer.Option(metavar="NAME", show_default=False, help="Of the model.")
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL/SAMPLER/CONDITION",
            show_default=False,
            help="Of another store, only this run. May be repeated.",
        ),
    ] = None,
    title: Annotated[
        str | None, typer.Option(metavar="TEXT", show_default=False, help="Of a new store.")
    ] = None,
    json: Json = False,
) -> None:
    """Import samples that were made elsewhere, or vectors of them, as a run.

    All of the source is checked before anything is written. May be stopped and repeated.
    """
    from reprostore import create_store
    from reprostore.errors import SpecError
    from reprostore.importing import ImportRequest, prepared_import, write_import
    from reprostore.sharing.exporting.datasets import named_items
    from reprostore_cli.importing_store import import_runs, is_store
    from reprostore_cli.importing_values import number_pair, sample_shape
    from reprostore_cli.output import print_json, progress

    if is_store(source):
        usual = {"sampler": "imported", "condition": "none", "seeds": "names", "noise": "unknown",
                 "noise_scale": 1.0, "steps": 1, "metric": "cosine"}  # fmt: skip
        own = {"model": model, "sampler": sampler, "condition": condition, "seeds": seeds,
               "noise": noise, "noise_scale": noise_scale, "steps": steps, "key": key,
               "layout": layout, "value_range": value_range, "encoder": encoder,
               "encoder_weights": encoder_weights, "metric": metric, "shape": shape,
               "weights": weights, "trained_on": trained_on, "held_out": held_out,
               "family": family}  # fmt: skip
        given = [f"--{name.replace('_', '-')}" for name, value in own.items()
                 if value != usual.get(name)]  # fmt: skip
        import_runs(source, store, run, title=title, given=given, json=json)
        return
    if model is None or run:
        raise SpecError(
            f"--run was given for {source}." if run else "There is no --model.",
            "Samples from a folder or a file become one run, named by --model, --sampler and "
            "--condition; --run chooses runs of another store.",
            "Name the model, and leave --run out.",
        )
    request = ImportRequest(
        source=source,
        model=model,
        sampler=sampler,
        condition=condition,
        seeds=seeds,
        noise=noise,
        noise_scale=noise_scale,
        steps=steps,
        key=key,
        value_range=number_pair(value_range),
        layout=layout,  # type: ignore[arg-type]  # it refuses what is none
        encoder=encoder,
        encoder_weights=encoder_weights,
        metric=metric,  # type: ignore[arg-type]  # it refuses what is none
        sample_shape=sample_shape(shape),
        weights=weights,
        trained_on=None if trained_on is None else named_items(trained_on),
        held_out=held_out,
        family=family,
    )
    # The store is made last: a mistake in the source or the options leaves nothing behind.
    with progress("samples") as show, prepared_import(request) as prepared:
        opened = create_store(store, title=title)
        row = write_import(opened, prepared, show)
    if json:
        print_json("import", _inputs(request, store), [row])
        return
    _show(row, store)


def _inputs(request: "ImportRequest", store: Path) -> dict[str, object]:
    return {
        "source": str(request.source),
        "store": str(store),
        "seeds": request.seeds,
        "noise": request.noise,
        "encoder": request.encoder,
    }


def _show(row: dict[str, object], store: Path) -> None:
    from rich.text import Text

    from reprostore_cli.output import console, table

    cells = [str(row[key]) for key in ("run", "kind", "seeds", "written", "noise")]
    output = console()
    output.print(
        table(f"Imported into {store}", ["run", "kind", ">seeds", ">new", "noise"], [cells])
    )
    notes = row["notes"]
    assert isinstance(notes, list)
    for note in notes:
        output.print(Text(str(note)))
