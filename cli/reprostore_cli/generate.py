"""`repro generate`: write the samples that a study asks for and its store does not have."""

from typing import Annotated

import typer

from reprostore_cli.failures import guarded
from reprostore_cli.options import (
    BatchSize,
    Dtype,
    Json,
    Models,
    Samplers,
    Seeds,
    Store,
    Study,
    study_inputs,
    study_of,
)


@guarded
def generate(
    study: Study = None,
    *,
    store: Store = None,
    model: Models = None,
    sampler: Samplers = None,
    seeds: Seeds = None,
    batch_size: BatchSize = None,
    dtype: Dtype = None,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="Where to compute: auto, cpu, cuda, cuda:1.")
    ] = "auto",
    tf32: Annotated[bool, typer.Option("--tf32", help="Allow TF32 on CUDA devices.")] = False,
    accept_drift: Annotated[
        bool,
        typer.Option(
            "--accept-drift",
            help="Continue runs that were begun with another batch size, device or version.",
        ),
    ] = False,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            show_default=False,
            help="Generate only the K-th of N parts of the work, as a job of a job array.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Generate the samples that are missing in the store.

    May be stopped and repeated at any time.

    --seeds, --batch-size and --dtype replace values of the study file.
    """
    from reprostore.parts import Part
    from reprostore.studies import absent_imports, generate_study
    from reprostore_cli.output import console, print_json, progress, table

    chosen = None if part is None else Part.parse(part)
    loaded = study_of(
        study,
        store=store,
        models=model,
        samplers=sampler,
        seeds=seeds,
        batch_size=batch_size,
        dtype=dtype,
    )
    with progress("samples") as show:
        rows = generate_study(
            loaded,
            device=device,
            tf32=tf32,
            accept_drift=accept_drift,
            part=chosen,
            progress=show,
        )
    if json:
        settings = {"device": device, "tf32": tf32, "part": None if chosen is None else str(chosen)}
        print_json("generate", study_inputs(loaded) | settings, rows)
        return
    cells = [[row["run"], str(row["seeds"]), str(row["written"])] for row in rows]
    title = f"Samples in {loaded.store_path}" + ("" if chosen is None else f", part {chosen}")
    console().print(table(title, ["run", ">seeds", ">new"], cells))
    if absent := absent_imports(loaded):
        console().print(
            f"Not in the store yet, and to come from `repro import`: {', '.join(absent)}."
        )
