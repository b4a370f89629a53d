"""What a training says when the memory does not suffice for it."""

import contextlib
from collections.abc import Iterator, Sequence

from reprostore.errors import ExhaustedError, ReprostoreError
from reprostore.memory import is_out_of_memory
from reprostore.recipe import RecipeSpec


@contextlib.contextmanager
def memory_explained(recipe: RecipeSpec, sample_shape: Sequence[int], name: str) -> Iterator[None]:
    """Say what to lower, where a training asks for more memory than there is.

    Parameters
    ----------
    recipe : RecipeSpec
        Of the training.
    sample_shape : sequence of int
        (channel, y, x) of its items.
    name : str
        Of the model.

    Raises
    ------
    ExhaustedError
        Instead of the errors by which NumPy and torch say so.
    """
    try:
        yield
    except ReprostoreError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        size = "" if recipe.start_from is not None else f"`width` {recipe.width}, "
        raise ExhaustedError(
            f"The memory does not suffice to train {name} with `batch_size` {recipe.batch_size}, "
            f"{size}and items of the shape {tuple(sample_shape)}.",
            "The network, its gradients, Adam's two moments, the average of the weights and the "
            "activations of one batch fit into it together.",
            "Lower `batch_size`, `width` or the resolution of the items, or train on a device with "
            "more memory; a state that was saved is kept.",
        ) from error
