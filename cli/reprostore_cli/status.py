"""`repro status`: what a store holds, and how far its runs are."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from reprostore_cli.failures import guarded
from reprostore_cli.options import Json


@guarded
def status(
    store: Annotated[
        Path,
        typer.Argument(
            metavar="STORE|STUDY.toml",
            show_default=False,
            help="A store, or a study file, whose seeds the runs are then counted against.",
        ),
    ],
    *,
    json: Json = False,
) -> None:
    """Show the runs, datasets, encoders and results in a store."""
    from reprostore import open_store
    from reprostore.contents import store_contents
    from reprostore.study import load_study
    from reprostore_cli.output import console, print_json

    loaded = None if store.suffix != ".toml" or store.is_dir() else load_study(store)
    opened = open_store(store if loaded is None else loaded.store_path)
    rows = store_contents(opened, loaded)
    about = opened.attributes
    if json:
        study = None if loaded is None else str(loaded.path)
        print_json("status", {"study": study, "store": str(opened.path), **about}, rows)
        return
    output = console()
    output.print(str(opened.path), style="bold")
    for key in ("title", "license", "creators", "created"):
        if about.get(key):
            value = about[key]
            output.print(f"  {key}: {', '.join(value) if isinstance(value, list) else value}",
                         markup=False)  # fmt: skip
    for made in _tables(rows):
        output.print(made)


def _tables(rows: Sequence[dict[str, Any]]) -> Iterable[Any]:
    from reprostore_cli.output import size, table

    kinds = {
        kind: [row for row in rows if row["kind"] == kind]
        for kind in ("run", "dataset", "encoder", "result")
    }
    yield table(
        "Runs",
        ["run", ">written", ">seeds", ">steps", "shape", "dtype", ">bytes"],
        [
            [row["name"], str(row["written"]), str(row["seeds"]), str(row["steps"]),
             _shape(row["shape"]), row["dtype"],
             "withheld" if row["withheld"] else size(row["bytes"])]
            for row in kinds["run"]
        ],
    )  # fmt: skip
    if kinds["dataset"]:
        yield table(
            "Datasets",
            ["dataset", ">items", "shape", "dtype", "held out", "source"],
            [
                [row["name"], str(row["items"]), _shape(row["shape"]), row["dtype"],
                 row["held_out"] or "–", row["source"]]
                for row in kinds["dataset"]
            ],
        )  # fmt: skip
    if kinds["encoder"]:
        yield table(
            "Encoders",
            ["encoder", ">runs", ">datasets"],
            [[row["name"], str(row["runs"]), str(row["datasets"])] for row in kinds["encoder"]],
        )
    if kinds["result"]:
        yield table(
            "Results",
            ["analysis", "encoder", ">θ", ">runs"],
            [
                [row["name"], row["encoder"] or "–", _threshold(row["threshold"]), str(row["runs"])]
                for row in kinds["result"]
            ],
        )


def _shape(shape: Sequence[int] | None) -> str:
    return "–" if shape is None else "×".join(map(str, shape))


def _threshold(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"
