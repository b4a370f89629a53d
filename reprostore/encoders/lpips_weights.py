"""Which files LPIPS is made of, found without torch: a trained network and linear weights."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reprostore.digests import file_digest
from reprostore.encoders.lpips_nets import Net, lpips_net
from reprostore.errors import DependencyError, ModelError, NotFoundError

VERSION = 1
"""Raised when a change to our code changes the vectors."""

PREPROCESSING = {
    "channels": "one is repeated to three",
    "range": "x/127.5 - 1, without resizing",
    "shift": [-0.030, -0.088, -0.188],
    "scale": [0.458, 0.448, 0.450],
}
"""Input in [-1, 1], then lpips' scaling layer, (x - shift)/scale by channel."""


def lpips_identity(
    net: str, weights: Path | None = None, *, download: bool = False
) -> dict[str, Any]:
    """Return everything that determines LPIPS vectors, without loading a network.

    Parameters
    ----------
    net : {"alex", "vgg", "squeeze"}
        The network.
    weights : Path, optional
        torchvision's weights of the network, as for `backbone_file`.
    download : bool
        Whether they may be downloaded; only then is torch imported, and only once.

    Returns
    -------
    dict
        Kind, versions, metric, preprocessing and sha256 of both files, in JSON types.

    Raises
    ------
    SpecError
        There is no such network.
    NotFoundError
        There are no weights.
    ModelError
        Downloaded weights are damaged.
    DependencyError
        The package lpips is not installed.
    """
    return {
        "kind": "lpips",
        "version": VERSION,
        "metric": "squared_l2",
        "net": net,
        "lpips": "0.1",
        "preprocessing": PREPROCESSING,
        "weights": file_digest(backbone_file(net, weights, download=download)),
        "linear_weights": file_digest(linear_file(net)),
    }


def backbone_file(net: str, weights: Path | None = None, *, download: bool = False) -> Path:
    """Find the trained weights of a network.

    Parameters
    ----------
    net : {"alex", "vgg", "squeeze"}
        The network.
    weights : Path, optional
        A state dict of torchvision's, of the whole network or its `features` only. When not
        given, the file that torchvision has downloaded before is taken.
    download : bool
        Whether it may be downloaded, to where torchvision keeps it.

    Returns
    -------
    Path
        An existing file; one that was downloaded has the sha256 that its name says.

    Raises
    ------
    SpecError
        There is no such network.
    NotFoundError
        There is no such file, or it cannot be downloaded.
    ModelError
        The file that was downloaded before is damaged.
    """
    network = lpips_net(net)
    if weights is not None:
        if not weights.is_file():
            raise NotFoundError(
                f"The file {weights} with the weights of LPIPS is not there.",
                f"weights is the path of torchvision's {network.file}.",
                f"Download it from {network.url}, or correct the path.",
            )
        return weights
    path = _torch_home() / "hub" / "checkpoints" / network.file
    if not path.is_file():
        if not download:
            raise NotFoundError(
                f'LPIPS with net = "{net}" has no weights.',
                f"It needs torchvision's {network.file}, and nothing is downloaded unasked.",
                f'Download it from {network.url} and set weights = "{network.file}", or '
                "allow the download with --download.",
            )
        _download(network, path)
    expected = network.file.removesuffix(".pth").rpartition("-")[2]
    if not file_digest(path).startswith(expected):
        raise ModelError(
            f"{path} is damaged: its sha256 does not begin with {expected}.",
            "The name of a file that torchvision downloaded ends in the beginning of its sha256.",
            "Remove the file and download it again.",
        )
    return path


def linear_file(net: str) -> Path:
    """Find the linear weights of LPIPS v0.1, which are part of the package lpips.

    Raises
    ------
    SpecError
        There is no such network.
    DependencyError
        The package is not installed, or lacks the file.
    """
    lpips_net(net)
    package = find_spec("lpips")
    if package is not None and package.origin is not None:
        path = Path(package.origin).with_name("weights") / "v0.1" / f"{net}.pth"
        if path.is_file():
            return path
    raise DependencyError(
        f'The linear weights of LPIPS v0.1 for net = "{net}" are not installed.',
        "They come with the package lpips.",
        'Install it: pip install "reprostore[perceptual]".',
    )


def _torch_home() -> Path:
    """Return torch's folder for downloads, as torch.hub finds it."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser()


def _download(network: Net, path: Path) -> None:
    try:
        from torch.hub import download_url_to_file
    except ImportError as error:
        raise DependencyError(
            "torch is not installed, and LPIPS needs it.",
            "It downloads and runs the network.",
            'Install it: pip install "reprostore[perceptual]".',
        ) from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix = network.file.removesuffix(".pth").rpartition("-")[2]
        download_url_to_file(network.url, str(path), prefix, progress=sys.stderr.isatty())
    except (OSError, RuntimeError, ValueError) as error:
        raise NotFoundError(
            f"{network.url} cannot be downloaded to {path.parent}: {error}.",
            f"LPIPS needs torchvision's {network.file}.",
            "Try again, or download it elsewhere and name it with weights.",
        ) from error
