"""A folder of PNG files whose names tell the seeds, as EDM's ``generate.py`` writes them."""

import hashlib
import io
import itertools
import json
import os
import re
import struct
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reprostore.datasets.folder import describe_header, image_header, image_pixels, pillow
from reprostore.datasets.items import unreadable
from reprostore.errors import DatasetError, SpecError
from reprostore.importing.png_stream import require_whole_stream
from reprostore.importing.request import NAMES, ImportRequest
from reprostore.importing.samples import Samples, distinct_seeds, named_seeds
from reprostore.seeds import parse_ranges

_NUMBER = re.compile(r"([0-9]+)\.png", re.IGNORECASE)
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

SUBFOLDER_SEEDS: Final = 1000
"""Seeds in one sub-folder of EDM's ``--subdirs``, which is named after the first of them."""


def open_png_folder(request: ImportRequest) -> Samples:
    """Open a folder of PNG files; every file is read once, and none is decoded yet.

    Parameters
    ----------
    request : ImportRequest
        Its `source` is the folder.

    Returns
    -------
    Samples
        uint8, (1, y, x) of grey images and (3, y, x) of RGB.

    Raises
    ------
    SpecError
        The names do not tell the seeds, or the given seeds do not fit.
    DatasetError
        The folder is empty, holds other files or images of several sizes or modes, or a file is
        damaged.
    DependencyError
        Pillow is not installed.

    References
    ----------
    NVlabs/edm, ``generate.py``: ``{seed:06d}.png``, with ``--subdirs`` in the folder
    ``{seed - seed % 1000:06d}``.
    """
    folder, what = request.source, f"the folder {request.source}"
    files = _png_files(folder, what)
    if request.seeds in {"", NAMES}:
        numbers = [_seed_of(file, what) for file in files]
        distinct_seeds(numbers, files, what)
        order = sorted(range(len(files)), key=lambda row: numbers[row])
        files, seeds = [files[row] for row in order], [numbers[row] for row in order]
    else:
        files = _in_order(files, what)
        seeds = _given_seeds(request.seeds, files, what)
    header = image_header(folder, files[0], what)
    whole, states = hashlib.sha256(), []
    for file, seed in zip(files, seeds, strict=True):
        if (other := image_header(folder, file, what)) != header:
            raise DatasetError(
                f"{what[0].upper()}{what[1:]} mixes images: {files[0]} is "
                f"{describe_header(header)}, {file} is {describe_header(other)}.",
                "All samples of a run have one size and one mode.",
                "Import them as runs of their own, or remove those that do not belong.",
            )
        states.append(_state(folder / file))
        whole.update(json.dumps([seed, _verified(folder, file, what)]).encode())
    (width, height), mode = header

    def read(rows: NDArray[np.int64]) -> NDArray[Any]:
        block = np.empty((len(rows), 3 if mode == "RGB" else 1, height, width), dtype=np.uint8)
        for position, row in enumerate(rows.tolist()):
            pixels = image_pixels(folder, files[row], what)
            if _state(folder / files[row]) != states[row]:
                raise DatasetError(
                    f"The image {files[row]} of {what} changed while it was imported.",
                    "The files stay as they are until all are read.",
                    "Import the folder when nothing writes into it any more.",
                )
            block[position] = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
        return block

    shape = (3 if mode == "RGB" else 1, height, width)
    return Samples(what, seeds, shape, "uint8", whole.hexdigest(), read, len(files))


def _png_files(folder: Path, what: str) -> list[str]:
    """Return the PNG files below a folder, as paths relative to it."""
    found: list[str] = []
    others: list[str] = []

    def refuse(error: OSError) -> None:
        raise unreadable(what, error) from error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        # Links to folders are not followed: what they hold would be left out without a word.
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in [*links, *names]:
            if not name.startswith("."):
                path = (Path(parent) / name).relative_to(folder).as_posix()
                (found if name.lower().endswith(".png") else others).append(path)
    if others:
        others.sort()
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise DatasetError(
            f"{what[0].upper()}{what[1:]} holds {others[0]}{more}, which is no PNG file.",
            "A folder of samples holds PNG files alone; other formats lose values.",
            "Move other files elsewhere, or name the folder that holds only the samples.",
        )
    if not found:
        raise DatasetError(
            f"{what[0].upper()}{what[1:]} holds no PNG files.",
            "A folder of samples holds one PNG file per seed.",
            "Check the path.",
        )
    return sorted(found)


