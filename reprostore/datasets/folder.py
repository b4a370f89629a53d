"""A folder of image files as a source."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.datasets.items import Items, Rows, unreadable
from reprostore.errors import DatasetError, DependencyError
from reprostore.paths import require_file

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})


def open_folder(path: Path, what: str) -> Items:
    """Open a folder of images of one size and mode; only the file headers are read.

    Images are ordered by their path below `path`. When every image lies in exactly one
    sub-folder, the sub-folders are the classes, labelled 0, 1, … by name; not where a
    ``dataset.json`` says that the sub-folders only divide the files, as EDM's
    ``dataset_tool.py`` writes them.

    Parameters
    ----------
    path : Path
        The folder, searched with its sub-folders; hidden files are skipped.
    what : str
        How messages name the source.

    Returns
    -------
    Items
        uint8, (item, y, x) for grey images and (item, y, x, 3) for RGB.

    Raises
    ------
    DatasetError
        There are no images, or images of several sizes or modes, of modes other than 8-bit L
        and RGB, or a file cannot be read.
    DependencyError
        Pillow is not installed.
    """
    files = sorted(_image_files(path))
    if not files:
        raise DatasetError(
            f"{what[0].upper()}{what[1:]} holds no images.",
            f"A folder of images holds files ending in {', '.join(sorted(SUFFIXES))}.",
            "Check the path, or convert the images.",
        )
    first = image_header(path, files[0], what)
    for file in files[1:]:
        if (header := image_header(path, file, what)) != first:
            raise DatasetError(
                f"{what[0].upper()}{what[1:]} mixes images: {files[0]} is "
                f"{describe_header(first)}, {file} is {describe_header(header)}.",
                "All images of a dataset have one size and one mode.",
                "Resize or convert the images, or remove those that do not belong.",
            )
    (width, height), mode = first
    shape = (len(files), height, width, *((3,) if mode == "RGB" else ()))

    def read(rows: Rows) -> NDArray[Any]:
        numbers = range(len(files))[rows] if isinstance(rows, slice) else rows
        block = np.empty((len(numbers), *shape[1:]), dtype=np.uint8)
        for row, number in enumerate(numbers):
            block[row] = image_pixels(path, files[number], what)
        return block

    labels, classes = _labels(path, files)
    provenance: dict[str, Any] = {"kind": "folder", "files": len(files), "mode": mode}
    if classes is not None:
        provenance["classes"] = classes
    return Items(what, shape, np.dtype(np.uint8), read, labels, provenance)


def _image_files(path: Path) -> list[str]:
    found = []
    for parent, folders, names in os.walk(path):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
        found += [
            (Path(parent) / name).relative_to(path).as_posix()
            for name in names
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")
        ]
    return found


def _labels(path: Path, files: list[str]) -> tuple[NDArray[np.int64] | None, list[str] | None]:
    parts = [file.split("/") for file in files]
    if any(len(part) != 2 for part in parts) or (path / "dataset.json").exists():
        return None, None
    classes, labels = np.unique([part[0] for part in parts], return_inverse=True)
    return labels.astype(np.int64), classes.tolist()


def image_header(path: Path, file: str, what: str) -> tuple[tuple[int, int], str]:
    """Return size (width, height) and mode ("L" or "RGB") of an image, refusing other modes."""
    image_module = pillow(what)
    try:
        with image_module.open(require_file(path / file)) as image:
            size, mode = image.size, image.mode
            arguments = [part.args for part in image.tile]
    except (OSError, SyntaxError, ValueError) as error:
        raise _unreadable_image(file, what, error) from error
    # Pillow silently reduces 16-bit colour to mode RGB; only the decoder's raw mode tells.
    raw_modes = [a if isinstance(a, str) else next(iter(a or ()), "") for a in arguments]
    sixteen = any("16" in str(m) for m in (mode, *raw_modes)) or mode in {"I", "F"}
    if sixteen or mode not in {"L", "RGB"}:
        raise DatasetError(
            f"The image {file} of {what} has "
            f"{'more than 8 bits a channel' if sixteen else f'the mode {mode}'}.",
            "Images are 8-bit, grey (L) or RGB.",
            "Convert the images, or give the values as a .npy file with a value_range.",
        )
    return size, mode


def image_pixels(path: Path, file: str, what: str) -> NDArray[np.uint8]:
    """Decode an image, (y, x) grey or (y, x, 3) RGB."""
    try:
        with pillow(what).open(require_file(path / file)) as image:
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise _unreadable_image(file, what, error) from error


def _unreadable_image(file: str, what: str, error: Exception) -> DatasetError:
    return unreadable(f"the image {file} of {what}", error)


def describe_header(header: tuple[tuple[int, int], str]) -> str:
    """Write size and mode of an image for a message."""
    (width, height), mode = header
    return f"{width}×{height} {mode}"


def pillow(what: str) -> Any:  # noqa: ANN401
    """Import Pillow's ``Image`` module, or say what needs it."""
    try:
        from PIL import Image
    except ImportError as error:
        raise DependencyError(
            f"Pillow is not installed, and {what} is a folder of images.",
            "Images are decoded by Pillow.",
            "Install it with: pip install 'reprostore[images]'",
        ) from error
    return Image
