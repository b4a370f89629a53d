"""One padded batch: from seeds to the states that are stored."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reprostore.errors import ModelError
from reprostore.images import to_uint8
from reprostore.models.base import Model
from reprostore.noise import initial_noise, noise_probe, sample_generators
from reprostore.samplers import Sampler
from reprostore.samplers.base import State
from reprostore.seeds import seeds_text


def sampled_batch(
    sampler: Sampler,
    model: Model,
    seeds: NDArray[np.int64],
    batch_size: int,
    stored_dtype: str = "float32",
) -> tuple[NDArray[np.float32], Iterator[tuple[NDArray[Any], NDArray[Any] | None]]]:
    """Sample one batch, padded to its constant size.

    Parameters
    ----------
    sampler : Sampler
        Resolved for this model.
    model : Model
        The model.
    seeds : ndarray
        (n,) with n ≤ `batch_size`; the last seed is repeated as padding, and left out again.
    batch_size : int
        Samples per forward pass: convolutions give other last bits at other sizes.
    stored_dtype : str
        Dtype of the states that are returned.

    Returns
    -------
    probe : ndarray
        (n, 8) float32, the first values of the noise.
    states : iterator
        For each recorded step, sample and denoised, (n, *sample_shape) in the stored dtype. It
        raises ModelError where a sample that is to be rounded to uint8 is not finite; in the
        other dtypes such values pass.
    """
    padded = [*seeds.tolist(), *[int(seeds[-1])] * (batch_size - len(seeds))]
    generators = sample_generators(padded)
    noise = initial_noise(generators, model.sample_shape)

    def states() -> Iterator[tuple[NDArray[Any], NDArray[Any] | None]]:
        for state in sampler.sample(noise, generators):
            if stored_dtype == "uint8":
                _require_finite(state, seeds)
            sample = _stored(state.sample[: len(seeds)], stored_dtype)
            denoised = None
            if state.denoised is not None:
                denoised = _stored(state.denoised[: len(seeds)], stored_dtype)
            yield sample, denoised

    return noise_probe(noise)[: len(seeds)], states()


def _require_finite(state: State, seeds: NDArray[np.int64]) -> None:
    fine = torch.isfinite(state.sample[: len(seeds)]).flatten(1).all(dim=1).cpu().numpy()
    if not fine.all():
        raise ModelError(
            f"The model gave samples that are not finite for the seeds {seeds_text(seeds[~fine])} "
            f"after step {state.step}.",
            "Images that are stored as uint8 are finite numbers.",
            "Check the checkpoint and the noise schedule.",
        )


def _stored(state: torch.Tensor, dtype: str) -> NDArray[Any]:
    values: NDArray[Any] = state.to("cpu", torch.float32, copy=True).numpy()
    if dtype == "uint8":
        return to_uint8(values)
    with np.errstate(over="ignore"):  # what does not fit into float16 is refused by the writer
        return values.astype(dtype, copy=False)