def _seed_of(file: str, what: str) -> int:
    """Return the seed that a file's name tells, checking the sub-folder that it lies in."""
    *parents, name = file.split("/")
    match = _NUMBER.fullmatch(name)
    if match is None:
        raise SpecError(
            f"The name of {file} in {what} is no number.",
            "Seeds are read from names such as 000123.png, and never guessed from the order of "
            "the files.",
            'Give the seeds of the files in the order of their names, such as "0-999".',
        )
    seed = int(match[1])
    if parents and (
        len(parents) > 1
        or not (parents[0].isascii() and parents[0].isdigit())
        or int(parents[0]) != seed - seed % SUBFOLDER_SEEDS
    ):
        raise SpecError(
            f"{file} in {what} lies in the folder {'/'.join(parents)}.",
            f"The seed {seed} lies in the folder itself, or, as EDM's --subdirs writes it, in "
            f"{seed - seed % SUBFOLDER_SEEDS:06d}.",
            'Import each folder as a run of its own, or give the seeds, such as "0-999".',
        )
    return seed


def _in_order(files: list[str], what: str) -> list[str]:
    """Return files in the order of their names, if that is the same in every reading."""
    by_number = sorted(files, key=_numbered)
    for text, number in zip(files, by_number, strict=True):
        if text != number:
            raise SpecError(
                f"The order of the names in {what} is not clear: by letters {text} comes where by "
                f"numbers {number} does.",
                "Seeds are given in an order of the files that all programs agree on.",
                "Name the files with leading zeros, such as 000007.png.",
            )
    return files


def _numbered(file: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts the numbers in a name as numbers."""
    parts = re.split(r"([0-9]+)", file)
    return [(1, int(part), "") if i % 2 else (0, 0, part) for i, part in enumerate(parts)]


def _given_seeds(ranges: str, files: list[str], what: str) -> list[int]:
    """Return the given seeds, unless the numbers in the names say that they are of other files."""
    matches = [_NUMBER.fullmatch(Path(file).name) for file in files]
    numbers = [int(match[1]) for match in matches if match is not None]
    if len(set(numbers)) < len(files):  # not all are numbers, or one stands for several files
        return named_seeds(ranges, len(files), what, "files")
    seeds = parse_ranges(ranges)
    if len(seeds) != len(files):
        raise SpecError(
            f"{len(seeds)} seeds were given for the {len(files)} files of {what}, whose names are "
            f"numbers{_gaps(numbers)}.",
            "Each of the files has one seed.",
            f"Leave the seeds out, and they are read from the names; if these are no seeds, give "
            f"{len(files)}, in the order of the files.",
        )
    offset = seeds[0] - numbers[0]
    for file, number, seed in zip(files, numbers, seeds, strict=True):
        if seed - number != offset:
            raise SpecError(
                f"By the given seeds {files[0]} in {what} has the seed {seeds[0]}, and {file} the "
                f"seed {seed}.",
                f"The names of the files are numbers{_gaps(numbers)}, from which given seeds "
                "differ by one and the same number, such as 100000.",
                "Leave the seeds out, and they are read from the names; if these are no seeds, "
                "rename the files.",
            )
    return seeds


def _gaps(numbers: list[int]) -> str:
    """Say which numbers are missing between those that are there."""
    gaps = [(a + 1, b - 1) for a, b in itertools.pairwise(sorted(numbers)) if b - a > 1]
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in gaps[:5]]
    return f" without {','.join(shown)}{',…' if len(gaps) > 5 else ''}" if gaps else ""


def _verified(folder: Path, file: str, what: str) -> str:
    """Return the sha256 of a file that is whole: its chunks by their checksums, and its rows."""
    try:
        content = (folder / file).read_bytes()
        _require_png(content, what)
        with pillow(what).open(io.BytesIO(content), formats=["PNG"]) as image:
            image.verify()
        require_whole_stream(content)
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error) as error:
        raise unreadable(f"the image {file} of {what}", error) from error
    return hashlib.sha256(content).hexdigest()


def _require_png(content: bytes, what: str) -> None:
    """Refuse an image of another format, by which Pillow only says that it is not one of PNG."""
    if not content.startswith(_SIGNATURE):
        with pillow(what).open(io.BytesIO(content)) as image:
            raise ValueError(f"it is named as PNG, and is {image.format}")


def _state(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
