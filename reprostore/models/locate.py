"""Where the files of a model are: folders, hub ids and Python factories, without importing any."""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reprostore.errors import ModelError, NotFoundError

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")


@dataclass(frozen=True)
class CheckpointFiles:
    """The files that define a diffusers model.

    Attributes
    ----------
    config : Path
        config.json of the network; its folder holds the weights.
    weights : tuple of Path
        One file, or an index and its shards; safetensors if there are any, else .bin.
    scheduler : Path or None
        scheduler_config.json, where the checkpoint has one.
    """

    config: Path
    weights: tuple[Path, ...]
    scheduler: Path | None

    @property
    def is_safetensors(self) -> bool:
        """Whether the weights are safetensors, which cannot hold code."""
        return self.weights[-1].suffix == ".safetensors"

    def all(self) -> tuple[Path, ...]:
        """Return every file."""
        return (self.config, *self.weights, *([self.scheduler] if self.scheduler else []))


@dataclass(frozen=True)
class FactorySource:
    """A ``python:module:factory`` source.

    Attributes
    ----------
    module, factory : str
        Dotted module name and name of the callable in it.
    file : Path
        The module's source file.
    local : bool
        Whether the file lies beside the study, not on Python's search path.
    """

    module: str
    factory: str
    file: Path
    local: bool


def resolve_source(source: str, base: Path) -> CheckpointFiles | FactorySource:
    """Find what a model's source names.

    Parameters
    ----------
    source : str
        A folder (relative to `base`, or absolute), ``python:module:factory``, or a hub id
        ``organization/name``, tried in this order.
    base : Path
        Folder of the study file.

    Returns
    -------
    CheckpointFiles or FactorySource
        The files.

    Raises
    ------
    NotFoundError
        No folder, module or hub repository of that name has the files of a model.
    ModelError
        The folder is a pipeline of more than one network.
    """
    folder = base / Path(source).expanduser()
    if folder.is_dir():
        return locate_checkpoint(folder)
    if source.startswith("python:"):
        return _locate_factory(source, base)
    # "checkpoints/unet" with a folder "checkpoints" is a misspelt path, not a question to the hub.
    if _HUB_ID.fullmatch(source) and not (base / source.split("/")[0]).is_dir():
        return _locate_on_hub(source, folder)
    raise NotFoundError(
        f"The model source {source!r} is no folder: {folder} does not exist.",
        "A model is a folder with a diffusers checkpoint, a hub id such as "
        '"google/ddpm-cifar10-32", or "python:module:factory".',
        "Correct the path; it is relative to the folder of the study file.",
    )


def locate_checkpoint(folder: Path) -> CheckpointFiles:
    """Find config, weights and noise schedule in a folder of a diffusers model or pipeline.

    Parameters
    ----------
    folder : Path
        Has config.json itself, in ``unet/``, or in the folder that its model_index.json names.

    Returns
    -------
    CheckpointFiles
        The files that would be loaded.

    Raises
    ------
    NotFoundError
        config.json or the weights are missing.
    ModelError
        model_index.json names more than one network.
    """
    network = folder if (folder / "config.json").is_file() else folder / _component(folder)
    if not (network / "config.json").is_file():
        raise NotFoundError(
            f"{folder} has no config.json, nor has its folder {network.name}/.",
            "A diffusers checkpoint has config.json and diffusion_pytorch_model.safetensors in "
            "one folder.",
            "Give the folder that `save_pretrained` has written.",
        )
    weights = _locate_weights(network)
    candidates = [folder / name / "scheduler_config.json" for name in ("", "scheduler")]
    scheduler = next((path for path in candidates if path.is_file()), None)
    return CheckpointFiles(network / "config.json", weights, scheduler)


