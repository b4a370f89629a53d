"""`repro plan`: what generating a study would write."""

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
def plan(
    study: Study = None,
    *,
    store: Store = None,
    model: Models = None,
    sampler: Samplers = None,
    seeds: Seeds = None,
    batch_size: BatchSize = None,
    dtype: Dtype = None,
    json: Json = False,
) -> None:
    """Show what would be generated: work units, files and bytes of every run.

    Nothing is written. Bytes are those of complete runs before compression.
    """
    from reprostore.planning import plan_study
    from reprostore_cli.output import console, print_json, size, table

    loaded = study_of(
        study,
        store=store,
        models=model,
        samplers=sampler,
        seeds=seeds,
        batch_size=batch_size,
        dtype=dtype,
    )
    rows = plan_study(loaded)
    if json:
        print_json("plan", study_inputs(loaded), rows)
        return
    keys = ("seeds", "missing", "units", "files", "bytes")
    total = {"run": "total"} | {key: sum(row[key] for row in rows) for key in keys}
    cells = [
        [row["run"], *(str(row[key]) for key in keys[:-1]), size(row["bytes"])]
        for row in [*rows, total]
    ]
    heads = ["run", *(f">{key}" for key in keys)]
    console().print(table(f"Plan for {loaded.store_path}", heads, cells, total=True))
