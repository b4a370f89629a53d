"""`repro verify --regenerate`: its options, its rows, and the table of the numerical floor."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Group

    from reprostore.sharing.regeneration.portion import Regeneration
    from reprostore.sharing.regeneration.regenerate import Regenerated
    from reprostore.study import LoadedStudy

Share = Annotated[
    str | None,
    typer.Option(
        "--regenerate",
        metavar="SHARE",
        show_default=False,
        help='Generate some samples anew: a share, "0.1%", or a number of each run, "32".',
    ),
]
Models = Annotated[
    Path | None,
    typer.Option(
        "--study",
        metavar="STUDY.toml",
        show_default=False,
        help="The study that names the models of a store; with --regenerate.",
    ),
]
RngSeed = Annotated[
    int, typer.Option("--rng-seed", metavar="N", min=0, help="Chooses what is generated anew.")
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        metavar="N",
        min=1,
        show_default=False,
        help="Samples per forward pass; those of each run by default.",
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="DTYPE",
        show_default=False,
        help="In what models compute; as each run was by default.",
    ),
]
Device = Annotated[
    str,
    typer.Option("--device", metavar="DEVICE", help="Where to compute: auto, cpu, cuda, cuda:1."),
]
Tf32 = Annotated[bool, typer.Option("--tf32", help="Allow TF32 on CUDA devices.")]
Encoders = Annotated[
    list[str] | None,
    typer.Option(
        "--encoder",
        metavar="NAME",
        show_default=False,
        help="In whose space the new samples are compared with the stored ones. May be repeated.",
    ),
]


@dataclass(frozen=True)
class Asked:
    """What is to be generated anew, read and checked before anything is computed."""

    study: "LoadedStudy"
    regeneration: "Regeneration"


def asked(
    loaded: "LoadedStudy | None",
    share: str | None,
    study: Path | None,
    **options: Any,  # noqa: ANN401
) -> Asked | None:
    """Check what the command is given for generating samples anew, before the store is read.

    Parameters
    ----------
    loaded : LoadedStudy, optional
        The study, where the command was given one instead of a store.
    share : str, optional
        Value of `--regenerate`.
    study : Path, optional
        Value of `--study`.
    **options
        Further fields of `reprostore.sharing.regeneration.portion.Regeneration`.

    Returns
    -------
    Asked or None
        None without `--regenerate`.

    Raises
    ------
    SpecError
        The share is none, nothing says where the models are, an encoder, a dtype or a device is
        not known, or options lack `--regenerate`.
    DependencyError
        torch or diffusers is not installed.
    """
    from reprostore.errors import SpecError
    from reprostore.sharing.regeneration.portion import Portion, Regeneration
    from reprostore.studies import require_torch
    from reprostore.study import load_study

    if share is None:
        usual = Regeneration(Portion("1"))
        given = [name for name, value in options.items() if value != getattr(usual, name)]
        given = ["study"] * (study is not None) + given
        if given:
            raise SpecError(
                f"--{given[0].rstrip('s').replace('_', '-')} is given without --regenerate.",
                "It says how samples are generated anew.",
                "Add, for example, --regenerate 0.1%, or leave it out.",
            )
        return None
    regeneration = Regeneration(Portion.parse(share), **options)
    if study is not None:
        loaded = load_study(study)
    if loaded is None:
        raise SpecError(
            "Nothing says which models samples are to be generated anew with.",
            "What a store says of its models is never loaded or imported; a study is.",
            "Name one as --study STUDY.toml, or give the study file instead of the store.",
        )
    require_torch()
    from reprostore.sharing.regeneration.regenerate import checked_regeneration

    checked_regeneration(loaded, regeneration)
    return Asked(loaded, regeneration)


def regenerated(store: Path, what: Asked) -> "Regenerated":
    """Generate samples of a store anew, with progress on a terminal."""
    from reprostore.sharing.regeneration.regenerate import regenerate
    from reprostore.studies import store_for_analysis
    from reprostore_cli.output import progress

    opened, _ = store_for_analysis(store)
    with progress("samples") as show:
        return regenerate(opened, what.study, what.regeneration, show)


def regeneration_inputs(what: Asked, done: "Regenerated | None") -> dict[str, Any]:
    """Return what ``--json`` repeats of the options, and whether the floors are in the store."""
    asked_for = what.regeneration
    return {
        "study": str(what.study.path),
        "regenerate": asked_for.portion.text,
        "rng_seed": asked_for.rng_seed,
        "kept": done is not None and done.kept,
    }


def floor_entries(done: "Regenerated") -> list[dict[str, Any]]:
    """Return the rows of ``--json``: of kind "floor", and "left_out" with a reason."""
    from reprostore.sharing.regeneration.floor import floor_rows

    floors = [{"kind": "floor", **row} for floor in done.floors for row in floor_rows(floor)]
    left_out = [
        {"kind": "left_out", "run": run, "reason": why} for run, why in done.left_out.items()
    ]
    return [*floors, *left_out]


def floor_parts(done: "Regenerated") -> list[Any]:
    """Show what came out: the table of floors, and the runs that were left out."""
    rows = [row for row in floor_entries(done) if row["kind"] == "floor"]
    left_out = [f"Not generated anew: {run}. {why}" for run, why in done.left_out.items()]
    return [floor_table(rows, kept=done.kept), *left_out]


def floor_table(rows: Sequence[dict[str, Any]], *, kept: bool) -> "Group":
    """Show floors: one line for each run, execution in the store, and encoder.

    Parameters
    ----------
    rows : sequence of dict
        Of `floor_entries`, those of kind "floor".
    kept : bool
        Whether they were written into the store.
    """
    from reprostore_analyses.floor import execution_text
    from reprostore_cli.output import table

    heads = ["run", ">samples", ">bit-identical", ">largest", ">median", ">of 255", "encoder",
             ">farthest", "computed again"]  # fmt: skip
    cells = []
    for row in rows:
        for name, space in row["encoders"].items():
            cells.append(
                [
                    row["run"],
                    str(row["seeds"]),
                    str(row["identical"]),
                    difference(row["difference"]),
                    difference(row["median_difference"]),
                    difference(row["grey_difference"]),
                    name,
                    farthest(space),
                    execution_text(row["differs"]),
                ]
            )
    title = (
        "Samples generated anew, against those stored: absolute differences of the last states, "
        "and of 8-bit images"
    )
    return table(title if kept else f"{title} (not kept: the store is read-only)", heads, cells)


def difference(value: float) -> str:
    """Write a difference: 0 only where it is exactly 0."""
    if math.isnan(value):
        return "–"
    return "0" if value == 0 else f"{value:.2g}"


def farthest(space: dict[str, float]) -> str:
    """Write the smallest cosine, or the largest squared distance."""
    from reprostore_analyses.floor import similarity_text

    similarity, distance = space["similarity"], space["distance"]
    if not math.isnan(similarity):
        return f"cosine {similarity_text(similarity)}"
    return "–" if math.isnan(distance) else f"distance {difference(distance)}"
