"""Where the weights of an encoder are, found without torch; downloaded only when allowed."""

import os
import sys
from pathlib import Path

from reprostore.digests import file_digest
from reprostore.errors import DependencyError, ModelError, NotFoundError


def named_file(weights: str, base: Path, kind: str, what: str) -> Path:
    """Return a weights file that a study names by path.

    Parameters
    ----------
    weights : str
        The path, relative to `base` or absolute.
    base : Path
        Folder of the study file.
    kind, what : str
        Kind of the encoder and what kind of file it takes, for the message.

    Raises
    ------
    NotFoundError
        There is no such file.
    """
    path = base / Path(weights).expanduser()
    if not path.is_file():
        raise NotFoundError(
            f"The weights file {path} of the encoder does not exist.",
            f'weights is the path of {what}, for encoders of the kind "{kind}".',
            f"Download the file, or correct the path; relative paths start at {base}.",
        )
    return path


def hub_file(repository: str, name: str, *, download: bool) -> Path:
    """Return a file of a Hugging Face repository, from the local cache if it is there.

    Raises
    ------
    NotFoundError
        It is not in the cache and may not be downloaded, or cannot be.
    DependencyError
        huggingface_hub is not installed.
    """
    url = f"https://huggingface.co/{repository}/resolve/main/{name}"
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HFValidationError
    except ImportError as error:
        raise missing_package("huggingface_hub", "finds downloaded weights", "encoders") from error
    try:
        return Path(hf_hub_download(repository, name, local_files_only=True))
    except HFValidationError as error:
        raise NotFoundError(
            f"{repository!r} is no name of a repository of weights.",
            "timm's models are named architecture.tag, for example resnet50.a1_in1k.",
            "Correct model, or set weights to the path of a file.",
        ) from error
    except OSError:
        if not download:
            raise not_allowed(repository, url, name) from None
    try:
        return Path(hf_hub_download(repository, name))
    except (OSError, HFValidationError) as error:
        raise _failed(url, str(error)) from error


def torch_hub_file(url: str, what: str, *, download: bool) -> Path:
    """Return a file that torch downloads, from its folder if it is there.

    Raises
    ------
    NotFoundError
        It is not there and may not be downloaded, or cannot be.
    ModelError
        It is there, and damaged.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser()
    path = home / "hub" / "checkpoints" / url.rpartition("/")[2]
    prefix = path.stem.rpartition("-")[2]
    if not path.is_file():
        if not download:
            raise not_allowed(what, url, path.name)
        try:
            from torch.hub import download_url_to_file
        except ImportError as error:
            raise missing_package("torch", "downloads and runs the network", "encoders") from error
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            download_url_to_file(url, str(path), prefix, progress=sys.stderr.isatty())
        except (OSError, RuntimeError, ValueError) as error:
            raise _failed(url, str(error)) from error
    if not file_digest(path).startswith(prefix):
        raise ModelError(
            f"{path} is damaged: its sha256 does not begin with {prefix}.",
            "The name of a file that torchvision downloaded ends in the beginning of its sha256.",
            "Remove the file and download it again.",
        )
    return path


def not_allowed(what: str, url: str, name: str) -> NotFoundError:
    """Return the error of weights that are not there and may not be downloaded."""
    return NotFoundError(
        f"The weights of {what} are not on this machine.",
        f"They are at {url}, and nothing is downloaded unasked.",
        f'Download the file and set weights = "{name}", or allow it with --download.',
    )


def missing_package(package: str, use: str, extra: str) -> DependencyError:
    """Return the error of a package that is not installed."""
    return DependencyError(
        f"{package} is not installed, and this encoder needs it.",
        f"It {use}.",
        f"Install it with: pip install 'reprostore[{extra}]'",
    )


def _failed(url: str, reason: str) -> NotFoundError:
    first = reason.strip().splitlines()[0].rstrip(".") if reason.strip() else "no reason is given"
    return NotFoundError(
        f"{url} cannot be downloaded: {first}.",
        "The encoder needs this file.",
        "Try again, or download it elsewhere and name it with weights.",
    )
