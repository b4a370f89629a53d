"""Figures into files: complete or not at all, the same bytes for the same figure."""

import uuid
from pathlib import Path

from matplotlib.figure import Figure

from reprostore.errors import StorageError
from reprostore_analyses.plots.style import DPI


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and empty it.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        It cannot be used afterwards.
    path : Path
        File to write; folders are made as needed, and a file that stands there is replaced in
        one move.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # the version of the library would make files differ that show the same
            figure.savefig(partial, format="png", dpi=DPI, metadata={"Software": None})
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"The picture {path} cannot be written: {error.strerror or error}.",
            "Pictures go into a folder that can be written, with space left.",
            "Give permission or make room, or choose another folder with --out.",
        ) from error
    finally:
        figure.clear()