def _component(folder: Path) -> str:
    """Return the name of the only network in a pipeline's model_index.json, or "unet"."""
    index = folder / "model_index.json"
    if not index.is_file():
        return "unet"
    names = [
        name
        for name, value in read_json(index).items()
        if name != "scheduler" and isinstance(value, list) and any(value)
    ]
    if len(names) != 1:
        raise ModelError(
            f"The pipeline {folder} is made of {', '.join(names) or 'nothing'}.",
            "A pipeline of one unconditional network and a scheduler was expected.",
            "Give an unconditional pixel-space checkpoint, or write a python: factory.",
        )
    return names[0]


def _locate_weights(network: Path) -> tuple[Path, ...]:
    """Return the weights file in a folder, or the index and all shards."""
    for name in _WEIGHTS:
        if (network / name).is_file():
            return (network / name,)
        index = network / f"{name}.index.json"
        if index.is_file():
            weight_map = read_json(index).get("weight_map")
            shards = sorted(set(weight_map.values())) if isinstance(weight_map, dict) else []
            missing = [shard for shard in shards if not (network / str(shard)).is_file()]
            if shards and not missing:
                return (index, *(network / shard for shard in shards))
            raise NotFoundError(
                f"{index} names weights that are not there: {', '.join(map(str, missing))}.",
                "Every shard of the weights lies beside the index.",
                "Copy or download the checkpoint again.",
            )
    raise NotFoundError(
        f"{network} has config.json but no weights.",
        f"{_WEIGHTS[0]} or {_WEIGHTS[1]} was expected there.",
        "Copy or download the checkpoint again.",
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    ModelError
        The file is no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ModelError(
            f"{path} is not valid JSON.",
            "An object with configuration values was expected.",
            "Copy or download the checkpoint again.",
        )
    return content


def _locate_on_hub(hub_id: str, folder: Path) -> CheckpointFiles:
    """Return the files of a hub repository, from the local cache if it has them."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        reason = "huggingface_hub is not installed"
    else:
        try:
            return locate_checkpoint(Path(snapshot_download(hub_id, local_files_only=True)))
        except (OSError, HFValidationError):
            pass  # nothing, or only a part of it, is in the cache
        # Safetensors first: a repository may also have the same weights as .bin, and other copies.
        patterns = ["*.json", "*diffusion_pytorch_model.safetensors", "*-of-*.safetensors"]
        try:
            snapshot = Path(snapshot_download(hub_id, allow_patterns=patterns))
            try:
                return locate_checkpoint(snapshot)
            except NotFoundError:
                patterns = ["*.json", "*diffusion_pytorch_model.bin", "*-of-*.bin"]
                return locate_checkpoint(Path(snapshot_download(hub_id, allow_patterns=patterns)))
        except (OSError, HFValidationError) as error:
            reason = str(error).strip().splitlines()[0]
    raise NotFoundError(
        f"The folder {folder} does not exist, and the hub has given no model {hub_id!r}: {reason}.",
        "A model is a folder with a diffusers checkpoint, a hub id, or python:module:factory.",
        "Correct the path (relative to the folder of the study file) or the hub id, or check the "
        "network.",
    )


def _locate_factory(source: str, base: Path) -> FactorySource:
    """Find a module's source file by path: `importlib.util.find_spec` would import its parents."""
    parts = source.split(":")
    if len(parts) != 3 or not all(name.isidentifier() for name in parts[1].split(".") + parts[2:]):
        raise NotFoundError(
            f"The model source {source!r} names no module and factory.",
            'A factory is written "python:module:factory", for example "python:nets.edm:small".',
            "Correct the source.",
        )
    relative = Path(*parts[1].split("."))
    for folder in (base, *map(Path, sys.path)):
        for file in (folder / relative.with_suffix(".py"), folder / relative / "__init__.py"):
            if file.is_file():
                return FactorySource(parts[1], parts[2], file.absolute(), folder == base)
    raise NotFoundError(
        f"There is no Python module {parts[1]!r} beside the study file in {base} or on Python's "
        "search path.",
        f"The source {source!r} names a module written in Python.",
        f"Put {relative.name}.py beside the study file, or install the package that has it.",
    )
