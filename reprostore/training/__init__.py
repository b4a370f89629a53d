"""Train diffusion networks, resumable to the bit, into ordinary diffusers folders.

Importing this package does not import torch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reprostore.recipe import RecipeSpec
from reprostore.training.memory import memory_explained
from reprostore.training.record import Progress
from reprostore.training.status import TrainingStatus, training_status

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["TrainingStatus", "train_model", "training_status"]


def train_model(
    recipe: RecipeSpec,
    items: "NDArray[np.float32]",
    folder: Path,
    *,
    trained_on: Mapping[str, Any],
    trainer_seed: int,
    base: Path,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
    save_seconds: float = 60.0,
) -> dict[str, Any]:
    """Train one model, or go on with its training, until it is finished.

    The model appears in `folder` when it is finished, kept checkpoints as ``folder@STEP`` when
    their step is reached; until then the state of the training is in ``folder.training``. A
    training that was stopped, in whatever way, continues from its last saved state and ends in
    the same bits as one that was not, on the same machine with the same number of threads.

    Parameters
    ----------
    recipe : RecipeSpec
        How to train.
    items : ndarray of float32, shape (item, channel, y, x)
        What to train on, in [-1, 1].
    folder : Path
        Where the model goes; a diffusers folder with ``training.json``.
    trained_on : mapping
        What `items` are, as JSON; part of the training's identity.
    trainer_seed : int
        Seed of initialization, data order, noise, noise levels, augmentation and dropout.
    base : Path
        Folder to which `recipe.start_from` is relative.
    device : str
        "cpu", "cuda", "cuda:1", or "auto" for CUDA where there is a device.
    threads : int, optional
        Threads of an operation on the CPU; torch's own number when left out.
    progress : callable, optional
        Called with the finished steps, all steps and the latest loss, at most twice a second and
        at the end.
    save_seconds : float
        Time between two saved states.

    Returns
    -------
    dict
        The record in ``training.json``.

    Raises
    ------
    SpecError
        The network does not fit the items, or the recipe cannot be followed on this device.
    DatasetError
        There are no items, or they are not finite.
    IdentityError
        The folder, a kept checkpoint or the saved state is of another training.
    TrainingError
        The loss is no longer a finite number; the last saved state is kept.
    ExhaustedError
        The memory does not suffice; the last saved state is kept.
    """
    with memory_explained(recipe, items.shape[1:], folder.name):
        from reprostore.training.loop import run_training

        return run_training(
            recipe,
            items,
            folder,
            trained_on=trained_on,
            trainer_seed=trainer_seed,
            base=base,
            device=device,
            threads=threads,
            progress=progress,
            save_seconds=save_seconds,
        )
