"""Networks trained with EDM's preconditioning or with flow matching, as denoisers D(x, σ).

Their noise levels are continuous and have no betas: D follows from the network exactly, without a
table of timesteps. For x = x_0 + σ ε:

| variable | symbol  | EDM                  | flow matching                     |
|----------|---------|----------------------|-----------------------------------|
| inner    | input   | x/√(σ² + σ_d²)       | x_t = x/(1 + σ) = (1−t) x_0 + t ε |
| moment   | called  | c_noise = ln(σ)/4    | T t with t = σ/(1 + σ)            |
| output   | F or v  | F(inner, c_noise)    | v(x_t, T t), which is ε − x_0     |
| result   | D(x, σ) | c_skip x + c_out F   | x_t − t v                         |

with c_skip = σ_d²/(σ² + σ_d²), c_out = σ σ_d/√(σ² + σ_d²), and T the number of training timesteps,
usually 1000.

References
----------
Karras et al. 2022, table 1 (the column "Ours") and equation 7; Lipman et al. 2023, "Flow Matching
for Generative Modeling", and Liu et al. 2023, "Flow Straight and Fast"; diffusers,
``scheduling_edm_euler.py`` and ``scheduling_flow_match_euler_discrete.py``.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import diffusers
import torch

from reprostore.errors import ModelError
from reprostore.models.base import Denoiser, network_output

FLOW_SCHEDULER = "FlowMatchEulerDiscreteScheduler"
"""The scheduler class whose config says that a network was trained with flow matching."""

_EDM_SCHEDULERS = ("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler")
"""Those whose config says that it was trained with EDM's preconditioning."""

_SIGNS = {"epsilon": 1.0, "v_prediction": -1.0}
"""Sign of c_out by diffusers' prediction type: "epsilon" is F as in the paper."""

Denoise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def is_preconditioned(config: Mapping[str, Any] | None) -> bool:
    """Return whether a scheduler config is that of a network trained with EDM or flow matching."""
    return config is not None and config.get("_class_name") in (*_EDM_SCHEDULERS, FLOW_SCHEDULER)


def preconditioned_model(
    network: Callable[..., Any],
    config: Mapping[str, Any],
    origin: str,
    *,
    sample_shape: tuple[int, ...],
    device: torch.device,
    dtype: torch.dtype,
    noise_schedule: Mapping[str, Any] | None,
) -> Denoiser:
    """Make a denoiser of a network and the config of the scheduler that it was trained with.

    Parameters
    ----------
    network : callable
        Called as ``network(sample, timestep).sample``.
    config : mapping
        A scheduler config for which `is_preconditioned` holds.
    origin : str
        Where the config comes from; for messages.
    sample_shape : tuple of int
        Shape of one sample.
    device, dtype : torch.device, torch.dtype
        Where and in what the network computes.
    noise_schedule : mapping, optional
        Variance-preserving schedule on which diffusers' other solvers may run the denoiser. As
        with closed forms, which it is compared with, estimates are clipped only where it says so.

    Returns
    -------
    Denoiser
        Defined up to the config's `sigma_max` for EDM, and up to pure noise for flow matching.

    Raises
    ------
    ModelError
        The config is not valid, or the network gives no numbers.
    """
    resolved = _resolve(config, origin)
    name = config["_class_name"]
    if name == FLOW_SCHEDULER:
        timesteps = _positive(resolved, "num_train_timesteps", origin)
        denoise, sigma_max = flow_denoise(network, timesteps, dtype), math.inf
        conventions = {"class": name, "num_train_timesteps": timesteps}
    else:
        sigma_data = _positive(resolved, "sigma_data", origin)
        prediction_type = resolved["prediction_type"]
        if prediction_type not in _SIGNS:
            raise ModelError(
                f"{origin} has prediction_type = {prediction_type!r} with {name}.",
                f"diffusers defines {' and '.join(_SIGNS)} for it.",
                "Correct scheduler_config.json, or the model's noise_schedule.",
            )
        denoise = edm_denoise(network, _SIGNS[prediction_type], sigma_data, dtype)
        sigma_max = _positive(resolved, "sigma_max", origin)
        conventions = {
            "class": name,
            "prediction_type": prediction_type,
            "sigma_data": sigma_data,
        }
    if noise_schedule is not None and "_class_name" not in noise_schedule:
        noise_schedule = {"clip_sample": False, **noise_schedule}
    model = Denoiser(
        denoise=denoise,
        sigma_max=sigma_max,
        network=network,
        conventions=conventions,
        flow_config=resolved if name == FLOW_SCHEDULER else None,
        takes_state=True,
        sample_shape=sample_shape,
        device=device,
        dtype=dtype,
        scheduler_config=noise_schedule,
    )
    _check_finite(model, origin)
    return model


