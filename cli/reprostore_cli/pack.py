"""`repro pack` and `repro unpack`: a store, or a part of it, for others, and back again."""

from pathlib import Path
from typing import Annotated

import typer

from reprostore_cli.failures import guarded
from reprostore_cli.options import Json


@guarded
def pack(
    store: Annotated[
        Path,
        typer.Argument(metavar="STORE", show_default=False, help="A store, or a packed one."),
    ],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="TARGET", show_default=False, help="NAME.zip for an archive, else a folder."
        ),
    ],
    *,
    content: Annotated[
        str,
        typer.Option(
            metavar="CONTENT",
            help="all, samples, or vectors: vectors and neighbors without images.",
        ),
    ] = "all",
    run: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL/SAMPLER/CONDITION",
            show_default=False,
            help="Only this run; * stands for any text. May be repeated.",
        ),
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", show_default=False, help="Only vectors of this one. May be repeated."
        ),
    ] = None,
    datasets: Annotated[
        bool, typer.Option("--datasets", help="Pack the items of datasets too.")
    ] = False,
    allow_pixel: Annotated[
        bool,
        typer.Option(
            "--allow-pixel",
            help="Pack vectors from which images can be computed, although these are withheld.",
        ),
    ] = False,
    title: Annotated[
        str | None, typer.Option(metavar="TEXT", show_default=False, help="Title of the pack.")
    ] = None,
    license: Annotated[
        str | None,
        typer.Option(
            metavar="SPDX|URL", show_default=False, help="Licence, such as CC-BY-4.0 or a URL."
        ),
    ] = None,
    creator: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help='A name, or "Name <https://orcid.org/…>". May be repeated.',
        ),
    ] = None,
    description: Annotated[
        str | None,
        typer.Option(metavar="TEXT", show_default=False, help="What it is, in a sentence."),
    ] = None,
    json: Json = False,
) -> None:
    """Pack a store into one archive or folder, with a README, metadata and a manifest.

    The items of datasets stay here without --datasets. Nothing is ever replaced.
    """
    from reprostore import open_store
    from reprostore.sharing.pack import pack_store
    from reprostore.sharing.packing.request import PackRequest
    from reprostore_cli.output import console, print_json, progress, size, table

    request = PackRequest(
        content=content,  # type: ignore[arg-type]  # it refuses what is none
        runs=run or None,
        encoders=encoder or None,
        datasets=datasets,
        allow_pixel=allow_pixel,
        title=title,
        license=license,
        creators=creator or (),
        description=description,
    )
    opened = open_store(store)
    with progress("bytes") as show:
        made = pack_store(opened, target, request, progress=show)
    rows = made.pop("runs")
    if json:
        print_json("pack", {"store": str(opened.path), **made}, rows)
        return
    output = console()
    heads = ["run", ">samples", "seeds", "images"]
    images = {True: "withheld", False: "packed"}
    cells = [[r["name"], str(r["samples"]), r["seeds"], images[r["withheld"]]] for r in rows]
    output.print(table(f"Packed into {made['path']}", heads, cells))
    for text in made["left_out"]:
        output.print(f"Not packed: {text}", markup=False)
    what = "archive" if made["path"].endswith(".zip") else "manifest"
    output.print(
        f"{made['files']:,} files, {size(made['bytes'])}; sha256 of the {what}: {made['sha256']}"
    )


@guarded
def unpack(
    pack: Annotated[
        Path,
        typer.Argument(
            metavar="PACK", show_default=False, help="An archive or a folder that pack made."
        ),
    ],
    *,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            show_default=False,
            help="A new folder; the pack's name, in the working directory, by default.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Unpack a pack into a folder, if every file of it is the one that was packed.

    Nothing is written outside of the folder, whoever made the pack.
    """
    from reprostore.sharing.unpack import unpack as unpacked
    from reprostore_cli.output import console, print_json, progress, size

    with progress("bytes") as show:
        made = unpacked(pack, to, progress=show)
    rows = made.pop("runs")
    if json:
        print_json("unpack", {"pack": str(pack), **made}, rows)
        return
    output = console()
    output.print(f"{made['files']:,} files, {size(made['bytes'])}, all as the manifest says.")
    output.print(f"The store is {made['store']}", markup=False)
