"""`repro merge`: two laboratories' stores become one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from reprostore_cli.failures import guarded
from reprostore_cli.options import Json

_Pairs = list[str] | None


@guarded
def merge(
    stores: Annotated[
        list[Path],
        typer.Argument(
            metavar="STORE...",
            show_default=False,
            help="Stores, folders or packed. All but the first are added to the first.",
        ),
    ],
    *,
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="STORE",
            show_default=False,
            help="Where the union is written instead; then all stores are only read.",
        ),
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            show_default=False,
            help="Merge only this run, model/sampler/condition; * stands for any text. May be "
            "repeated.",
        ),
    ] = None,
    rename: Annotated[
        _Pairs,
        typer.Option(
            metavar="[STORE:]OLD=NEW",
            show_default=False,
            help="New name of a source's model. May be repeated.",
        ),
    ] = None,
    rename_dataset: Annotated[
        _Pairs,
        typer.Option(
            metavar="[STORE:]OLD=NEW",
            show_default=False,
            help="New name of a source's dataset. May be repeated.",
        ),
    ] = None,
    rename_encoder: Annotated[
        _Pairs,
        typer.Option(
            metavar="[STORE:]OLD=NEW",
            show_default=False,
            help="New name of a source's encoder. May be repeated.",
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="T",
            show_default=False,
            help="How far states of equal seeds may differ, images in [-1, 1]; else not at all.",
        ),
    ] = None,
    title: Annotated[
        str | None, typer.Option(metavar="TEXT", show_default=False, help="Of a new store.")
    ] = None,
    license_: Annotated[
        str | None,
        typer.Option(
            "--license",
            metavar="NAME",
            show_default=False,
            help="Of a new store; needed where the licences of the stores differ.",
        ),
    ] = None,
    creator: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="Of a new store, beside those of the stores. May be repeated.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Compare, and show what would be merged.")
    ] = False,
    json: Json = False,
) -> None:
    """Add the content of stores to another one, or unite them in a new one.

    All is compared first: with one conflict nothing is written.
    """
    from reprostore import open_store
    from reprostore.errors import ConflictError
    from reprostore.sharing.merge import merge_stores
    from reprostore.sharing.merging.about import About
    from reprostore_cli.output import print_json, progress

    if into is None:
        open_store(stores[0])  # a new store is made only where one is asked for
    target, sources = (stores[0], stores[1:]) if into is None else (into, stores)
    inputs = {
        "store": str(target.absolute()),
        "sources": [str(path.absolute()) for path in sources],
        "tolerance": tolerance,
        "dry_run": dry_run,
    }
    try:
        with progress("samples") as show:
            rows = merge_stores(
                target,
                sources,
                runs=run,
                rename=_pairs(rename, "--rename"),
                rename_datasets=_pairs(rename_dataset, "--rename-dataset"),
                rename_encoders=_pairs(rename_encoder, "--rename-encoder"),
                tolerance=tolerance,
                about=About(title, license_, tuple(filter(str.strip, creator or ()))),
                dry_run=dry_run,
                progress=show,
            )
    except ConflictError as error:
        if json:
            print_json("merge", inputs, error.conflicts)
        else:
            _show_conflicts(error.conflicts)
        raise
    if json:
        print_json("merge", inputs, rows)
    else:
        _show(rows, target, dry_run=dry_run)


def _pairs(values: Sequence[str] | None, option: str) -> dict[str, str]:
    from reprostore.errors import SpecError
    from reprostore.seeds import shorten

    pairs: dict[str, str] = {}
    for value in values or ():
        old, equals, new = value.partition("=")
        if not (old and equals and new) or old in pairs:
            raise SpecError(
                f"{option} has the value {shorten(value)!r}.",
                "It gives one new name for each old one.",
                f"Write {option} OLD=NEW, or {option} STORE:OLD=NEW.",
            )
        pairs[old] = new
    return pairs


def _show_conflicts(conflicts: Sequence[dict[str, str]]) -> None:
    from reprostore_cli.output import console, table

    cells = [[one["what"], one["source"], one["found"], one["action"]] for one in conflicts]
    console().print(table("Conflicts", ["what", "store", "found", "what to do"], cells))


def _show(rows: Sequence[dict[str, Any]], target: Path, *, dry_run: bool) -> None:
    from reprostore_cli.output import console, size, table

    output = console()
    verb = "would be merged into" if dry_run else "merged into"
    runs = [row for row in rows if row["kind"] == "run"]
    output.print(
        table(
            f"Runs {verb} {target}",
            ["run", "from", ">copied", ">equal", ">differing", ">by up to", ">bytes"],
            [
                [row["name"], _origin(row), str(row["copied"]), str(row["equal"]),
                 str(row["differing"]), _number(row["largest_difference"]), size(row["bytes"])]
                for row in runs
            ],
        )
    )  # fmt: skip
    datasets = [row for row in rows if row["kind"] == "dataset"]
    if datasets:
        cells = [[row["name"], _origin(row), str(row["copied"]), str(row["equal"])]
                 for row in datasets]  # fmt: skip
        output.print(table("Datasets", ["dataset", "from", ">copied", ">equal"], cells))
    derived = [row for row in rows if row["kind"] not in ("run", "dataset", "note")]
    if derived:
        cells = [[row["name"], row["source"], _number(row["copied"])] for row in derived]
        output.print(
            table("Vectors and what was made of them", ["group", "from", ">copied"], cells)
        )
    for row in rows:
        if row["kind"] == "note":
            name = f"{row['name']}: " if row["name"] else ""
            output.print(f"{name}{row['text']}", markup=False)


def _origin(row: dict[str, Any]) -> str:
    renamed = row["from"] != row["name"]
    return f"{row['source']}: {row['from']}" if renamed else str(row["source"])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