def edm_denoise(
    network: Callable[..., Any], sign: float, sigma_data: float, dtype: torch.dtype
) -> Denoise:
    """Return D(x, σ) = c_skip x ± c_out F(c_in x, ln(σ)/4).

    Parameters
    ----------
    network : callable
        F, in diffusers' form.
    sign : float
        1, or −1 for diffusers' "v_prediction".
    sigma_data : float
        σ_data > 0.
    dtype : torch.dtype
        In what the network computes; everything else is computed in the dtype of σ.

    Returns
    -------
    callable
        (x, σ) → x̂_0, of shapes (batch, *sample_shape) and (batch,).
    """

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        level = _broadcastable(sigma, x)
        total = level**2 + sigma_data**2
        output = network_output(network, x / total.sqrt(), sigma.log() / 4, dtype)
        return sigma_data**2 / total * x + sign * level * sigma_data / total.sqrt() * output

    return denoise


def flow_denoise(network: Callable[..., Any], timesteps: float, dtype: torch.dtype) -> Denoise:
    """Return D(x, σ) = x_t − t v(x_t, T t) with t = σ/(1 + σ) and x_t = x/(1 + σ).

    Parameters
    ----------
    network : callable
        The velocity v = ε − x_0, in diffusers' form.
    timesteps : float
        T, with which the network is called at t = 1.
    dtype : torch.dtype
        In what the network computes; everything else is computed in the dtype of σ.

    Returns
    -------
    callable
        (x, σ) → x̂_0, of shapes (batch, *sample_shape) and (batch,); at σ = ∞, x is ε.
    """

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        level = _broadcastable(sigma, x)
        inner = torch.where(level.isinf(), x, x / (1 + level))
        moment = 1 / (1 + 1 / sigma)  # finite at σ = ∞, unlike σ/(1 + σ)
        velocity = network_output(network, inner, timesteps * moment, dtype)
        return inner - _broadcastable(moment, x) * velocity

    return denoise


def _broadcastable(level: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Give (batch,) as many dimensions as `x` has."""
    return level.reshape(-1, *[1] * (x.ndim - 1))


def _resolve(config: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Return every value of a scheduler config, with the defaults of its own class."""
    scheduler_class = getattr(diffusers, config["_class_name"])
    keys = inspect.signature(scheduler_class).parameters
    unknown = [key for key in config if key not in keys and not key.startswith("_")]
    try:
        resolved = scheduler_class.from_config(dict(config)).config
    except Exception as error:
        raise ModelError(
            f"{scheduler_class.__name__} refuses its configuration in {origin}: {error}.",
            "The config is one that diffusers has saved.",
            "Correct scheduler_config.json, or the model's noise_schedule.",
        ) from error
    if unknown:
        raise ModelError(
            f"{origin} has the unknown key {unknown[0]!r}.",
            f"The keys of {scheduler_class.__name__} are {', '.join(keys)}.",
            "Correct or remove it.",
        )
    return {"_class_name": config["_class_name"], **{key: resolved[key] for key in keys}}


def _positive(config: Mapping[str, Any], key: str, origin: str) -> float:
    """Return a value of a config that must be a number above 0."""
    value = config[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ModelError(
            f"{origin} has {key} = {value!r}.",
            f"{key} is a number above 0.",
            "Correct scheduler_config.json, or the model's noise_schedule.",
        )
    return value


def _check_finite(model: Denoiser, origin: str) -> None:
    """Refuse a network that takes the logarithm of its timestep, which is negative for EDM."""
    with torch.inference_mode():
        denoised = model(torch.zeros((1, *model.sample_shape), device=model.device), 0.5)
    if not denoised.isfinite().all():
        raise ModelError(
            f"The network that {origin} describes returns NaN or infinity at the noise level 0.5.",
            "It takes ln(σ)/4, or the time from 0 to T of flow matching, as its timestep.",
            "Choose another checkpoint; in diffusers, a UNet2DModel with time_embedding_type = "
            '"fourier" takes a logarithm of the timestep again.',
        )
