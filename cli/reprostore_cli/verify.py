"""`repro verify`: whether a store is whole, and marking missing what is not."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reprostore_cli.failures import DAMAGED, guarded
from reprostore_cli.options import Download, Json
from reprostore_cli.regeneration import (
    BatchSize,
    Device,
    Dtype,
    Encoders,
    Models,
    RngSeed,
    Share,
    Tf32,
    asked,
    floor_entries,
    floor_parts,
    regenerated,
    regeneration_inputs,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reprostore.sharing.checks.findings import Finding, Report


@guarded
def verify(
    store: Annotated[
        Path,
        typer.Argument(
            metavar="STORE|STUDY.toml",
            show_default=False,
            help="A store, also a packed one, or a study file, which names its store.",
        ),
    ],
    *,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Mark damaged seeds missing, so that generate makes them again, and remove "
            "damaged vectors, neighbors and results.",
        ),
    ] = False,
    regenerate: Share = None,
    study: Models = None,
    rng_seed: RngSeed = 0,
    device: Device = "auto",
    tf32: Tf32 = False,
    batch_size: BatchSize = None,
    dtype: Dtype = None,
    encoder: Encoders = None,
    download: Download = False,
    json: Json = False,
) -> None:
    """Check structure, checksums, digests, and whether caches are of what is stored.

    With --regenerate also generate some samples anew, and tell how far they are from those stored.

    Ends with 3 where something is damaged and was not repaired.
    """
    from reprostore import open_store
    from reprostore.sharing.archives.manifest import check_manifest, stored_in
    from reprostore.sharing.repair import repair_store
    from reprostore.sharing.verify import verify_store
    from reprostore.study import load_study
    from reprostore_cli.output import console, print_json, progress

    loaded = load_study(store) if store.suffix == ".toml" and not store.is_dir() else None
    what = asked(
        loaded,
        regenerate,
        study,
        rng_seed=rng_seed,
        device=device,
        tf32=tf32,
        batch_size=batch_size,
        dtype=dtype,
        encoders=tuple(encoder or ()),
        download=download,
    )
    path = store if loaded is None else loaded.store_path
    opened = open_store(stored_in(path), mode="r+" if repair else "r")
    with progress("bytes") as show:
        report = verify_store(opened, progress=show)
        if path.is_dir():  # of an archive it is compared already
            report.add(check_manifest(path, progress=show))
    left = repair_store(opened, report) if repair and report.damage else report.damage
    if not json:
        console().print(*_tables(report, left, repair=repair), sep="\n")
    done = None if what is None or left else regenerated(opened.path, what)
    if json:
        inputs = {"store": str(opened.path), "repair": repair, "checked": report.counts()}
        anew = {} if what is None else regeneration_inputs(what, done)
        rows = [*_rows(report, left, repair=repair), *([] if done is None else floor_entries(done))]
        print_json("verify", inputs | anew, rows)
    elif done is not None:
        console().print(*floor_parts(done), sep="\n")
    elif what is not None:
        console().print("Nothing was generated anew, for the store is damaged.")
    if left:
        raise typer.Exit(DAMAGED)


def _rows(report: "Report", left: "Sequence[Finding]", *, repair: bool) -> list[dict[str, Any]]:
    later = [finding for finding in left if finding not in report.findings]
    return [
        finding.row() | {"repaired": repair and finding.damage and finding not in left}
        for finding in [*report.findings, *later]
    ]


def _tables(report: "Report", left: "Sequence[Finding]", *, repair: bool) -> list[Any]:
    from reprostore_cli.output import size, table

    parts: list[Any] = []
    titles = {"Damage": report.damage, "Still damaged": left}
    if not repair:
        del titles["Still damaged"]
    for title, findings in titles.items():
        if findings:
            heads = ["place", "seeds", "steps", "what was found", "what to do"]
            cells = [[f.place or "/", *_numbers(f), f.what, f.action] for f in findings]
            parts.append(table(title, heads, cells))
    notes = [finding for finding in report.findings if not finding.damage]
    if notes:
        cells = [[f.place or "/", f.what, f.action] for f in notes]
        parts.append(
            table("Notes (no damage)", ["place", "what was found", "what it means"], cells)
        )
    count = report.counts()
    parts.append(
        f"Checked {count['files']:,} files ({size(count['nbytes'])}): {count['chunks']:,} chunks, "
        f"{count['seeds']:,} seeds of {count['runs']:,} runs, {count['datasets']:,} datasets and "
        f"{count['caches']:,} groups of vectors, neighbors and results."
    )
    if not report.damage:
        parts.append("Nothing is damaged.")
    elif repair:
        parts.append(
            "What is left takes a copy of the store." if left else "All of it is repaired."
        )
    return parts


def _numbers(finding: "Finding") -> tuple[str, str]:
    from reprostore.seeds import shorten

    return shorten(finding.seeds or "–", 40), shorten(finding.steps or "–", 40)
