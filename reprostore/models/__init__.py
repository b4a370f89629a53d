"""Things that denoise: diffusers checkpoints, EDM-style denoisers and closed forms.

Importing this package does not import torch.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from reprostore.digests import file_digest
from reprostore.errors import DependencyError
from reprostore.models.items import Items
from reprostore.models.locate import FactorySource, resolve_source
from reprostore.specs import CLOSED_FORMS, ModelSpec

if TYPE_CHECKING:
    from reprostore.models.base import Model


def weight_digests(spec: ModelSpec, base: Path, items: Items | None = None) -> dict[str, str]:
    """Return the sha256 of every file that defines a model, without loading it.

    Of a Python factory this is the file that the source names; modules that it imports and files
    that it reads are not covered. Of a closed form it is the digest of its items.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    base : Path
        Folder of the study file, to which paths are relative.
    items : Items, optional
        Those of a closed form.

    Returns
    -------
    dict
        Digests by file name, by ``module:factory``, or by the name of the closed form. The names
        do not say where the files lie, so that a checkpoint may be moved.

    Raises
    ------
    NotFoundError
        There are no such files.
    ModelError
        The folder is a pipeline of more than one network.
    """
    if spec.source in CLOSED_FORMS:
        assert items is not None
        return {spec.source: items.digest}
    found = resolve_source(spec.source, base)
    if isinstance(found, FactorySource):
        return {f"{found.module}:{found.factory}": file_digest(found.file)}
    return {path.name: file_digest(path) for path in found.all()}


def load_model(
    spec: ModelSpec, base: Path, device: str, dtype: str, items: Items | None = None
) -> "Model":
    """Load a model for computing.

    No pickled code is executed: weights are read from safetensors, or from .bin files as plain
    tensors. Only a ``python:`` source runs code, which is the user's own.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    base : Path
        Folder of the study file, to which paths are relative.
    device : str
        Where to compute, such as "cpu" or "cuda".
    dtype : str
        In what to compute: "float32", "float16", "bfloat16" or "float64".
    items : Items, optional
        Those of a closed form.

    Returns
    -------
    Model
        Ready to be sampled from.

    Raises
    ------
    NotFoundError
        The files are missing.
    ModelError
        The files are damaged, or are no unconditional model.
    DependencyError
        torch or diffusers is not installed.
    """
    found = None if spec.source in CLOSED_FORMS else resolve_source(spec.source, base)
    try:
        import torch
    except ImportError as error:
        raise DependencyError(
            "torch is not installed.",
            "Generating samples needs torch and diffusers.",
            "Run: pip install 'reprostore[generate]'",
        ) from error
    place = torch.device(device)
    precision: torch.dtype = getattr(torch, dtype)
    if found is None:
        assert items is not None
        from reprostore.models.closed import closed_form

        return closed_form(spec.source, items, place, precision, spec.noise_schedule)
    if isinstance(found, FactorySource):
        from reprostore.models.factory import load_factory

        return load_factory(found, base, place, precision, spec.noise_schedule)
    from reprostore.models.checkpoint import load_checkpoint

    return load_checkpoint(found, place, precision, spec.noise_schedule)
