"""The pictures of an analysis as files, drawn again only when what they show has changed."""

import contextlib
import json
import uuid
from pathlib import Path
from typing import Any

from reprostore import __version__
from reprostore.canonical import fingerprint
from reprostore_analyses.computing import Computed
from reprostore_analyses.context import Context

RECORD = ".drawn.json"
"""In a folder of pictures: what each analysis' pictures were drawn from."""


VERSION = 1
"""Raised when a change to the code of the figures changes them: pictures are then drawn again.

It stands here and not beside that code, which loads matplotlib."""


def draw_pictures(context: Context, computed: Computed, folder: Path) -> list[Path]:
    """Draw what an analysis shows as PNG files, unless they are there.

    A picture's time says nothing of what it shows: an older result, of other options, may have
    been drawn since. So the folder records the fingerprint of what its pictures were drawn from.

    Parameters
    ----------
    context : Context
        What the result was computed from.
    computed : Computed
        The analysis and its result.
    folder : Path
        Where the pictures go; it is made where it does not exist.

    Returns
    -------
    list of Path
        ``ANALYSIS-FIGURE.png``, drawn now or before.

    Raises
    ------
    StorageError
        A picture cannot be written.
    """
    analysis, options, result = computed.analysis, computed.options, computed.result
    shown = fingerprint(
        {
            "version": [__version__, VERSION],
            "analysis": analysis.name,
            "options": options.model_dump(mode="json"),
            "made_from": result.attrs["made_from"],
            "question": result.attrs.get("question"),
            # Looked up beside the result, whose inputs they are not.
            **({"floors": result.attrs["floors"]} if result.attrs.get("floors") else {}),
        }
    )
    drawn = _record(folder).get(analysis.name, {})
    paths = [folder / str(name) for name in drawn.get("files", ())]
    if drawn.get("shown") == shown and paths and all(path.is_file() for path in paths):
        return paths
    from reprostore_analyses.plots import save_figure

    paths = []
    for name, figure in analysis.figures(context, result, options).items():
        path = (
            folder / f"{analysis.name if name == analysis.name else f'{analysis.name}-{name}'}.png"
        )
        save_figure(figure(), path)
        paths.append(path)
    _write_record(folder, analysis.name, {"shown": shown, "files": [path.name for path in paths]})
    return paths


def _record(folder: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if isinstance(record, dict) and all(isinstance(part, dict) for part in record.values()):
            return record
    return {}


def _write_record(folder: Path, name: str, entry: dict[str, Any]) -> None:
    """Add an entry; without one the pictures are drawn again, so no error is worth telling."""
    partial = folder / f"{RECORD}.{uuid.uuid4().hex}.partial"
    with contextlib.suppress(OSError):
        partial.write_text(json.dumps(_record(folder) | {name: entry}, indent=2) + "\n")
        partial.replace(folder / RECORD)
