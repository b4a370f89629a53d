"""The program `repro` and its commands."""

import contextlib
import io
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from reprostore_cli.analyze import analyze
from reprostore_cli.compare import compare
from reprostore_cli.export import export
from reprostore_cli.failures import guarded
from reprostore_cli.generate import generate
from reprostore_cli.importing import import_
from reprostore_cli.merge import merge
from reprostore_cli.options import refuse_empty
from reprostore_cli.pack import pack, unpack
from reprostore_cli.plan import plan
from reprostore_cli.status import status
from reprostore_cli.train import train
from reprostore_cli.verify import verify


class _Program(TyperGroup):
    """The commands; a value that is empty, as `"$UNSET"` is in a script, is refused for all."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  # typer's own type
        """Refuse empty values before a command reads them: an empty path is the working folder."""
        guarded(refuse_empty)(args)
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="repro",
    cls=_Program,
    help="Store diffusion-model samples once; measure reproducibility and memorization.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(train)
app.command()(generate)
app.command()(analyze)
app.command()(plan)
app.command()(status)
app.command()(verify)
app.command("import")(import_)
app.command()(export)
app.command()(compare)
app.command()(merge)
app.command()(pack)
app.command()(unpack)


def _print_version(asked: bool) -> None:  # typer calls it with the flag's value
    if asked:
        from importlib.metadata import version  # importing the library takes much longer

        typer.echo(f"reprostore {version('reprostore')}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Store diffusion-model samples once; measure reproducibility and memorization."""


def main() -> None:
    """Run the command line of this process, and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without θ shows "?" instead
            stream.reconfigure(errors="replace")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with contextlib.suppress(BrokenPipeError):
        app()
