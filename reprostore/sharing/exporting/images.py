"""Folders of PNG files, named by seed as EDM names them."""

import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import DependencyError, SpecError
from reprostore.images import to_uint8
from reprostore.paths import require_file
from reprostore.sharing.exporting.record import in_the_way
from reprostore.sharing.exporting.sources import Selection

PIXELS = "uint8, round((x + 1) · 127.5) of x in [-1, 1], halves to even"
"""What the record says of the values of images."""

_PARTIAL = ".partial"


def require_pixels(selection: Selection, form: str) -> None:
    """Refuse what is no grey or RGB image.

    Raises
    ------
    SpecError
        These are no images, or images of other than 1 or 3 channels.
    """
    if selection.is_image and selection.shape[0] in (1, 3):
        return
    found = (
        f"images of {selection.shape[0]} channels"
        if selection.is_image
        else f"of shape {selection.shape} and no images"
    )
    raise SpecError(
        f"The samples of {selection.name} are {found}.",
        f"The format {form} holds 8-bit images, grey or RGB.",
        "Export their values as they are, with --format npy.",
    )


def png_name(number: int, *, subdirs: bool) -> str:
    """Return the file of a seed: ``000123.png``, or ``000000/000123.png``.

    References
    ----------
    NVlabs/edm, ``generate.py``: ``{seed:06d}.png``, in ``{seed-seed%1000:06d}`` with --subdirs.
    """
    name = f"{number:06d}.png"
    return f"{number - number % 1000:06d}/{name}" if subdirs else name


class PngFolder:
    """A folder of one PNG file for every number of a selection.

    Parameters
    ----------
    place : Path
        The folder.
    selection : Selection
        Grey or RGB images.
    subdirs : bool
        Whether every thousand has a folder of its own.

    Raises
    ------
    SpecError
        These are no such images.
    DependencyError
        Pillow is not installed.
    """

    values = PIXELS

    def __init__(self, place: Path, selection: Selection, *, subdirs: bool) -> None:
        require_pixels(selection, "png")
        _pillow()
        self.place = place
        self.selection = selection
        self._verified: dict[str, tuple[int, int]] = {}
        self._names = [png_name(int(n), subdirs=subdirs) for n in selection.numbers]

    def check(self, recorded: dict[str, Any], before: dict[str, Any] | None) -> None:
        """Refuse a folder that holds other files, or other pictures under these names.

        Nothing is written. What an export that was stopped has left is taken up; whatever the
        record `before` says, the pictures themselves are compared.

        Raises
        ------
        IdentityError
            A file is in the way.
        """
        del recorded, before
        if not self.place.is_dir() and self.place.exists():
            raise in_the_way(f"{self.place} is a file, and no folder.")
        expected = set(self._names)
        found = set(_files(self.place))
        others = sorted(name for name in found if name.removesuffix(_PARTIAL) not in expected)
        if others:
            raise in_the_way(
                f"The folder {self.place} holds {len(others)} files that do not belong to this "
                f"export, such as {others[0]}."
            )
        states = {name: _state(self.place / name) for name in found & expected}
        there = [i for i, n in enumerate(self._names)
                 if n in states and self._verified.get(n) != states[n]]  # fmt: skip
        for positions, block in self.selection.blocks(np.asarray(there, dtype=np.int64)):
            images = to_uint8(block)
            for position, image in zip(positions, images, strict=True):
                name = self._names[position]
                if not _shows(self.place / name, image):
                    raise in_the_way(
                        f"{self.place / name} shows something else than {self.selection.name} in "
                        "the store."
                    )
                self._verified[name] = states[name]

    def write(
        self, progress: Callable[[int], None], record: Callable[[dict[str, str]], None]
    ) -> int:
        """Write the files that are not there, and return how many.

        Parameters
        ----------
        progress : callable
            Called with how many are done.
        record : callable
            Called when all are there, with no digests of files: it names those of the samples.
        """
        found = set(_files(self.place))
        missing = np.asarray(
            [i for i, name in enumerate(self._names) if name not in found], np.int64
        )
        done = len(self._names) - len(missing)
        progress(done)
        # Compression leaves the interpreter to others.
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for positions, block in self.selection.blocks(missing):
                images = to_uint8(block)
                files = [self.place / self._names[position] for position in positions]
                for folder in {file.parent for file in files}:
                    folder.mkdir(parents=True, exist_ok=True)
                for _ in pool.map(_write_png, files, images):
                    done += 1
                progress(done)
        for name in found:
            if name.endswith(_PARTIAL):
                (self.place / name).unlink(missing_ok=True)
        record({})
        return len(missing)


def _files(place: Path) -> list[str]:
    return [p.relative_to(place).as_posix() for p in place.rglob("*") if not p.is_dir()]


def _state(file: Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns


def _write_png(file: Path, image: NDArray[np.uint8]) -> None:
    encoded = io.BytesIO()
    _pillow().fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(
        encoded, format="PNG"
    )
    partial = file.with_name(file.name + _PARTIAL)
    try:
        partial.write_bytes(encoded.getvalue())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _shows(file: Path, image: NDArray[np.uint8]) -> bool:
    """Say whether a file shows these pixels."""
    try:
        with _pillow().open(require_file(file)) as opened:
            shown = np.asarray(opened)
            mode = opened.mode
    except (OSError, SyntaxError, ValueError):
        return False
    wanted = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    return mode == ("L" if len(image) == 1 else "RGB") and np.array_equal(shown, wanted)


def _pillow() -> Any:  # noqa: ANN401  # a module
    try:
        from PIL import Image
    except ImportError as error:
        raise DependencyError(
            "Pillow is not installed.",
            "PNG files are written by Pillow.",
            "Install it with: pip install 'reprostore[images]'",
        ) from error
    return Image
