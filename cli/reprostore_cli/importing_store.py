"""`repro import` of runs that another store holds: a merge of chosen runs."""

from pathlib import Path

from reprostore_cli.output import console, print_json, progress, table


def is_store(source: Path) -> bool:
    """Say whether a source is meant as a sample store, a folder or packed."""
    return (
        source.suffix == ".zip"
        or (source / "zarr.json").is_file()
        or (source.suffix == ".zarr" and source.is_dir())
    )


def import_runs(
    source: Path,
    store: Path,
    runs: list[str] | None,
    *,
    title: str | None,
    given: list[str],
    json: bool,
) -> None:
    """Copy runs of another store, with the datasets and vectors that belong to them.

    Parameters
    ----------
    source, store : Path
        From where, and into which store.
    runs : list of str, optional
        Paths of the runs; all when left out.
    title : str, optional
        Of a new store.
    given : list of str
        Options that were given and mean nothing here.
    json : bool
        Print one JSON object.

    Raises
    ------
    SpecError
        Such an option was given.
    ReprostoreError
        See `reprostore.sharing.merge.merge_stores`.
    """
    from reprostore import open_store
    from reprostore.errors import ConflictError, SpecError
    from reprostore.sharing.merge import merge_stores
    from reprostore.sharing.merging.about import About

    open_store(source)  # what is none is told first
    if given:
        raise SpecError(
            f"{given[0]} was given for {source}, which is a sample store.",
            "Runs of another store keep their names, seeds and noise.",
            "Leave it out, and choose runs with --run; `repro merge` renames them.",
        )
    try:
        with progress("samples") as show:
            rows = merge_stores(store, [source], runs=runs, about=About(title=title), progress=show)
    except ConflictError as error:
        found, expected, action = error.parts
        raise ConflictError(
            found, expected, f"Use `repro merge {store} {source}`, which has more options. {action}"
        ) from error
    if json:
        print_json("import", {"source": str(source), "store": str(store), "runs": runs}, rows)
        return
    cells = [
        [row["name"], "samples", str(row["copied"] + row["equal"]), str(row["copied"])]
        for row in rows
        if row["kind"] == "run"
    ]
    console().print(table(f"Imported into {store}", ["run", "kind", ">seeds", ">new"], cells))
