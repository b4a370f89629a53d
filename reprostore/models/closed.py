"""Models that are closed forms of their training items."""

from collections.abc import Mapping
from typing import Any

import torch

from reprostore.errors import DatasetError, SpecError
from reprostore.models.base import Denoiser
from reprostore.models.gaussian import WienerDenoiser
from reprostore.models.items import Items
from reprostore.models.oracle import OptimalDenoiser


def closed_form(
    source: str,
    items: Items,
    device: torch.device,
    dtype: torch.dtype,
    noise_schedule: Mapping[str, Any] | None,
) -> Denoiser:
    """Return the closed-form denoiser of a set of items.

    Parameters
    ----------
    source : str
        "oracle" or "gaussian".
    items : Items
        What it is made of; read when the denoiser is called for the first time.
    device, dtype : torch.device, torch.dtype
        Where to compute, and in what results are given; they are computed in float64.
    noise_schedule : mapping, optional
        Scheduler config values, for diffusers' solvers. Unless they say otherwise, estimates are
        not clipped: diffusers' default would take the Gaussian's away.

    Raises
    ------
    SpecError
        Half precision is asked for.
    DatasetError
        There are no items, or they are no images.
    """
    if dtype not in (torch.float32, torch.float64):
        raise SpecError(
            f"The model {source!r} is asked to compute in {str(dtype).removeprefix('torch.')}.",
            "Closed forms are computed in float64 and given in float32 or float64.",
            'Leave `dtype` out, or write dtype = "float32".',
        )
    if items.count == 0 or len(items.shape) != 3:
        raise DatasetError(
            f"The model {source!r} would be made of {items.count} items of shape {items.shape}.",
            "A closed form needs at least one image, (channel, y, x).",
            "Correct its `trained_on`, or the dataset.",
        )
    schedule = None if noise_schedule is None else dict(noise_schedule)
    if schedule is not None and "_class_name" not in schedule:
        schedule = {"clip_sample": False} | schedule
    form = OptimalDenoiser if source == "oracle" else WienerDenoiser
    return Denoiser(
        sample_shape=items.shape,
        device=device,
        dtype=dtype,
        scheduler_config=schedule,
        denoise=form(items, device),
        sigma_max=float("inf"),
        takes_state=True,
    )
