"""What timm and torchvision say of their models, remembered so that it is asked once.

Asking imports torch; identities of encoders are needed by analyses that are computed already, and
these start without it.
"""

import contextlib
import json
import os
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from reprostore.digests import cache_file
from reprostore.encoders.weights import missing_package

Library = Literal["timm", "torchvision"]


def library_facts(library: Library, model: str, weights: str | None = None) -> dict[str, Any]:
    """Return what a library says of one of its models.

    Parameters
    ----------
    library : {"timm", "torchvision"}
        The library; answers are remembered for each of its versions.
    model : str
        Its name there.
    weights : str, optional
        Name of a set of trained weights, for torchvision.

    Returns
    -------
    dict
        "preprocessing", as `Preprocessing.identity` gives it, and "url" of the weights for
        torchvision.

    Raises
    ------
    SpecError
        The library has no such model or weights, or a preprocessing that is not known here.
    DependencyError
        It is not installed.
    """
    try:
        key = f"{library} {version(library)} {model} {weights or ''}".strip()
    except PackageNotFoundError as error:
        raise missing_package(library, "defines the network", "encoders") from error
    remembered = _remembered()
    if key in remembered:
        return remembered[key]
    try:
        if library == "timm":
            from reprostore.encoders.timm_network import timm_facts

            facts = timm_facts(model)
        else:
            from reprostore.encoders.torchvision_network import torchvision_facts

            facts = torchvision_facts(model, str(weights))
    except ImportError as error:
        raise missing_package(library, "defines the network", "encoders") from error
    _remember(key, facts)
    return facts


def _remembered() -> dict[str, dict[str, Any]]:
    """Return what is remembered and well formed; nothing if it cannot be read."""
    try:
        content = json.loads(cache_file("encoders.json").read_bytes())
    except (OSError, RuntimeError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {
        key: facts
        for key, facts in content.items()
        if isinstance(facts, dict) and isinstance(facts.get("preprocessing"), dict)
    }


def _remember(key: str, facts: dict[str, Any]) -> None:
    """Replace the file in one step; give up silently if that fails, for it only saves time."""
    with contextlib.suppress(OSError, RuntimeError):
        path = cache_file("encoders.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
        temporary.write_text(json.dumps(_remembered() | {key: facts}))
        temporary.replace(path)
