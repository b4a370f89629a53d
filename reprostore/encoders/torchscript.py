"""Networks from TorchScript files, such as those that SSCD is released as."""

import warnings
from pathlib import Path
from typing import Any

import torch

from reprostore.errors import ModelError


def torchscript_network(path: Path, device: torch.device) -> torch.jit.ScriptModule:
    """Load a network from a TorchScript file.

    What is trusted: `torch.jit.load` unpickles no Python objects, as `torch.load` of a whole module
    would, and runs no Python. It runs the TorchScript program in the file, made of torch's own
    operators; some of these can open files, so take the file from a publisher you trust.

    Parameters
    ----------
    path : Path
        File written by `torch.jit.save`.
    device : torch.device
        Where it runs.

    Returns
    -------
    torch.jit.ScriptModule
        In evaluation mode.

    Raises
    ------
    ModelError
        The file is no TorchScript file.
    """
    try:
        with warnings.catch_warnings():
            # SSCD is released as TorchScript files only; torch has no other loader for them.
            warnings.filterwarnings("ignore", r".*torch\.jit\.load.* is deprecated", FutureWarning)
            warnings.filterwarnings(
                "ignore", r".*torch\.jit\.load.* is deprecated", DeprecationWarning
            )
            load: Any = torch.jit.load
            network: torch.jit.ScriptModule = load(path, map_location="cpu")
    except (RuntimeError, ValueError, OSError, EOFError) as error:
        raise ModelError(
            f"The encoder {path} cannot be read: it is damaged or no TorchScript file.",
            "It is a file that torch.jit.save wrote; a file of weights alone has no network.",
            "Download the file again, or save the network with torch.jit.save.",
        ) from error
    return network.to(device).eval()
