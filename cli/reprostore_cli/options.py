"""The options that commands share, and the study that they make."""

import itertools
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from reprostore.study import LoadedStudy

Study = Annotated[
    Path | None,
    typer.Argument(
        metavar="STUDY.toml", show_default=False, help="A study file; see docs/study.md."
    ),
]
Store = Annotated[
    str | None,
    typer.Option(metavar="PATH", show_default=False, help="The store, without a study file."),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="SOURCE",
        show_default=False,
        help="A model, without a study file: a folder or a hub id. May be repeated.",
    ),
]
Samplers = Annotated[
    list[str] | None,
    typer.Option(
        "--sampler",
        metavar="NAME:STEPS",
        show_default=False,
        help="A sampler, without a study file, such as ddim:50. May be repeated.",
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option(
        metavar="RANGES", show_default=False, help='The seeds, such as "0-999" or "0-63,99".'
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, show_default=False, help="Samples per forward pass; 128 by default."
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        metavar="DTYPE",
        show_default=False,
        help="In what models compute: float32 (default), float16, bfloat16, float64.",
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else on the output.")
]
Download = Annotated[
    bool,
    typer.Option("--download", help="Let encoders download weights that are not on this machine."),
]
Layout = Annotated[
    str | None,
    typer.Option(metavar="nhwc|nchw", show_default=False, help="Axes of an array of images."),
]
ValueRange = Annotated[
    str | None,
    typer.Option(
        metavar="BLACK,WHITE", show_default=False, help="Values of floats not in [-1, 1]."
    ),
]
SampleShape = Annotated[
    str | None,
    typer.Option(metavar="C,H,W", show_default=False, help="Shape of the samples behind vectors."),
]


def study_of(
    path: Path | None,
    *,
    store: str | None,
    models: list[str] | None,
    samplers: list[str] | None,
    seeds: str | None,
    batch_size: int | None,
    dtype: str | None,
) -> "LoadedStudy":
    """Read the study file, with the options that replace its values, or make one from options.

    Raises
    ------
    SpecError
        A study file is given together with options that it makes meaningless, or neither.
    ReprostoreError
        The file or an option is not valid.
    """
    from reprostore.errors import SpecError
    from reprostore.studies import overridden
    from reprostore.study import derived_study, load_study

    named = {"--store": store, "--model": models, "--sampler": samplers}
    given = [option for option, value in named.items() if value]
    if path is not None:
        if given:
            raise SpecError(
                f"{', '.join(given)} cannot be given together with the study file {path}.",
                "A study file names the store, the models and the samplers.",
                "Change the file, or leave it out.",
            )
        return overridden(load_study(path), seeds=seeds, batch_size=batch_size, dtype=dtype)
    if store is None or not models or not samplers:
        missing = ", ".join(option for option in named if option not in given)
        raise SpecError(
            f"There is no study file, and {missing} is missing."
            if given
            else "There is no study file.",
            "What to compute is named by a study file, or by --store, --model and --sampler.",
            "Name a study file, such as study.toml, or give all three options.",
        )
    return derived_study(
        store=store,
        models=models,
        samplers=samplers,
        seeds=seeds,
        batch_size=128 if batch_size is None else batch_size,
        dtype=dtype or "float32",
    )


def study_inputs(loaded: "LoadedStudy") -> dict[str, object]:
    """Return what ``--json`` repeats of a study."""
    study = loaded.study
    return {
        "study": None if loaded.path is None else str(loaded.path),
        "store": str(loaded.store_path),
        "seeds": study.seeds,
        "batch_size": study.batch_size,
        "dtype": study.dtype,
    }


def refuse_empty(arguments: list[str]) -> None:
    """Refuse an option or argument without a value.

    Raises
    ------
    SpecError
        One is empty.
    """
    for before, text in itertools.pairwise(["", *arguments]):
        name = before if not text and before.startswith("--") else text.removesuffix("=")
        if not text or (text.startswith("--") and text.find("=") == len(text) - 1):
            from reprostore.errors import SpecError  # `--help` loads no library

            raise SpecError(
                f"{name or 'An argument'} has no value.",
                "A value is not empty; a variable of the shell that is not set gives an empty one.",
                "Give a value, or leave the option out.",
            )


def key_values(pairs: list[str]) -> dict[str, Any]:
    """Return the options KEY=VALUE by key; values are read as TOML, and what is none is a text.

    Raises
    ------
    SpecError
        A text has no key or no value.
    """
    from reprostore.errors import SpecError

    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise SpecError(
                f"--option {pair!r} has no key or no value.",
                "An option is a key and a value.",
                "Write it as --option key=value, for example --option confidence=0.99.",
            )
        try:
            options[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            options[key.strip()] = value
    return options
