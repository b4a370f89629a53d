"""`repro compare`: RP and MAE score of two folders or files of samples, in one line."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from reprostore_cli.failures import guarded
from reprostore_cli.options import Download, Json, Layout, SampleShape, ValueRange


@guarded
def compare(
    a: Annotated[
        Path,
        typer.Argument(
            metavar="A", show_default=False, help="A folder of PNG files, a .npz or .npy file."
        ),
    ],
    b: Annotated[Path, typer.Argument(metavar="B", show_default=False, help="Another.")],
    *,
    seeds: Annotated[
        str,
        typer.Option(
            metavar="names|RANGES",
            help='Seeds from the names of the files, or those given ("0-999"), in the order of '
            "the names or rows.",
        ),
    ] = "names",
    seeds_a: Annotated[
        str | None, typer.Option(metavar="RANGES", show_default=False, help="Those of A alone.")
    ] = None,
    seeds_b: Annotated[
        str | None, typer.Option(metavar="RANGES", show_default=False, help="Those of B alone.")
    ] = None,
    noise: Annotated[
        str,
        typer.Option(
            metavar="unknown|edm-cpu|FILE",
            help="What the samples began from: a CPU generator per seed, or a .npy or .npz file.",
        ),
    ] = "unknown",
    noise_a: Annotated[
        str | None, typer.Option(metavar="NOISE", show_default=False, help="That of A alone.")
    ] = None,
    noise_b: Annotated[
        str | None, typer.Option(metavar="NOISE", show_default=False, help="That of B alone.")
    ] = None,
    noise_scale: Annotated[
        float, typer.Option(metavar="X", help="By what the noise in FILE was multiplied.")
    ] = 1.0,
    allow_unchecked: Annotated[
        bool,
        typer.Option("--allow-unchecked", help="Equal seeds mean equal noise: I know it myself."),
    ] = False,
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="KIND", show_default=False, help="In whose space to compare; pixel by default."
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", show_default=False, help="Weights of the encoder."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            show_default=False,
            help="Any option of the encoder, as in a study file. May be repeated.",
        ),
    ] = None,
    threshold: Annotated[
        float, typer.Option(metavar="θ", help="Cosine above which two pictures are the same.")
    ] = 0.6,
    key: Annotated[
        str | None,
        typer.Option(metavar="NAME", show_default=False, help="Array in .npz files."),
    ] = None,
    layout: Layout = None,
    value_range: ValueRange = None,
    shape: SampleShape = None,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="Where the encoder computes: cpu, cuda, cuda:1.")
    ] = "cpu",
    download: Download = False,
    json: Json = False,
) -> None:
    """Compare two folders or files of samples seed by seed, without a store.

    Prints one line: the RP score with its interval, the MAE score, and what chance gives.
    """
    from reprostore_analyses.compare import compare as compare_sources
    from reprostore_analyses.compare_request import CompareRequest, Source
    from reprostore_cli.importing_values import number_pair, sample_shape
    from reprostore_cli.options import key_values
    from reprostore_cli.output import print_json, progress

    options = key_values(option or [])
    if weights is not None:
        options["weights"] = weights
    request = CompareRequest(
        a=Source(a, seeds_a or seeds, noise_a or noise),
        b=Source(b, seeds_b or seeds, noise_b or noise),
        encoder=encoder,
        encoder_options=options,
        threshold=threshold,
        allow_unchecked=allow_unchecked,
        key=key,
        layout=layout,  # type: ignore[arg-type]  # the import refuses what is none
        value_range=number_pair(value_range),
        noise_scale=noise_scale,
        sample_shape=sample_shape(shape),
        device=device,
        download=download,
    )
    with progress("samples") as show:
        row = compare_sources(request, progress=show)
    if json:
        inputs = {"a": str(a), "b": str(b), "seeds": [request.a.seeds, request.b.seeds],
                  "noise": [request.a.noise, request.b.noise], "encoder": row["encoder"],
                  "threshold": threshold, "allow_unchecked": allow_unchecked}  # fmt: skip
        print_json("compare", inputs, [row])
        return
    typer.echo(_line(row, request.a.noise))
    for note in row["notes"]:
        typer.echo(note, err=True)


def _count(number: int, what: str, plural: str) -> str:
    return f"{number:,} {what}{plural if number != 1 else ''}"


def _line(row: dict[str, Any], declared: str) -> str:
    """Return the answer in one line."""
    from reprostore_analyses.footnotes import uninformative_scores
    from reprostore_cli.cells import MANY_SEEDS

    digits = 2 if row["seeds"] < MANY_SEEDS else 3

    def number(name: str) -> str:
        return "–" if math.isnan(row[name]) else f"{row[name]:.{digits}f}"

    within = "" if row["classes"] is None else f" within {_count(row['classes'], 'class', 'es')}"
    if row["chance_seeds"] not in (None, row["seeds"]):
        within += f", of {row['chance_seeds']:,} seeds"
    parts = [
        f"RP {number('rp')} [{number('rp_low')}, {number('rp_high')}] "
        f"(θ = {row['threshold']:g}, {row['encoder']} cosine; chance {number('chance')}{within})"
    ]
    if not math.isnan(row["mae_score"]):
        parts.append(
            f"MAE score {number('mae_score')} "
            f"[{number('mae_score_low')}, {number('mae_score_high')}] "
            f"(chance {number('mae_chance')}{within})"
        )
    if explained := uninformative_scores(row):
        parts.append(f"chance explains {' and '.join(explained)}")
    noise = {"checked": "checked", "declared": f"as declared: {declared}"}
    pairs = _count(row["seeds"], "pair", "s")
    parts.append(f"{pairs} by seed, noise {noise.get(row['noise'], 'not checked')}")
    alone = [f"{row[key]:,} only in {side}" for key, side in (("only_a", "A"), ("only_b", "B"))
             if row[key]]  # fmt: skip
    if alone:
        parts.append(f"seeds without a partner: {', '.join(alone)}")
    return " · ".join(parts)
